"""Frames to one frame: the merge behind closings, rollups and answers.

Every merge is the same act: rows of many frames carry a *label*, rows with one
label become one row.  For a rollup the label is the series; for an answer it is
the group asked for, or the group and the bucket of time.  All frames merge in
one shot, as merging digests one after the other smears them (numerics of the
sketch package).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aggd.sketch import digest, distinct, moments, ragged
from aggd.sketch.digest import Digests
from aggd.store.frame import (
    NO_COUNTERS,
    NO_GAUGES,
    NO_SETS,
    NO_TIMERS,
    Counters,
    Floats,
    Frame,
    Gauges,
    Ids,
    Index,
    Section,
    Sets,
    Timers,
    frozen,
)
from aggd.store.rows import Part, collect
from aggd.store.series import Kind

EMPTY: dict[Kind, Section] = {
    Kind.COUNTER: NO_COUNTERS,
    Kind.GAUGE: NO_GAUGES,
    Kind.TIMER: NO_TIMERS,
    Kind.SET: NO_SETS,
}
LARGEST = 1e300  # counts and sums stay under it, so that no later addition becomes infinite


def merge(
    frames: Sequence[Frame], start: int, width: int, *, size: int = digest.K, keep: bool = True
) -> Frame:
    """Merge any number of frames in one shot.

    Counts add up exactly and sums to rounding, whatever the order; digests
    within the accuracy of the sketch.

    Parameters
    ----------
    frames : sequence of Frame
        In order of arrival, which decides between gauges of equal time.
    start, width : int
        Slot of the answer, in seconds.
    size : int
        Centroids a digest may have.
    keep : bool
        Keep the samples of rows whose digest has given some up, where every
        frame still has them.
    """
    return frozen(
        Frame(
            start,
            width,
            merge_counters([(f.counters.series, f.counters) for f in frames]),
            merge_gauges([(f.gauges.series, f.gauges) for f in frames]),
            merge_timers([(f.timers.series, f.timers) for f in frames], size, keep),
            merge_sets([(f.sets.series, f.sets) for f in frames]),
        )
    )


def gather(frames: Iterable[tuple[Frame, int]], kind: Kind, ids: Ids, labels: Ids) -> Section:
    """Merge some series of many frames by label: the group-by of every answer.

    Parameters
    ----------
    frames : iterable of (Frame, int)
        Each with an offset that is added to the labels of its rows.
    kind : Kind
        Kind of all `ids`.
    ids : ndarray of int32, shape (n,)
        Series asked for.
    labels : ndarray of int32, shape (n,)
        Group of each series, ascending.

    Returns
    -------
    Counters, Gauges, Timers or Sets
        Whose `series` are the labels, ascending, without samples beside the digests;
        labels without data are left out.
    """
    if kind is Kind.COUNTER:
        return merge_counters(collect(frames, Counters, ids, labels))
    if kind is Kind.GAUGE:
        return merge_gauges(collect(frames, Gauges, ids, labels))
    if kind is Kind.TIMER:
        return merge_timers(collect(frames, Timers, ids, labels), digest.K, keep=False)
    return merge_sets(collect(frames, Sets, ids, labels))


def number(labels: Sequence[Ids]) -> tuple[Ids, list[Index]]:
    """Number the labels that occur: those labels, ascending, and the number of each."""
    first = labels[0]
    if (first[1:] > first[:-1]).all() and all(np.array_equal(first, other) for other in labels[1:]):
        return first, [np.arange(first.size)] * len(labels)
    top = max(int(part.max()) for part in labels) + 1
    if top > 16 * sum(part.size for part in labels):
        found = np.unique(np.concatenate(labels))
        return found, [found.searchsorted(part) for part in labels]
    # A mark for every label up to the largest costs less than a sort of all of them.
    seen = np.zeros(top, np.bool_)
    for part in labels:
        seen[part] = True
    place = np.cumsum(seen, dtype=np.intp) - 1
    return np.flatnonzero(seen).astype(np.int32), [place[part] for part in labels]


def merge_counters(parts: Iterable[Part[Counters]]) -> Counters:
    """Merge counters by label."""
    parts = [part for part in parts if part[0].size]
    if not parts:
        return NO_COUNTERS
    series, rows = number([labels for labels, _ in parts])
    count = _add(rows, [c.count for _, c in parts], series.size)
    total = _add(rows, [c.sum for _, c in parts], series.size)
    return Counters(series, count, np.clip(total, -LARGEST, LARGEST))


def _add(rows: list[Index], columns: list[Floats], size: int) -> Floats:
    row = rows[0] if len(rows) == 1 else np.concatenate(rows)
    return ragged.sums(row, np.concatenate(columns), size)


def merge_gauges(parts: Iterable[Part[Gauges]]) -> Gauges:
    """Merge gauges by label; the last level is the latest by its own time."""
    parts = [part for part in parts if part[0].size]
    if not parts:
        return NO_GAUGES
    series, rows = number([labels for labels, _ in parts])
    row = np.concatenate(rows)
    low = np.full(series.size, np.inf)
    np.minimum.at(low, row, np.concatenate([g.low for _, g in parts]))
    high = np.full(series.size, -np.inf)
    np.maximum.at(high, row, np.concatenate([g.high for _, g in parts]))
    times = np.concatenate([g.last_time for _, g in parts])
    order = np.argsort(times, kind="stable")
    latest = np.zeros(series.size, np.intp)
    latest[row[order]] = order  # of several writes to one place, the last one stays
    last = np.concatenate([g.last for _, g in parts])[latest]
    count = _add(rows, [g.count for _, g in parts], series.size)
    total = np.clip(_add(rows, [g.sum for _, g in parts], series.size), -LARGEST, LARGEST)
    return Gauges(series, count, total, low, high, last, times[latest])


def merge_timers(parts: Iterable[Part[Timers]], size: int, keep: bool) -> Timers:
    """Merge timers by label: Chan's formula, digests in one shot, samples where known."""
    parts = [part for part in parts if part[0].size]
    if not parts:
        return NO_TIMERS
    series, rows = number([labels for labels, _ in parts])
    n = series.size
    if len(parts) == 1 and not keep and _settled(*parts[0], size):
        return replace(parts[0][1], series=series, points=None)
    samples = _add(rows, [t.samples for _, t in parts], n)
    merged = moments.merge(
        np.concatenate(rows), moments.concatenate([t.moments for _, t in parts]), n
    )
    timers = [t for _, t in parts]
    digests = digest.merge(
        [(r.astype(np.int32), t.digests) for r, t in zip(rows, timers, strict=True)], n, size
    )
    points = _merge_points(rows, timers, digests) if keep else None
    return Timers(series, samples, merged, digests, points)


