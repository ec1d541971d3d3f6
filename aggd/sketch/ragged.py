"""Rows of different length in one array, behind an array of offsets.

    offset  0        3     5  5              9       row i is value[offset[i]:offset[i + 1]]
    value   a  b  c  d  e     f  g  h  i             row 2 is empty

There is no object per row: a million rows of six points are four arrays.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
Rows = NDArray[np.int32]

LONG = 64  # from this length on, a call of numpy for the row alone is the cheaper one


def offsets(length: NDArray[np.integer | np.bool_]) -> Index:
    """Place rows one behind the other.

    Parameters
    ----------
    length : ndarray of integers, shape (n,)
        Length of every row.

    Returns
    -------
    ndarray of int64, shape (n + 1,)
        Where every row starts, and where the last one ends.
    """
    offset = np.zeros(length.size + 1, np.int64)
    np.cumsum(length, out=offset[1:])
    return offset


def expand(start: NDArray[np.integer], length: NDArray[np.integer]) -> NDArray[np.intp]:
    """List the places of many ranges, one range after the other.

    Parameters
    ----------
    start, length : ndarray of integers, shape (n,)
        The ranges; they may be empty, overlap, and stand in any order.

    Returns
    -------
    ndarray of intp, shape (m,)
        All places; ``m`` is the sum of `length`.
    """
    offset = offsets(length)
    place = np.arange(offset[-1], dtype=np.intp)
    place += np.repeat(start - offset[:-1], length)
    return place


def labels(length: NDArray[np.integer]) -> Rows:
    """Name the row of every point.

    Parameters
    ----------
    length : ndarray of integers, shape (n,)
        Length of every row.

    Returns
    -------
    ndarray of int32, shape (m,)
        Row of every point, ascending.
    """
    return np.repeat(np.arange(length.size, dtype=np.int32), length)


def order(row: Rows, value: NDArray[np.generic]) -> NDArray[np.intp]:
    """Order points by row, then by value; equal points keep their order.

    Parameters
    ----------
    row : ndarray of int32, shape (n,)
        Row of every point, not negative.
    value : ndarray, shape (n,)
        What to order by inside a row.

    Returns
    -------
    ndarray of intp, shape (n,)
        The permutation.

    Notes
    -----
    Rows are sorted 16 bits at a time because numpy has a radix sort for those:
    a quarter of the time of `np.lexsort`.
    """
    place = np.argsort(value, kind="stable")
    if not row.size:
        return place
    place = place[np.argsort(row[place].astype(np.uint16), kind="stable")]
    if row.max() > 0xFFFF:
        place = place[np.argsort((row[place] >> 16).astype(np.uint16), kind="stable")]
    return place


def sums(row: NDArray[np.integer], value: Floats, rows: int) -> Floats:
    """Add up by row.

    Parameters
    ----------
    row : ndarray of integers, shape (n,)
        Row of each value in [0, rows), in any order.
    value : ndarray of float64, shape (n,)
        What to add.
    rows : int
        Number of rows.

    Returns
    -------
    ndarray of float64, shape (rows,)
        Added in the order of the values; 0 for empty rows.
    """
    total = np.bincount(row, weights=value, minlength=rows)
    return total.astype(np.float64, copy=False)  # integers where there is no value at all


def running(value: Floats, offset: Index) -> Floats:
    """Add up inside every row.

    One running sum over all rows would round a small row by the size of the
    rows before it, so each row starts anew.

    Parameters
    ----------
    value : ndarray of float64, shape (m,)
        What to add.
    offset : ndarray of int64, shape (n + 1,)
        The rows.

    Returns
    -------
    ndarray of float64, shape (m,)
        Sum of the row up to and with each place, added from left to right.
    """
    total = value.copy()
    length = np.diff(offset)
    for i in np.flatnonzero(length >= LONG).tolist():
        cut = slice(offset[i], offset[i + 1])
        value[cut].cumsum(out=total[cut])
    short = length < LONG
    start, length = offset[:-1][short], length[short]
    for k in range(1, LONG):
        start = start[length > k]
        length = length[length > k]
        if not start.size:
            break
        total[start + k] += total[start + (k - 1)]
    return total


def search(value: Floats, first: Index, last: Index, target: Floats) -> Index:
    """Find, in ascending ranges, the first place with a value over the target.

    Parameters
    ----------
    value : ndarray of float64, shape (m,)
        Ascending inside every range asked for.
    first, last : ndarray of int64, shape (k,)
        Where each range starts and ends.
    target : ndarray of float64, shape (k,)
        What to look for.

    Returns
    -------
    ndarray of int64, shape (k,)
        `last` where no value of the range is over the target.

    Notes
    -----
    Halves all ranges at once: O(log of the longest) passes over the targets.
    """
    first, last = first.copy(), last.copy()
    for _ in range(int((last - first).max(initial=0)).bit_length()):
        open_ = first < last
        middle = np.where(open_, (first + last) // 2, 0)
        over = value[middle] > target
        last = np.where(open_ & over, middle, last)
        first = np.where(open_ & ~over, middle + 1, first)
    return first
