"""Statistics of groups of series over one window.

Moments merge exactly, so they come from the coarsest frames that tile the
window.  Percentiles come from the same frames' digests; where the samples
themselves are still kept, the digest only says where to look among them, and
the answer is exact.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggd.errors import RequestError
from aggd.query.search import Run, runs_of, search
from aggd.query.selection import Selection
from aggd.sketch import digest, distinct, moments
from aggd.store.frame import Counters, Floats, Frame, Gauges, Ids, Sets, Timers
from aggd.store.merge import gather
from aggd.store.series import Kind

Section = Counters | Gauges | Timers | Sets

STATISTICS = {
    Kind.COUNTER: ("count", "sum", "rate"),
    Kind.GAUGE: ("count", "sum", "mean", "min", "max", "last"),
    Kind.TIMER: ("count", "sum", "rate", "mean", "median", "std", "min", "max"),
    Kind.SET: ("count", "unique"),
}
EXACT_LOOKUPS = 4096  # rows of frames searched for an exact percentile: some 10 ms


class Column(NamedTuple):
    """One statistic of many rows, and how far it may be off."""

    values: Floats
    exact: NDArray[np.bool_]
    rank_error: Floats  # as a fraction of the ranks; 0 where exact


class Known(NamedTuple):
    """Percentiles that were found among the samples themselves."""

    values: Floats  # shape (rows, percentiles)
    rows: NDArray[np.bool_]  # which rows that is true of


def percentile(name: str) -> float | None:
    """Fraction meant by ``p99.9`` or ``median``; None for any other name."""
    if name == "median":
        return 0.5
    found = _PERCENTILE.fullmatch(name)
    p = float(found[1]) if found else -1.0
    return p / 100 if 0.0 <= p <= 100.0 else None


_PERCENTILE = re.compile(r"p([0-9]{1,3}(?:\.[0-9]{0,20})?(?:e-[0-9]{1,3})?)", re.ASCII)


def check(name: str, kind: Kind, field: str) -> None:
    """Refuse a statistic that this kind of series doesn't have."""
    known = name in STATISTICS[kind] or (kind is Kind.TIMER and percentile(name) is not None)
    if known:
        return
    words = ", ".join(STATISTICS[kind])
    more = " and percentiles such as p99.9" if kind is Kind.TIMER else ""
    a_word = {word for words in STATISTICS.values() for word in words}
    if name not in a_word and percentile(name) is None:
        raise RequestError(
            "bad_aggregation", f"unknown statistic {name!r}; a {kind.word} has {words}{more}", field
        )
    raise RequestError(
        "not_answerable", f"a {kind.word} has no {name!r}; it has {words}{more}", field, 422
    )


def columns(
    section: Section, names: Sequence[str], seconds: float | Floats, known: Known | None = None
) -> dict[str, Column]:
    """Statistics of the rows of a section, each by name.

    Parameters
    ----------
    section : Counters, Gauges, Timers or Sets
        As ``gather`` returns it.
    names : sequence of str
        Statistics that the kind has, percentiles as ``p99.9``.
    seconds : float, or ndarray of float64, shape (n,)
        Length of the window, for rates; of each row, where they differ.
    known : Known, optional
        Percentiles among `names`, in their order, as far as they are known exactly.
    """
    if isinstance(section, Timers):
        return _timer_columns(section, names, seconds, known)
    every = np.ones(section.series.size, np.bool_)
    if isinstance(section, Counters):
        found = {"count": section.count, "sum": section.sum, "rate": section.sum / seconds}
    elif isinstance(section, Gauges):
        mean = section.sum / section.count
        found = {"count": section.count, "sum": section.sum, "mean": mean}
        found |= {"min": section.low, "max": section.high, "last": section.last}
    else:
        unique = distinct.estimate(section.members)
        every = np.diff(section.members.offset) < distinct.K
        found = {"count": section.count, "unique": unique}
    return {name: Column(found[name], every, np.zeros(every.size)) for name in names}


def _timer_columns(
    timers: Timers, names: Sequence[str], seconds: float | Floats, known: Known | None
) -> dict[str, Column]:
    m = timers.moments
    with np.errstate(over="ignore"):
        found = {"count": m.count, "sum": m.mean * m.count, "rate": m.count / seconds}
    found |= {"mean": m.mean, "std": np.sqrt(moments.variance(m)), "min": m.low, "max": m.high}
    every, none = np.ones(m.count.size, np.bool_), np.zeros(m.count.size)
    out = {name: Column(found[name], every, none) for name in names if name in found}
    asked = percentiles(names)
    q = np.array([percentile(name) for name in asked], np.float64)
    exact = digest.exact(timers.digests)
    values = digest.quantile(timers.digests, m.low, m.high, q)
    if known is not None:
        exact = exact | known.rows
        values[known.rows] = known.values[known.rows]
    errors = np.where(
        exact, 0.0, np.minimum(1.0, digest.rank_error(q)[:, None] + 1 / timers.samples)
    )
    for i, name in enumerate(asked):
        out[name] = Column(values[:, i], exact, errors[i])
    return {name: out[name] for name in names}


def percentiles(names: Sequence[str]) -> list[str]:
    """Those of `names` that mean a percentile."""
    return [name for name in names if percentile(name) is not None]


class Summary(NamedTuple):
    """Statistics of groups; row i of every column is of group ``labels[i]``."""

    labels: Ids
    columns: dict[str, Column]
    searched: bool  # the samples were


def summarise(
    frames: Sequence[Frame],
    fine: Sequence[Frame] | None,
    selection: Selection,
    names: Sequence[str],
    seconds: float,
) -> Summary:
    """Statistics of every group over all of `frames`.

    Parameters
    ----------
    frames : sequence of Frame
        That tile the window with the fewest.
    fine : sequence of Frame or None
        The same window in the finest tier, where that still has all of it.
    selection : Selection
        Groups asked for; those without data are absent from the answer.
    """
    parts = ((frame, 0) for frame in frames)
    section = gather(parts, selection.kind, selection.ids, selection.labels, keep=False)

    def runs(label: int) -> list[Run | None]:
        ids = selection.ids[selection.labels == label]
        return [run for frame in fine or () for run in runs_of(frame.timers, ids)]

    known = None
    if fine is not None and affordable(fine, selection):
        known = find_exact(section, names, runs)
    return Summary(section.series, columns(section, names, seconds, known), known is not None)


def affordable(fine: Sequence[Frame], selection: Selection) -> bool:
    """Tell whether the samples themselves may be searched."""
    return len(fine) * selection.ids.size <= EXACT_LOOKUPS


def find_exact(
    section: Section, names: Sequence[str], runs: Callable[[int], list[Run | None]]
) -> Known | None:
    """Percentiles among `names` from the samples; None where the digests are exact anyway.

    `runs` gives the samples of a label, None among them for those that have gone.
    """
    asked = percentiles(names)
    if not asked or not isinstance(section, Timers) or digest.exact(section.digests).all():
        return None
    fractions = [percentile(name) for name in asked]
    q, place = np.unique(np.array(fractions, np.float64), return_inverse=True)
    known = Known(np.full((section.series.size, q.size), np.nan), ~digest.exact(section.digests))
    for i in np.flatnonzero(known.rows):
        found = runs(int(section.series[i]))
        kept = [run for run in found if run is not None]
        if len(kept) == len(found):
            known.values[i] = search(kept, section.select(np.array([i])), q)
    known.rows[:] &= ~np.isnan(known.values).any(axis=1)
    return known._replace(values=known.values[:, place])
