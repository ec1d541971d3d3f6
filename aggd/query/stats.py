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
from aggd.query import statsd
from aggd.query.search import ROUNDING, Run, affordable, runs_of, search
from aggd.query.selection import Selection
from aggd.sketch import digest, distinct, moments, quantiles
from aggd.sketch.digest import Digests
from aggd.store.frame import Counters, Floats, Frame, Gauges, Ids, Section, Timers
from aggd.store.merge import gather
from aggd.store.series import Kind

STATISTICS = {
    Kind.COUNTER: ("count", "sum", "rate"),
    Kind.GAUGE: ("count", "sum", "mean", "min", "max", "last"),
    Kind.TIMER: ("count", "sum", "rate", "mean", "median", "std", "min", "max"),
    Kind.SET: ("count", "unique"),
}
EXACT_SAMPLES = 1_000_000  # of all groups, put in order for exact partial sums: some 50 ms


class Column(NamedTuple):
    """One statistic of many rows, and how far it may be off."""

    values: Floats
    exact: NDArray[np.bool_]
    rank_error: Floats  # as a fraction of the ranks; 0 where exact


class Known(NamedTuple):
    """What was found among the samples themselves."""

    values: Floats  # percentiles, shape (rows, percentiles)
    rows: NDArray[np.bool_]  # which rows have them
    searched: NDArray[np.bool_]  # of which rows the samples were used at all
    digests: Digests  # of all rows, every sample in them where partial sums were asked for


def percentile(name: str) -> float | None:
    """Fraction meant by ``p99.9`` or ``median``; None for any other name."""
    if name == "median":
        return 0.5
    found = _PERCENTILE.fullmatch(name)
    p = float(found[1]) if found else -1.0
    return p / 100 if 0.0 <= p <= 100.0 else None


_PERCENTILE = re.compile(r"p([0-9]{1,3}(?:\.[0-9]{0,20})?(?:e-[0-9]{1,3})?)", re.ASCII)


def has(kind: Kind, name: str) -> bool:
    """Tell whether a kind of series has a statistic."""
    return name in STATISTICS[kind] or (kind is Kind.TIMER and bool(estimates([name])))


def exists(name: str) -> bool:
    """Tell whether any kind of series has a statistic."""
    return any(has(kind, name) for kind in Kind)


