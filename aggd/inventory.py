"""What a state directory holds, whether all of it is sound, and what it will take when full.

A tier's bytes a slot are those of its newest unit, in which slots stand as they will
stay, and of the slots since; times the slots it keeps, that is what the present load
takes.  Past `storage.max_bytes` the oldest of the finest tier goes first, so coarser
tiers have what they need, and the finest what is left.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from aggd.backup import CATALOGUE, Source
from aggd.protocol.times import format_time
from aggd.store import audit
from aggd.store.audit import Fault, Reading
from aggd.store.catalogue import Catalogue
from aggd.store.files import connect
from aggd.store.rollup import FOREVER, Tier
from aggd.store.series import Limits, Registry
from aggd.store.shelf import Shelf

ENOUGH = 20  # slots that tell what one takes


class Stock(NamedTuple):
    """One tier on disk; times in seconds since the epoch, sizes in bytes."""

    name: str  # of its folder
    width: int
    slots: int
    capacity: int
    start: int | None
    end: int | None
    files: int
    nbytes: int
    slot_nbytes: float  # of one of the newest slots; 0 where there are none
    series: int  # in the newest slot

    @property
    def full_nbytes(self) -> int:
        """What all slots that are kept take at the present load."""
        return round(self.slot_nbytes * self.capacity)


class Reach(NamedTuple):
    """How far back a tier goes when the directory is full: seconds, and the bytes for it."""

    seconds: int
    nbytes: int


def stocks(source: Source) -> list[Stock]:
    """All tiers of a directory, finest first."""
    every = zip(source.tiers, source.shelves, strict=True)
    return [_stock(source, tier, shelf) for tier, shelf in every]


def _stock(source: Source, tier: Tier, shelf: Shelf) -> Stock:
    starts = shelf.starts(0, FOREVER)
    return Stock(
        shelf.directory.name,
        tier.width,
        len(shelf),
        tier.slots,
        starts[0] if starts else None,
        starts[-1] + tier.width if starts else None,
        len(shelf.files()),
        shelf.nbytes(),
        _slot_nbytes(shelf, starts),
        _series(shelf, starts[-1]) if starts else 0,
    )


def _series(shelf: Shelf, start: int) -> int:
    """How many series a slot has."""
    pieces = shelf.read(start, start + shelf.width, shelf.parts(start))
    ids = [section.series for frame in pieces for section in frame.sections()]
    return len({series for some in ids for series in some.tolist()})


def _slot_nbytes(shelf: Shelf, starts: Sequence[int]) -> float:
    """Bytes that one of the newest slots takes of its file, all that SQLite needs included."""
    taken, slots = 0.0, 0
    for unit in sorted({start - start % shelf.unit for start in starts}, reverse=True)[:2]:
        taken += _unit_nbytes(shelf, unit)
        slots += len(shelf.starts(unit, unit + shelf.unit))
        if slots >= ENOUGH:
            break
    return taken / slots if slots else 0.0


def _unit_nbytes(shelf: Shelf, unit: int) -> float:
    """What a unit takes of its file: its share of all rows."""
    path = shelf.path(unit)
    try:
        with closing(connect(path)) as base:
            (whole,) = base.execute(
                "SELECT (SELECT total(length(data)) FROM frames)"
                " + (SELECT total(length(data)) FROM blocks)"
            ).fetchone()
            (share,) = base.execute(
                "SELECT (SELECT total(length(data)) FROM frames WHERE start >= ? AND start < ?)"
                " + (SELECT total(length(data)) FROM blocks WHERE unit = ?)",
                (unit, unit + shelf.unit, unit),
            ).fetchone()
    except (FileNotFoundError, sqlite3.DatabaseError):
        return 0.0
    return float(path.stat().st_size * share / whole) if whole else 0.0


def reaches(kept: Sequence[Stock], max_bytes: int) -> list[Reach]:
    """How far back each tier goes within a budget, at the present load."""
    found, left = [], max_bytes
    for stock in reversed(kept):
        nbytes = min(stock.full_nbytes, left)
        slots = nbytes / stock.slot_nbytes if stock.slot_nbytes else stock.capacity
        found.append(Reach(round(slots) * stock.width, nbytes))
        left -= nbytes
    return found[::-1]


def readings(source: Source) -> Iterator[Reading]:
    """Read every row of every file, the catalogue first."""
    path = source.directory / CATALOGUE
    known = Registry(Limits())
    troubles = Catalogue(path).look(known, 0)
    # Where it can't be read that is the fault, not every id.
    series = FOREVER if troubles else len(known.entries(0))
    if path.exists():
        yield from audit.catalogue(path)
    for shelf in source.shelves:
        for file in shelf.files():
            yield from audit.frames(shelf, file, series)


def nbytes(source: Source) -> int:
    """Bytes of all that `readings` reads."""
    path = source.directory / CATALOGUE
    catalogue = path.stat().st_size if path.exists() else 0
    return catalogue + sum(shelf.nbytes() for shelf in source.shelves)


def answer(source: Source, max_bytes: int) -> dict[str, Any]:
    """What `stocks` finds, with the estimate, as JSON has it."""
    kept = stocks(source)
    found = zip(kept, reaches(kept, max_bytes), strict=True)
    return {
        "directory": str(source.directory),
        "tiers": [_shown(stock, reach) for stock, reach in found],
        "bytes": sum(stock.nbytes for stock in kept),
        "max_bytes": max_bytes,
        "full_bytes": sum(stock.full_nbytes for stock in kept),
    }


def _shown(stock: Stock, reach: Reach) -> dict[str, Any]:
    return {
        "tier": stock.name,
        "width": stock.width,
        "slots": stock.slots,
        "capacity": stock.capacity,
        "from": None if stock.start is None else format_time(stock.start),
        "to": None if stock.end is None else format_time(stock.end),
        "files": stock.files,
        "bytes": stock.nbytes,
        "slot_bytes": round(stock.slot_nbytes),
        "series": stock.series,
        "full_bytes": stock.full_nbytes,
        "reach": reach.seconds,
    }


def verified(source: Source, done: Callable[[float], None]) -> dict[str, Any]:
    """What `readings` finds, as JSON has it; tells the fraction that is done."""
    rows, read, whole = 0, 0, max(1, nbytes(source))
    faults: list[Fault] = []
    for reading in readings(source):
        rows += reading.nbytes > 0
        read += reading.nbytes
        faults += reading.faults
        done(min(1.0, read / whole))
    done(1.0)  # what SQLite needs beside the rows isn't counted
    return {
        "directory": str(source.directory),
        "rows": rows,
        "bytes": read,
        "faults": [_told(fault) for fault in faults],
    }


def _told(fault: Fault) -> dict[str, Any]:
    slot = None if fault.slot is None else format_time(fault.slot)
    return {"file": str(fault.path), "slot": slot, "message": fault.message}
