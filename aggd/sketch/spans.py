"""Moving windows over ranks, in numpy: the readable twin of `sliding`.

    slot      0        1     2                window i holds the slots
    start  0        3     5     8             [i * stride, i * stride + width)
    place  4  0  6  1  5  2  3  7             of every point, by value

Units are weights as integers: see `moving.units`.
"""

import numpy as np
from numpy.typing import NDArray

from aggd.sketch.ragged import Floats, Index, Rows

Bools = NDArray[np.bool_]
Counts = tuple[Index, Index]


def order(value: Floats) -> Index:
    """Order values, equal ones as they came.

    Parameters
    ----------
    value : ndarray of float64, shape (n,)
        Finite.

    Returns
    -------
    ndarray of int64, shape (n,)
        The permutation.
    """
    found: Index = np.argsort(value, kind="stable")
    return found


def quantiles(
    start: Index,
    order: Index,
    place: Rows,
    mean: Floats,
    units: Index,
    atom: Bools,
    scale: float,
    low: Floats,
    high: Floats,
    width: int,
    stride: int,
    q: Floats,
) -> Floats:
    """Read the quantiles of every window.

    Parameters
    ----------
    start : ndarray of int64, shape (slots + 1,)
        The points of each slot in `place`.
    order : ndarray of int64, shape (n,)
        The points by their means, ascending.
    place : ndarray of int32, shape (n,)
        Place of each point in `order`.
    mean : ndarray of float64, shape (n,)
        The points, slot after slot.
    units : ndarray of int64, shape (n,)
        Their weights, each at least 1; the sum is below 2**62.
    atom : ndarray of bool, shape (n,)
        Whose samples are all equal.
    scale : float
        Units that make a weight of 1.
    low, high : ndarray of float64, shape (windows,)
        Smallest and largest sample of each window.
    width, stride : int
        Slots of a window, and from one window to the next.
    q : ndarray of float64, shape (k,)
        In [0, 1].

    Returns
    -------
    ndarray of float64, shape (windows, k)
        NaN where a window is empty.

    Notes
    -----
    As in `quantiles.quantile`, order statistics stand in the middle of the rank they
    take up and are flat over atoms.  Inside any other centroid they rise linearly
    between the middles to its neighbours in the window.
    """
    answers = np.full((low.size, q.size), np.nan)
    for i in range(low.size):
        here = order[np.sort(place[start[i * stride] : start[i * stride + width]])]
        if here.size and q.size:
            edges = _edges(mean[here], low[i], high[i])
            until = np.cumsum(units[here])
            answers[i] = _read(mean[here], atom[here], until, edges, scale, q)
    return answers


def _edges(mean: Floats, low: float, high: float) -> Floats:
    """Where centroids end if they are no atoms: between neighbours, and at the extremes."""
    middle = mean[:-1] / 2 + mean[1:] / 2
    return np.concatenate([[low], np.clip(middle, low, high), [high]])


def _read(
    mean: Floats, atom: Bools, until: Index, edges: Floats, scale: float, q: Floats
) -> Floats:
    """Quantiles of one window."""
    last = max(float(until[-1]) / scale - 1, 0.0)
    rank = last * q
    below = np.floor(rank)
    step = np.minimum(last - below, 1.0)
    part = np.divide(rank - below, step, out=np.zeros(q.size), where=step > 0)

    def sample(rank: Floats) -> Floats:
        at = (rank + 0.5) * scale
        i = np.minimum(until.searchsorted(at.astype(np.int64), "right"), until.size - 1)
        weight = np.diff(until, prepend=0)[i]
        x = np.clip((at - (until[i] - weight)) / weight, 0.0, 1.0)
        found = np.where(atom[i], mean[i], edges[i] + x * (edges[i + 1] - edges[i]))
        return np.where(rank <= 0, edges[0], np.where(rank >= last, edges[-1], found))

    left = sample(below)
    right = np.where(part > 0, sample(below + step), left)
    rise = right - left
    mixed: Floats = np.where(part < 0.5, left + rise * part, right - rise * (1 - part))
    return mixed


def smallest(
    start: Index, place: Rows, places: int, width: int, stride: int, windows: int, k: int
) -> Counts:
    """Count the different places of every window, and find the k-th of them.

    Parameters
    ----------
    start : ndarray of int64, shape (slots + 1,)
        The points of each slot in `place`.
    place : ndarray of int32, shape (n,)
        Place of each point, repeats allowed.
    places : int
        Number of places.
    width, stride : int
        Slots of a window, and from one window to the next.
    windows : int
        Number of windows.
    k : int
        At least 1.

    Returns
    -------
    count : ndarray of int64, shape (windows,)
        Different places.
    kth : ndarray of int64, shape (windows,)
        The k-th smallest of them, -1 where there are fewer.
    """
    count, kth = np.zeros(windows, np.int64), np.full(windows, -1, np.int64)
    for i in range(windows):
        here = np.unique(place[start[i * stride] : start[i * stride + width]])
        count[i] = here.size
        if here.size >= k:
            kth[i] = here[k - 1]
    return count, kth
