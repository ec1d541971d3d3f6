"""SQLite files of one schema: read, written in one transaction, versioned, salvaged."""

import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from aggd.errors import StorageError

VERSION = 1
APPLICATION = 0x61676764  # "aggd", for file(1)
BUSY = 10.0  # seconds to wait for another writer of the same file
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
BESIDE = ("", "-wal", "-shm")  # what SQLite keeps of one file


class Trouble(NamedTuple):
    """A file that could not be read, and what was done about it."""

    path: Path
    message: str


def connect(path: Path) -> sqlite3.Connection:
    """Open a file for reading.

    Raises
    ------
    FileNotFoundError
        Where it isn't there any more.
    """
    base = _connect(path, "ro")
    try:
        base.execute("PRAGMA schema_version").fetchone()
    except sqlite3.OperationalError:
        base.close()
        if _logged(path):
            raise
        # On a full disk there is no room for the index of a log that isn't there.
        return _connect(path, "ro&immutable=1")
    except sqlite3.DatabaseError:
        base.close()
        raise
    return base


def _logged(path: Path) -> bool:
    """Tell whether something stands in the log alone."""
    try:
        return Path(f"{path}-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    try:
        where = f"{path.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(where, uri=True, timeout=BUSY, isolation_level=None)
    except sqlite3.OperationalError:
        if not path.exists() and mode != "rwc":
            raise FileNotFoundError(path) from None
        raise


@contextmanager
def writing(path: Path, schema: str, made: bool = True) -> Iterator[sqlite3.Connection]:
    """One transaction on a file: all of it, or nothing.

    Parameters
    ----------
    made : bool
        Make the file where there is none.

    Raises
    ------
    FileNotFoundError
        Where there is none and it isn't to be made.
    """
    if made:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path, schema)
    with closing(_connect(path, "rwc" if made else "rw")) as base:
        base.execute("PRAGMA journal_mode = WAL")
        # A crash of the machine may cost the last seconds, never the file.
        base.execute("PRAGMA synchronous = NORMAL")
        base.execute("BEGIN IMMEDIATE")
        try:
            yield base
        except BaseException:
            if base.in_transaction:  # SQLite may have ended it already
                base.execute("ROLLBACK")
            raise
        base.execute("COMMIT")


def _make(path: Path, schema: str) -> None:
    """Make a file aside: under its name a kill leaves it whole, or not at all."""
    new = path.with_suffix(".new")
    forget(new)
    with closing(_connect(new, "rwc")) as base:
        base.execute(f"PRAGMA application_id = {APPLICATION}")
        base.executescript(f"BEGIN; {schema}; PRAGMA user_version = {VERSION}; COMMIT;")
        # Last: where there is no room for what stands in a log, closing says nothing of it.
        base.execute("PRAGMA journal_mode = WAL")
    new.replace(path)


def check_version(base: sqlite3.Connection, path: Path) -> None:
    """Refuse a file of a newer aggd, and one that isn't of any.

    Raises
    ------
    StorageError
        Where it is newer: that is nothing to be repaired.
    sqlite3.DatabaseError
        Where it is damaged.
    """
    version = base.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise StorageError(
            f"{path} was written by a newer aggd (version {version} of its files, this one reads "
            f"{VERSION}): start the newer aggd, or give this one another storage.state_dir"
        )
    if version < 1:
        raise sqlite3.DatabaseError("it is empty, or no file of aggd")


def is_damage(error: Exception) -> bool:
    """Tell damage from a disk that is full or a file that is in use."""
    # Extended codes, such as that of a damaged index, have the plain one in their low byte.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGE


def proof(*values: int | str) -> int:
    """Checksum of numbers in a row: SQLite has none, and a wrong one looks like a right one."""
    return zlib.crc32(repr(values).encode())


def salvage(path: Path, schema: str, tables: Mapping[str, int]) -> tuple[Path, int]:
    """Put a damaged file aside, and copy what it still gives into a new one.

    Parameters
    ----------
    tables : mapping of str to int
        Tables to copy, and how many columns each has.

    Returns
    -------
    tuple of (Path, int)
        Where the damaged file is now, and how many rows of it were read.
    """
    new, aside = path.with_suffix(".salvaged"), path.with_suffix(".damaged")
    try:
        kept = _copy(path, new, schema, tables)
    except BaseException:
        forget(new)  # there was no room: what is there stays as it is
        raise
    forget(aside)
    _rename(path, aside)
    forget(path)
    _rename(new, path)
    return aside, kept


def _rename(path: Path, to: Path) -> None:
    """Rename a file and its log: what was written last may stand in that alone."""
    for suffix in BESIDE[:2]:
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").replace(f"{to}{suffix}")


def _copy(path: Path, new: Path, schema: str, tables: Mapping[str, int]) -> int:
    """Copy what can be read into a new file; how many rows that were."""
    forget(new)
    kept = 0
    with writing(new, schema) as base, closing(sqlite3.connect(path)) as old:
        for table, columns in tables.items():
            insert = f"INSERT OR IGNORE INTO {table} VALUES ({','.join('?' * columns)})"
            for row in _readable(old, table):
                with suppress(sqlite3.IntegrityError, sqlite3.ProgrammingError):
                    kept += base.execute(insert, row).rowcount
    return kept


def _readable(base: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """Rows of a damaged table: up to the damage, then from its end down to it."""
    last, rows = -(1 << 63), f"SELECT rowid, * FROM {table} NOT INDEXED"
    for order in ("ASC", "DESC"):
        try:
            for row, *columns in base.execute(
                f"{rows} WHERE rowid > {last} ORDER BY rowid {order}"
            ):
                last = row if order == "ASC" else last
                yield tuple(columns)
            return
        except sqlite3.DatabaseError:
            continue


def forget(path: Path) -> None:
    """Unlink a file, and what SQLite keeps beside it."""
    for suffix in BESIDE:
        Path(f"{path}{suffix}").unlink(missing_ok=True)
