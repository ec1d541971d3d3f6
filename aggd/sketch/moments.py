"""Count, mean, spread and extremes, for many series at once, and merged.

Spread is kept as M2, the sum of squared distances from the mean: sums of
squares lose all digits at 1e9 + N(0, 1).  Every mean is added up from distances
to one of its own samples, for the same reason.

Squares of distances over 1e154 pass the largest float64: M2 is then infinite
(so the standard deviation is, and answers say null), the rest stays right.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggd.sketch.ragged import Floats, sums


class Moments(NamedTuple):
    """Moments of n series; all columns have shape (n,).

    Where `count` is 0, `mean`, `low` and `high` are NaN and `m2` is 0.
    """

    count: Floats  # type: ignore[assignment]  # tuple.count is never asked for; sum of weights
    mean: Floats
    m2: Floats
    low: Floats
    high: Floats


def of(row: NDArray[np.integer], value: Floats, weight: Floats | None, rows: int) -> Moments:
    """Take the moments of samples.

    Parameters
    ----------
    row : ndarray of integers, shape (n,)
        Row of each sample in [0, rows), in any order.
    value : ndarray of float64, shape (n,)
        Samples, finite, within 1e300.
    weight : ndarray of float64, shape (n,), or None
        Positive; None for all 1.
    rows : int
        Number of rows; they may be empty.

    Returns
    -------
    Moments
        Of `rows` rows.

    Notes
    -----
    Two passes, the mean first.
    """
    if weight is None:
        weight = np.ones(value.size)
    parts = Moments(weight, value, np.zeros(value.size), value, value)
    return merge(row, parts, rows)


def merge(row: NDArray[np.integer], moments: Moments, rows: int) -> Moments:
    """Merge moments by label, any number in one shot.

    Parameters
    ----------
    row : ndarray of integers, shape (m,)
        Label of each row of `moments` in [0, rows), in any order.
    moments : Moments
        Of m rows, of which some may be empty.
    rows : int
        Number of labels.

    Returns
    -------
    Moments
        Of `rows` rows.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, Updating formulae and a pairwise
       algorithm for computing sample variances, 1979.
    """
    full = moments.count > 0
    if not full.all():
        row = row[full]
        moments = Moments(*(column[full] for column in moments))
    count = sums(row, moments.count, rows)
    low, high = np.full(rows, np.inf), np.full(rows, -np.inf)
    np.minimum.at(low, row, moments.low)
    np.maximum.at(high, row, moments.high)
    some = np.zeros(rows)
    some[row] = moments.mean  # whichever comes last
    distance = moments.mean - some[row]
    distance *= moments.count / count[row]
    mean = some + sums(row, distance, rows)
    np.clip(mean, low, high, out=mean)
    with np.errstate(over="ignore"):
        spread = moments.mean - mean[row]
        spread *= spread
        spread *= moments.count
        spread += moments.m2
        m2 = sums(row, spread, rows)
    for column in (mean, low, high):
        column[count == 0] = np.nan
    return Moments(count, mean, m2, low, high)


def concatenate(parts: Sequence[Moments]) -> Moments:
    """Stack moments, rows after rows.

    Parameters
    ----------
    parts : sequence of Moments
        At least one.

    Returns
    -------
    Moments
        With the rows of all.
    """
    return Moments(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def variance(moments: Moments) -> Floats:
    """Take the variance of the population.

    Parameters
    ----------
    moments : Moments
        Of n rows.

    Returns
    -------
    ndarray of float64, shape (n,)
        In the square of the samples' unit; NaN where there is no sample.
    """
    full = moments.count > 0
    spread = np.full(full.size, np.nan)
    np.divide(moments.m2, moments.count, out=spread, where=full)
    return spread
