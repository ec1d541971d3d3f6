"""Statistics of groups of series, one bucket of time after the other."""

from collections.abc import Iterable, Sequence
from math import inf
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggd.query.search import Run, affordable, runs_of
from aggd.query.selection import Selection
from aggd.query.stats import Column, columns, find_exact
from aggd.store.frame import Floats, Frame
from aggd.store.merge import gather

Fill = Literal["null", "zero", "previous"]
Starts = NDArray[np.int64]


class Buckets(NamedTuple):
    """Columns of one group; `start` of each bucket in seconds, ascending."""

    start: Starts
    columns: dict[str, Floats]
    exact: bool
    rank_error: dict[str, float]  # the largest of all buckets, of percentiles only
    searched: bool = False  # the samples of any were


class Span(NamedTuple):
    """A window, ``[start, end)``, the length of its buckets, and what of it is over, in seconds."""

    start: int
    end: int
    step: int
    until: float = inf


def aggregate(
    frames: Sequence[Frame],
    fine: Sequence[Frame],
    selection: Selection,
    names: Sequence[str],
    span: Span,
) -> list[Buckets]:
    """Statistics of every group in buckets that are aligned to the epoch.

    Parameters
    ----------
    frames : sequence of Frame
        None of which crosses the edge of a bucket, where finer ones are kept;
        one that does counts in the bucket where it starts.
    fine : sequence of Frame
        The same samples in the finest frames there are, to look for them.
    selection : Selection
        Groups asked for.
    names : sequence of str
        Statistics that the kind has.
    span : Span
        The window that the frames hold, which rates are of, and the step.

    Returns
    -------
    list of Buckets
        One a group, empty buckets left out.
    """
    n, step = len(selection.groups), span.step
    # Buckets with frames are numbered, as far-off ones would overflow the labels.
    start, place = np.unique(_starts(frames, step), return_inverse=True)
    parts = zip(frames, (place * n).tolist(), strict=True)
    section = gather(parts, selection.kind, selection.ids, selection.labels)
    bucket, group = np.divmod(section.series.astype(np.intp), n)

    inside: dict[int, list[Frame]] = {}
    for frame in fine:
        inside.setdefault(frame.start - frame.start % step, []).append(frame)

    def runs(label: int) -> list[Run] | None:
        ids = selection.ids[selection.labels == label % n]
        of = inside.get(int(start[label // n]), [])
        return runs_of((frame.timers for frame in of), ids)

    known = find_exact(section, names, runs) if affordable(fine, selection.ids) else None
    seconds = _seconds(frames, place, start, span)
    found = columns(section, names, seconds[bucket], known)
    rows = [np.flatnonzero(group == k) for k in range(n)]
    searched = np.zeros(group.size, np.bool_) if known is None else known.searched
    return [
        buckets_of(of, start[bucket], found)._replace(searched=bool(searched[of].any()))
        for of in rows
    ]


def _starts(frames: Sequence[Frame], step: int) -> Starts:
    return np.array([frame.start - frame.start % step for frame in frames], np.int64)


def _seconds(frames: Sequence[Frame], place: NDArray[np.intp], start: Starts, span: Span) -> Floats:
    """How much of each bucket the window covers and is over; more than a step where frames do."""
    end = start + span.step
    np.maximum.at(end, place, np.array([frame.end for frame in frames], np.int64))
    whole = np.minimum(end, span.end) - np.maximum(start, span.start)
    over = np.minimum(end, min(span.end, span.until)) - np.maximum(start, span.start)
    return np.where(over > 0, over, whole).astype(np.float64)  # some senders are ahead of us


def buckets_of(rows: NDArray[np.intp], start: Starts, found: dict[str, Column]) -> Buckets:
    """Some rows of all columns, as the buckets of one group."""
    errors = {name: column.rank_error[rows] for name, column in found.items()}
    return Buckets(
        start[rows],
        {name: column.values[rows] for name, column in found.items()},
        all(bool(column.exact[rows].all()) for column in found.values()),
        {name: float(error.max()) for name, error in errors.items() if error.any()},
    )


def worst(every: Iterable[Buckets]) -> dict[str, float]:
    """The largest rank error of each percentile."""
    errors: dict[str, float] = {}
    for of in every:
        errors |= {name: max(e, errors.get(name, 0.0)) for name, e in of.rank_error.items()}
    return errors


def filled(buckets: Buckets, span: Span, fill: Fill) -> Buckets:
    """Put something into the empty buckets of a window: null, 0, or the one before."""
    start, end, step, _ = span
    every = np.arange(start - start % step, end, step, dtype=np.int64)
    at = np.searchsorted(every, buckets.start)
    out = {}
    for name, values in buckets.columns.items():
        empty = 0.0 if fill == "zero" or name == "count" else np.nan
        column = np.full(every.size, empty)
        column[at] = values
        if fill == "previous" and name != "count":
            column = _carried(column)
        out[name] = column
    return buckets._replace(start=every, columns=out)


def _carried(column: Floats) -> Floats:
    place = np.where(np.isnan(column), -1, np.arange(column.size))
    place = np.maximum.accumulate(place)
    return np.where(place < 0, np.nan, column[place])
