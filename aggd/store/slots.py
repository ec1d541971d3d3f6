"""What memory holds of all tiers, and what leaves it when there is no room.

    interval  [..........]   the oldest goes first, from the finest tier first:
    minute    [......]         on disk        it comes back when it is asked for
    hour      [..]             rolled up      the tier above has it
    day       [.]              neither        it moves into the open slot above

Where there are shelves a slot is what memory holds and those parts on disk that it
doesn't: `Held.stored` says which parts an item in memory stands for, so that nothing
counts twice, whenever it was saved, merged, let go or read back.
"""

from collections.abc import Sequence

from aggd.store.ring import Held, Ring, held
from aggd.store.shelf import Shelf
from aggd.store.tiles import Span


def lifted(item: Held, width: int) -> Held:
    """The same frame in a coarser tier, which keeps no samples."""
    frame = item.frame.without_points().moved(width)
    return held(frame, item.parts)


class Slots:
    """The rings of all tiers, finest first, and the shelves below them.

    Nothing here locks: whoever calls holds the history's lock.

    Parameters
    ----------
    rings : list of Ring
        Finest first.
    shelves : sequence of Shelf
        One a ring, or none.
    closed : list of int
        Up to where each tier is complete, in seconds since the epoch; the caller moves it on.

    Attributes
    ----------
    evicted : list of int
        Slots of each tier that left for want of memory.
    unwritable : bool
        The last save failed, so what is not on disk will not be there soon.
    """

    def __init__(
        self,
        rings: list[Ring],
        shelves: Sequence[Shelf],
        closed: list[int],
    ) -> None:
        self.rings = rings
        self.shelves = shelves
        self.closed = closed
        self.evicted = [0] * len(rings)
        self.unwritable = False

    def nbytes(self) -> int:
        """Bytes of all frames."""
        return sum(ring.nbytes for ring in self.rings)

    def place(self, item: Held) -> bool:
        """Add a frame to the finest tier and all that have closed its slot; whether any took it."""
        taken = here = False
        for tier, (ring, closed) in enumerate(zip(self.rings, self.closed, strict=True)):
            start = item.frame.start - item.frame.start % ring.width
            if here and start + ring.width > closed:
                break  # rolls up from the tier below
            here = self.put(tier, lifted(item, ring.width) if tier else item)
            taken |= here
        return taken

    def put(self, tier: int, item: Held) -> bool:
        """Add an item to its slot; False where that is older than what the tier keeps."""
        ring = self.rings[tier]
        keeper: Ring | Shelf = self.shelves[tier] if self.shelves else ring
        if not keeper.takes(item.frame.start):
            keeper.refuse(item.frame.start)
            return False
        ring.append(item)
        self._keep_to_capacity(tier)
        return True

    def lift(self, tier: int, item: Held) -> None:
        """Put an item into the first tier from here up that takes it."""
        for above in range(tier, len(self.rings)):
            moved = lifted(item, self.rings[above].width)._replace(parts=1)
            if self.put(above, moved):
                break

    def starts(self, tier: int, start: int, end: int) -> list[int]:
        """Slots of a tier that hold data, in memory or on disk."""
        found = self.rings[tier].starts(start, end)
        if self.shelves:
            found = sorted({*found, *self.shelves[tier].starts(start, end)})
        return found

    def stored(self, span: Span) -> set[int]:
        """Parts on disk of some slots that nothing in memory stands for."""
        shelf, ring = self.shelves[span.tier], self.rings[span.tier]
        parts = {p for slot in shelf.starts(span.start, span.end) for p in shelf.parts(slot)}
        here = (item for slot in ring.starts(span.start, span.end) for item in ring.at(slot))
        return parts.difference(part for item in here for part in item.stored)

    def shed(self, frames_memory: int, samples_memory: int) -> None:
        """Keep to budgets in bytes: samples of the oldest slots go first, then frames."""
        self.rings[0].drop_points(samples_memory)
        if self.shelves:
            for tier in range(len(self.rings)):
                self._keep_to_capacity(tier)  # saved or read back meanwhile
        while self.nbytes() > frames_memory and self._make_room():
            pass

    def _keep_to_capacity(self, tier: int) -> None:
        ring = self.rings[tier]
        while len(ring) > ring.capacity and not self._waiting(tier):
            self._leave(tier)

    def _waiting(self, tier: int) -> bool:
        """Tell whether the oldest slot must stay until it is saved."""
        return bool(self.shelves) and self.rings[tier].oldest() in self.rings[tier].unsaved

    def _leave(self, tier: int) -> None:
        """Let the oldest slot of a tier go; what hasn't been rolled up moves up first."""
        rolled = self._rolled(tier)
        for item in self._drop(tier):
            if not rolled and not item.saved:  # else it comes from disk when the slot above closes
                self.lift(tier + 1, item)

    def _drop(self, tier: int) -> tuple[Held, ...]:
        """Let the oldest slot of a tier go, and note where it isn't all on disk; what it held."""
        waiting = self._waiting(tier)
        gone = self.rings[tier].drop_oldest()
        if waiting:
            self.shelves[tier].refuse(gone[0].frame.start)
        return gone

    def _make_room(self) -> bool:
        """Free memory if a slot can go at once; else start to, by moving one up a tier.

        A slot that hasn't been rolled up yet moves into the open slot above, where
        it frees its memory when it has merged with others.
        """
        saved = self._oldest_saved()
        if saved is not None:
            self.rings[saved].drop_oldest()
            return True
        several = [tier for tier, ring in enumerate(self.rings) if len(ring) > 1]
        free = [tier for tier in several if self._free(tier)]
        gone = next((tier for tier in free if self._rolled(tier)), None)
        if gone is None and not free:
            return self._lose(several)
        tier = self._largest(free) if gone is None else gone
        self._leave(tier)
        self.evicted[tier] += 1
        return gone is not None

    def _lose(self, several: Sequence[int]) -> bool:
        """Where nothing will ever be written, let go what can't move up."""
        if not several or (self.shelves and not self.unwritable):
            return False
        tier = self._largest(several)
        self._drop(tier)
        self.evicted[tier] += 1
        return True

    def _largest(self, tiers: Sequence[int]) -> int:
        return max(tiers, key=lambda tier: self.rings[tier].nbytes)

    def _oldest_saved(self) -> int | None:
        """The finest tier whose oldest slot is closed and on disk; None without shelves."""
        for tier, ring in enumerate(self.rings if self.shelves else ()):
            oldest = ring.oldest()
            closed = oldest is not None and oldest + ring.width <= self.closed[tier]
            if closed and oldest not in ring.unsaved:
                return tier
        return None

    def _free(self, tier: int) -> bool:
        """Tell whether the oldest slot may leave a tier upward and take all it stands for along.

        Not where it takes the place of parts on disk, of which it would leave a copy behind,
        unless the tier above has it, and no save is about to make all of it safe.
        """
        if tier + 1 == len(self.rings):
            return False
        ring = self.rings[tier]
        alone = all(item.saved or not item.stored for item in ring.at(ring.oldest() or 0))
        return alone or (self.unwritable and self._rolled(tier))

    def _rolled(self, tier: int) -> bool:
        """Tell whether the tier above, if any, has closed over the oldest slot of this one."""
        if tier + 1 == len(self.rings):
            return True
        oldest, above = self.rings[tier].oldest(), self.rings[tier + 1].width
        return oldest is not None and oldest - oldest % above + above <= self.closed[tier + 1]
