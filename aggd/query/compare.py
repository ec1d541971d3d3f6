"""Two windows of one name side by side, and whether they differ.

Timers are compared by the two-sample test of Kolmogorov and Smirnov: the largest
distance between both distribution functions, against what chance makes of samples
as many as these.  Where a function comes from a sketch, what the sketch may be off
by is added to that, so a sketch alone never makes two windows differ.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from aggd.query import answer
from aggd.query.distribution import Distribution, known
from aggd.query.scope import Found, Scope, Window, timers_of
from aggd.query.selection import plain
from aggd.store.frame import Floats
from aggd.store.rollup import History
from aggd.store.series import Kind, Registry
from aggd.units import HOUR

Answer = dict[str, Any]

LENGTH = HOUR  # of a window whose start isn't given
HEAD = ("name", "kind", "tags", "from", "to", "resolution", "exact", "rank_error")


class Sides(NamedTuple):
    """How the windows are compared."""

    offset: float  # seconds from the earlier window to the later
    percentiles: Sequence[float] = ()
    alpha: float = 0.01  # how often the test may call windows of one kind different


def compare(registry: Registry, history: History, name: str, sides: Sides, scope: Scope) -> Answer:
    """Statistics of a window and of one before it, their change, and a test for timers.

    Windows that overlap have samples in common, which makes the test more cautious.

    Raises
    ------
    RequestError
        404 where nobody sent the name, 422 where the kind has no percentiles.
    """
    end = scope.now if scope.window.end is None else scope.window.end
    start = max(0.0, end - LENGTH) if scope.window.start is None else scope.window.start
    now = scope._replace(window=Window(start, end))
    shifted = Window(max(0.0, start - sides.offset), max(0.0, end - sides.offset))
    then = scope._replace(window=shifted)
    current, before = (
        answer.stats(registry, history, name, sides.percentiles, one) for one in (now, then)
    )
    test = None
    if current["kind"] == Kind.TIMER.word:
        found = [timers_of(registry, history, name, one) for one in (now, then)]
        test = two_sample(found[0], found[1], sides.alpha)
    return {
        **{key: current[key] for key in ("name", "kind", "tags")},
        "current": current,
        "before": before,
        "change": {key: change(current[key], before[key]) for key in current if key not in HEAD},
        "test": test,
    }


def change(current: float | None, before: float | None) -> dict[str, float | None]:
    """How much a statistic changed; relative to what it was, None where that was 0."""
    if current is None or before is None:
        return {"absolute": None, "relative": None}
    rise = current - before
    return {
        "absolute": plain(float(rise)),
        "relative": plain(rise / abs(before)) if before else None,
    }


def two_sample(current: Found, before: Found, alpha: float) -> Answer | None:
    """Test whether the samples of two windows have one distribution.

    Parameters
    ----------
    current, before : Found
        Timers of the windows.
    alpha : float
        In (0, 1): how often windows of one distribution may be found to differ.

    Returns
    -------
    dict or None
        None where one of the windows has no samples.

    Notes
    -----
    The distance is looked for at every sample up to 20,000 a window, beyond at points
    0.02 % of rank apart, and in a sketch 0.14 %: it may come out too small by that, never
    too large.  The level is that of the limiting distribution with Stephens' correction
    for few samples [1]_.

    References
    ----------
    .. [1] M. A. Stephens, Use of the Kolmogorov-Smirnov, Cramer-von Mises and related
       statistics without extensive tables, J. R. Stat. Soc. B 32, 1970.
    """
    from scipy.special import kolmogi, kolmogorov

    now, then = (known(found).ordered() for found in (current, before))
    if not now.total or not then.total:
        return None
    sizes = effective_samples(current), effective_samples(before)
    root = np.sqrt(sizes[0] * sizes[1] / sum(sizes))
    factor = root + 0.12 + 0.11 / root
    off, error = distance(now, then)
    apart = abs(off)
    critical = kolmogi(alpha) / factor + error
    return {
        "method": "kolmogorov-smirnov",
        "alpha": alpha,
        "distance": apart,
        "critical_value": min(1.0, float(critical)),
        "p_value": float(kolmogorov(factor * max(0.0, apart - error))),
        "effective_samples": [plain(size) for size in sizes],
        "exact": now.runs is not None and then.runs is not None,
        "differs": bool(apart > critical),
        "direction": ("lower" if off > 0 else "higher") if apart > critical else None,
    }


def distance(one: Distribution, other: Distribution) -> tuple[float, float]:
    """Largest distance between two distribution functions, and how far it may be off.

    Parameters
    ----------
    one, other : Distribution
        Ordered, with samples.

    Returns
    -------
    off : float
        In [-1, 1], over 0 where more of `one` than of `other` is at or under the value.
    error : float
        Bound of what the sketches may contribute to it; 0 where both are exact.
    """
    x = np.unique(np.concatenate([one.points().value, other.points().value]))
    shares: tuple[Floats, Floats] = one.cdf(x), other.cdf(x)
    off = shares[0] - shares[1]
    at = np.abs(off).argmax()
    here = slice(at, at + 1)
    error = one.error(shares[0][here]) + other.error(shares[1][here])
    return float(off[at]), float(error[0])


def effective_samples(found: Found) -> float:
    """Samples of equal weight that would say as much as these, after Kish [1]_.

    That is ``(sum w)^2 / sum w^2``.  Frames keep no weights but their sum W and their
    number m, of each series, and ``sum w^2 >= W^2 / m`` by Cauchy and Schwarz, with
    equality where a series used one sample rate within a frame, as clients do.  So

        n = (sum W)^2 / sum (W^2 / m)

    over the rows of all frames is right for rates that change between series and from
    frame to frame, and too large only where they change within a row.  Without sample
    rates it is the number of samples.

    References
    ----------
    .. [1] L. Kish, Survey Sampling, 1965.
    """
    ids = found.ids
    total = squares = 0.0
    for frame in found.past.frames:
        timers = frame.timers
        rows = timers.series.searchsorted(ids)
        inside = rows < timers.series.size
        rows = rows[inside][timers.series[rows[inside]] == ids[inside]]
        weight = timers.moments.count[rows].astype(np.float64)
        total += float(weight.sum())
        squares += float((weight * weight / timers.samples[rows]).sum())
    return total * total / squares
