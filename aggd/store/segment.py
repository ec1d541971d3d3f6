"""One file of a tier: what stands in its tables, and how it comes and goes.

    parts    start, part, proof               what there is: a slot may have several
    frames   part, kind, first, start, data   as they closed: the rows of SLICE series
    blocks   kind, first, unit, data          a unit of slots that is over: few series, all slots
    meta     key, value, proof                closed, horizon, series, next

Rows are numbered once and for all, as the cache knows them by their number.  SQLite has no
checksums: blobs have their own, with slot and part inside, and the numbers that everything
rests on have a `proof`.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from aggd.errors import StorageError
from aggd.store.blocks import BLOCK, SLICE, Asked, Stored, among, belongs, slices
from aggd.store.codec import decode
from aggd.store.files import check_version, connect, proof
from aggd.store.frame import Frame, Section
from aggd.store.series import Kind

SCHEMA = """
CREATE TABLE parts (start INTEGER NOT NULL, part INTEGER PRIMARY KEY, proof INTEGER NOT NULL);
CREATE TABLE frames (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    part INTEGER NOT NULL, kind INTEGER NOT NULL, first INTEGER NOT NULL,
    start INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX frames_of_part ON frames (part);
CREATE INDEX frames_of_series ON frames (kind, first, start);
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL, first INTEGER NOT NULL, unit INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX blocks_of_series ON blocks (kind, first, unit);
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL, proof INTEGER NOT NULL);
"""
TABLES = {"parts": 3, "frames": 6, "blocks": 5, "meta": 3}


class Change(NamedTuple):
    """A frame to be written, the part it becomes, and the parts it takes the place of."""

    number: int
    frame: Frame
    parts: tuple[int, ...]


def listing(path: Path) -> tuple[list[tuple[int, int]], dict[str, int]]:
    """Start and number of every part, and what `mark` noted.

    Raises
    ------
    sqlite3.DatabaseError
        Where some of it can't be proven.
    StorageError
        Where the file is of a newer version of aggd.
    """
    with closing(connect(path)) as base:
        check_version(base, path)
        rows = base.execute("SELECT start, part, proof FROM parts ORDER BY part").fetchall()
        marks = base.execute("SELECT key, value, proof FROM meta").fetchall()
    if not all(proof(*values) == mark for *values, mark in rows + marks):
        raise sqlite3.DatabaseError("its list of parts is damaged")
    return [(start, part) for start, part, _ in rows], {key: value for key, value, _ in marks}


def repair(base: sqlite3.Connection, width: int) -> None:
    """List what is there and leave out what can't be proven."""
    base.create_function("proof", -1, proof, deterministic=True)
    base.execute("DELETE FROM parts WHERE proof IS NOT proof(start, part)")
    base.execute("DELETE FROM meta WHERE proof IS NOT proof(key, value)")
    rows = base.execute("SELECT start, part, data FROM frames").fetchall()
    good = {(start, part) for start, part, data in rows if sound(start, part, data)}
    listed = [(start, part, proof(start, part)) for start, part in good]
    base.executemany("INSERT OR IGNORE INTO parts VALUES (?, ?, ?)", listed)
    # A slot that is rolled up twice is wrong, one that never is has gaps: those are known.
    shut = base.execute("SELECT max(start) FROM parts").fetchone()[0]
    if shut is not None:
        shut += width
        base.execute(
            "INSERT OR IGNORE INTO meta VALUES ('closed', ?, ?)", (shut, proof("closed", shut))
        )


def put(base: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """Write frames, and let what they take the place of go."""
    rows = [
        (change.number, int(kind), first, change.frame.start, data)
        for change in changes
        for kind, first, data in slices(change.frame, change.number)
    ]
    gone = [(part,) for change in changes for part in change.parts]
    base.executemany("DELETE FROM parts WHERE part = ?", gone)
    base.executemany("DELETE FROM frames WHERE part = ?", gone)
    listed = [(change.frame.start, change.number) for change in changes]
    proven = [(*numbers, proof(*numbers)) for numbers in listed]
    base.executemany("INSERT INTO parts VALUES (?, ?, ?)", proven)
    base.executemany(
        "INSERT INTO frames (part, kind, first, start, data) VALUES (?, ?, ?, ?, ?)", rows
    )


def mark(base: sqlite3.Connection, marks: Mapping[str, int]) -> None:
    """Note how far a tier is closed, and other numbers of it."""
    rows = [(*of, proof(*of)) for of in marks.items()]
    base.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", rows)


def frames_of(base: sqlite3.Connection, asked: Asked, kind: Kind) -> list[tuple[int, int, int]]:
    """Start, part and number of the rows of `frames` that are asked for."""
    found = base.execute(
        "SELECT start, part, id FROM frames "
        f"WHERE kind = ? AND start BETWEEN ? AND ? {among(asked.ids, SLICE)}",
        (int(kind), asked.start, asked.last),
    ).fetchall()
    live = set(asked.parts.tolist())
    return [row for row in found if row[1] in live]


def blocks_of(base: sqlite3.Connection, asked: Asked, kind: Kind, unit: int) -> list[int]:
    """Numbers of the rows of `blocks` that may hold what is asked for."""
    first = asked.start - asked.start % unit
    found = base.execute(
        "SELECT id FROM blocks "
        f"WHERE kind = ? AND unit BETWEEN ? AND ? {among(asked.ids, BLOCK[kind])}",
        (int(kind), first, asked.last),
    )
    return [row for (row,) in found]


def over(path: Path, unit: int, before: int) -> list[tuple[int, int, int]]:
    """Kinds, first series and units of `unit` seconds with frames that ended by `before`."""
    with closing(connect(path)) as base:
        return base.execute(
            "SELECT DISTINCT kind, first, start - start % ? AS unit FROM frames "
            "WHERE unit + ? <= ? AND kind IN (0, 1, 2, 3)",
            (unit, unit, before),
        ).fetchall()


def stored(path: Path, kind: Kind, first: int, span: range) -> tuple[list[Stored], list[int]]:
    """Rows of some series in a span of time that are sound, and the numbers of all of them."""
    with closing(connect(path)) as base:
        rows = base.execute(
            "SELECT id, start, part, data FROM frames "
            "WHERE kind = ? AND first = ? AND start >= ? AND start < ?",
            (int(kind), first, span.start, span.stop),
        ).fetchall()
    read = [(start, part, sound(start, part, data)) for _, start, part, data in rows]
    good = [Stored(start, part, found) for start, part, found in read if found]
    return good, [row for row, *_ in rows]


def move(
    base: sqlite3.Connection, blocks: Sequence[tuple[int, int, int, bytes]], rows: Sequence[int]
) -> None:
    """Put blocks in the place of rows of frames."""
    base.executemany("INSERT INTO blocks (kind, first, unit, data) VALUES (?, ?, ?, ?)", blocks)
    base.executemany("DELETE FROM frames WHERE id = ?", [(row,) for row in rows])


def sound(start: int, part: int, data: bytes) -> Section | None:
    """The rows of a slice; None where it is damaged."""
    try:
        section, columns = decode(data)
    except StorageError:
        return None
    return section if belongs(columns, start, part) else None


def ids_end(frame: Frame) -> int:
    """One more than the largest id in a frame."""
    ids = [int(section.series[-1]) for section in frame.sections() if section.series.size]
    return max(ids, default=-1) + 1
