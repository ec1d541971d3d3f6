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
from aggd.query.selection import Selection
from aggd.sketch import digest, distinct, moments
from aggd.sketch.digest import Digests
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
ROUNDING = 1e-9  # of sums of weights such as 1 / 0.3
EXACT_LOOKUPS = 4096  # rows of frames searched for an exact percentile: some 10 ms
BRACKETS = (0.002, 0.016, 0.128, 1.0)  # ranks around the digest's estimate that are searched


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

    def runs(label: int) -> list["Run | None"]:
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
    section: Section, names: Sequence[str], runs: Callable[[int], list["Run | None"]]
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


class Run(NamedTuple):
    """Samples of one series in one frame, ascending; `weight` is None where all weigh 1."""

    value: Floats
    weight: Floats | None


def runs_of(timers: Timers, ids: Ids) -> list[Run | None]:
    """Samples of some series in a frame; None for those that are no longer known."""
    runs: list[Run | None] = []
    for series, row in zip(ids.tolist(), timers.series.searchsorted(ids).tolist(), strict=True):
        if row == timers.series.size or timers.series[row] != series:
            continue
        source, a, b = timers.points, 0, 0
        if source is not None:
            a, b = int(source.offset[row]), int(source.offset[row + 1])
        if source is None or a == b:
            source = timers.digests
            a, b = int(source.offset[row]), int(source.offset[row + 1])
            if not source.atom[a:b].all():
                runs.append(None)
                continue
        ones = timers.moments.count[row] == b - a
        runs.append(Run(source.mean[a:b], None if ones else source.weight[a:b]))
    return runs


def search(runs: Sequence[Run], row: Timers, q: Floats) -> Floats:
    """Exact quantiles of sorted runs, found near those of their digest.

    Only the samples between two bracketing values are ordered; those below and
    above count by their weight.  A bracket that misses its rank is widened.

    Parameters
    ----------
    runs : sequence of Run
        All samples.
    row : Timers
        One row, with the digest of the same samples.
    q : ndarray of float64, shape (k,)
        Fractions in [0, 1].

    Returns
    -------
    ndarray of float64, shape (k,)
        numpy's linear quantiles of the samples, weights counting as repeats; NaN
        where the samples are not those of the row.
    """
    m = row.moments
    out = np.full(q.size, np.nan)
    missing = np.arange(q.size)
    for width in BRACKETS:
        asked = np.concatenate([q[missing] - width, q[missing] + width]).clip(0, 1)
        edges = digest.quantile(row.digests, m.low, m.high, asked)[0].reshape(2, -1)
        out[missing] = _between(runs, float(m.count[0]), edges[0], edges[1], q[missing])
        missing = np.flatnonzero(np.isnan(out))
        if not missing.size:
            break
    return out


def _between(runs: Sequence[Run], count: float, low: Floats, high: Floats, q: Floats) -> Floats:
    """Quantiles whose two order statistics lie in ``[low, high]``, the others NaN."""
    edges = np.concatenate([low, np.nextafter(high, np.inf)])
    cuts = np.array([run.value.searchsorted(edges) for run in runs])
    first, last = cuts[:, : q.size], cuts[:, q.size :]
    plain = all(run.weight is None for run in runs)
    below = first.sum(axis=0, dtype=np.float64) if plain else _weight_below(runs, first)
    out = np.full(q.size, np.nan)
    for k in range(q.size):
        ends = zip(runs, first[:, k].tolist(), last[:, k].tolist(), strict=True)
        inside = [(run, a, b) for run, a, b in ends if a < b]
        if not inside:
            continue
        value = np.concatenate([run.value[a:b] for run, a, b in inside])
        if plain:
            out[k] = _ranked(value, float(q[k]) * (count - 1) - float(below[k]))
        else:
            weight = np.concatenate([_weights(*piece) for piece in inside])
            out[k] = _weighted(value, weight, float(below[k]), count, float(q[k]))
    return out


def _weights(run: Run, a: int, b: int) -> Floats:
    return np.ones(b - a) if run.weight is None else run.weight[a:b]


def _weight_below(runs: Sequence[Run], first: NDArray[np.intp]) -> Floats:
    below = np.zeros(first.shape[1])
    for run, places in zip(runs, first, strict=True):
        below += np.append(0.0, np.cumsum(_weights(run, 0, run.value.size)))[places]
    return below


def _ranked(value: Floats, rank: float) -> float:
    """The value at a fractional rank, as numpy interpolates it; NaN beyond the ends."""
    left = int(rank // 1)
    right = left + (rank > left)
    if left < 0 or right >= value.size:
        return np.nan
    ordered = np.partition(value, (left, right))
    rise, part = ordered[right] - ordered[left], rank - left
    return float(ordered[left] + rise * part if part < 0.5 else ordered[right] - rise * (1 - part))


def _weighted(value: Floats, weight: Floats, below: float, count: float, q: float) -> float:
    """Quantile of samples of which `below` lie under these, NaN where it isn't among them."""
    order = np.argsort(value, kind="stable")
    value, weight = value[order], weight[order]
    above = count - below - float(weight.sum())
    if abs(above) < ROUNDING * count:
        above = 0.0
    rank = q * max(count - 1, 0.0)
    if rank < below or (rank + 1 > count - above and above > 0):
        return np.nan
    means = np.concatenate([value[:1], value, value[-1:]])
    weights = np.concatenate([[below], weight, [max(above, 0.0)]])
    used = weights > 0
    atoms = Digests(
        np.array([0, int(used.sum())]),
        means[used],
        weights[used],
        np.ones(int(used.sum()), np.bool_),
    )
    return float(digest.quantile(atoms, value[:1], value[-1:], np.array([q]))[0, 0])
