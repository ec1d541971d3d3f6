"""The past on disk, as a running daemon keeps it: what is written when, and what goes wrong.

    every checkpoint   what is not on disk yet: names, then frames, the open interval included
    every close        the same, after slots became whole; the budget
    every minute       when series were seen, levels of gauges; what is over is rewritten

A disk that is full or can't be written costs nothing while memory lasts: frames wait, and
`/readyz` says so, until a later write succeeds.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future

from aggd import vitals
from aggd.outputs.prometheus import Family
from aggd.store.disk import Disk
from aggd.store.rollup import History
from aggd.store.series import Registry
from aggd.threads import pool_of, watch
from aggd.units import MINUTE, format_size

log = logging.getLogger(__name__)

COMPACT_NICE = 19  # behind everything else


class Storage:
    """A state directory in use.

    Its methods but `reasons` and `figures` are called from one thread.

    Parameters
    ----------
    failed : callable
        Takes the exception that ended the rewriting of what is over, which is always a bug.
    """

    def __init__(
        self,
        disk: Disk,
        registry: Registry,
        history: History,
        failed: Callable[[BaseException], None],
    ) -> None:
        self.disk = disk
        self._registry = registry
        self._history = history
        self._failed = failed
        self._trouble = ""  # why nothing can be written
        self._evicted = 0  # slots that had left memory when that began
        self.failures = 0
        self.writes = vitals.Timing()
        self._minute = 0
        self._compacting = pool_of("aggd-compact", 1, COMPACT_NICE)
        self._compaction: Future[bool] | None = None
        self._stopping = False

    def checkpoint(self) -> bool:
        """Write what is new; whether that worked."""
        if not self._attempt(self._save):
            return False
        for shelf in self.disk.shelves:
            while shelf.troubles:
                trouble = shelf.troubles.pop(0)
                log.error("storage: %s was damaged: %s", trouble.path, trouble.message)
        if self._trouble:
            early = sum(self._history.slots.evicted) - self._evicted
            lost = f"{early} slots left memory for want of room" if early else "nothing was lost"
            log.info("storage: %s can be written again; %s", self.disk.directory, lost)
            self._trouble = ""
        return True

    def _save(self) -> None:
        with self.writes.measure(time.perf_counter):
            self.disk.save(self._registry, self._history)

    def closed(self, boundary: int) -> None:
        """Write what a close made; at every minute what else there is to do."""
        if not self.checkpoint():
            return
        self._attempt(self._shed)
        if boundary // MINUTE != self._minute:
            self._minute = boundary // MINUTE
            self._attempt(self._save_columns, boundary)
            # Not before: what was adopted from them is on disk of its own only now.
            self.disk.forget_others(boundary - self._history.tiers[0].retention)
            self._begin_compaction(boundary)

    def _shed(self) -> None:
        for path in self.disk.shed():
            log.warning(
                "storage.max_bytes is %s: %s had to go", format_size(self.disk.max_bytes), path
            )

    def _save_columns(self, now: int) -> None:
        self.disk.catalogue.save_columns(self._registry, now)

    def _begin_compaction(self, now: int) -> None:
        if self._compaction is None or self._compaction.done():  # else it is behind as it is
            self._compaction = self._compacting.submit(self._attempt, self._compact, now)
            watch(self._compaction, self._failed)

    def _compact(self, now: int) -> None:
        for _ in self.disk.compact(now):
            if self._stopping:
                break

    def finish(self, now: float) -> None:
        """Write everything, and let another process have the directory."""
        self._stopping = True
        if self.checkpoint():
            self._attempt(self._save_columns, int(now))
        else:
            log.error("storage: what is not in %s by now is lost", self.disk.directory)
        self._compacting.shutdown()
        self.disk.release()

    def _attempt(self, what: Callable[..., object], *arguments: int) -> bool:
        """Do what needs the disk; where that fails say so, once, and go on."""
        try:
            what(*arguments)
        except (sqlite3.Error, OSError) as error:
            self.failures += 1
            if not self._trouble:
                self._evicted = sum(self._history.slots.evicted)
                log.error(
                    "storage: %s can't be written: %s; frames stay in memory until it can",
                    self.disk.directory,
                    error,
                )
            self._trouble = str(error)
            return False
        return True

    def reasons(self) -> list[str]:
        """What a person should do something about."""
        found = [f"storage: {self.disk.directory} can't be written: {self._trouble}"]
        return found if self._trouble else []

    def figures(self) -> Iterator[Family]:
        """What is on disk, and what it costs."""
        names = [shelf.directory.name for shelf in self.disk.shelves]
        sizes = dict(zip(names, (shelf.nbytes() for shelf in self.disk.shelves), strict=True))
        slots = dict(zip(names, map(len, self.disk.shelves), strict=True))
        dropped = dict(zip(names, self.disk.forgotten, strict=True))
        damaged = sum(shelf.damaged for shelf in self.disk.shelves)
        yield vitals.by("disk_bytes", "Bytes of files, by tier.", "tier", sizes, "gauge")
        yield vitals.by("disk_slots", "Slots on disk, by tier.", "tier", slots, "gauge")
        yield vitals.by("disk_dropped_files", "Files dropped for room.", "tier", dropped)
        yield vitals.counter("disk_failures", "Writes that failed.", self.failures)
        yield vitals.counter("disk_damaged", "Rows that could not be read.", damaged)
        yield vitals.gauge("disk_cache_bytes", "Bytes read lately.", self.disk.cache.nbytes)
        yield vitals.counter("disk_cache_hits", "Rows found in it.", self.disk.cache.hits)
        yield vitals.counter("disk_cache_misses", "Rows read anew.", self.disk.cache.misses)
        yield from self.writes.families("write", "Time to write what is new.")
