"""Rows of elsewhere into a state directory that no daemon uses.

    rows, sections --batch--> parts of the tier of their width --end of a file--> rolled up

A row joins its slot as a point that comes late does, beside what is there.  What a file
has no coarser slot for is rolled up from the finer ones it brought: an export of minutes
alone, or one made before an hour was over, answers questions about days all the same.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aggd.backup import Source, Step, groups
from aggd.config import Config
from aggd.errors import ProtocolError
from aggd.protocol.names import CONTROLS
from aggd.protocol.times import format_time, parse_time
from aggd.retention import limits, tiers
from aggd.store.archive import Row, checked, frame_of, joined, normal_tags, renumbered
from aggd.store.disk import Disk
from aggd.store.files import Trouble
from aggd.store.frame import Frame, Ids, Section, frozen, only
from aggd.store.rollup import History
from aggd.store.segment import Change
from aggd.store.series import OVERFLOW, Kind, Registry
from aggd.store.shelf import Wanted
from aggd.units import MIB, format_size

ROWS, POINTS = 1 << 15, 1 << 20  # of a batch
WRITTEN = 32 * MIB  # bytes of frames that are written at a time
Slot = tuple[int, Kind, int]  # number of a tier, kind, start


@dataclass(slots=True)
class Counts:
    """What became of rows."""

    taken: int = 0
    held: int = 0  # their slots had the series already
    late: int = 0  # older than what their tier keeps


@dataclass(slots=True)
class _Batch:
    """Rows of one slot that wait, and their series."""

    rows: list[Row] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)


@contextmanager
def restoring(
    directory: Path, config: Config, now: int, merging: bool = False
) -> "Iterator[Restoration]":
    """Hold a state directory, and bring it up to date as a daemon that starts does.

    What was taken when the block is left, by an exception too, is rolled up and kept.

    Raises
    ------
    StorageError
        Where a daemon uses it, or it can't be used.
    sqlite3.Error, OSError
        Where the disk is full or can't be written.
    """
    disk = Disk(directory, tiers(config), config.storage.max_bytes, config.storage.cache)
    disk.hold(f"aggd import with process id {os.getpid()}")
    try:
        registry = Registry(limits(config))
        saved, troubles = disk.open(registry)
        budgets = config.limits.frames_memory, config.limits.samples_memory
        history = History(tiers(config), *budgets, now, disk.shelves)
        disk.restore(registry, history, saved, now)
        # What is imported counts as late: no slot that is over may still be rolled up over it.
        history.close(now - now % history.width)
        disk.save(registry, history)
        restoration = Restoration(disk, registry, history.closed, now, merging)
        restoration.troubles = troubles
        try:
            yield restoration
        finally:
            restoration.finish()
    finally:
        disk.release()


class Restoration:
    """An import under way.

    Parameters
    ----------
    disk : Disk
        Held, opened, and with all slots rolled up that were over by `now`.
    closed : list of int
        Up to where each tier is complete, in seconds since the epoch.
    merging : bool
        Add to slots that have a series already, instead of passing over those rows.

    Attributes
    ----------
    counts : Counts
        Of all that was given so far.
    shed : list of Path
        Files that had to go as the directory is over its budget.
    """

    def __init__(
        self, disk: Disk, registry: Registry, closed: list[int], now: int, merging: bool
    ) -> None:
        self.counts = Counts()
        self.troubles: list[Trouble] = []
        self.shed: list[Path] = []
        self.registry = registry
        self._disk = disk
        self._closed = closed
        self._now = now
        self._merging = merging
        self._tiers = {shelf.width: tier for tier, shelf in enumerate(disk.shelves)}
        self._batches: dict[Slot, _Batch] = defaultdict(_Batch)
        self._waiting: set[tuple[Slot, int]] = set()
        self._points = 0
        self._changes: dict[tuple[int, int], list[Change]] = defaultdict(list)  # tier, start
        self._nbytes = 0
        self._begin()

    def _begin(self) -> None:
        """Forget which slots the last file had, and which parts they became."""
        self._given: list[set[int]] = [set() for _ in self._disk.shelves]
        self._parts: list[dict[int, list[int]]] = [defaultdict(list) for _ in self._disk.shelves]
        self._ids: dict[Kind, Ids] = {kind: np.empty(0, np.int32) for kind in Kind}

    def add(self, row: Row) -> None:
        """Take a row.

        Raises
        ------
        ValueError
            That says why it is refused.
        """
        checked(row)
        tier, start = self._tier(row.width), self._start(row)
        self._check_over(tier, start)
        kind = Kind[row.kind.upper()]
        if not self._takes(tier, start, 1):
            return
        slot, series = (tier, kind, start), self._series(kind, row, start)
        if not self._merging and (slot, series) in self._waiting:
            self.counts.held += 1
            return
        self._waiting.add((slot, series))
        self._batches[slot].rows.append(row)
        self._batches[slot].ids.append(series)
        self._points += len(row.means) + len(row.members)
        if len(self._waiting) >= ROWS or self._points >= POINTS:
            self._flush()

    def _tier(self, width: int) -> int:
        if width not in self._tiers:
            kept = ", ".join(map(str, self._tiers))
            raise ValueError(f"width must be one that this directory keeps, {kept}, got {width}")
        return self._tiers[width]

    def _start(self, row: Row) -> int:
        start = parse_time(row.start)
        if start % row.width:
            raise ValueError(f"start must be a multiple of width {row.width}, got {row.start}")
        return int(start)

    def _check_over(self, tier: int, start: int) -> None:
        """Refuse slots that will be rolled up from finer ones, and what is yet to come."""
        shelf, closed = self._disk.shelves[tier], self._closed[tier]
        if start + shelf.width > closed and (tier or start > self._now):
            raise ValueError(f"the slot that starts at {format_time(start)} isn't over yet")

    def _takes(self, tier: int, start: int, rows: int) -> bool:
        """Note that a slot was given; tell whether it is still kept."""
        self._given[tier].add(start)
        kept = self._disk.shelves[tier].takes(start)
        self.counts.late += 0 if kept else rows
        return kept

    def _series(self, kind: Kind, row: Row, start: int) -> int:
        if found := CONTROLS.search(row.name):
            raise ValueError(f"name must be without control characters, got {found[0]!r}")
        try:
            return self.registry.resolve(kind, row.name, normal_tags(row.tags), float(start))
        except ProtocolError as error:
            raise ValueError(error.message) from None

    def add_section(self, source: Source, step: Step, start: int, section: Section) -> None:
        """Take rows of another directory, whose width is one that this one keeps.

        Raises
        ------
        ValueError
            That says why they are refused.
        """
        tier = self._tier(step.shelf.width)
        self._check_over(tier, start)
        if not self._takes(tier, start, section.series.size):
            return
        entries = source.registry.series(section.series)
        ids = [self.registry.resolve(step.kind, one.name, one.tags, start) for one in entries]
        rows = renumbered(step.kind, section, np.array(ids, np.int32))
        self._take(tier, step.kind, frozen(only(start, step.shelf.width, rows)))

    def _flush(self) -> None:
        """Make frames of the rows that wait, and write them."""
        batches = dict(self._batches)
        self._batches.clear()
        self._waiting.clear()
        self._points = 0
        for (tier, kind, start), batch in batches.items():
            ids = np.array(batch.ids, np.int32)
            width = self._disk.shelves[tier].width
            self._take(tier, kind, frame_of(batch.rows, ids, start, width))

    def _take(self, tier: int, kind: Kind, frame: Frame) -> None:
        """Take a frame of one kind, but for the rows that are there already."""
        rows = frame.sections()[kind]
        if not self._merging:
            fresh = ~np.isin(rows.series, self._held(tier, kind, frame))
            self.counts.held += int(np.count_nonzero(~fresh))
            rows = rows.select(np.flatnonzero(fresh))
        if not rows.series.size:
            return
        self.counts.taken += rows.series.size
        self._ids[kind] = np.union1d(self._ids[kind], rows.series)
        kept = frozen(only(frame.start, frame.width, rows))
        self._note(kept, rows.series)
        self._put(tier, kept)

    def _held(self, tier: int, kind: Kind, frame: Frame) -> Ids:
        """Series that a slot has, some of another frame's among them."""
        shelf, ids = self._disk.shelves[tier], frame.sections()[kind].series
        parts = shelf.parts(frame.start)
        found = shelf.read_parts(frame.start, frame.end, parts, Wanted(kind, ids))
        frames = [piece for _, piece in found]
        frames += [change.frame for change in self._changes.get((tier, frame.start), ())]
        return np.concatenate([ids[:0], *(frame.sections()[kind].series for frame in frames)])

    def _note(self, frame: Frame, ids: Ids) -> None:
        """Bring up to date when series were seen, and levels of gauges."""
        registry, gauges = self.registry, frame.gauges
        registry.first_seen[ids] = np.minimum(registry.first_seen[ids], frame.start)
        registry.seen(ids, float(frame.end))
        registry.set_levels(gauges.series, gauges.last, gauges.last_time)

    def _put(self, tier: int, frame: Frame) -> None:
        """Have a frame written, now or soon."""
        number = self._disk.shelves[tier].number()
        self._parts[tier][frame.start].append(number)
        self._changes[tier, frame.start].append(Change(number, frame, ()))
        self._nbytes += frame.nbytes()
        if self._nbytes > WRITTEN:
            self._write()

    def _write(self) -> None:
        self._disk.catalogue.save_names(self.registry)
        for tier, shelf in enumerate(self._disk.shelves):
            slots = [key for key in self._changes if key[0] == tier]
            if changes := [change for key in slots for change in self._changes.pop(key)]:
                shelf.save(self._closed[tier], changes)
        self._nbytes = 0

    def end(self) -> None:
        """End a file: roll up what it has no coarser slots for."""
        self._flush()
        self._write()
        for tier, above in enumerate(self._disk.shelves[1:]):
            starts = {start - start % above.width for start in self._parts[tier]}
            for start in sorted(starts - self._given[tier + 1]):
                if start + above.width <= self._closed[tier + 1] and above.takes(start):
                    self._lift(tier, start, start + above.width)
            self._write()
        self._begin()

    def _lift(self, tier: int, start: int, end: int) -> None:
        """Roll up what was taken into ``[start, end)``, some series at a time."""
        shelf = self._disk.shelves[tier]
        slots = range(start, end, shelf.width)
        parts = [part for slot in slots for part in self._parts[tier].get(slot, ())]
        for kind, ids in self._ids.items():
            for some in groups(kind, ids):
                pieces = shelf.read_parts(start, end, parts, Wanted(kind, some))
                if rows := joined([frame for _, frame in pieces], kind, some):
                    self._put(tier + 1, frozen(only(start, end - start, rows)))

    def told(self) -> Iterator[str]:
        """What became of everything, in sentences; once it is finished."""
        counts, registry = self.counts, self.registry
        yield f"{counts.taken} rows were taken"
        if counts.held:
            yield f"{counts.held} rows were passed over: their slots have the series already"
        if counts.late:
            yield f"{counts.late} rows were passed over: older than what is kept"
        if registry.overflowed:
            yield f"{registry.overflowed} rows became {OVERFLOW}: limits.series is reached"
        if registry.tags_dropped:
            yield f"{registry.tags_dropped} tags were dropped, as limits.tags* have it"
        for path in self.shed:
            yield f"{path} had to go: storage.max_bytes is {format_size(self._disk.max_bytes)}"

    def finish(self) -> None:
        """Write everything, rewrite what is over as a daemon would, keep to the budget."""
        self.end()
        for shelf, closed in zip(self._disk.shelves, self._closed, strict=True):
            shelf.close(closed)
        for _ in self._disk.compact(self._now):
            pass
        self.shed = self._disk.shed()
        self._disk.catalogue.save_columns(self.registry, self._now)
