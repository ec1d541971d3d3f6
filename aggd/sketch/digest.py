"""The t-digest, for many series at once.

    digests  offset   0                    4                 6
             mean     1.   2.   2.5  9.    | 7.   8.         |       ascending in a row
             weight   1.   12.  30.  2.    | 1.   1.         |       samples each stands for
             atom     yes  no   no   yes   | yes  yes        |       whose samples are all equal

A row with up to K distinct samples holds just those, as atoms, and every answer
from it is exact.  Past K, samples share the bins of `scale`.  Many digests merge
in one shot, as merging one after the other smears them: 60 merges at K on data
over 300 decades broke the bound of `quantiles.rank_error`, one shot never did.

Without a size nothing is compressed: the same arrays then hold raw samples.
What digests say about their samples is read in `quantiles`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggd.sketch import ragged, scale
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


def block_edges(points: Floats | Index, limit: int) -> Index:
    """Cut rows into blocks.

    Parameters
    ----------
    points : ndarray of int64 or float64, shape (n,)
        Points of each row.
    limit : int
        Points of a block at most; a larger row stands alone.

    Returns
    -------
    ndarray of int64, shape (blocks + 1,)
        Where each block starts, and the last one ends: from 0 to n.
    """
    offset = ragged.offsets(points.astype(np.int64))
    edges = [0]
    while edges[-1] < points.size:
        last = int(offset.searchsorted(offset[edges[-1]] + limit, side="right")) - 1
        edges.append(max(last, edges[-1] + 1))
    return np.array(edges, np.int64)


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
    edges = block_edges(ragged.sums(label, length.astype(np.float64), rows), BLOCK)
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
    offset = offset - offset[0]
    offset.flags.writeable = digests.offset.flags.writeable  # as of what is only seen
    return Digests(offset, digests.mean[inside], digests.weight[inside], digests.atom[inside])


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
