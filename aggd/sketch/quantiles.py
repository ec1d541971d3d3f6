"""What digests say: quantiles, shares, sums between two ranks, and how far they may be off.

    q       0        .5              .99   1
    rank    0 ------ (n - 1) q ------------ n - 1      `quantile` reads from left to right
    value   low                             high       `cdf` the other way

All of it reads the same `cells`, the parabolas along the centroids; where a digest is
exact those are its samples, and so is every answer.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aggd.sketch import cells, digest, ragged, scale
from aggd.sketch.digest import Digests
from aggd.sketch.ragged import Floats


def fractions(q: ArrayLike) -> Floats:
    """Check that numbers are fractions.

    Parameters
    ----------
    q : array_like of float64, shape (k,)
        In [0, 1].

    Returns
    -------
    ndarray of float64, shape (k,)
        The same.

    Raises
    ------
    ValueError
        If a `q` is outside [0, 1], or NaN.
    """
    found = np.asarray(q, np.float64)
    if not ((found >= 0) & (found <= 1)).all():
        raise ValueError(f"q must be in [0, 1], got {found}")
    return found


def never_falling(answers: Floats, q: Floats) -> None:
    """Let quantiles rise with `q`, in place, where rounding made one fall by a bit.

    Parameters
    ----------
    answers : ndarray of float64, shape (n, k)
        Quantiles of n rows.
    q : ndarray of float64, shape (k,)
        Their fractions, in any order.
    """
    order = np.argsort(q, kind="stable")
    answers[:, order] = np.maximum.accumulate(answers[:, order], axis=1)


def rank_error(q: ArrayLike) -> Floats:
    """Bound the error of a quantile, whatever the samples are.

    Parameters
    ----------
    q : array_like of float64, shape (k,)
        In [0, 1].

    Returns
    -------
    ndarray of float64, shape (k,)
        Share of all samples by which the rank of the answer may be off, but for
        one sample: 0.0042 at 0.99.  An exact digest has no error at all.

    Notes
    -----
    Two bins: the one that holds the rank, and what a centroid of a merged digest
    may reach into its neighbour.
    """
    return 2 * scale.width(fractions(q))


def quantile(digests: Digests, low: Floats, high: Floats, q: ArrayLike) -> Floats:
    """Estimate quantiles.

    Parameters
    ----------
    digests : Digests
        Of n rows.
    low, high : ndarray of float64, shape (n,)
        Smallest and largest sample of each row.
    q : array_like of float64, shape (k,)
        In [0, 1], in any order.

    Returns
    -------
    ndarray of float64, shape (n, k)
        In the unit of the samples, never falling as `q` rises; `low` and `high` at 0
        and 1; NaN for empty rows.

    Raises
    ------
    ValueError
        If a `q` is outside [0, 1].

    Notes
    -----
    Interpolates order statistics as `numpy.percentile` does [1]_, and so gives its
    very bits for an exact digest, whose weights count as repeats.

    References
    ----------
    .. [1] R. J. Hyndman, Y. Fan, Sample quantiles in statistical packages, 1996, type 7.
    """
    q = fractions(q)
    answer = np.full((len(digests), q.size), np.nan)
    row, full = _cells(digests, low, high)
    if not row.size or not q.size:
        return answer
    last = np.maximum(full.until[full.offset[row + 1] - 1] - 1, 0.0)[:, None]
    rank = last * q
    below = np.floor(rank)
    step = np.minimum(last - below, 1.0)  # shorter only at the end of fractional weights
    part = np.divide(rank - below, step, out=np.zeros(rank.shape), where=step > 0)
    rows = np.repeat(row, q.size)
    pair = np.concatenate([below, below + step]).ravel()
    left, right = cells.sample(full, np.tile(rows, 2), pair).reshape(2, *rank.shape)
    rise = right - left
    value = np.where(part < 0.5, left + rise * part, right - rise * (1 - part))
    never_falling(value, q)
    answer[row] = value
    return answer


def cdf(digests: Digests, low: Floats, high: Floats, x: ArrayLike) -> Floats:
    """Estimate the share of samples at or under a value.

    Parameters
    ----------
    digests : Digests
        Of n rows.
    low, high : ndarray of float64, shape (n,)
        Smallest and largest sample of each row.
    x : array_like of float64, shape (k,)
        In the unit of the samples.

    Returns
    -------
    ndarray of float64, shape (n, k)
        In [0, 1], right to `rank_error`, and exact for an exact digest; NaN for
        empty rows.
    """
    x = np.asarray(x, np.float64)
    answer = np.full((len(digests), x.size), np.nan)
    row, full = _cells(digests, low, high)
    if row.size and x.size:
        shares = cells.share(full, np.repeat(row, x.size), np.tile(x, row.size))
        answer[row] = shares.reshape(row.size, x.size)
    return answer


def sample(digests: Digests, low: Floats, high: Floats, rank: Floats) -> Floats:
    """Estimate one order statistic of every row.

    Parameters
    ----------
    digests : Digests
        Of n rows.
    low, high : ndarray of float64, shape (n,)
        Smallest and largest sample of each row.
    rank : ndarray of float64, shape (n,)
        Place among the row's sorted samples, 0 for the smallest; weights count as repeats.

    Returns
    -------
    ndarray of float64, shape (n,)
        In the unit of the samples, and the sample itself for an exact digest; NaN for
        empty rows.
    """
    answer = np.full(len(digests), np.nan)
    row, full = _cells(digests, low, high)
    answer[row] = cells.sample(full, row, rank[row])
    return answer


def sums(
    digests: Digests, low: Floats, high: Floats, start: Floats, end: Floats
) -> tuple[Floats, Floats]:
    """Estimate the sum of the samples between two ranks of every row, and of their squares.

    Parameters
    ----------
    digests : Digests
        Of n rows.
    low, high : ndarray of float64, shape (n,)
        Smallest and largest sample of each row.
    start, end : ndarray of float64, shape (n,)
        Ranks, 0 before the smallest sample and the count behind the largest; one that
        is not whole takes a part of a sample.

    Returns
    -------
    tuple of ndarray of float64, shape (n,)
        Sums and sums of squares, right to rounding for an exact digest; infinite or NaN
        past 1.8e308, 0 where no sample lies between.

    Notes
    -----
    0.2 us a centroid, 30 ns an atom, in blocks of `digest.BLOCK` points.
    """
    edges = digest.block_edges(np.diff(digests.offset), digest.BLOCK).tolist()
    blocks = [np.zeros((2, 0))]
    for a, b in pairwise(edges):
        _, full = _cells(digest.slice_rows(digests, a, b), low[a:b], high[a:b])
        blocks.append(np.stack(cells.sums(full, start[a:b], end[a:b])))
    total, squares = np.concatenate(blocks, axis=1)
    return total, squares


def _cells(digests: Digests, low: Floats, high: Floats) -> tuple[NDArray[np.intp], cells.Cells]:
    """Rows that are not empty, and the cells of all."""
    until = ragged.running(digests.weight, digests.offset)
    found = cells.Cells(
        digests.offset, digests.mean, digests.weight, digests.atom, low, high, until
    )
    return np.flatnonzero(np.diff(digests.offset)), found
