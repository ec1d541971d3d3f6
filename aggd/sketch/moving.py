"""Summaries of windows that move over slots.

    slot     0   1   2   3   4   5   6
    width 3  [-------]
    stride 2         [-------]
                             [-------]

What merges is merged, never taken off again: windows of 2, 4, 8 slots come from
two of half their size, and any width from those that add up to it.  One sample of
1e12 then spoils no window but those that hold it, as it would a running sum.

Quantiles and different members move over ranks instead (`sliding`): the values
are ordered once, and windows add and remove how often each occurs.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aggd.sketch import distinct, moments
from aggd.sketch.digest import Digests
from aggd.sketch.distinct import Members
from aggd.sketch.moments import Moments
from aggd.sketch.quantiles import fractions, never_falling
from aggd.sketch.ragged import Floats, Index, Rows

try:
    from aggd.sketch import sliding as kernel
except ImportError:  # installed where there was no C compiler
    from aggd.sketch import spans as kernel  # type: ignore[no-redef]

Columns = TypeVar("Columns", bound=tuple[Any, ...])

UNITS = 61  # bits that all weights together take up, as integers


def windows(slots: int, width: int, stride: int) -> int:
    """Count the windows that fit.

    Parameters
    ----------
    slots : int
        Number of slots.
    width, stride : int
        Slots of a window, and from one window to the next; positive.

    Returns
    -------
    int
        Window i holds the slots ``[i * stride, i * stride + width)``.
    """
    return max(0, (slots - width) // stride + 1)


def merge(
    columns: Columns, width: int, stride: int, merged: Callable[[Columns, Columns], Columns]
) -> Columns:
    """Merge the slots of every window.

    Parameters
    ----------
    columns : tuple of ndarray, shape (n, slots)
        Slots of n series, as many as a window has or more.
    width, stride : int
        Slots of a window, and from one window to the next.
    merged : callable
        Two such tuples of one shape, the earlier one first, to one.

    Returns
    -------
    tuple of ndarray, shape (n, windows)
        Of the type of `columns`.

    Notes
    -----
    At most ``2 log2(width)`` merges, each of all series and slots at once.
    """
    count = windows(columns[0].shape[1], width, stride)

    found: list[Columns] = []
    done, size, wide = 0, 1, columns  # `wide` are windows of `size` slots
    while True:
        if width & size:
            found = [reduce(merged, [*found, _every(stride, count, done, wide)])]
            done += size
        if done == width:
            return found[0]
        fits = wide[0].shape[1] - size
        wide, size = merged(_every(1, fits, 0, wide), _every(1, fits, size, wide)), size * 2


def _every(step: int, count: int, first: int, columns: Columns) -> Columns:
    """Some slots of all columns: `count` of them, `step` apart."""
    slots = slice(first, first + step * (count - 1) + 1, step)
    picked = [column[:, slots] for column in columns]
    return cast(Columns, getattr(columns, "_make", tuple)(picked))


def merge_moments(slots: Moments, width: int, stride: int) -> Moments:
    """Merge the moments of every window, by Chan's formula.

    Parameters
    ----------
    slots : Moments
        Of shape (n, slots); slots may be empty.
    width, stride : int
        Slots of a window, and from one window to the next.

    Returns
    -------
    Moments
        Of shape (n, windows).
    """
    return merge(slots, width, stride, _pairs)


def _pairs(first: Moments, second: Moments) -> Moments:
    shape = first.count.shape
    row = np.tile(np.arange(first.count.size), 2)
    both = Moments(
        *(np.concatenate([a.ravel(), b.ravel()]) for a, b in zip(first, second, strict=True))
    )
    return Moments(*(c.reshape(shape) for c in moments.merge(row, both, first.count.size)))


def add(slots: Floats, width: int, stride: int) -> Floats:
    """Add up the slots of every window.

    Parameters
    ----------
    slots : ndarray of float64, shape (n, slots)
        What to add.
    width, stride : int
        Slots of a window, and from one window to the next.

    Returns
    -------
    ndarray of float64, shape (n, windows)
        Sums.
    """
    (total,) = merge((slots,), width, stride, lambda a, b: (a[0] + b[0],))
    return total


def quantiles(
    digests: Digests,
    slot: Rows,
    slots: int,
    extremes: tuple[Floats, Floats],
    width: int,
    stride: int,
    q: ArrayLike,
) -> Floats:
    """Estimate the quantiles of every window.

    Parameters
    ----------
    digests : Digests
        Of m rows.
    slot : ndarray of int32, shape (m,)
        Slot of each digest, ascending; several may share one.
    slots : int
        Number of slots.
    extremes : tuple of ndarray of float64, shape (windows,)
        Smallest and largest sample of each window.
    width, stride : int
        Slots of a window, and from one window to the next.
    q : array_like of float64, shape (k,)
        In [0, 1].

    Returns
    -------
    ndarray of float64, shape (windows, k)
        In the unit of the samples, never falling as `q` rises; NaN for empty windows.

    Raises
    ------
    ValueError
        If a `q` is outside [0, 1].

    Notes
    -----
    Where all centroids are atoms these are `numpy.percentile` of the samples.  Else
    `quantiles.rank_error` bounds them: reading a value, each digest is off by the bin
    that holds it, so the window by ``sum(n_i w(q_i)) / n``, and as `scale.width` is
    concave that is at most ``w(q)`` (Jensen), however unlike the slots are.

    One sort of all centroids, then some 15 ns a centroid and 300 ns a window and quantile.
    """
    q = fractions(q)
    order = kernel.order(digests.mean)
    weight, scale = units(digests.weight)
    answers = kernel.quantiles(
        _starts(digests.offset, slot, slots),
        order,
        _places(order),
        digests.mean,
        weight,
        digests.atom,
        scale,
        *extremes,
        width,
        stride,
        q,
    )
    never_falling(answers, q)
    return answers


def units(weight: Floats) -> tuple[Index, float]:
    """Make integers of weights: what was added can be taken off again without a trace.

    Parameters
    ----------
    weight : ndarray of float64, shape (n,)
        Positive and finite.

    Returns
    -------
    units : ndarray of int64, shape (n,)
        At least 1 each; their sum is below 2**62.
    scale : float
        Units that make a weight of 1, a power of two.

    Notes
    -----
    Whole weights stay whole.  Any other is rounded by half a unit: together by less
    than ``n / 2**61`` of all weight, 1e-11 of ten million centroids.
    """
    exponent = UNITS - int(np.frexp(weight.sum(dtype=np.float64))[1])
    found = np.rint(np.ldexp(weight.astype(np.float64, copy=False), exponent))
    return np.maximum(found, 1).astype(np.int64), float(np.ldexp(1.0, exponent))


def _starts(offset: Index, slot: Rows, slots: int) -> Index:
    """Where the points of each slot start, for rows that ascend by slot."""
    return offset[slot.searchsorted(np.arange(slots + 1))].astype(np.int64)


def _places(order: Index) -> Rows:
    """The inverse of a permutation."""
    place = np.empty(order.size, np.int32)
    place[order] = np.arange(order.size, dtype=np.int32)
    return place


def different(
    members: Members, slot: Rows, slots: int, width: int, stride: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Count the different members of every window.

    Parameters
    ----------
    members : Members
        Of m sets.
    slot : ndarray of int32, shape (m,)
        Slot of each set, ascending; several may share one.
    slots : int
        Number of slots.
    width, stride : int
        Slots of a window, and from one window to the next.

    Returns
    -------
    count : ndarray of float64, shape (windows,)
        As `distinct.estimate` of the union.
    exact : ndarray of bool, shape (windows,)
        False where it is an estimate.
    """
    hashes, place = np.unique(members.member, return_inverse=True)
    starts = _starts(members.offset, slot, slots)
    count, kth = kernel.smallest(
        starts,
        place.astype(np.int32),
        hashes.size,
        width,
        stride,
        windows(slots, width, stride),
        distinct.K,
    )
    full = kth >= 0
    found = count.astype(np.float64)
    found[full] = distinct.density(hashes[kth[full]])
    return found, ~full
