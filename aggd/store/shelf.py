"""Frames of one tier on disk, in SQLite files of one period each.

    minute/2026-11-24.db   parts, frames, blocks, meta: see `segment`

A part is what one frame became; its number is never used again.  A frame is written in one
transaction as it closes.  When the unit of its slot is over (an hour of minutes, a day
of hours), its rows are rewritten so that one series over a week reads a few blocks.
Only what `parts` lists counts: what a block holds beside it is dead.

Every file is a database of its own, so forgetting the oldest is unlinking a file, and a
copy of a file is a backup.  `closed` is written with the frames: were it apart, a crash
between the two could roll a slot up twice.
"""

import sqlite3
from bisect import bisect_left, insort
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aggd.store.blocks import Asked, blocks
from aggd.store.cache import Cache
from aggd.store.files import Trouble, connect, forget, is_damage, salvage, writing
from aggd.store.frame import Frame, Ids
from aggd.store.reader import Reader
from aggd.store.segment import (
    SCHEMA,
    TABLES,
    Change,
    ids_end,
    listing,
    mark,
    move,
    over,
    put,
    repair,
    stored,
)
from aggd.store.series import Kind
from aggd.units import DAY, HOUR

SPANS = (HOUR, DAY, 30 * DAY, 360 * DAY)  # each divides the next
SLOTS_A_FILE, SLOTS_A_UNIT = 300, 20  # at least
LOST = 1 << 20  # numbers of parts passed over where some that were used may be unknown


class Wanted(NamedTuple):
    """The series a question is about, which is all that is read from disk."""

    kind: Kind
    ids: Ids


