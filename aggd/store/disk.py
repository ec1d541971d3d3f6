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
from collections.abc import Iterator, Sequence
from pathlib import Path

from aggd.errors import StorageError
from aggd.store.cache import Cache
from aggd.store.catalogue import Catalogue
from aggd.store.files import Trouble
from aggd.store.rollup import History, Tier
from aggd.store.series import Registry
from aggd.store.shelf import Shelf
from aggd.units import format_duration


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
            Where a file is of a newer version of aggd.
        """
        troubles = [trouble for shelf in self.shelves for trouble in shelf.open()]
        series = max(shelf.series for shelf in self.shelves)
        saved, lost = self.catalogue.load(registry, series)
        return saved, troubles + lost

    def save(self, registry: Registry, history: History) -> None:
        """Write what is new: names first, as the frames refer to them.

        Raises
        ------
        sqlite3.Error, OSError
            Where the disk is full or can't be written; the next call tries all of it again.
        """
        self.catalogue.save_names(registry)
        history.save()

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
    name = tier.name if tier.name != "interval" else f"interval-{format_duration(tier.width)}"
    return directory / name


def restore_levels(history: History, registry: Registry, saved: int, now: int) -> None:
    """Bring gauges and last-seen times up to date from the frames since they were saved."""
    for frame in history.tile(saved, now).frames:
        for section in frame.sections():
            registry.seen(section.series, float(frame.end))
        gauges = frame.gauges
        registry.set_levels(gauges.series, gauges.last, gauges.last_time)
