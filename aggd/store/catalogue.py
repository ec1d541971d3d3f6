"""What series are called, on disk: the registry's half of the state directory.

    catalogue.db
      names     first, data     some series from id `first` on: kind, name, tags
      columns   name, data      by id: first and last seen, levels of gauges and their times
      meta      key, value      saved: when the columns were written

Names are only ever added, in the order of their ids, so what is new since the last time is
one row.  A frame refers to ids: names are written before the frames that use them.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np

from aggd.errors import StorageError
from aggd.store.codec import pack_bytes, unpack_bytes
from aggd.store.files import Trouble, check_version, connect, salvage, writing
from aggd.store.series import Registry, Tags

# Levels after their times: a level that is too new does no harm, one that is too old would stay.
COLUMNS = ("first_seen", "last_seen", "level_time", "levels")
MANY = 64  # rows of names that are made one at a start
TABLES = {"names": 2, "columns": 2, "meta": 2}

SCHEMA = """
CREATE TABLE names (first INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE columns (name TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""

Entry = tuple[int, str, Tags] | None  # kind, name, tags; None: forgotten


class Catalogue:
    """The registry on disk; one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._saved = 0  # ids written so far
        self._forgotten = 0

    def save_names(self, registry: Registry) -> None:
        """Write the series that are new; nothing where there are none.

        Raises
        ------
        sqlite3.Error, OSError
            Where the disk is full or can't be written.
        """
        if registry.forgotten != self._forgotten:
            self._rewrite(registry)
            return
        entries = registry.entries(self._saved)
        if not entries:
            return
        with writing(self.path, SCHEMA) as base:
            base.execute("INSERT INTO names VALUES (?, ?)", (self._saved, _written(entries)))
        self._saved += len(entries)

    def _rewrite(self, registry: Registry) -> None:
        """Write all names anew, without those that were forgotten."""
        forgotten, entries = registry.forgotten, registry.entries(0)
        with writing(self.path, SCHEMA) as base:
            base.execute("DELETE FROM names")
            base.execute("INSERT INTO names VALUES (0, ?)", (_written(entries),))
        self._saved, self._forgotten = len(entries), forgotten

    def save_columns(self, registry: Registry, now: int) -> None:
        """Write when series were seen, and the levels of gauges."""
        rows = [
            (name, pack_bytes(getattr(registry, name)[: self._saved].tobytes())) for name in COLUMNS
        ]
        with writing(self.path, SCHEMA) as base:
            base.executemany("INSERT OR REPLACE INTO columns VALUES (?, ?)", rows)
            base.execute("INSERT OR REPLACE INTO meta VALUES ('saved', ?)", (now,))

    def load(self, registry: Registry, series: int) -> tuple[int, list[Trouble]]:
        """Fill an empty registry; when its columns were written, and what was lost.

        Parameters
        ----------
        series : int
            Ids below it stand in frames: none of them is given to another series.

        Raises
        ------
        StorageError
            Where the file is of a newer version of aggd.
        """
        if not self.path.exists():
            registry.restore([None] * series, {})
            return 0, []
        try:
            return self._load(registry, series), []
        except (sqlite3.DatabaseError, StorageError) as error:
            if isinstance(error, StorageError) and "newer" in str(error):
                raise
            if isinstance(error, sqlite3.OperationalError):
                raise  # a full disk, another process: nothing is wrong with the file
            aside, kept = salvage(self.path, SCHEMA, TABLES)
            lost = f"{error}; {kept} of its rows were read, series in others have lost their names"
            return self._load(registry, series), [Trouble(aside, lost)]

    def look(self, registry: Registry, series: int) -> list[Trouble]:
        """Fill an empty registry as `load` does, and change nothing."""
        try:
            self._fill(registry, series)
        except FileNotFoundError:
            registry.restore([None] * series, {})
        except (sqlite3.DatabaseError, StorageError) as error:
            if "newer" in str(error):
                raise
            registry.restore([None] * series, {})
            return [Trouble(self.path, str(error))]
        return []

    def _load(self, registry: Registry, series: int) -> int:
        rows, saved = self._fill(registry, series)
        if rows > MANY:
            self._rewrite(registry)
        return saved

    def _fill(self, registry: Registry, series: int) -> tuple[int, int]:
        """Rows of names there are, and when the columns were written."""
        with closing(connect(self.path)) as base:
            check_version(base, self.path)
            rows = base.execute("SELECT first, data FROM names ORDER BY first").fetchall()
            found = dict(base.execute("SELECT name, data FROM columns"))
            meta = dict(base.execute("SELECT key, value FROM meta"))
        entries = list(_entries(rows))
        entries += [None] * (series - len(entries))
        columns = {name: np.frombuffer(unpack_bytes(data)) for name, data in found.items()}
        registry.restore(entries, columns)
        self._saved, self._forgotten = len(entries), registry.forgotten
        return len(rows), int(meta.get("saved", 0))


def _written(entries: list[Entry]) -> bytes:
    return pack_bytes(msgspec.json.encode(entries))


def _entries(rows: list[tuple[int, bytes]]) -> Iterator[Entry]:
    """All entries by id; those of a row that can't be read are like forgotten ones."""
    at = 0
    for first, data in rows:
        yield from [None] * (first - at)
        try:
            some = msgspec.json.decode(unpack_bytes(data), type=list[Entry])
        except (StorageError, msgspec.MsgspecError):
            some = []
        yield from some[max(0, at - first) :]
        at = max(at, first + len(some))