class Shelf:
    """The slots of one tier that are on disk.

    One thread writes at a time; any thread reads.

    Attributes
    ----------
    horizon : int
        Everything from this second on is still here, in seconds since the epoch.
    closed : int
        Slots that ended before are complete: what their tier had closed when it wrote last.
    series : int
        All ids of series in its frames are below it.
    """

    def __init__(self, directory: Path, width: int, capacity: int, cache: Cache) -> None:
        self.directory = directory
        self.width = width
        self.capacity = capacity
        self.period = next(s for s in SPANS if s >= SLOTS_A_FILE * width or s == SPANS[-1])
        self.unit = next(s for s in SPANS if s >= SLOTS_A_UNIT * width)
        self.horizon = 0
        self.closed = 0
        self.series = 0
        self.troubles: list[Trouble] = []  # files that were set aside while they were written
        self._reader = Reader(width, self.unit, cache)
        self._parts: dict[int, tuple[int, ...]] = {}
        self._live: set[int] = set()
        self._starts: list[int] = []
        self._next = 1

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def damaged(self) -> int:
        """Rows, or whole files, that could not be read."""
        return self._reader.damaged

    def open(self) -> list[Trouble]:
        """Find out what there is; what can't be read is set aside.

        Raises
        ------
        StorageError
            Where a file is of a newer version of aggd.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        troubles = []
        for path in self.files():
            try:
                self._enter(path)
            except sqlite3.OperationalError:
                raise  # a full disk, or a lock: the file itself may be sound
            except sqlite3.DatabaseError as error:
                troubles.append(self._salvage(path, error))
        while len(self) > self.capacity:
            self.drop_oldest()
        return troubles

    def look(self) -> list[Trouble]:
        """Find out what there is and change nothing, as another process may be at work.

        Raises
        ------
        StorageError
            Where a file is of a newer version of aggd.
        """
        troubles = []
        for path in self.files():
            try:
                self._enter(path)
            except FileNotFoundError:
                continue  # forgotten meanwhile
            except sqlite3.DatabaseError as error:
                troubles.append(Trouble(path, str(error)))
        return troubles

    def look_again(self, start: int) -> None:
        """Find out anew what the file of a slot holds, which another process writes to."""
        self._leave(self.path(start))
        with suppress(FileNotFoundError):
            self._enter(self.path(start))

    def listed(self, start: int, end: int) -> set[int]:
        """Parts that the file of a slot lists for ``[start, end)`` now, whoever wrote them."""
        try:
            with closing(connect(self.path(start))) as base:
                rows = base.execute(
                    "SELECT part FROM parts WHERE start >= ? AND start < ?", (start, end)
                ).fetchall()
        except FileNotFoundError:
            return set()
        return {part for (part,) in rows}

    def files(self) -> list[Path]:
        """The files there are, oldest first."""
        return sorted(self.directory.glob("*.db"))

    def _enter(self, path: Path) -> None:
        rows, marks = listing(path)
        for start, part in rows:
            self._note(start, part)
        self._next = max(self._next, marks.get("next", 0), *(part + 1 for _, part in rows), 1)
        self.closed = max(self.closed, marks.get("closed", 0))
        self.horizon = max(self.horizon, marks.get("horizon", 0))
        self.series = max(self.series, marks.get("series", 0))

    def _note(self, start: int, part: int) -> None:
        if start not in self._parts:
            insort(self._starts, start)
        self._parts[start] = (*self._parts.get(start, ()), part)
        self._live.add(part)

    def _leave(self, path: Path) -> None:
        """Forget what a file holds."""
        for slot in [slot for slot in self._starts if self.path(slot) == path]:
            self._starts.remove(slot)
            self._live.difference_update(self._parts.pop(slot))

    def _salvage(self, path: Path, error: sqlite3.DatabaseError) -> Trouble:
        aside, kept = salvage(path, SCHEMA, TABLES)
        self._reader.forget()
        self._leave(path)
        with writing(path, SCHEMA) as base:
            repair(base, self.width)
        self._enter(path)
        self._next += LOST
        return Trouble(aside, f"{error}; {kept} of its rows were read and are kept in {path.name}")

    def path(self, start: int) -> Path:
        """File of a slot."""
        begin = datetime.fromtimestamp(start - start % self.period, UTC)
        form = "%Y-%m-%d" if self.period % DAY == 0 else "%Y-%m-%dT%H"
        return self.directory / f"{begin.strftime(form)}.db"

    def starts(self, start: int, end: int) -> list[int]:
        """Starts of the slots that overlap ``[start, end)``, ascending."""
        first = bisect_left(self._starts, start - start % self.width)
        return self._starts[first : bisect_left(self._starts, end)] if start < end else []

    def parts(self, start: int) -> tuple[int, ...]:
        """Numbers of what there is of a slot."""
        return self._parts.get(start, ())

    def oldest(self) -> int | None:
        """Start of the oldest slot."""
        return self._starts[0] if self._starts else None

    def number(self) -> int:
        """A number for a part that will be saved."""
        self._next += 1
        return self._next - 1

    def save(self, closed: int, changes: Sequence[Change]) -> None:
        """Write frames, a transaction a file; where there is none, only how far it is closed.

        Raises
        ------
        sqlite3.Error, OSError
            Where the disk is full or can't be written: then nothing of that file has changed.
        """
        self.closed = max(self.closed, closed)
        self.series = max([self.series, *(ids_end(change.frame) for change in changes)])
        files: dict[Path, list[Change]] = {}
        if not changes and self.closed:
            files[self.path(self._starts[-1] if self._starts else self.closed - self.width)] = []
        for change in changes:
            files.setdefault(self.path(change.frame.start), []).append(change)
        for path, inside in files.items():
            try:
                self._write(path, inside)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self.troubles.append(self._salvage(path, error))
                self._write(path, inside)
            for change in inside:
                self._replace(change)
        while len(self) > self.capacity:
            self.drop_oldest()

    def close(self, closed: int) -> None:
        """Note that slots are complete up to here, where there are any.

        Raises
        ------
        sqlite3.Error, OSError
            Where the disk is full or can't be written.
        """
        self.closed = max(self.closed, closed)
        if self._starts:
            with writing(self.path(self._starts[-1]), SCHEMA) as base:
                mark(base, self._marks())

    def _write(self, path: Path, changes: list[Change]) -> None:
        if path in self._reader.wrecks and path.exists():
            error = sqlite3.DatabaseError("some of it could not be read")
            self.troubles.append(self._salvage(path, error))
            self._reader.wrecks.discard(path)
        with writing(path, SCHEMA) as base:
            put(base, changes)
            mark(base, self._marks())

    def _marks(self) -> dict[str, int]:
        return {
            "closed": self.closed, "horizon": self.horizon,
            "series": self.series, "next": self._next,
        }  # fmt: skip

    def _replace(self, change: Change) -> None:
        start = change.frame.start
        self._note(start, change.number)
        self._parts[start] = tuple(p for p in self._parts[start] if p not in change.parts)
        self._live.difference_update(change.parts)

    def has(self, parts: Collection[int]) -> bool:
        """Tell whether all these parts are still here, as they were."""
        return self._live.issuperset(parts)

    def takes(self, start: int) -> bool:
        """Tell whether a frame for this slot would be kept."""
        if start < self.horizon:
            return start in self._parts
        return len(self) < self.capacity or start in self._parts or start > self._starts[0]

    def refuse(self, start: int) -> None:
        """Note that a frame for this slot came too late to be kept."""
        self.horizon = max(self.horizon, start + self.width)

    def read(
        self, start: int, end: int, parts: Collection[int], wanted: Wanted | None = None
    ) -> list[Frame]:
        """Read some parts of the slots in ``[start, end)``, in pieces, oldest first.

        Where only some series are wanted, others may come with them.
        """
        return [frame for _, frame in self.read_parts(start, end, parts, wanted)]

    def read_parts(
        self, start: int, end: int, parts: Collection[int], wanted: Wanted | None = None
    ) -> list[tuple[int, Frame]]:
        """Read like `read`, each piece with the part it is of."""
        slots = self.starts(start, end) if parts else []
        if not slots:
            return []
        ids = None if wanted is None else wanted.ids
        asked = Asked(slots[0], slots[-1], np.array(sorted(parts), np.int64), ids)
        kinds = tuple(Kind) if wanted is None else (wanted.kind,)
        pieces: list[tuple[int, Frame]] = []
        for period in dict.fromkeys(slot // self.period for slot in slots):
            for kind in kinds:
                pieces += self._reader.pieces(self.path(period * self.period), asked, kind)
        return sorted(pieces, key=lambda piece: piece[1].start)

    def drop_oldest(self) -> int:
        """Let the oldest slot go, and its file with the last of its slots."""
        start = self._starts.pop(0)
        self._live.difference_update(self._parts.pop(start))
        self.horizon = max(self.horizon, start + self.width)
        path = self.path(start)
        if not self._starts or self.path(self._starts[0]) != path:
            self._forget(path)
        return start

    def _forget(self, path: Path) -> None:
        """Unlink a file, and remember in the newest that nothing so old is here."""
        if self._starts:  # on a full disk the next save does it
            newest = self.path(self._starts[-1])
            with suppress(sqlite3.Error, OSError), writing(newest, SCHEMA, made=False) as base:
                mark(base, self._marks())
        forget(path)
        self._reader.forget()

    def drop_file(self) -> Path | None:
        """Let all slots of the oldest file go, if there is a newer one."""
        if not self._starts or self.path(self._starts[0]) == self.path(self._starts[-1]):
            return None
        path = self.path(self._starts[0])
        while self.path(self._starts[0]) == path:
            self.drop_oldest()
        return path

    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(_size(path) for path in self.directory.glob("*.db*"))

    def compact(self, before: int) -> Iterator[None]:
        """Rewrite the units that ended by `before`, a slice of series at each step."""
        if self.capacity * self.width < 2 * self.unit:
            return  # it would be forgotten at once
        for path in self.files():
            try:
                for kind, first, unit in over(path, self.unit, before):
                    self._compact(path, Kind(kind), first, unit)
                    yield
            except FileNotFoundError:
                continue  # forgotten meanwhile
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._reader.damaged += 1
                self._reader.wrecks.add(path)

    def _compact(self, path: Path, kind: Kind, first: int, unit: int) -> None:
        """Move the rows of some series in one unit from frames to blocks."""
        found, rows = stored(path, kind, first, range(unit, unit + self.unit))
        self._reader.damaged += len(rows) - len(found)
        moved = blocks(found, kind, unit) if found else []
        with writing(path, SCHEMA, made=False) as base:
            move(base, moved, rows)

    def _check(self) -> None:
        assert self._starts == sorted(self._parts)
        assert len(self) <= self.capacity
        every = [part for parts in self._parts.values() for part in parts]
        assert all(self._parts.values())
        assert len(every) == len(self._live)
        assert self._live == set(every)
        assert all(0 < part < self._next for part in every)
        assert all(start % self.width == 0 for start in self._starts)
        listed: set[tuple[int, int]] = set()
        for path in {self.path(start) for start in self._starts}:
            with closing(connect(path)) as base:
                listed.update(base.execute("SELECT start, part FROM parts"))
        known = {(start, part) for start, parts in self._parts.items() for part in parts}
        assert {row for row in listed if row[0] in self._parts} == known


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # SQLite has tidied up
        return 0
