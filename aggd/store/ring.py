"""The newest slots of one width that hold data.

    slot      ...  08:00      08:10      08:20 (open)
    holds          [whole]    [whole,    [part, part, part, ...]
                               late]

A slot holds frames side by side: the open interval is a slot to which parts
are still being added, a late point is a part added to a slot that was closed.
Readers take all of them; closing a slot merges them into one.
"""

from bisect import bisect_left, insort
from collections.abc import Collection
from itertools import count
from typing import NamedTuple

from aggd.store.frame import Frame

FAN = 8  # parts of one size that are merged into one


class Held(NamedTuple):
    """A frame in a slot.

    `parts` it was merged from, 0 for all of a closed slot; `stored`, the parts on disk
    that hold it or some of it; `saved`, whether they hold all of it.
    """

    frame: Frame
    parts: int
    nbytes: int
    points_nbytes: int
    number: int  # of this content, whatever happens to its samples
    stored: tuple[int, ...] = ()
    saved: bool = False


_numbers = count()


def held(frame: Frame, parts: int, stored: tuple[int, ...] = (), saved: bool = False) -> Held:
    """Weigh a frame for its ring."""
    points = frame.points_nbytes()
    return Held(frame, parts, frame.nbytes(), points, next(_numbers), stored, saved)


class Ring:
    """The newest `capacity` slots of `width` seconds; O(1) by slot, ordered by time.

    Attributes
    ----------
    horizon : int
        Everything from this second on is still here; what came before it, or
        some of it, has left or was never taken.
    nbytes, points_nbytes : int
        Bytes of all frames, and of the samples among them.
    unsaved : set of int
        Starts of the slots with something that is not on disk.
    """

    def __init__(self, width: int, capacity: int) -> None:
        self.width = width
        self.capacity = capacity
        self.horizon = 0
        self.nbytes = 0
        self.points_nbytes = 0
        self.unsaved: set[int] = set()
        self._slots: dict[int, tuple[Held, ...]] = {}
        self._starts: list[int] = []

    def __len__(self) -> int:
        return len(self._starts)

    def at(self, start: int) -> tuple[Held, ...]:
        """All that the slot at `start` holds."""
        return self._slots.get(start, ())

    def starts(self, start: int, end: int) -> list[int]:
        """Starts of the slots that hold data and overlap ``[start, end)``, ascending."""
        first = bisect_left(self._starts, start - start % self.width)
        return self._starts[first : bisect_left(self._starts, end)] if start < end else []

    def between(self, start: int, end: int) -> list[Frame]:
        """All frames of the slots that overlap ``[start, end)``, oldest first."""
        return [item.frame for slot in self.starts(start, end) for item in self._slots[slot]]

    def oldest(self) -> int | None:
        """Start of the oldest slot."""
        return self._starts[0] if self._starts else None

    def newest(self) -> int | None:
        """Start of the newest slot."""
        return self._starts[-1] if self._starts else None

    def takes(self, start: int) -> bool:
        """Tell whether a frame for this slot would be kept."""
        if start < self.horizon:
            return start in self._slots
        return len(self) < self.capacity or start in self._slots or start > self._starts[0]

    def append(self, item: Held) -> None:
        """Add a frame beside what its slot holds; ``takes`` must have said so."""
        start = item.frame.start
        if start not in self._slots:
            insort(self._starts, start)
        self._set(start, (*self._slots.get(start, ()), item))
        self._weigh(item, 1)

    def _set(self, start: int, items: tuple[Held, ...]) -> None:
        self._slots[start] = items
        if all(item.saved for item in items):
            self.unsaved.discard(start)
        else:
            self.unsaved.add(start)

    def mark_written(self, item: Held, part: int) -> None:
        """Note the part that is about to be written: from now on the item stands for it."""
        self._mark(item, (*item.stored, part), False)

    def mark_saved(self, item: Held, part: int) -> None:
        """Note the part on disk that holds all of an item, if the item is still here."""
        self._mark(item, (part,), True)

    def mark_unwritten(self, item: Held) -> None:
        """Take back what `mark_written` noted: the part never came to be."""
        self._mark(item, item.stored, False)

    def _mark(self, item: Held, stored: tuple[int, ...], saved: bool) -> None:
        start = item.frame.start
        if start in self._slots:
            items = (
                one._replace(stored=stored, saved=saved) if one.number == item.number else one
                for one in self._slots[start]
            )
            self._set(start, tuple(items))

    def refuse(self, start: int) -> None:
        """Note that a frame for this slot came too late to be kept."""
        self.horizon = max(self.horizon, start + self.width)

    def swap(self, start: int, old: Collection[Held], new: Held) -> bool:
        """Put `new` in the place of `old`; False where one of those has left meanwhile."""
        now = self._slots.get(start, ())
        out = {id(item) for item in old}
        if not out <= {id(item) for item in now}:
            return False
        rest = [item for item in now if id(item) not in out]
        place = next(i for i, item in enumerate(now) if id(item) in out)
        self._set(start, (*rest[:place], new, *rest[place:]))
        for item in old:
            self._weigh(item, -1)
        self._weigh(new, 1)
        return True

    def drop_points(self, budget: int) -> None:
        """Let samples beside digests go, the oldest first, until the rest fits so many bytes."""
        for start in self._starts:
            for item in self._slots[start]:
                if self.points_nbytes <= budget:
                    return
                if item.points_nbytes:
                    bare = item._replace(
                        frame=item.frame.without_points(),
                        nbytes=item.nbytes - item.points_nbytes,
                        points_nbytes=0,
                    )
                    self.swap(start, (item,), bare)

    def drop_oldest(self) -> tuple[Held, ...]:
        """Let the oldest slot go; what it held."""
        start = self._starts.pop(0)
        gone = self._slots.pop(start)
        self.unsaved.discard(start)
        for item in gone:
            self._weigh(item, -1)
        self.refuse(start)
        return gone

    def _weigh(self, item: Held, sign: int) -> None:
        self.nbytes += sign * item.nbytes
        self.points_nbytes += sign * item.points_nbytes

    def _check(self) -> None:
        assert len(self) <= self.capacity or self._starts[0] in self.unsaved
        assert self._starts == sorted(self._slots)
        every = [item for items in self._slots.values() for item in items]
        assert all(self._slots.values())
        assert self.nbytes == sum(item.nbytes for item in every)
        assert self.points_nbytes == sum(item.points_nbytes for item in every)
        waiting = {s for s, items in self._slots.items() if not all(i.saved for i in items)}
        assert self.unsaved == waiting
        for start, items in self._slots.items():
            for item in items:
                assert (item.frame.start, item.frame.width) == (start, self.width)
                item.frame._check()


def crowd(items: tuple[Held, ...]) -> tuple[Held, ...]:
    """The frames of a slot that should become one: its last FAN or more of equal size.

    Parts gather as digits of a counter do, so each sample is merged once for
    every power of FAN.  Many late parts end in the frame they are late for.
    """
    if not items:
        return ()
    parts = items[-1].parts
    run = 1
    while run < len(items) and items[-1 - run].parts == parts:
        run += 1
    if run < FAN:
        return ()
    return items if parts >= FAN * FAN and items[0].parts == 0 else items[-run:]
