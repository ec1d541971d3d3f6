"""The t-digest, for many series at once.

    digests  offset   0                    4                 6
             mean     1.   2.   2.5  9.    | 7.   8.         |       ascending in a row
             weight   1.   12.  30.  2.    | 1.   1.         |       samples each stands for
             atom     yes  no   no   yes   | yes  yes        |       whose samples are all equal

A row with up to K distinct samples holds just those, as atoms, and every answer
from it is exact.  Past K, samples share the bins of `scale`.  Many digests merge
in one shot, as merging one after the other smears them: 60 merges at K on data
over 300 decades broke the bound of `rank_error`, one shot never did.

Without a size nothing is compressed: the same arrays then hold raw samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aggd.sketch import cells, ragged, scale
from aggd.sketch.moments import Moments
from aggd.sketch.ragged import Floats, Index, Rows

try:
    from aggd.sketch.compact import arrange, compress, describe

    COMPILED = True
except ImportError:  # installed where there was no C compiler
    from aggd.sketch.centroids import arrange, compress, describe

    COMPILED = False

Bools = NDArray[np.bool_]

K = scale.K
BLOCK = 100_000  # points merged at a time: what a core's cache holds


@dataclass(frozen=True, slots=True)
class Digests:
    """Digests of n series, m centroids in all.

    Row i is ``offset[i]:offset[i + 1]`` of the other columns.
    """

    offset: Index
    mean: Floats
    weight: Floats
    atom: Bools

    @classmethod
    def empty(cls, rows: int) -> "Digests":
        return cls(np.zeros(rows + 1, np.int64), np.empty(0), np.empty(0), np.empty(0, np.bool_))

    def __len__(self) -> int:
        return self.offset.size - 1

    def _check(self) -> None:
        assert self.offset[0] == 0
        assert (np.diff(self.offset) >= 0).all()
        assert self.mean.size == self.weight.size == self.atom.size == self.offset[-1]
        assert np.isfinite(self.mean).all()
        assert np.isfinite(self.weight).all()
        assert (self.weight > 0).all()
        row = ragged.labels(np.diff(self.offset))
        step, same = np.diff(self.mean), row[1:] == row[:-1]
        assert (step[same] >= 0).all()
        assert (step[same & self.atom[1:] & self.atom[:-1]] > 0).all()


EMPTY = Digests.empty(0)

Part = tuple[Rows, Digests]  # label of each digest, ascending, and the digests


def build(
    row: Rows, value: Floats, weight: Floats | None, rows: int, size: int | None = K
) -> Digests:
    """Digest samples.

    Parameters
    ----------
    row : ndarray of int32, shape (n,)
        Row of each sample in [0, rows), in any order.
    value : ndarray of float64, shape (n,)
        Samples, finite, within 1e300.
    weight : ndarray of float64, shape (n,), or None
        Inverse of the sample rate, positive; None for all 1.
    rows : int
        Number of rows; they may be empty.
    size : int, optional
        Centroids a digest may have; None to keep every distinct sample.

    Returns
    -------
    Digests
        Of `rows` rows.

    Notes
    -----
    20 to 60 ns a sample compiled, without the GIL; 150 to 200 in numpy
    (``tests/bench/bench_numbers.py``).
    """
    return _compressed(Digests(*arrange(row, value, weight, None, rows)), size)


def summarise(
    row: Rows, value: Floats, weight: Floats | None, rows: int, size: int, keep: bool
) -> tuple[Moments, Digests, Digests | None]:
    """Take moments, digests and raw samples of the same samples, sorting once.

    Parameters
    ----------
    row : ndarray of int32, shape (n,)
        Row of each sample in [0, rows), in any order.
    value : ndarray of float64, shape (n,)
        Samples, finite, within 1e300.
    weight : ndarray of float64, shape (n,), or None
        Inverse of the sample rate, positive; None for all 1.
    rows : int
        Number of rows; they may be empty.
    size : int
        Centroids a digest may have.
    keep : bool
        Keep the samples that digests gave up.

    Returns
    -------
    moments : Moments
        Of `rows` rows.
    digests : Digests
        Of `rows` rows.
    points : Digests or None
        Samples of the rows whose digest is not exact, the other rows empty; None
        unless `keep`.
    """
    points = Digests(*arrange(row, value, weight, None, rows))
    moments = Moments(*describe(points.offset, points.mean, points.weight))
    digests = _compressed(points, size)
    if not keep:
        return moments, digests, None
    length = np.diff(points.offset)
    large = length > size
    if large.all():
        return moments, digests, points
    return moments, digests, _take(points, points.offset[:-1], np.where(large, length, 0))


def _compressed(points: Digests, size: int | None) -> Digests:
    if size is None:
        return points
    return Digests(*compress(points.offset, points.mean, points.weight, points.atom, size))


def merge(parts: Sequence[Part], rows: int, size: int | None = K) -> Digests:
    """Merge any number of digests by label, in one shot.

    Parameters
    ----------
    parts : sequence of (ndarray of int32, Digests)
        The label in [0, rows) of each digest, ascending, and the digests.  Several
        digests may have one label, within a part and between parts.
    rows : int
        Number of labels; those that don't occur give empty digests.
    size : int, optional
        Centroids a digest may have; None to keep all, equal atoms collapsed.

    Returns
    -------
    Digests
        Of `rows` rows.

    Notes
    -----
    Works on blocks of rows, with up to `BLOCK` points or one row each.  17 to 40 ns a
    centroid compiled, without the GIL; 60 to 120 in numpy.
    """
    if not parts:
        return Digests.empty(rows)
    whole = [
        _Piece(label, part.offset[1:] - part.offset[:-1], part.mean, part.weight, part.atom)
        for label, part in parts
    ]
    label = np.concatenate([piece.label for piece in whole])
    length = np.concatenate([piece.length for piece in whole])
    edges = _block_edges(ragged.sums(label, length.astype(np.float64), rows), BLOCK)
    if edges.size == 2:
        return _merge_block(whole, 0, rows, size)
    cuts = [label.searchsorted(edges) for label, _ in parts]
    ends = [digests.offset[cut].tolist() for (_, digests), cut in zip(parts, cuts, strict=True)]
    pieces = list(zip(whole, [cut.tolist() for cut in cuts], ends, strict=True))
    blocks = []
    for i, start in enumerate(edges[:-1].tolist()):
        inside = [
            piece.between(cut[i], cut[i + 1], end[i], end[i + 1])
            for piece, cut, end in pieces
            if cut[i] < cut[i + 1]
        ]
        blocks.append(_merge_block(inside, start, int(edges[i + 1]) - start, size))
    return stack(blocks)


class _Piece(NamedTuple):
    """Some digests of a part."""

    label: Rows
    length: Index
    mean: Floats
    weight: Floats
    atom: Bools

    def between(self, first: int, last: int, start: int, end: int) -> "_Piece":
        digests, points = slice(first, last), slice(start, end)
        return _Piece(
            self.label[digests],
            self.length[digests],
            self.mean[points],
            self.weight[points],
            self.atom[points],
        )


def _merge_block(pieces: list[_Piece], start: int, rows: int, size: int | None) -> Digests:
    """Merge digests whose labels lie in [start, start + rows)."""
    if not pieces:
        return Digests.empty(rows)
    label, length, mean, weight, atom = (
        np.concatenate(column) for column in zip(*pieces, strict=True)
    )
    row = np.repeat(label - np.int32(start), length)
    weight = weight.astype(np.float64, copy=False)  # frames keep narrower ones
    return _compressed(Digests(*arrange(row, mean, weight, atom, rows)), size)


def _block_edges(points: Floats | Index, limit: int) -> Index:
    """Cut rows into blocks of up to `limit` points, a larger row alone."""
    offset = ragged.offsets(points.astype(np.int64))
    edges = [0]
    while edges[-1] < points.size:
        last = int(offset.searchsorted(offset[edges[-1]] + limit, side="right")) - 1
        edges.append(max(last, edges[-1] + 1))
    return np.array(edges, np.int64)


def stack(parts: Sequence[Digests]) -> Digests:
    """Put the digests of each part behind those of the one before.

    Parameters
    ----------
    parts : sequence of Digests
        Any number; one alone is given back as it is.

    Returns
    -------
    Digests
        With the rows of all.
    """
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return EMPTY
    length = np.concatenate([np.diff(part.offset) for part in parts])
    return Digests(
        ragged.offsets(length),
        np.concatenate([part.mean for part in parts]),
        np.concatenate([part.weight for part in parts]),
        np.concatenate([part.atom for part in parts]),
    )


def slice_rows(digests: Digests, first: int, last: int) -> Digests:
    """Take a run of rows without copying their centroids.

    Parameters
    ----------
    digests : Digests
        Of n rows.
    first, last : int
        Rows in [0, n]; `last` is not included.

    Returns
    -------
    Digests
        Of ``last - first`` rows.
    """
    offset = digests.offset[first : last + 1]
    inside = slice(int(offset[0]), int(offset[-1]))
    return Digests(
        offset - offset[0], digests.mean[inside], digests.weight[inside], digests.atom[inside]
    )


def select(digests: Digests, rows: NDArray[np.intp]) -> Digests:
    """Pick rows.

    Parameters
    ----------
    digests : Digests
        Of n rows.
    rows : ndarray of intp, shape (k,)
        Rows in [0, n), in any order, repeats allowed.

    Returns
    -------
    Digests
        Of k rows, in that order.
    """
    return _take(digests, digests.offset[:-1][rows], np.diff(digests.offset)[rows])


def _take(digests: Digests, start: Index, length: Index) -> Digests:
    place = ragged.expand(start, length)
    weight = digests.weight[place].astype(np.float64, copy=False)
    return Digests(ragged.offsets(length), digests.mean[place], weight, digests.atom[place])


def exact(digests: Digests) -> Bools:
    """Tell which digests still hold every sample.

    Parameters
    ----------
    digests : Digests
        Of n rows.

    Returns
    -------
    ndarray of bool, shape (n,)
        True where every centroid is an atom, and where there is none.
    """
    blurred = ragged.offsets(~digests.atom)
    whole: Bools = blurred[digests.offset[1:]] == blurred[digests.offset[:-1]]
    return whole


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
    return 2 * scale.width(_fractions(q))


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
    q = _fractions(q)
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
    order = np.argsort(q, kind="stable")
    value[:, order] = np.maximum.accumulate(value[:, order], axis=1)  # rounding may fall by a bit
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
    0.2 us a centroid, 30 ns an atom, in blocks of `BLOCK` points.
    """
    edges = _block_edges(np.diff(digests.offset), BLOCK).tolist()
    blocks = [np.zeros((2, 0))]
    for a, b in pairwise(edges):
        _, full = _cells(slice_rows(digests, a, b), low[a:b], high[a:b])
        blocks.append(np.stack(cells.sums(full, start[a:b], end[a:b])))
    total, squares = np.concatenate(blocks, axis=1)
    return total, squares


def _fractions(q: ArrayLike) -> Floats:
    fractions = np.asarray(q, np.float64)
    if not ((fractions >= 0) & (fractions <= 1)).all():
        raise ValueError(f"q must be in [0, 1], got {fractions}")
    return fractions


def _cells(digests: Digests, low: Floats, high: Floats) -> tuple[NDArray[np.intp], cells.Cells]:
    """Rows that are not empty, and the cells of all."""
    until = ragged.running(digests.weight, digests.offset)
    found = cells.Cells(
        digests.offset, digests.mean, digests.weight, digests.atom, low, high, until
    )
    return np.flatnonzero(np.diff(digests.offset)), found