def _settled(labels: Ids, timers: Timers, size: int) -> bool:
    """Tell whether every row is alone with its label, and small enough."""
    alone = (labels[1:] > labels[:-1]).all()
    return bool(alone and np.diff(timers.digests.offset).max() <= size)


def _merge_points(rows: list[Index], timers: list[Timers], digests: Digests) -> Digests | None:
    """Samples of the rows whose merged digest is not exact, where every part knows its own."""
    if any(part.points is None for part in timers):
        return None
    wanted = ~digest.exact(digests)
    for row, part in zip(rows, timers, strict=True):
        if wanted.any():
            wanted[row[~part.exact()]] = False
    if not wanted.any():
        return Digests.empty(len(digests))
    parts = []
    for row, part in zip(rows, timers, strict=True):
        assert part.points is not None
        for known, source in _sources(part.points, part.digests):
            chosen = np.flatnonzero(wanted[row] & known)
            if chosen.size:
                parts.append((row[chosen].astype(np.int32), digest.select(source, chosen)))
    return digest.merge(parts, len(digests), None)


def _sources(points: Digests, digests: Digests) -> list[tuple[NDArray[np.bool_], Digests]]:
    """Where the samples of each row stand: beside its digest, or in it."""
    beside = np.diff(points.offset) > 0
    return [(beside, points), (~beside, digests)]


def merge_sets(parts: Iterable[Part[Sets]]) -> Sets:
    """Merge sets by label: the union of their members."""
    parts = [part for part in parts if part[0].size]
    if not parts:
        return NO_SETS
    series, rows = number([labels for labels, _ in parts])
    count = _add(rows, [s.count for _, s in parts], series.size)
    members = distinct.merge(
        [(r.astype(np.int32), s.members) for r, (_, s) in zip(rows, parts, strict=True)],
        series.size,
    )
    return Sets(series, count, members)
