"""Exact percentiles of samples that stand in many sorted runs.

    digest   ------[======]-----------   the rank lies between two values
    run 1      . .  ..: :. .    .        only what is between them is ordered,
    run 2     .   . .:.:..  . .   .      what is below counts

A million samples in 360 runs take 2 ms, 4 where many are equal; to merge them takes 70.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggd.sketch import quantiles
from aggd.sketch.digest import Digests
from aggd.sketch.moments import Moments
from aggd.store.frame import Floats, Frame, Ids, Timers

EXACT_LOOKUPS = 4096  # rows of frames that samples are looked for in: some 10 ms
BRACKETS = (0.002, 0.016, 0.128, 1.0)  # ranks around the digest's estimate that are searched
FEW = 5000  # samples that are ordered sooner than their digest is asked
ROUNDING = 1e-9  # of sums of weights such as 1 / 0.3


class Run(NamedTuple):
    """Samples of one series in one frame, ascending.

    `weight` may be of a narrower float; None where all weigh 1.  `total` is its sum.
    """

    value: Floats
    weight: Floats | None
    total: float


def affordable(frames: Sequence[Frame], ids: Ids) -> bool:
    """Tell whether the samples of some series may be looked for in some frames."""
    return len(frames) * ids.size <= EXACT_LOOKUPS


def runs_of(every: Iterable[Timers], ids: Ids) -> list[Run] | None:
    """All samples of some series in some frames; None where any are no longer known."""
    runs = []
    for timers in every:
        rows = timers.series.searchsorted(ids).tolist()
        for series, row in zip(ids.tolist(), rows, strict=True):
            if row == timers.series.size or timers.series[row] != series:
                continue
            run = _run(timers, row)
            if run is None:
                return None
            runs.append(run)
    return runs


def _run(timers: Timers, row: int) -> Run | None:
    """Samples of a row, which stand beside its digest or in it."""
    for source in (timers.points, timers.digests):
        if source is None:
            continue
        a, b = int(source.offset[row]), int(source.offset[row + 1])
        if a < b and source.atom[a:b].all():
            total = float(timers.moments.count[row])
            return Run(source.mean[a:b], None if total == b - a else source.weight[a:b], total)
    return None


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
        Fractions in [0, 1], ascending.

    Returns
    -------
    ndarray of float64, shape (k,)
        numpy's linear quantiles of the samples, weights counting as repeats; NaN
        where the samples are not those of the row.
    """
    m = row.moments
    count = float(m.count[0])
    if abs(sum(run.total for run in runs) - count) > ROUNDING * count:
        return np.full(q.size, np.nan)
    if sum(run.value.size for run in runs) <= FEW:
        return _among_few(runs, m, q)
    out = np.full(q.size, np.nan)
    missing = np.arange(q.size)
    for width in BRACKETS:
        asked = np.concatenate([q[missing] - width, q[missing] + width]).clip(0, 1)
        edges = quantiles.quantile(row.digests, m.low, m.high, asked)[0].reshape(2, -1)
        out[missing] = _between(runs, count, edges[0], edges[1], q[missing])
        missing = np.flatnonzero(np.isnan(out))
        if not missing.size:
            break
    return out


def _among_few(runs: Sequence[Run], m: Moments, q: Floats) -> Floats:
    """Quantiles of runs that are put in order: a digest of atoms alone has them exactly."""
    value = np.concatenate([run.value for run in runs])
    order = np.argsort(value)
    offset, atom = np.array([0, value.size]), np.ones(value.size, np.bool_)
    every = Digests(offset, value[order], _weights(runs)[order], atom)
    found: Floats = quantiles.quantile(every, m.low, m.high, q)[0]
    return found


def _between(runs: Sequence[Run], count: float, low: Floats, high: Floats, q: Floats) -> Floats:
    """Quantiles whose two order statistics lie in ``[low, high]``, the others NaN."""
    edges = np.concatenate([low, np.nextafter(high, np.inf)])
    cuts = np.array([run.value.searchsorted(edges) for run in runs])
    first, last = cuts[:, : q.size], cuts[:, q.size :]
    plain = all(run.weight is None for run in runs)
    start = np.cumsum([0, *(run.value.size for run in runs[:-1])])
    starts = start.tolist()
    weights = np.empty(0) if plain else _weights(runs)
    below = first.sum(axis=0, dtype=np.float64)
    if not plain:
        below = _weight_below(weights, start, first)
    out = np.full(q.size, np.nan)
    for k in range(q.size):
        ends = enumerate(zip(first[:, k].tolist(), last[:, k].tolist(), strict=True))
        inside = [(i, a, b) for i, (a, b) in ends if a < b]
        if not inside:
            continue
        value = np.concatenate([runs[i].value[a:b] for i, a, b in inside])
        if plain:
            out[k] = _ranked(value, float(q[k]) * (count - 1) - float(below[k]))
        else:
            places = [slice(starts[i] + a, starts[i] + b) for i, a, b in inside]
            weight = np.concatenate([weights[place] for place in places])
            out[k] = _weighted(value, weight, float(below[k]), count, float(q[k]))
    return out


def _weights(runs: Sequence[Run]) -> Floats:
    """Weights of all runs, one after the other, widened at once; a 0 at the end."""
    parts = [
        np.ones(run.value.size, np.float16) if run.weight is None else run.weight for run in runs
    ]
    return np.concatenate([*parts, np.zeros(1, np.float16)]).astype(np.float64)


def _weight_below(weight: Floats, start: NDArray[np.intp], first: NDArray[np.intp]) -> Floats:
    """Weight of all runs before `first`, which ascends in each of them."""
    edges = np.concatenate([start[:, None], start[:, None] + first], axis=1)
    sums = np.add.reduceat(weight, edges.ravel()).reshape(edges.shape)[:, :-1]
    sums[np.diff(edges) == 0] = 0.0  # where reduceat gives the element itself
    below: Floats = sums.cumsum(axis=1).sum(axis=0)
    return below


def _ranked(value: Floats, rank: float) -> float:
    """The value at a fractional rank, as numpy interpolates it; NaN beyond the ends."""
    left = int(rank // 1)
    right = left + (rank > left)
    if left < 0 or right >= value.size:
        return np.nan
    ordered = np.partition(value, (left, right))
    return _mixed(float(ordered[left]), float(ordered[right]), rank - left)


def _mixed(left: float, right: float, part: float) -> float:
    rise = right - left
    return left + rise * part if part < 0.5 else right - rise * (1 - part)


def _weighted(value: Floats, weight: Floats, below: float, count: float, q: float) -> float:
    """Quantile of samples of which `below` lie under these, NaN where it isn't among them.

    Weights count as repeats, as `quantiles.quantile` has it.
    """
    order = np.argsort(value)
    until = below + np.cumsum(weight[order])
    if abs(until[-1] - count) < ROUNDING * count:
        until[-1] = count
    top = max(count - 1, 0.0)
    rank = q * top
    left = rank // 1
    step = min(top - left, 1.0)
    pair = left + 0.5, left + step + 0.5  # a sample stands in the middle of the rank it takes up
    if pair[0] < below or (pair[1] >= until[-1] and until[-1] < count):
        return np.nan
    at = np.minimum(until.searchsorted(pair, "right"), value.size - 1)
    first, second = value[order[at]].tolist()
    return _mixed(first, second, (rank - left) / step if step > 0 else 0.0)
