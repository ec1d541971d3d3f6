"""How the samples of one timer are distributed: histogram, distribution function, families.

every sample kept   runs of frames and series, counted under any value    exact
else                the distribution function of the merged digest        to its rank error
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from aggd.errors import RequestError
from aggd.query import fits
from aggd.query.scope import Found, Scope, covers, timers_of
from aggd.query.search import Run, affordable, runs_of
from aggd.query.selection import plain, plain_column
from aggd.sketch import digest, quantiles
from aggd.store.frame import Floats, Timers
from aggd.store.rollup import History
from aggd.store.series import Registry

Answer = dict[str, Any]
Scale = Literal["linear", "log"]

MAX_ORDERED = 1_000_000  # samples that are put in order: 0.1 s and 40 MB
MAX_POINTS = 20_000  # that families are fitted to: 6 ms
PARTS = 16  # points that stand for a centroid: steps of 0.14 % of rank at most


class Points(NamedTuple):
    """Weighted values that stand for a distribution, ascending; both of shape (n,)."""

    value: Floats
    weight: Floats


class Distribution(NamedTuple):
    """The samples of one timer in a window, or what its digest says about them.

    `timers` has one row, or none where there were no samples.
    """

    timers: Timers
    runs: list[Run] | None  # every sample; None where they are no longer known

    @property
    def total(self) -> float:
        """Samples, weighted."""
        return float(self.timers.moments.count.sum())

    def upto(self, x: Floats) -> Floats:
        """Weight of the samples at or under each value, whole where it is estimated.

        Parameters
        ----------
        x : ndarray of float64, shape (k,)
            In the unit of the samples.

        Returns
        -------
        ndarray of float64, shape (k,)
            In [0, total], ascending with `x`.
        """
        m = self.timers.moments
        if not m.count.size:
            return np.zeros(x.size)
        if self.runs is None:
            below = np.round(quantiles.cdf(self.timers.digests, m.low, m.high, x)[0] * self.total)
        else:
            below = np.zeros(x.size)
            for run in self.runs:
                place = run.value.searchsorted(x, "right")
                below += place if run.weight is None else _running(run.weight)[place]
        inside: Floats = np.where(x >= m.high, self.total, np.minimum(below, self.total))
        return inside

    def cdf(self, x: Floats) -> Floats:
        """Share of the samples at or under each value, shape (k,); NaN without samples."""
        with np.errstate(invalid="ignore"):
            share: Floats = self.upto(x) / np.float64(self.total)
        return share

    def error(self, share: Floats) -> Floats:
        """Bound how far each result of `cdf` may be off, shape (k,); 0 where exact."""
        if self.runs is not None:
            return np.zeros(share.size)
        return np.minimum(1.0, quantiles.rank_error(share) + 1 / self.timers.samples)

    def ordered(self) -> "Distribution":
        """The same with its samples in one run, or without them where they are too many."""
        if self.runs is None or len(self.runs) < 2:
            return self
        if sum(run.value.size for run in self.runs) > MAX_ORDERED:
            return self._replace(runs=None)
        value = np.concatenate([run.value for run in self.runs])
        weight = np.concatenate([_weight(run) for run in self.runs])
        every = digest.build(np.zeros(value.size, np.int32), value, weight, 1, None)
        return self._replace(runs=[Run(every.mean, every.weight, self.total)])

    def points(self) -> Points:
        """At most some `MAX_POINTS` points; of an ``ordered`` distribution.

        The distribution function is kept to 0.02 % from samples; from a sketch each
        centroid becomes `PARTS` points along what it says of its samples.
        """
        if self.runs is None:
            return _along(self.timers)
        if not self.runs:
            return Points(np.empty(0), np.empty(0))
        return thinned(Points(self.runs[0].value, _weight(self.runs[0])), MAX_POINTS)


def _weight(run: Run) -> Floats:
    if run.weight is None:
        return np.ones(run.value.size)
    return run.weight.astype(np.float64)  # frames keep narrower ones


def _running(weight: Floats) -> Floats:
    """Sum of the weights before each place and, at the end, of all."""
    return np.cumsum(np.concatenate([np.zeros(1), weight]))


def thinned(points: Points, limit: int) -> Points:
    """Fewer points: neighbours that share one part in `limit` of the weight become their mean."""
    value, weight = points
    if value.size <= limit:
        return points
    until = np.cumsum(weight)
    group = np.floor((until - weight / 2) / until[-1] * limit)
    start = np.flatnonzero(np.diff(group, prepend=-1.0))
    whole = np.add.reduceat(weight, start)
    part = weight / np.repeat(whole, np.diff(start, append=value.size))  # no product overflows
    return Points(np.add.reduceat(value * part, start), whole)


def _along(timers: Timers) -> Points:
    """The centroids of a digest as points along their parabolas, atoms as they are."""
    found, m = timers.digests, timers.moments
    parts = np.where(found.atom, 1, PARTS)
    weight = np.repeat(found.weight / parts, parts)
    until = np.cumsum(weight)
    place = (until - weight / 2 - 0.5) / (until[-1] - 1)
    return Points(quantiles.quantile(found, m.low, m.high, place.clip(0.0, 1.0))[0], weight)


def known(found: Found) -> Distribution:
    """What is known of the timers of a window, for bounded work."""
    timers = found.timers
    if digest.exact(timers.digests).all():
        return Distribution(timers, runs_of([timers], timers.series))
    frames, ids = found.past.fine, found.ids
    few = affordable(frames, ids)
    return Distribution(timers, runs_of((f.timers for f in frames), ids) if few else None)


def about(found: Found, of: Distribution) -> Answer:
    """What an answer is about, where the samples were counted if they are known."""
    return covers(found, of.runs is not None and not digest.exact(found.timers.digests).all())


class Shape(NamedTuple):
    """How a distribution is to be shown."""

    bins: int = 50
    scale: Scale = "linear"
    at: Sequence[float] = ()  # where the distribution function is; at the edges if nowhere
    fit: bool = True


def describe(registry: Registry, history: History, name: str, shape: Shape, scope: Scope) -> Answer:
    """Histogram, distribution function and fitted families of one timer.

    Raises
    ------
    RequestError
        404 where nobody sent the name, 422 where it is no timer, or where a logarithmic
        scale meets samples that are not positive.
    """
    found = timers_of(registry, history, name, scope)
    of = known(found)
    edges = _edges(of, shape)
    x = np.array(shape.at, np.float64) if shape.at else np.unique(edges)
    share = of.cdf(x)
    pairs = zip(x.tolist(), share.tolist(), strict=True)
    return {
        **about(found, of),
        "rank_error": float(of.error(share).max(initial=0.0)),
        "histogram": {
            "scale": shape.scale,
            "edges": edges.tolist(),
            "counts": plain_column(counts(of, edges)),
        },
        "cdf": [{"value": value, "fraction": plain(part)} for value, part in pairs],
        **(_families(of.ordered()) if shape.fit else {}),
    }


def _edges(of: Distribution, shape: Shape) -> Floats:
    """Edges of the bins from the smallest sample to the largest; one bin where they are equal."""
    m = of.timers.moments
    if not m.count.size:
        return np.empty(0)
    low, high = float(m.low[0]), float(m.high[0])
    if shape.scale == "log" and low <= 0:
        message = f"scale=log needs samples over 0, the smallest is {plain(low)}"
        raise RequestError("not_answerable", message, "scale", 422)
    if low == high:
        return np.array([low, high])
    spaced = np.geomspace if shape.scale == "log" else np.linspace
    edges: Floats = spaced(low, high, shape.bins + 1).clip(low, high)
    return edges


def counts(of: Distribution, edges: Floats) -> Floats:
    """Samples in each bin, weighted; a bin has its lower edge, the last one both.

    Parameters
    ----------
    of : Distribution
        Whose samples lie in ``[edges[0], edges[-1]]``.
    edges : ndarray of float64, shape (bins + 1,)
        Ascending; may be empty where there are no samples.

    Returns
    -------
    ndarray of float64, shape (bins,)
        Adding up to all samples.
    """
    if not edges.size:
        return np.empty(0)
    under = of.upto(np.nextafter(edges[1:-1], -np.inf))
    return np.diff(np.concatenate([[0.0], under, [of.total]]))


def _families(of: Distribution) -> Answer:
    fitted, unfitted = fits.fit(*of.points())
    return {
        "from_samples": of.runs is not None,
        "fits": [fit._asdict() for fit in fitted],
        "not_fitted": [one._asdict() for one in unfitted],
    }
