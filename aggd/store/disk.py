"""The state directory: a shelf for each tier, the catalogue, and who uses it.

    state_dir/
      lock                     held by the daemon that runs; says which
      catalogue.db             what series are called
      interval-10s/2026-11-24T08.db  ...
      minute/2026-11-24.db  ...  hour/  day/

A copy of the directory, or of single files, is a backup.
"""

import fcntl
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from aggd.errors import StorageError
from aggd.store.cache import Cache
from aggd.store.catalogue import Catalogue
from aggd.store.files import Trouble
from aggd.store.fold import OPEN_SIZE
from aggd.store.frame import frozen, packed
from aggd.store.merge import merge
from aggd.store.ring import held
from aggd.store.rollup import FOREVER, History, Tier
from aggd.store.series import Registry
from aggd.store.shelf import Shelf
from aggd.units import DAY, MINUTE, format_duration, parse_duration

WEEK = 7 * DAY
INTERVAL = "interval-"  # and the length: the folder of a finest tier
ADOPTED = 1 << 30  # parts: more than a slot gathers, so that it stands alone until that closes


class Disk:
    """Everything in one state directory.

    Parameters
    ----------
    directory : Path
        Made where it isn't there.
    tiers : sequence of Tier
        Finest first.
    max_bytes, cache_bytes : int
        Budgets: of all files, and of what was read lately and is kept in memory.
    """

    def __init__(
        self, directory: Path, tiers: Sequence[Tier], max_bytes: int, cache_bytes: int
    ) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self.cache = Cache(cache_bytes)
        self.catalogue = Catalogue(directory / "catalogue.db")
        self.shelves = [
            Shelf(
                folder(directory, tier),
                tier.width,
                max(1, tier.retention // tier.width),
                self.cache,
            )
            for tier in tiers
        ]
        self.others: list[Shelf] = []  # that were kept when intervals had another length
        self.forgotten: list[int] = [0] * len(tiers)  # files that left for want of room
        self._lock: int | None = None

    def hold(self, holder: str) -> None:
        """Take the directory for this process.

        Raises
        ------
        StorageError
            Where another one has it, or it can't be written.
        """
        path = self.directory / "lock"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(
                f"storage.state_dir: {self.directory} can't be used: {error.strerror}; "
                "choose a directory that aggd may write to"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(descriptor, 200, 0).decode(errors="replace")
            os.close(descriptor)
            raise StorageError(
                f"storage.state_dir: {self.directory} is in use by {other or 'another process'}; "
                "stop it, take over from it with --takeover, or choose another directory"
            ) from None
        with suppress(OSError):  # a full disk: who holds it can't be said, but it is held
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, holder.encode(), 0)
        self._lock = descriptor

    def release(self) -> None:
        """Let another process have the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def open(self, registry: Registry) -> tuple[int, list[Trouble]]:
        """Read what there is, but for the frames; when gauges were saved, and what was lost.

        Raises
        ------
        StorageError
            Where a file is of a newer version of aggd, or can't be read just now.
        """
        try:
            self.others = list(self._others())
            every = [*self.shelves, *self.others]
            troubles = [trouble for shelf in every for trouble in shelf.open()]
            series = max(shelf.series for shelf in every)
            saved, lost = self.catalogue.load(registry, series)
        except (sqlite3.Error, OSError) as error:
            raise StorageError(
                f"storage.state_dir: {self.directory} can't be read: {error}; "
                "see that the disk has room and that aggd may write to it"
            ) from error
        return saved, troubles + lost

    def _others(self) -> Iterator[Shelf]:
        """Intervals of another length, as a daemon before left them."""
        for path in sorted(self.directory.glob(f"{INTERVAL}*")):
            width = interval_in(path)
            if width and path != self.shelves[0].directory and MINUTE % width == 0:
                yield Shelf(path, width, sys.maxsize, self.cache)

    def restore(self, registry: Registry, history: History, saved: int, now: int) -> None:
        """Bring gauges up to date; what was left to be rolled up the first close does."""
        for other in self.others:
            adopt(history, other)
        restore_levels(history, registry, saved, now)

    def forget_others(self, before: int) -> None:
        """Let intervals of another length go that all ended by `before`."""
        for shelf in self.others:
            if not shelf.starts(before, FOREVER):
                shutil.rmtree(shelf.directory, ignore_errors=True)

    def save(self, registry: Registry, history: History) -> None:
        """Write what is new: names first, as the frames refer to them.

        Raises
        ------
        sqlite3.Error, OSError
            Where the disk is full or can't be written; the next call tries all of it again.
        """
        self.catalogue.save_names(registry)
        history.save()
        self.catalogue.save_names(registry)  # of series that frames have had since

    def shed(self) -> list[Path]:
        """Keep to the budget: the oldest file of the finest tier goes first; those that went."""
        gone: list[Path] = []
        while self.nbytes() > self.max_bytes:
            for tier, shelf in enumerate(self.shelves):
                if path := shelf.drop_file():
                    gone.append(path)
                    self.forgotten[tier] += 1
                    break
            else:
                break
        return gone

    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(shelf.nbytes() for shelf in self.shelves)

    def compact(self, now: int) -> Iterator[None]:
        """Rewrite what is over, a little at each step."""
        for shelf in self.shelves:
            yield from shelf.compact(now)


def folder(directory: Path, tier: Tier) -> Path:
    """Where a tier's files are; intervals of another length have a place of their own."""
    name = tier.name if tier.name != "interval" else f"{INTERVAL}{format_duration(tier.width)}"
    return directory / name


def interval_in(path: Path) -> int:
    """Seconds of a slot in a folder that `folder` named after them; 0 where it is another one."""
    try:
        return int(parse_duration(path.name.removeprefix(INTERVAL)))
    except ValueError:
        return 0


def adopt(history: History, other: Shelf) -> None:
    """Take in what intervals of another length hold that no minute has yet.

    It stays theirs until its minute closes, and is written with that: so a crash between the
    two makes nothing count twice.
    """
    starts = other.starts(0, FOREVER)
    if not starts:
        return
    minute = [tier.name for tier in history.tiers].index("minute")
    end = min(starts[-1] + other.width, history.rings[0].horizon)
    if minute:  # our own intervals begin where those end
        history.shelves[0].horizon = max(history.shelves[0].horizon, end)
    for tier in range(minute, len(history.rings)):
        if not history.shelves[tier].closed:
            width = history.rings[tier].width
            history.closed[tier] = min(history.closed[tier], starts[0] - starts[0] % width)
    for start in sorted({start - start % MINUTE for start in starts}):
        if start >= history.closed[minute]:
            slots = other.starts(start, start + MINUTE)
            parts = {part for slot in slots for part in other.parts(slot)}
            frames = other.read(start, start + MINUTE, parts)
            frame = merge(frames, start, MINUTE, size=OPEN_SIZE, keep=False)
            history.rings[minute].append(held(frozen(packed(frame)), ADOPTED, saved=True))


def restore_levels(history: History, registry: Registry, saved: int, now: int) -> None:
    """Bring gauges, and when series were seen, up to date from the frames since they were saved.

    Where nobody knows when that was, a week of frames has to do.
    """
    oldest = history.oldest()
    if oldest is None:
        return
    ends = [starts[-1] + s.width for s in history.shelves if (starts := s.starts(0, FOREVER))]
    newest = max(ends, default=oldest)
    # What was received before levels were saved may have been folded, and written, after that.
    start = max(saved - MINUTE, oldest, newest - WEEK)
    # A slot that isn't over is on disk after a crash, and later ones where the clock went back.
    end = max(newest, now + 1)
    for day in range(start - start % DAY, end, DAY):  # bounds what is read at once
        _restore_levels(history, registry, max(day, start), min(day + DAY, end), now)
    # Points of long ago, under names that came after the columns were written.
    unseen = np.flatnonzero(registry.first_seen[: len(registry.entries(0))] == 0)
    registry.first_seen[unseen] = registry.last_seen[unseen] = saved or now


def _restore_levels(history: History, registry: Registry, start: int, end: int, now: int) -> None:
    for frame in history.tile(start, end).frames:
        for section in frame.sections():
            registry.seen(section.series, float(min(frame.start, now)))  # at the earliest
            first = registry.first_seen
            new = section.series[first[section.series] == 0]
            first[new] = frame.start  # named since the catalogue was last written
        gauges = frame.gauges
        registry.set_levels(gauges.series, gauges.last, gauges.last_time)
