"""Rows of a tier's files as pieces of frames, through a cache of what was read lately.

A slot of a series stands either in `frames` or in `blocks` of its file, or for a moment in
both: what was found first counts.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from aggd.errors import StorageError
from aggd.store.blocks import BLOCK, SLICE, Asked, belongs, unstacked
from aggd.store.cache import Cache
from aggd.store.codec import Column, decode
from aggd.store.files import connect, is_damage
from aggd.store.frame import Frame, Section, frozen, only
from aggd.store.segment import blocks_of, frames_of
from aggd.store.series import Kind


class _Place(NamedTuple):
    """Series of a part that stand together: so many, and which of those runs."""

    part: int
    size: int
    run: int


class _Blob(NamedTuple):
    """A row that holds data: its file, its table, its number."""

    path: Path
    table: str
    row: int


class Reader:
    """Reads from any thread, and never fails: what can't be read is counted and left out.

    Parameters
    ----------
    width, unit : int
        Seconds of a slot, and of what a block holds.

    Attributes
    ----------
    damaged : int
        Rows, or whole files, that could not be read.
    wrecks : set of Path
        Files with damaged pages, to be made anew before they are written to.
    """

    def __init__(self, width: int, unit: int, cache: Cache) -> None:
        self.damaged = 0
        self.wrecks: set[Path] = set()
        self._width = width
        self._unit = unit
        self._cache = cache

    def forget(self) -> None:
        """Forget what was read: rows of a file that is made anew get the same numbers again."""
        self._cache.clear()

    def pieces(self, path: Path, asked: Asked, kind: Kind) -> list[tuple[int, Frame]]:
        """What one file has of a kind, each piece with the part it is of."""
        found: dict[_Place, Frame] = {}
        try:
            with closing(connect(path)) as base:
                base.execute("BEGIN")  # one state of the file: rows may move from frames to blocks
                for place, frame in self._rows(base, path, asked, kind):
                    found.setdefault(place, frame)  # a damaged tree may give a row twice
        except FileNotFoundError:
            pass  # forgotten meanwhile
        except (sqlite3.Error, OSError) as error:
            self.damaged += 1
            if is_damage(error):
                self.wrecks.add(path)
        return [(place.part, frame) for place, frame in found.items()]

    def _rows(
        self, base: sqlite3.Connection, path: Path, asked: Asked, kind: Kind
    ) -> Iterator[tuple[_Place, Frame]]:
        """Rows of frames, then those of blocks that weren't among them."""
        whole = set()
        for at, part, row in frames_of(base, asked, kind):
            found = self._load(base, _Blob(path, "frames", row))
            if found and belongs(found[1], at, part):
                place = _Place(part, SLICE, int(found[0].series[0]) // SLICE)
                whole.add(place)
                yield place, frozen(only(at, self._width, found[0]))
            elif found:
                self.damaged += 1
        for row in blocks_of(base, asked, kind, self._unit):
            found = self._load(base, _Blob(path, "blocks", row))
            for at, part, rows in unstacked(*found, asked) if found else ():
                first = int(rows.series[0])
                if _Place(part, SLICE, first // SLICE) not in whole:
                    place = _Place(part, BLOCK[kind], first // BLOCK[kind])
                    yield place, only(at, self._width, rows)

    def _load(
        self, base: sqlite3.Connection, blob: _Blob
    ) -> tuple[Section, dict[str, Column]] | None:
        """A row's section, from the cache or the file; None where it is damaged."""
        found: tuple[Section, dict[str, Column]] | None = self._cache.get(blob)
        if found is None:
            read = f"SELECT data FROM {blob.table} WHERE id = ?"
            data = base.execute(read, (blob.row,)).fetchone()
            try:
                found = decode(data[0]) if data else None  # compacted meanwhile
            except StorageError:
                self.damaged += 1
                return None
            if found:
                self._cache.put(blob, found, sum(c.nbytes for c in found[1].values()))
        return found
