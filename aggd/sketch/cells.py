"""What a digest says about the samples between its centroids.

    rank     0       w0          w0 + w1                 total
             |--------|--------------|--------  ...  ------|
    value   low     edge           edge                   high
                  atom: flat       else: a parabola whose mean is the centroid's

The centroids cut the ranks into cells.  Edges come from the four cells around
them and the parabola is limited so that it never turns, as in the piecewise
parabolic method [1]_: a half to a tenth of the systematic error of straight
lines between centroids.  Read from left to right the cells give the order
statistics, the other way the distribution function.

.. [1] P. Colella, P. R. Woodward, The piecewise parabolic method for
   gas-dynamical simulations, J. Comput. Phys. 54, 1984.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggd.sketch import ragged
from aggd.sketch.ragged import Floats, Index


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of n rows, m in all.

    `offset`, `mean`, `weight` and `atom` are those of the digests, `low` and
    `high` their extremes, shape (n,); `until` is the rank where each cell ends.
    """

    offset: Index
    mean: Floats
    weight: Floats
    atom: NDArray[np.bool_]
    low: Floats
    high: Floats
    until: Floats


def sample(cells: Cells, row: NDArray[np.intp], rank: Floats) -> Floats:
    """Read order statistics.

    Parameters
    ----------
    cells : Cells
        Of n rows.
    row : ndarray of intp, shape (k,)
        Rows to read, none of them empty.
    rank : ndarray of float64, shape (k,)
        Place among the sorted samples: 0 for the smallest, total - 1 for the largest.

    Returns
    -------
    ndarray of float64, shape (k,)
        Ascending with `rank` in every row.
    """
    first, last = cells.offset[row], cells.offset[row + 1] - 1
    at = rank + 0.5  # a sample stands in the middle of the rank it takes up
    cell = ragged.search(cells.until, first, last, at)
    value = cells.mean[cell]
    blurred = np.flatnonzero(~cells.atom[cell])
    if blurred.size:
        i = cell[blurred]
        left, right, bend = _parabola(cells, i, row[blurred])
        weight = cells.weight[i]
        x = np.clip((at[blurred] - (cells.until[i] - weight)) / weight, 0.0, 1.0)
        value[blurred] = np.clip(left + x * (right - left + bend * (1 - x)), left, right)
    value = np.where(rank <= 0, cells.low[row], value)
    top: Floats = np.where(rank >= cells.until[last] - 1, cells.high[row], value)
    return top


def share(cells: Cells, row: NDArray[np.intp], value: Floats) -> Floats:
    """Read the distribution function.

    Parameters
    ----------
    cells : Cells
        Of n rows.
    row : ndarray of intp, shape (k,)
        Rows to read, none of them empty.
    value : ndarray of float64, shape (k,)
        In the unit of the samples.

    Returns
    -------
    ndarray of float64, shape (k,)
        Share of the row's samples that are at most `value`, in [0, 1].
    """
    first, last = cells.offset[row], cells.offset[row + 1] - 1
    total = cells.until[last]
    over = ragged.search(cells.mean, first, last + 1, value)
    below = np.zeros(row.size)
    inner = np.flatnonzero(over > first)
    i = over[inner] - 1
    below[inner] = cells.until[i] - _uncovered(cells, i, row[inner], value[inner])
    inner = np.flatnonzero(over <= last)
    i = over[inner]
    below[inner] += cells.weight[i] - _uncovered(cells, i, row[inner], value[inner])
    lowest = np.minimum(cells.weight[first], 1.0)  # low and high are samples themselves
    highest = total - np.minimum(cells.weight[last], 1.0)
    within = np.clip(below, lowest, np.maximum(lowest, highest)) / total
    found: Floats = np.where(value >= cells.high[row], 1.0, within)
    return np.where(value < cells.low[row], 0.0, found)


def _uncovered(cells: Cells, i: Index, row: NDArray[np.intp], value: Floats) -> Floats:
    """Weight of the samples of cell `i` that are over `value`."""
    weight = cells.weight[i]
    over = np.where(value < cells.mean[i], weight, 0.0)
    blurred = np.flatnonzero(~cells.atom[i])
    if blurred.size:
        left, right, bend = _parabola(cells, i[blurred], row[blurred])
        x = _abscissa(value[blurred] - left, right - left, bend)
        over[blurred] = weight[blurred] * (1 - x)
    return over


def sums(cells: Cells, start: Floats, end: Floats) -> tuple[Floats, Floats]:
    """Add up the samples between two ranks of every row, and their squares.

    Parameters
    ----------
    cells : Cells
        Of n rows.
    start, end : ndarray of float64, shape (n,)
        Ranks as the cells count them: 0 before the smallest sample, the row's total
        behind the largest.  A rank inside a sample takes that part of it.

    Returns
    -------
    tuple of ndarray of float64, shape (n,)
        Sums, and sums of squares; 0 where no sample lies between.

    Notes
    -----
    Only cells between the ranks are added: the difference of two sums from 0 on
    would lose what is left under an outlier that was cut off.
    """
    row = ragged.labels(np.diff(cells.offset))
    begin = np.append(0.0, cells.until[:-1])[: row.size]
    begin[cells.offset[:-1][np.diff(cells.offset) > 0]] = 0.0
    first, last = np.maximum(begin, start[row]), np.minimum(cells.until, end[row])
    inside = np.flatnonzero(first < last)
    first, last, begin, row = first[inside], last[inside], begin[inside], row[inside]
    mean, weight = cells.mean[inside], cells.weight[inside]
    blurred = np.flatnonzero(~cells.atom[inside])
    with np.errstate(over="ignore", invalid="ignore"):  # squares pass 1.8e308 from 1e154 on
        total = (last - first) * mean
        squares = total * mean
        if blurred.size:
            i, w = inside[blurred], weight[blurred]
            left, right, bend = _parabola(cells, i, row[blurred])
            x = (np.stack([first, last])[:, blurred] - begin[blurred]) / w
            tilt, spread = _integrals(right - left, bend, np.minimum(x, 1.0) - 0.5)
            total[blurred] += w * tilt
            squares[blurred] += w * (2 * mean[blurred] * tilt + spread)
    return ragged.sums(row, total, start.size), ragged.sums(row, squares, start.size)


