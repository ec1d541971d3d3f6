"""How many different members a set saw: the k smallest hashes of each.

    members  offset   0               4        6
             member   3  17  20  41  | 5  17  |       hashes, ascending, unique in a row

Hashes fall evenly on [0, 2^64), so the K-th smallest tells how dense they are
[1]_: 16 kB a set and a standard error of 1 / sqrt(K - 2), 2.2 %.  A set with
fewer than K members is counted exactly.  The K smallest of a union are among
the K smallest of its parts: merging loses nothing, in any order, and repeats
change nothing.

.. [1] Z. Bar-Yossef et al., Counting distinct elements in a data stream, 2002.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from aggd.sketch import ragged
from aggd.sketch.ragged import Floats, Index, Rows

K = 2048

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Members:
    """Members of n sets, m in all.

    Row i is ``offset[i]:offset[i + 1]`` of `member`.
    """

    offset: Index
    member: Hashes

    @classmethod
    def empty(cls, rows: int) -> "Members":
        return cls(np.zeros(rows + 1, np.int64), np.empty(0, np.uint64))

    def __len__(self) -> int:
        return self.offset.size - 1

    def _check(self) -> None:
        length = np.diff(self.offset)
        assert self.offset[0] == 0
        assert ((length >= 0) & (length <= K)).all()
        assert self.member.size == self.offset[-1]
        row = ragged.labels(length)
        assert (self.member[1:] > self.member[:-1])[row[1:] == row[:-1]].all()


Part = tuple[Rows, Members]  # label of each set, ascending, and the sets


def hash_member(member: bytes) -> int:
    """Hash a member, alike on all hosts and at every start.

    Parameters
    ----------
    member : bytes
        As it was sent.

    Returns
    -------
    int
        In [0, 2^64).
    """
    return int.from_bytes(blake2b(member, digest_size=8).digest(), "little")


def build(row: Rows, hashes: Hashes, rows: int) -> Members:
    """Collect members into sets.

    Parameters
    ----------
    row : ndarray of int32, shape (n,)
        Set of each member in [0, rows), in any order.
    hashes : ndarray of uint64, shape (n,)
        Members as `hash_member` gives them.
    rows : int
        Number of sets; they may be empty.

    Returns
    -------
    Members
        Of `rows` sets.
    """
    place = ragged.order(row, hashes)
    row, hashes = row[place], hashes[place]
    new = np.ones(row.size, np.bool_)
    new[1:] = (row[1:] != row[:-1]) | (hashes[1:] != hashes[:-1])
    row, hashes = row[new], hashes[new]
    length = np.bincount(row, minlength=rows)
    kept = np.minimum(length, K)
    if (kept < length).any():
        hashes = hashes[ragged.expand(ragged.offsets(length)[:-1], kept)]
    return Members(ragged.offsets(kept), hashes)


def merge(parts: Sequence[Part], rows: int) -> Members:
    """Unite any number of sets by label.

    Parameters
    ----------
    parts : sequence of (ndarray of int32, Members)
        The label in [0, rows) of each set, ascending, and the sets.
    rows : int
        Number of labels; those that don't occur give empty sets.

    Returns
    -------
    Members
        Of `rows` sets.
    """
    if not parts:
        return Members.empty(rows)
    row = np.concatenate([np.repeat(label, np.diff(sets.offset)) for label, sets in parts])
    return build(row, np.concatenate([sets.member for _, sets in parts]), rows)


def estimate(members: Members) -> Floats:
    """Count the different members of each set.

    Parameters
    ----------
    members : Members
        Of n sets.

    Returns
    -------
    ndarray of float64, shape (n,)
        Exact under K, else right to a standard error of 2.2 %.
    """
    count = np.diff(members.offset).astype(np.float64)
    full = np.flatnonzero(count >= K)
    count[full] = density(members.member[members.offset[1:][full] - 1])
    return count


def density(largest: Hashes) -> Floats:
    """Count the members of sets of K or more.

    Parameters
    ----------
    largest : ndarray of uint64, shape (n,)
        The K-th smallest hash of each.

    Returns
    -------
    ndarray of float64, shape (n,)
        Right to a standard error of 2.2 %.
    """
    count: Floats = (K - 1) / (largest.astype(np.float64) / 2.0**64)
    return count


def select(members: Members, rows: NDArray[np.intp]) -> Members:
    """Pick sets.

    Parameters
    ----------
    members : Members
        Of n sets.
    rows : ndarray of intp, shape (k,)
        Sets in [0, n), in any order, repeats allowed.

    Returns
    -------
    Members
        Of k sets, in that order.
    """
    length = np.diff(members.offset)[rows]
    place = ragged.expand(members.offset[:-1][rows], length)
    return Members(ragged.offsets(length), members.member[place])


def stack(parts: Sequence[Members]) -> Members:
    """Put the sets of each part behind those of the one before.

    Parameters
    ----------
    parts : sequence of Members
        At least one.

    Returns
    -------
    Members
        With the rows of all.
    """
    length = np.concatenate([np.diff(part.offset) for part in parts])
    return Members(ragged.offsets(length), np.concatenate([part.member for part in parts]))


def slice_rows(members: Members, first: int, last: int) -> Members:
    """Take a run of rows without copying their members.

    Parameters
    ----------
    members : Members
        Of n sets.
    first, last : int
        Rows in [0, n]; `last` is not included.

    Returns
    -------
    Members
        Of ``last - first`` sets.
    """
    offset = members.offset[first : last + 1]
    inside = slice(int(offset[0]), int(offset[-1]))
    offset = offset - offset[0]
    offset.flags.writeable = members.offset.flags.writeable  # as of what is only seen
    return Members(offset, members.member[inside])
