"""What was read lately, up to a number of bytes."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Any


class Cache:
    """Values by key, the least recently used leaving first; safe from several threads.

    Attributes
    ----------
    hits, misses : int
        Look-ups that found something, and that didn't.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit  # bytes
        self.nbytes = 0
        self.hits = 0
        self.misses = 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable) -> Any:
        """The value, or None."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                self.misses += 1
                return None
            self.hits += 1
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: Any, nbytes: int) -> None:
        """Keep a value that weighs so many bytes; one larger than the limit isn't kept."""
        with self._lock:
            if key in self._kept or nbytes > self.limit:
                return
            self._kept[key] = value, nbytes
            self.nbytes += nbytes
            while self.nbytes > self.limit:
                self.nbytes -= self._kept.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self.nbytes = 0