def _integrals(rise: Floats, bend: Floats, x: Floats) -> tuple[Floats, Floats]:
    """Integrate a parabola's distance from its mean, and its square, from x[0] to x[1].

    x runs from -0.5 to 0.5, and the distance is ``rise x + bend (1/12 - x x)``.
    """
    square = x * x
    first = (square - 0.25) * (rise / 2 - bend * x / 3)
    second = rise * rise * square * x / 3
    second += rise * bend * square * (1 / 12 - square / 2)
    second += bend * bend * x * (1 / 144 - square / 18 + square * square / 5)
    return first[1] - first[0], second[1] - second[0]


def _abscissa(height: Floats, rise: Floats, bend: Floats) -> Floats:
    """Solve ``x (rise + bend (1 - x)) = height`` for x in [0, 1]."""
    flat = rise <= 0
    scale = np.where(flat, 1.0, rise)
    with np.errstate(over="ignore"):  # a height of many rises is clipped
        e = np.clip(height / scale, 0.0, 1.0)
    b = 1 + np.clip(bend / scale, -1.0, 1.0)
    root = b + np.sqrt(np.maximum(b * b - 4 * (b - 1) * e, 0.0))
    x = np.divide(2 * e, root, out=np.zeros(e.size), where=root > 0)
    solved: Floats = np.where(flat, height >= 0, np.minimum(x, 1.0))
    return solved


def _parabola(cells: Cells, i: Index, row: NDArray[np.integer]) -> tuple[Floats, Floats, Floats]:
    """Edges and bend of cells: left + x (right - left + bend (1 - x)), x in [0, 1]."""
    first, last = cells.offset[row], cells.offset[row + 1] - 1
    mean = cells.mean[i]
    left, right = cells.low[row], cells.high[row]
    inner = i > first
    left[inner] = _edge(cells, i[inner] - 1, first[inner], last[inner])
    inner = i < last
    right[inner] = _edge(cells, i[inner], first[inner], last[inner])
    left, right = np.minimum(left, mean), np.maximum(right, mean)
    # Colella and Woodward compare products of these, which underflow; rise is never negative.
    rise = right - left
    bend = 6 * (mean - (0.5 * left + 0.5 * right))
    left = np.where(bend > rise, np.clip(3 * mean - 2 * right, left, mean), left)
    right = np.where(bend < -rise, np.clip(3 * mean - 2 * left, mean, right), right)
    return left, right, 6 * (mean - (0.5 * left + 0.5 * right))


def _edge(cells: Cells, i: Index, first: Index, last: Index) -> Floats:
    """Value between cells i and i + 1 of a row that spans cells `first` to `last`."""
    a, b = cells.mean[i], cells.mean[i + 1]
    wide = _breadth(cells, i) + _breadth(cells, i + 1)
    edge = a + (b - a) * (_breadth(cells, i) / wide)
    inner = np.flatnonzero((i > first) & (i + 1 < last))
    if inner.size:
        edge[inner] = _four_point_edge(cells, i[inner])
    return edge


def _breadth(cells: Cells, i: Index) -> Floats:
    """Weight of a cell as the edges see it: an atom is a spike, however much it weighs."""
    breadth: Floats = np.where(cells.atom[i], 1.0, cells.weight[i])
    return breadth


def _four_point_edge(cells: Cells, i: Index) -> Floats:
    """Value between cells i and i + 1 from the cubic through four cumulated cells ([1], 1.6)."""
    m0, m1, m2, m3 = (cells.mean[i + k] for k in (-1, 0, 1, 2))
    breadths = np.stack([_breadth(cells, i + k) for k in (-1, 0, 1, 2)])
    w0, w1, w2, w3 = breadths / breadths.sum(axis=0)  # at most 1: no product overflows
    rise = m2 - m1
    slope1 = _slope(w0, w1, w2, m1 - m0, rise)
    slope2 = _slope(w1, w2, w3, rise, m3 - m2)
    edge = (
        m1
        + w1 / (w1 + w2) * rise
        + 2 * w1 * w2 / (w1 + w2) * ((w0 + w1) / (2 * w1 + w2) - (w3 + w2) / (2 * w2 + w1)) * rise
        - w1 * (w0 + w1) / (2 * w1 + w2) * slope2
        + w2 * (w2 + w3) / (w1 + 2 * w2) * slope1
    )
    inside: Floats = np.clip(edge, m1, m2)
    return inside


def _slope(before: Floats, here: Floats, after: Floats, down: Floats, up: Floats) -> Floats:
    """Rise within a cell, at most twice the step to its nearer neighbour ([1], 1.7 and 1.8)."""
    with np.errstate(over="ignore"):  # an infinite rise is limited like any other
        rise = (2 * before + here) / (after + here) * up
        rise += (here + 2 * after) / (before + here) * down
        rise *= here / (before + here + after)
    limited: Floats = np.minimum(rise, 2 * np.minimum(up, down))
    return limited
