"""How far each bucket is from those before it: robust scores.

    buckets   5  6  5  .  7  6  90        median 6 of those before, MAD 1:
                                  ^       (90 - 6) / (1.4826 x 1) = 56.7

Median and MAD, the median distance from it, give way only when half of the buckets
before are odd themselves [1]_; 1.4826 makes the MAD of normal samples their
standard deviation.  A bucket never judges itself, and none after it does.

.. [1] B. Iglewicz, D. Hoaglin, How to detect and handle outliers, 1993.
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from aggd.errors import RequestError
from aggd.query.aggregate import Buckets, Starts
from aggd.sketch.ragged import Floats
from aggd.units import format_duration

INTERVALS = 60  # that are looked back at, where nobody says
LEAST = 5  # buckets with data that a score needs
MAX_COMPARED = 20_000_000  # buckets times those before them: a second
AT_ONCE = 1_000_000  # of these at a time: 8 MB
NORMAL_MAD = 1.4826
NORMAL_MEAN = 1.2533  # of absolute distances, sqrt(pi / 2)


class Trail(NamedTuple):
    """What a bucket is judged by, in seconds."""

    interval: int
    window: int  # before the bucket

    @property
    def buckets(self) -> int:
        """As many at most."""
        return self.window // self.interval


def trail(interval: int, window: float | None) -> Trail:
    """The trailing window that was asked for, `INTERVALS` long without one."""
    if window is None:
        return Trail(interval, INTERVALS * interval)
    if window % interval or window < LEAST * interval:
        message = (
            f"anomaly_window must be a multiple of the interval, {format_duration(interval)}, "
            f"and at least {LEAST} of them, got {format_duration(window)}"
        )
        raise RequestError("bad_anomaly_window", message, "anomaly_window")
    return Trail(interval, int(window))


def scored(every: list[Buckets], name: str, trail: Trail, *, zeros: bool) -> list[Buckets]:
    """Add the column ``anomaly`` to the buckets of every group.

    Parameters
    ----------
    every : list of Buckets
        One a group.
    name : str
        The statistic that is judged.
    trail : Trail
        Which buckets judge.
    zeros : bool
        Whether buckets without samples count, as what stands in them.
    """
    total = sum(of.start.size * min(trail.buckets, of.start.size) for of in every)
    if total > MAX_COMPARED:
        raise RequestError(
            "bad_anomaly_window",
            f"anomaly_window compares {total} buckets, up to {MAX_COMPARED}; ask for a shorter "
            "one, a longer interval or a shorter range",
            "anomaly_window",
            422,
        )
    out = []
    for of in every:
        known = zeros | (of.columns["count"] > 0)
        value = np.where(known, of.columns[name], np.nan)
        found = scores(of.start, value, trail)
        out.append(of._replace(columns={**of.columns, "anomaly": found}))
    return out


def scores(start: Starts, value: Floats, trail: Trail) -> Floats:
    """Robust z-scores of buckets against those before them.

    Parameters
    ----------
    start : ndarray of int64, shape (n,)
        Start of each bucket in seconds, ascending.
    value : ndarray of float64, shape (n,)
        One statistic; NaN or infinite where there is none.
    trail : Trail
        Buckets that start in ``[start - window, start)`` judge.

    Returns
    -------
    ndarray of float64, shape (n,)
        ``(x - median) / (1.4826 MAD)``; NaN without `x` or with fewer than `LEAST`
        buckets before it.  Where the MAD is 0, as more than half of them are equal, NaN
        for one like those, and for any other the distance in mean absolute distances,
        its own among them: finite whatever came before, at most (k + 1) / 1.2533.

    Notes
    -----
    O(n k log k) for k buckets of a window, a million at a time.
    """
    k = max(1, min(trail.buckets, start.size))  # no bucket has more before it
    times = sliding_window_view(np.concatenate([np.full(k, -(1 << 62)), start]), k)
    values = sliding_window_view(np.concatenate([np.full(k, np.nan), value]), k)
    out = np.full(value.size, np.nan)
    chunk = max(1, AT_ONCE // k)
    for first in range(0, value.size, chunk):
        rows = slice(first, min(first + chunk, value.size))
        recent = times[rows] >= start[rows, None] - trail.window
        before = np.where(recent & np.isfinite(values[rows]), values[rows], np.nan)
        out[rows] = _scores(before, np.where(np.isfinite(value[rows]), value[rows], np.nan))
    return out


def _scores(before: Floats, value: Floats) -> Floats:
    """Scores of values against the rows of `before`, in which NaN is nothing."""
    count = (~np.isnan(before)).sum(axis=1)
    middle = _medians(before, count)
    distance = np.abs(before - middle[:, None])
    rise = value - middle
    mean = (np.nansum(distance, axis=1) + np.abs(rise)) / (count + 1)
    mad = _medians(distance, count)
    spread = np.where(mad > 0, NORMAL_MAD * mad, NORMAL_MEAN * mean)
    spread[(count < LEAST) | (spread == 0)] = np.nan
    with np.errstate(over="ignore"):
        found: Floats = rise / spread
    return found


def _medians(rows: Floats, count: NDArray[np.intp]) -> Floats:
    """Median of the `count` numbers of each row; NaN where there is none."""
    ordered = np.sort(rows, axis=1)  # NaN at the end
    each = np.arange(count.size)
    low, high = ordered[each, np.maximum(count - 1, 0) // 2], ordered[each, count // 2]
    median: Floats = low / 2 + high / 2
    return median