def check(name: str, kind: Kind, field: str) -> None:
    """Refuse a statistic that this kind of series doesn't have."""
    if has(kind, name):
        return
    words = ", ".join(STATISTICS[kind])
    more = ", percentiles such as p99.9 and parts such as mean_90" if kind is Kind.TIMER else ""
    if not exists(name):
        raise RequestError(
            f"bad_{field}", f"unknown statistic {name!r}; a {kind.word} has {words}{more}", field
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
        Percentiles among `names`, in their order, as far as they are known exactly, and
        the digests that partial sums are taken from.
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
    values = quantiles.quantile(timers.digests, m.low, m.high, q)
    if known is not None:
        exact = exact | known.rows
        values[known.rows] = known.values[known.rows]
    errors = np.where(
        exact, 0.0, np.minimum(1.0, quantiles.rank_error(q)[:, None] + 1 / timers.samples)
    )
    for i, name in enumerate(asked):
        out[name] = Column(values[:, i], exact, errors[i])
    out |= _part_columns(timers, statsd.parts(names), known)
    return {name: out[name] for name in names}


def _part_columns(timers: Timers, names: Sequence[str], known: Known | None) -> dict[str, Column]:
    """Statistics between two ranks; a count is exact whatever the digest is."""
    digests = timers.digests if known is None else known.digests
    found, whole = statsd.columns(timers.moments, digests, names), digest.exact(digests)
    out = {}
    for name, error in zip(names, statsd.rank_error(names).tolist(), strict=True):
        exact = whole | (error == 0)
        errors = np.where(exact, 0.0, np.minimum(1.0, error + 1 / timers.samples))
        out[name] = Column(found[name], exact, errors)
    return out


def percentiles(names: Sequence[str]) -> list[str]:
    """Those of `names` that mean a percentile."""
    return [name for name in names if percentile(name) is not None]


def estimates(names: Sequence[str]) -> list[str]:
    """Those of `names` that a digest estimates: percentiles and what lies between two."""
    parts = set(statsd.parts(names))
    return [name for name in names if name in parts or percentile(name) is not None]


class Summary(NamedTuple):
    """Statistics of groups; row i of every column is of group ``labels[i]``."""

    labels: Ids
    columns: dict[str, Column]
    searched: NDArray[np.bool_]  # of which rows the samples were


def summarise(
    frames: Sequence[Frame],
    fine: Sequence[Frame],
    selection: Selection,
    names: Sequence[str],
    seconds: float,
) -> Summary:
    """Statistics of every group over all of `frames`.

    Parameters
    ----------
    frames : sequence of Frame
        That tile the window with the fewest.
    fine : sequence of Frame
        The same samples in the finest frames there are, to look for them.
    selection : Selection
        Groups asked for; those without data are absent from the answer.
    """
    parts = ((frame, 0) for frame in frames)
    section = gather(parts, selection.kind, selection.ids, selection.labels)

    def runs(label: int) -> list[Run] | None:
        ids = selection.ids[selection.labels == label]
        return runs_of((frame.timers for frame in fine), ids)

    known = find_exact(section, names, runs) if affordable(fine, selection.ids) else None
    none = np.zeros(section.series.size, np.bool_)
    found = columns(section, names, seconds, known)
    return Summary(section.series, found, none if known is None else known.searched)


def find_exact(
    section: Section, names: Sequence[str], runs: Callable[[int], list[Run] | None]
) -> Known | None:
    """What the samples say that `names` ask for; None where the digests are exact anyway.

    `runs` gives the samples of a label; None where some have gone.
    """
    asked, parts = percentiles(names), statsd.parts(names)
    if not (asked or parts) or not isinstance(section, Timers):
        return None
    blurred = np.flatnonzero(~digest.exact(section.digests))
    if not blurred.size:
        return None
    fractions = [percentile(name) for name in asked]
    q, place = np.unique(np.array(fractions, np.float64), return_inverse=True)
    values = np.full((section.series.size, q.size), np.nan)
    whole: dict[int, list[Run]] = {}
    for i in blurred.tolist():
        kept = runs(int(section.series[i]))
        if kept is not None:
            whole[i] = kept
            if asked:
                values[i] = search(kept, section.select(np.array([i])), q)
    digests = _with_samples(section, whole) if parts else section.digests
    rows = ~np.isnan(values).any(axis=1) & bool(asked)
    more = digest.exact(digests)
    more[more] = ~digest.exact(section.digests)[more]
    return Known(values[:, place], rows, rows | more, digests)


def _with_samples(section: Timers, whole: dict[int, list[Run]]) -> Digests:
    """The digests, every sample in the rows of `whole`, as far as they can be put in order."""
    room, parts, blurred = EXACT_SAMPLES, [], np.ones(section.series.size, np.bool_)
    for i, runs in whole.items():
        count, size = float(section.moments.count[i]), sum(run.value.size for run in runs)
        known = abs(sum(run.total for run in runs) - count) <= ROUNDING * count
        if known and size <= room:
            room -= size
            blurred[i] = False
            parts += [(np.array([i], np.int32), _as_digest(run)) for run in runs]
    rest = np.flatnonzero(blurred)
    parts.append((rest.astype(np.int32), digest.select(section.digests, rest)))
    return digest.merge(parts, section.series.size, None)


def _as_digest(run: Run) -> Digests:
    n = run.value.size
    weight = np.ones(n) if run.weight is None else run.weight
    return Digests(np.array([0, n]), run.value, weight, np.ones(n, np.bool_))
