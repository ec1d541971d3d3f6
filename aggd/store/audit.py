"""Every row of every file of a state directory, read and held to what it must be.

SQLite checks its own pages, a checksum each row's bytes; what was written wrong passes
both, so rows are decoded and held to the invariants of frames as well.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from aggd.errors import StorageError
from aggd.sketch import ragged
from aggd.store.archive import ROUNDING
from aggd.store.blocks import BLOCK, SLICE, Asked, belongs, unstacked
from aggd.store.catalogue import Entry
from aggd.store.codec import decode, unpack_bytes
from aggd.store.files import check_version, connect, proof
from aggd.store.frame import Section, Timers, frozen, only
from aggd.store.series import Kind
from aggd.store.shelf import Shelf


class Fault(NamedTuple):
    """What is wrong in a file; `slot` in seconds since the epoch, None where it is of no slot."""

    path: Path
    slot: int | None
    message: str


class Reading(NamedTuple):
    """A row that was read: its bytes, and what is wrong with it."""

    nbytes: int
    faults: list[Fault]


def catalogue(path: Path) -> Iterator[Reading]:
    """Read all rows of a catalogue.

    Raises
    ------
    StorageError
        Where it is of a newer version of aggd.
    """
    try:
        with closing(connect(path)) as base:
            check_version(base, path)
            yield from _pages(base, path)
            for first, data in base.execute("SELECT first, data FROM names"):
                yield Reading(len(data), _names(path, first, data))
            for name, data in base.execute("SELECT name, data FROM columns"):
                yield Reading(len(data), _column(path, name, data))
    except sqlite3.DatabaseError as error:
        yield Reading(0, [Fault(path, None, str(error))])


def _pages(base: sqlite3.Connection, path: Path) -> Iterator[Reading]:
    found = (message for (message,) in base.execute("PRAGMA quick_check"))
    yield Reading(0, [Fault(path, None, message) for message in found if message != "ok"])


def _names(path: Path, first: int, data: bytes) -> list[Fault]:
    try:
        msgspec.json.decode(unpack_bytes(data), type=list[Entry])
    except (StorageError, msgspec.MsgspecError) as error:
        return [Fault(path, None, f"names of series from {first} on: {error}")]
    return []


def _column(path: Path, name: str, data: bytes) -> list[Fault]:
    try:
        np.frombuffer(unpack_bytes(data))
    except (StorageError, ValueError) as error:
        return [Fault(path, None, f"column {name}: {error}")]
    return []


def frames(shelf: Shelf, path: Path, series: int) -> Iterator[Reading]:
    """Read all rows of one file of a tier, in one state of it.

    Parameters
    ----------
    series : int
        How many series the catalogue knows: all ids are below it.

    Raises
    ------
    StorageError
        Where it is of a newer version of aggd.
    """
    try:
        with closing(connect(path)) as base:
            check_version(base, path)
            base.execute("BEGIN")
            yield from _pages(base, path)
            yield Reading(0, [*_marks(base, path, shelf)])
            row = _Rows(shelf, path, series)
            for found in base.execute("SELECT kind, first, start, part, data FROM frames"):
                yield Reading(len(found[-1]), [*row.of_slice(*found)])
            for found in base.execute("SELECT kind, first, unit, data FROM blocks"):
                yield Reading(len(found[-1]), [*row.of_block(*found)])
    except FileNotFoundError:
        return  # forgotten meanwhile
    except (sqlite3.DatabaseError, TypeError) as error:  # a flipped byte makes text of a number
        yield Reading(0, [Fault(path, None, str(error))])


def _marks(base: sqlite3.Connection, path: Path, shelf: Shelf) -> Iterator[Fault]:
    """What is wrong with the list of parts, and with the marks."""
    for start, part, mark in base.execute("SELECT start, part, proof FROM parts"):
        if proof(start, part) != mark:
            yield Fault(path, None, f"part {part} in the list of parts is damaged")
        elif start % shelf.width or shelf.path(start) != path:
            yield Fault(path, start, f"part {part} is of a slot that belongs elsewhere")
    for key, value, mark in base.execute("SELECT key, value, proof FROM meta"):
        if proof(key, value) != mark:
            yield Fault(path, None, f"the mark {key} is damaged")


class _Rows:
    """Reads rows of one file."""

    def __init__(self, shelf: Shelf, path: Path, series: int) -> None:
        self._shelf = shelf
        self._path = path
        self._series = series

    def of_slice(
        self, kind: int, first: int, start: int, part: int, data: bytes
    ) -> Iterator[Fault]:
        """What is wrong with a row of `frames`."""
        try:
            section, columns = decode(data)
            if not belongs(columns, start, part):
                raise StorageError("it says itself that it is of another slot or part")
        except (StorageError, KeyError) as error:
            yield Fault(self._path, start, f"part {part}: {error}")
            return
        yield from self._faults(section, start, (kind, first, SLICE))

    def of_block(self, kind: int, first: int, unit: int, data: bytes) -> Iterator[Fault]:
        """What is wrong with a row of `blocks`."""
        try:
            section, columns = decode(data)
            parts = np.unique(columns["part"])
            last = unit + self._shelf.unit - 1
            if not ((columns["slot"] >= unit) & (columns["slot"] <= last)).all():
                raise StorageError("it has rows of another unit")
        except (StorageError, KeyError) as error:
            yield Fault(self._path, unit, f"block of series from {first} on: {error}")
            return
        for start, _, rows in unstacked(section, columns, Asked(unit, last, parts, None)):
            yield from self._faults(rows, start, (kind, first, BLOCK[Kind(kind)]))

    def _faults(self, section: Section, start: int, of: tuple[int, int, int]) -> Iterator[Fault]:
        kind, first, size = of
        frame = frozen(only(start, self._shelf.width, section))
        if not frame.sections()[kind].series.size:
            yield Fault(self._path, start, f"rows are not of the kind {kind} they stand under")
        try:
            frame._check()
        except AssertionError as error:
            yield Fault(self._path, start, f"an invariant of frames doesn't hold: {error}")
            return
        ids = section.series
        if not first <= ids[0] <= ids[-1] < first + size:
            yield Fault(self._path, start, f"series {ids[0]} to {ids[-1]} stand under {first}")
        if ids[-1] >= self._series:
            yield Fault(self._path, start, f"series {ids[-1]} is not in the catalogue")
        if isinstance(section, Timers) and (off := _unequal(section)).size:
            names = ", ".join(map(str, ids[off][:5]))
            yield Fault(self._path, start, f"weights don't add up to the count of series {names}")


def _unequal(timers: Timers) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Rows whose centroids don't weigh what was counted."""
    row = ragged.labels(np.diff(timers.digests.offset))
    count = timers.moments.count.astype(np.float64)
    total = ragged.sums(row, timers.digests.weight.astype(np.float64), count.size)
    return np.flatnonzero(np.abs(total - count) > ROUNDING * count)
