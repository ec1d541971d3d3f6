"""Interval into minute into hour into day, in memory and on disk.

    add --> [open slot] --close--> [interval] --> [minute] --> [hour] --> [day]
                                        `---save---> shelves, where there are any

What is newer than a tier's `closed` mark lives in the tier below only, and
rolls up when its slot is over.  What is older is in both, so a late point is
added to every tier that has closed its slot.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby, islice
from threading import Lock
from typing import NamedTuple

from aggd.sketch import digest
from aggd.store.fold import OPEN_SIZE
from aggd.store.frame import Frame, frozen, packed
from aggd.store.merge import merge
from aggd.store.ring import FAN, Held, Ring, crowd, held
from aggd.store.segment import Change
from aggd.store.shelf import Shelf, Wanted
from aggd.store.slots import Slots, lifted
from aggd.store.tiles import Level, Span, cover

FOREVER = 1 << 62  # seconds
LOOKS = 3  # at a shelf that is written to meanwhile


class Tier(NamedTuple):
    """A resolution and how long it is kept, both in seconds."""

    name: str
    width: int
    retention: int

    @property
    def slots(self) -> int:
        """How many slots are kept."""
        return max(1, self.retention // self.width)


class Tiling(NamedTuple):
    """Frames that together hold a window, and the window they really hold."""

    frames: list[Frame]
    start: int
    end: int


class Merges(NamedTuple):
    """Frames of one slot to be merged outside the lock."""

    ring: int
    start: int
    items: tuple[Held, ...]


class History:
    """All tiers, fed with partial frames of the finest.

    Writers hold a lock for as long as pointers move, never while frames merge.

    Parameters
    ----------
    tiers : sequence of Tier
        Finest first; each width divides the next.
    frames_memory, samples_memory : int
        Budgets in bytes: of all frames, and of the samples kept beside digests.
    now : float
        Seconds since the epoch; slots that ended before count as closed.
    shelves : sequence of Shelf
        One a tier, opened; none to keep all in memory only.

    Attributes
    ----------
    gather_soon : callable
        Called where parts have gathered; ``gather`` itself, or what lets another
        thread call it.
    """

    def __init__(
        self,
        tiers: Sequence[Tier],
        frames_memory: int,
        samples_memory: int,
        now: float,
        shelves: Sequence[Shelf] = (),
    ) -> None:
        self.tiers = tuple(tiers)
        self.rings = [Ring(t.width, t.slots) for t in tiers]
        self.closed = [int(now) - int(now) % t.width for t in tiers]
        self.shelves = shelves
        self._go_on()
        self.slots = Slots(self.rings, shelves, self.closed)
        self.frames_memory = frames_memory
        self.samples_memory = samples_memory
        self.gather_soon: Callable[[], object] = self.gather
        self._crowds: set[tuple[int, int]] = set()
        self._lock = Lock()
        self._merging = Lock()

    def _go_on(self) -> None:
        """Close from where the disk stands: what it holds and nobody rolled up yet comes next."""
        for tier, (ring, shelf) in enumerate(zip(self.rings, self.shelves, strict=False)):
            # In memory there is nothing yet of what came before.
            ring.horizon = self.closed[tier]
            below = self.shelves[tier - 1].oldest() if tier else None
            if shelf.closed:
                self.closed[tier] = shelf.closed
            elif below is not None:
                self.closed[tier] = below - below % ring.width
        for tier in range(len(self.shelves)):
            # Finer tiers had closed as much, but may have had nothing new to write then.
            marks = (shelf.closed for shelf in self.shelves[tier:])
            self.closed[tier] = max(self.closed[tier], *marks)
        for tier in range(1, len(self.shelves)):
            fine = self.closed[tier - 1]
            self.closed[tier] = min(self.closed[tier], fine - fine % self.rings[tier].width)

    @property
    def width(self) -> int:
        """Seconds of the finest tier."""
        return self.rings[0].width

    def points_nbytes(self) -> int:
        """Bytes of the samples kept beside digests."""
        return sum(ring.points_nbytes for ring in self.rings)

    def add(self, frame: Frame) -> bool:
        """Add a frame of the finest tier; False where it is older than all that is kept."""
        with self._lock:
            taken = self.slots.place(held(frame, 1))
            crowds = [
                (tier, start) for tier, start, items in self._holding(frame.start) if crowd(items)
            ]
            self._crowds.update(crowds)
            self._shed()
        if crowds:
            self.gather_soon()
        return taken

    def gather(self) -> None:
        """Merge parts where many have gathered, so that readers find few."""
        with self._merging:
            while self._crowds:
                tier, start = self._crowds.pop()
                while items := crowd(self.rings[tier].at(start)):
                    self._merge(Merges(tier, start, items))

    def _holding(self, time: int) -> Iterator[tuple[int, int, tuple[Held, ...]]]:
        """The slot of each tier that holds a time, and what is in it."""
        for tier, ring in enumerate(self.rings):
            start = time - time % ring.width
            yield tier, start, ring.at(start)

    def _merge(self, merges: Merges) -> None:
        """Merge frames of one slot, which stay in place until they are one."""
        ring, start, items = merges
        closed = start + self.rings[ring].width <= self.closed[ring]
        whole = closed and len(items) == len(self.rings[ring].at(start))
        frame = merge(
            [item.frame for item in items],
            start,
            self.rings[ring].width,
            size=digest.K if whole else OPEN_SIZE,
            keep=ring == 0,
        )
        if whole:
            frame = frozen(packed(frame))
        with self._lock:
            parts = 0 if whole else sum(item.parts for item in items)
            stored = tuple(part for item in items for part in item.stored)
            # A closed slot becomes one part on disk as well; others are rewritten when it is.
            saved = not whole and all(item.saved for item in items)
            self.rings[ring].swap(start, items, held(frame, parts, stored, saved))

    def close(self, boundary: int) -> None:
        """Close every slot that ended at or before `boundary`; roll up those above.

        A boundary that was closed before changes nothing, and slots that were
        skipped stay empty, so the clock may jump either way.
        """
        with self._merging:
            for tier, ring in enumerate(self.rings):
                end = boundary - boundary % ring.width
                if end <= self.closed[tier]:
                    break
                self._recall(tier, self.closed[tier], end)
                for start in self._shut(tier, end):
                    self._merge(Merges(tier, start, ring.at(start)))
            with self._lock:
                self._shed()

    def _recall(self, tier: int, start: int, end: int) -> None:
        """Read back what of these slots is on disk only."""
        if not self.shelves:
            return
        shelf, ring = self.shelves[tier], self.rings[tier]
        with self._lock:
            parts = self.slots.stored(Span(tier, start, end))
        pieces = shelf.read_parts(start, end, parts)
        with self._lock:  # all at once: one piece here stands for the whole part
            for part, frame in pieces:
                ring.append(held(frame, 1, (part,), True))

    def save(self) -> None:
        """Write what is not on disk yet, the open slot included.

        Raises
        ------
        sqlite3.Error, OSError
            Where the disk is full or can't be written; all stays in memory for the next time.
        """
        with self._merging:
            try:
                for tier in range(len(self.shelves)):
                    self._save(tier)
                self.slots.unwritable = False
            except BaseException:
                self.slots.unwritable = True
                raise
            finally:
                with self._lock:
                    self._shed()

    def _save(self, tier: int) -> None:
        ring, shelf = self.rings[tier], self.shelves[tier]
        with self._lock:
            slots = [ring.at(start) for start in sorted(ring.unsaved)]
        items = [item for slot in slots for item in slot if not item.saved]
        if not items and not any(above.unsaved for above in self.rings[tier + 1 :]):
            return  # else its marks at least, before what was made of its slots
        # Marked before they are written: a reader must find each either here or there.
        changes = [Change(shelf.number(), item.frame, item.stored) for item in items]
        with self._lock:
            for item, change in zip(items, changes, strict=True):
                ring.mark_written(item, change.number)
        written: Sequence[bool] = [True] * len(changes)
        try:
            shelf.save(self.closed[tier], changes)
        except BaseException:
            written = [shelf.has((change.number,)) for change in changes]
            raise
        finally:
            with self._lock:
                for item, change, done in zip(items, changes, written, strict=True):
                    if done:
                        ring.mark_saved(item, change.number)
                    else:
                        ring.mark_unwritten(item)

    def _shed(self) -> None:
        self.slots.shed(self.frames_memory, self.samples_memory)

    def _shut(self, tier: int, end: int) -> list[int]:
        """Mark a tier closed up to `end`, its slots filled from below; their starts."""
        ring, start = self.rings[tier], self.closed[tier]
        with self._lock:
            known = self._below(tier, end)
            parts = (
                self.slots.stored(Span(tier - 1, start, end)) if tier and self.shelves else set()
            )
        read = list(self._condensed(tier, end, parts))
        with self._lock:
            known |= self._below(tier, end)  # others may have come meanwhile, and some have left
            for item in (*known.values(), *read):
                # Counted below already, and only until the slot's frames are one.
                moved = lifted(item, ring.width)._replace(nbytes=0, points_nbytes=0)
                if not self.slots.put(tier, moved):
                    self.slots.lift(tier + 1, item)
            self.closed[tier] = end
            return [s for s in ring.starts(start, end) if ring.at(s)]

    def _below(self, tier: int, end: int) -> dict[int, Held]:
        """What memory holds in the tier below of slots that this one has not closed."""
        if not tier:
            return {}
        below = self.rings[tier - 1]
        slots = map(below.at, below.starts(self.closed[tier], end))
        return {item.number: item for items in slots for item in items}

    def _condensed(self, tier: int, end: int, parts: set[int]) -> Iterator[Held]:
        """Read parts of the tier below from disk, merging those of FAN slots at a time."""
        if not parts:
            return
        ring, shelf = self.rings[tier], self.shelves[tier - 1]
        slots = shelf.starts(self.closed[tier], end)
        for start, inside in groupby(slots, lambda slot: slot - slot % ring.width):
            while some := list(islice(inside, FAN)):
                frames = shelf.read(some[0], some[-1] + shelf.width, parts)
                if frames:
                    yield held(merge(frames, start, ring.width, size=OPEN_SIZE, keep=False), 1)

    def oldest(self) -> int | None:
        """Start of the oldest slot; None while there is none."""
        with self._lock:
            every: list[Ring | Shelf] = [*self.rings, *self.shelves]
            starts = [start for kept in every if (start := kept.oldest()) is not None]
        return min(starts, default=None)

    def fine(self, start: int, end: int) -> Tiling | None:
        """Only frames of the finest tier; None where it no longer has all of the window."""
        with self._lock:
            ring = self.rings[0]
            start, end = self._aligned(start, end)
            if ring.horizon > start or (self.shelves and self.slots.stored(Span(0, start, end))):
                return None
            return Tiling(ring.between(start, end), start, end)

    def tile(
        self, start: int, end: int, widest: int = FOREVER, wanted: Wanted | None = None
    ) -> Tiling:
        """Cover ``[start, end)`` with the fewest frames.

        Whole days, then hours, minutes, intervals toward the edges.  Where the
        finer frames are gone the coarser one is taken and the window widened.

        Parameters
        ----------
        start, end : int
            Seconds since the epoch.
        widest : int
            No wider slots, and none that doesn't divide it, where finer ones are kept.
        wanted : Wanted, optional
            Leave out of frames on disk whatever else they hold.
        """
        start, end = self._aligned(start, end)
        if start >= end:
            return Tiling([], start, start)
        fits = [t for t, ring in enumerate(self.rings) if self._divides(ring.width, widest)]
        for _ in range(LOOKS):
            with self._lock:
                spans = cover(self._levels(), max(fits, default=0), start, end)
                here = [self.rings[span.tier].between(span.start, span.end) for span in spans]
                stored = [self.slots.stored(span) for span in spans] if self.shelves else []
            frames = [
                [*self.shelves[span.tier].read(span.start, span.end, parts, wanted), *frames]
                for span, parts, frames in zip(spans, stored, here, strict=True)
            ] if any(stored) else here  # fmt: skip
            if all(self.shelves[s.tier].has(p) for s, p in zip(spans, stored, strict=False)):
                break  # nothing of it was rewritten while it was read
        first, last = min(s.start for s in spans), max(s.end for s in spans)
        return Tiling([frame for some in frames for frame in some], first, last)

    def _levels(self) -> list[Level]:
        keepers: Sequence[Ring | Shelf] = self.shelves or self.rings
        return [
            Level(ring.width, keeper.horizon, closed, partial(self.slots.starts, tier))
            for tier, (ring, keeper, closed) in enumerate(
                zip(self.rings, keepers, self.closed, strict=True)
            )
        ]

    def _divides(self, width: int, widest: int) -> bool:
        return widest == FOREVER or widest % width == 0

    def _aligned(self, start: int, end: int) -> tuple[int, int]:
        return start - start % self.width, end + -end % self.width

    def _check(self) -> None:
        for ring in self.rings:
            ring._check()
        for tier, (fine, coarse) in enumerate(zip(self.closed, self.closed[1:], strict=False)):
            assert coarse <= fine, (tier, self.closed)
