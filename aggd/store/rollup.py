"""Interval into minute into hour into day; which frames tile a window.

     10s..10s | min ... min | hour ... hour | day  day  day | hour .. | min .. | open

What is newer than a tier's `closed` mark lives in the tier below only, and
rolls up when its slot is over.  What is older is in both, so a late point is
added to every tier that has closed its slot.
"""

from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import NamedTuple

from aggd.sketch import digest
from aggd.store.fold import OPEN_SIZE
from aggd.store.frame import Frame, frozen, packed
from aggd.store.merge import merge
from aggd.store.ring import Held, Ring, crowd, held

FOREVER = 1 << 62  # seconds


class Tier(NamedTuple):
    """A resolution and how long it is kept, both in seconds."""

    name: str
    width: int
    retention: int


class Tiling(NamedTuple):
    """Frames that together hold a window, and the window they really hold."""

    frames: list[Frame]
    start: int
    end: int


def _joined(parts: Sequence[Tiling]) -> Tiling:
    frames = [frame for part in parts for frame in part.frames]
    return Tiling(frames, min(p.start for p in parts), max(p.end for p in parts))


class Merges(NamedTuple):
    """Frames of one slot to be merged outside the lock."""

    ring: int
    start: int
    items: tuple[Held, ...]


def _lifted(item: Held, width: int) -> Held:
    """The same frame in a coarser tier, which keeps no samples."""
    frame = item.frame.without_points().moved(width)
    return Held(frame, item.parts, item.nbytes - item.points_nbytes, 0)


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

    Attributes
    ----------
    gather_soon : callable
        Called where parts have gathered; ``gather`` itself, or what lets another
        thread call it.
    """

    def __init__(
        self, tiers: Sequence[Tier], frames_memory: int, samples_memory: int, now: float
    ) -> None:
        self.tiers = tuple(tiers)
        self.rings = [Ring(t.width, max(1, t.retention // t.width)) for t in tiers]
        self.closed = [int(now) - int(now) % t.width for t in tiers]
        self.frames_memory = frames_memory
        self.samples_memory = samples_memory
        self.evicted = [0] * len(self.tiers)  # slots that left for want of memory
        self.gather_soon: Callable[[], object] = self.gather
        self._crowds: set[tuple[int, int]] = set()
        self._lock = Lock()
        self._merging = Lock()

    @property
    def width(self) -> int:
        """Seconds of the finest tier."""
        return self.rings[0].width

    def nbytes(self) -> int:
        """Bytes of all frames."""
        return sum(ring.nbytes for ring in self.rings)

    def points_nbytes(self) -> int:
        """Bytes of the samples kept beside digests."""
        return sum(ring.points_nbytes for ring in self.rings)

    def add(self, frame: Frame) -> bool:
        """Add a frame of the finest tier; False where it is older than all that is kept."""
        with self._lock:
            taken = self._place(held(frame, 1))
            crowds = [
                (tier, start) for tier, start, items in self._slots(frame.start) if crowd(items)
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

    def _slots(self, time: int) -> Iterator[tuple[int, int, tuple[Held, ...]]]:
        """The slot of each tier that holds a time, and what is in it."""
        for tier, ring in enumerate(self.rings):
            start = time - time % ring.width
            yield tier, start, ring.at(start)

    def _place(self, item: Held) -> bool:
        taken = here = False
        for ring, closed in zip(self.rings, self.closed, strict=True):
            start = item.frame.start - item.frame.start % ring.width
            if here and start + ring.width > closed:
                break  # rolls up from the tier below
            lifted = item if ring is self.rings[0] else _lifted(item, ring.width)
            here = self._put(ring, lifted)
            taken |= here
        return taken

    def _put(self, ring: Ring, item: Held) -> bool:
        if not ring.takes(item.frame.start):
            ring.refuse(item.frame.start)
            return False
        ring.append(item)
        while len(ring) > ring.capacity:
            self._leave(self.rings.index(ring))
        return True

    def _leave(self, tier: int) -> None:
        """Let the oldest slot of a tier go; what hasn't been rolled up moves up first."""
        if tier + 1 == len(self.rings):
            self.rings[tier].drop_oldest()
            return
        above, rolled = self.rings[tier + 1], self._rolled(tier)
        gone = self.rings[tier].drop_oldest()
        if not rolled:
            for item in gone:
                self._put(above, _lifted(item, above.width)._replace(parts=1))

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
            self.rings[ring].swap(start, items, held(frame, parts))

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
                for start in self._shut(tier, end):
                    self._merge(Merges(tier, start, ring.at(start)))
            with self._lock:
                self._shed()

    def _shut(self, tier: int, end: int) -> list[int]:
        """Mark a tier closed up to `end`, its slots filled from below; their starts."""
        with self._lock:
            start, self.closed[tier] = self.closed[tier], end
            ring = self.rings[tier]
            if tier:
                below = self.rings[tier - 1]
                for slot in below.starts(start, end):
                    for item in below.at(slot):
                        # Counted below already, and only until the slot's frames are one.
                        lifted = _lifted(item, ring.width)
                        self._put(ring, lifted._replace(nbytes=0, points_nbytes=0))
            return [s for s in ring.starts(start, end) if ring.at(s)]

    def _shed(self) -> None:
        """Keep to the budgets: samples of the oldest slots go first, then frames."""
        finest = self.rings[0]
        if finest.points_nbytes > self.samples_memory:
            for start in finest.starts(0, FOREVER):
                for item in finest.at(start):
                    if item.points_nbytes and finest.points_nbytes > self.samples_memory:
                        bare = held(item.frame.without_points(), item.parts)
                        finest.swap(start, (item,), bare)
        while self.nbytes() > self.frames_memory and self._make_room():
            pass

    def _make_room(self) -> bool:
        """Free memory if a slot can go at once; else start to, by moving one up a tier.

        A slot that hasn't been rolled up yet moves into the open slot above, where
        it frees its memory when it has merged with others.
        """
        tiers = [t for t, ring in enumerate(self.rings[:-1]) if len(ring) > 1]
        gone = next((t for t in tiers if self._rolled(t)), None)
        if gone is None and not tiers:
            return False
        tier = max(tiers, key=lambda t: self.rings[t].nbytes) if gone is None else gone
        self._leave(tier)
        self.evicted[tier] += 1
        return gone is not None

    def _rolled(self, tier: int) -> bool:
        """Tell whether the tier above has closed over the oldest slot of this one."""
        oldest, above = self.rings[tier].oldest(), self.rings[tier + 1].width
        return oldest is not None and oldest - oldest % above + above <= self.closed[tier + 1]

    def oldest(self) -> int | None:
        """Start of the oldest slot; None while there is none."""
        with self._lock:
            starts = [start for ring in self.rings if (start := ring.oldest()) is not None]
        return min(starts, default=None)

    def fine(self, start: int, end: int) -> Tiling | None:
        """Only frames of the finest tier; None where it no longer has all of the window."""
        with self._lock:
            ring = self.rings[0]
            start, end = self._aligned(start, end)
            if ring.horizon > start:
                return None
            return Tiling(ring.between(start, end), start, end)

    def tile(self, start: int, end: int, widest: int = FOREVER) -> Tiling:
        """Cover ``[start, end)`` with the fewest frames.

        Whole days, then hours, minutes, intervals toward the edges.  Where the
        finer frames are gone the coarser one is taken and the window widened.

        Parameters
        ----------
        start, end : int
            Seconds since the epoch.
        widest : int
            No wider slots, and none that doesn't divide it, where finer ones are kept.
        """
        with self._lock:
            start, end = self._aligned(start, end)
            if start >= end:
                return Tiling([], start, start)
            fits = [t for t, ring in enumerate(self.rings) if self._divides(ring.width, widest)]
            return self._reach(max(fits, default=0), start, end)

    def _divides(self, width: int, widest: int) -> bool:
        return widest == FOREVER or widest % width == 0

    def _aligned(self, start: int, end: int) -> tuple[int, int]:
        return start - start % self.width, end + -end % self.width

    def _reach(self, tier: int, start: int, end: int) -> Tiling:
        """Cover from a tier down, and from the one above for what it no longer has."""
        horizon = self.rings[tier].horizon
        if tier + 1 == len(self.rings) or horizon <= start:
            return self._cover(tier, start, end)
        gone = min(end, horizon + -horizon % self.rings[tier + 1].width)
        older = self._reach(tier + 1, start, gone)
        return _joined([older, self._cover(tier, gone, end)]) if gone < end else older

    def _cover(self, tier: int, start: int, end: int) -> Tiling:
        ring = self.rings[tier]
        if tier == 0:
            return Tiling(ring.between(start, end), start, end)
        shut = max(start, min(end, self.closed[tier]))
        first = min(start + -start % ring.width, shut)
        last = max(first, shut - shut % ring.width)
        parts = [self._edge(tier, start, first)] if start < first else []
        if first < last:
            parts.append(Tiling(ring.between(first, last), first, last))
        if last < shut:
            parts.append(self._edge(tier, last, shut))
        if shut < end:
            # Not rolled up yet: still below, but for what had to leave from there.
            left = ring.between(max(shut, self.closed[tier]), end)
            parts += [Tiling([frame], frame.start, frame.end) for frame in left]
            parts.append(self._cover(tier - 1, shut, end))
        return _joined(parts)

    def _edge(self, tier: int, start: int, end: int) -> Tiling:
        """Cover a part of one closed slot: from below, or by all of it."""
        if self.rings[tier - 1].horizon <= start:
            return self._cover(tier - 1, start, end)
        ring = self.rings[tier]
        whole = start - start % ring.width
        return Tiling(ring.between(start, end), whole, whole + ring.width)

    def _check(self) -> None:
        for ring in self.rings:
            ring._check()
        for tier, (fine, coarse) in enumerate(zip(self.closed, self.closed[1:], strict=False)):
            assert coarse <= fine, (tier, self.closed)
