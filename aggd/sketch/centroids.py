"""Points to centroids, in numpy: the readable twin of `compact`.

    row    1   0   1   1   0                  as they came
    value  3.  5.  3.  1.  4.
             arrange
    row    0: 4. 5.     1: 1. 3.              by row, by value, equal ones together
    weight    1  1         1  2
             compress
    row    0: 4. 5.     1: 1. 3.              up to `size` stay as they are, else bins of ranks

An *atom* is a centroid whose samples are all equal.  Only atoms collapse: two
equal means of different samples say nothing about those samples.  (A weight of
1 can't tell: with sample rates, atoms weigh more.)
"""

import numpy as np
from numpy.typing import NDArray

from aggd.sketch import moments, ragged, scale
from aggd.sketch.ragged import Floats, Index, Rows

Bools = NDArray[np.bool_]
Columns = tuple[Index, Floats, Floats, Bools]  # offset, mean, weight, atom


def arrange(
    row: Rows, value: Floats, weight: Floats | None, atom: Bools | None, rows: int
) -> Columns:
    """Sort points by row and value, and collapse runs of equal atoms.

    Parameters
    ----------
    row : ndarray of int32, shape (n,)
        Row of each point, in any order.
    value : ndarray of float64, shape (n,)
        Samples or means, finite.
    weight : ndarray of float64, shape (n,), or None
        Positive and finite; None for all 1.
    atom : ndarray of bool, shape (n,), or None
        None for all True.
    rows : int
        Number of rows; they may be empty.

    Returns
    -------
    offset : ndarray of int64, shape (rows + 1,)
        The rows of the other columns.
    mean, weight : ndarray of float64, shape (m,)
        Means ascending in each row, and what they weigh.
    atom : ndarray of bool, shape (m,)
        Which are atoms.

    Raises
    ------
    ValueError
        If a row is outside [0, rows).
    """
    if row.size and not (row.min() >= 0 and row.max() < rows):
        raise ValueError(f"rows must be in [0, {rows}), got {row.min()} to {row.max()}")
    place = ragged.order(row, value)
    row, value = row[place], value[place]
    value += 0.0  # -0.0 becomes 0.0
    weight = np.ones(value.size) if weight is None else weight[place]
    atom = np.ones(value.size, np.bool_) if atom is None else atom[place]
    new = np.ones(value.size, np.bool_)
    new[1:] = (row[1:] != row[:-1]) | (value[1:] != value[:-1]) | ~(atom[1:] & atom[:-1])
    start = np.flatnonzero(new)
    if start.size < value.size:
        weight = ragged.sums(np.cumsum(new) - 1, weight, start.size)
        row, value, atom = row[start], value[start], atom[start]
    return ragged.offsets(np.bincount(row, minlength=rows)), value, weight, atom


def compress(offset: Index, mean: Floats, weight: Floats, atom: Bools, size: int) -> Columns:
    """Leave every row with at most `size` centroids.

    Parameters
    ----------
    offset, mean, weight, atom : ndarray
        As `arrange` returns them.
    size : int
        Centroids a row may have.

    Returns
    -------
    tuple of ndarray
        The same columns; rows of up to `size` centroids are as they were.

    Notes
    -----
    Sums run from left to right, as in `compact`, so that both give the same
    weights.  A mean is added up from the distances to the smallest point of its
    bin: exact where the bin is narrow, and no sum passes 1.8e308.
    """
    length = np.diff(offset)
    large = np.flatnonzero(length > size)
    if not large.size:
        return offset, mean, weight, atom
    first = _bin_starts(offset, weight, large, size)
    start = np.flatnonzero(first)
    group = np.cumsum(first) - 1
    end = np.append(start[1:], mean.size) - 1
    total = ragged.sums(group, weight, start.size)
    low, high = mean[start], mean[end]
    distance = (mean - low[group]) * (weight / total[group])
    centre = np.minimum(low + ragged.sums(group, distance, start.size), high)
    pure = (low == high) & np.logical_and.reduceat(atom, start)
    return np.searchsorted(start, offset).astype(np.int64), centre, total, pure


def _bin_starts(offset: Index, weight: Floats, large: NDArray[np.intp], size: int) -> Bools:
    """Mark the first point of every bin; in all but the `large` rows each point is one."""
    start, length = offset[large], np.diff(offset)[large]
    place = ragged.expand(start, length)
    inner = ragged.offsets(length)
    below = ragged.running(weight[place], inner)
    total = np.repeat(below[inner[1:] - 1], length)
    found = scale.bins((below - 0.5 * weight[place]) / total, size)
    first = np.ones(weight.size, np.bool_)
    first[place[1:]] = found[1:] != found[:-1]
    first[start] = True
    return first


def describe(offset: Index, value: Floats, weight: Floats) -> tuple[Floats, ...]:
    """Take the moments of arranged samples.

    Parameters
    ----------
    offset : ndarray of int64, shape (n + 1,)
        The rows.
    value, weight : ndarray of float64, shape (m,)
        Samples, ascending in each row, and their weights.

    Returns
    -------
    tuple of ndarray of float64, shape (n,)
        The columns of `Moments`.
    """
    length = np.diff(offset)
    return moments.of(ragged.labels(length), value, weight, length.size)
