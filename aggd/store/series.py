"""The registry: a number for every series, and what it is called.

    (kind, name, tags) ---> series id ---> kind, name, tags, first and last seen

Ids are never renumbered while a frame refers to them.  One name may be a
counter and a timer at once, so the kind is part of the identity.
"""

import re
from collections.abc import Iterator, Sequence
from enum import IntEnum
from fnmatch import translate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggd.errors import ProtocolError

Tags = tuple[str, ...]

OVERFLOW = "aggd.overflow"


class Kind(IntEnum):
    """What a series holds."""

    COUNTER = 0
    GAUGE = 1
    TIMER = 2
    SET = 3

    # Part of every key of the registry; the enumeration's own hash is a Python function.
    __hash__ = int.__hash__

    @property
    def word(self) -> str:
        """The kind's name in configuration and answers."""
        return self.name.lower()


KINDS = {
    **dict.fromkeys(("c", "C", "m"), Kind.COUNTER),
    **dict.fromkeys(("g", "kv"), Kind.GAUGE),
    **dict.fromkeys(("ms", "h", "d"), Kind.TIMER),
    "s": Kind.SET,
}


class Series(NamedTuple):
    """One series as the registry knows it; times in seconds since the epoch."""

    id: int
    kind: Kind
    name: str
    tags: Tags
    first_seen: float
    last_seen: float


class Limits(NamedTuple):
    """What a series may be called, in bytes of UTF-8, and how many there may be."""

    series: int = 1_000_000
    name_bytes: int = 512
    tags: int = 64
    tag_key_bytes: int = 200
    tag_value_bytes: int = 1024


class Registry:
    """Every series ever named, in order of arrival.

    Past ``limits.series`` new ones become ``aggd.overflow``, one a kind, and are
    counted; those few come on top of the limit.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.overflowed = 0  # names that became aggd.overflow
        self.tags_dropped = 0  # tags over a limit
        self._ids: dict[tuple[Kind, str, Tags], int] = {}
        self._keys: list[tuple[Kind, str, Tags]] = []
        self._last: dict[str, int] = {}  # the newest series of each name ...
        self._before: list[int] = []  # ... and the one before it, or -1
        self.kinds: NDArray[np.uint8] = np.zeros(1024, np.uint8)
        self.first_seen: NDArray[np.float64] = np.zeros(1024)
        self.last_seen: NDArray[np.float64] = np.zeros(1024)
        self.levels: NDArray[np.float64] = np.zeros(1024)  # of gauges
        self.level_time: NDArray[np.float64] = np.full(1024, -np.inf)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, series: int) -> Series:
        seen = float(self.first_seen[series]), float(self.last_seen[series])
        return Series(series, *self._keys[series], *seen)

    def resolve(self, kind: Kind, name: str, tags: Tags, now: float) -> int:
        """Number of a series, new or known.

        Raises
        ------
        ProtocolError
            With ``name_too_long``.
        """
        found = self._ids.get((kind, name, tags))
        return self._enter(kind, name, tags, now) if found is None else found

    def _enter(self, kind: Kind, name: str, tags: Tags, now: float) -> int:
        if len(name) > self.limits.name_bytes // 4 and (
            len(name.encode()) > self.limits.name_bytes
        ):
            allowed = self.limits.name_bytes
            raise ProtocolError("name_too_long", f"names may have {allowed} bytes: {name[:40]}...")
        tags = self._allowed(tags)
        if (kind, name, tags) in self._ids:
            return self._ids[kind, name, tags]
        if len(self._keys) >= self.limits.series and name != OVERFLOW:
            self.overflowed += 1
            return self.resolve(kind, OVERFLOW, (), now)
        series = len(self._keys)
        if series == self.kinds.size:
            self._grow()
        self.kinds[series] = kind
        self.first_seen[series] = self.last_seen[series] = now
        self._keys.append((kind, name, tags))
        self._ids[kind, name, tags] = series
        self._before.append(self._last.get(name, -1))
        self._last[name] = series
        return series

    def _allowed(self, tags: Tags) -> Tags:
        limits = self.limits
        kept = tuple(tag for tag in tags[: limits.tags] if _fits(tag, limits))
        self.tags_dropped += len(tags) - len(kept)
        return kept if len(kept) < len(tags) else tags

    def _grow(self) -> None:
        # New arrays, so that a reader in another thread keeps a whole one.
        self.kinds = np.concatenate([self.kinds, np.zeros_like(self.kinds)])
        self.first_seen = np.concatenate([self.first_seen, np.zeros_like(self.first_seen)])
        self.last_seen = np.concatenate([self.last_seen, np.zeros_like(self.last_seen)])
        self.levels = np.concatenate([self.levels, np.zeros_like(self.levels)])
        self.level_time = np.concatenate([self.level_time, np.full_like(self.level_time, -np.inf)])

    def seen(self, series: NDArray[np.int32], now: float) -> None:
        """Note that `series` had samples now."""
        self.last_seen[series] = np.maximum(self.last_seen[series], now)

    def set_levels(
        self, series: NDArray[np.int32], level: NDArray[np.float64], time: NDArray[np.float64]
    ) -> None:
        """Set gauges that have not been set later than `time`."""
        newer = time >= self.level_time[series]
        self.levels[series[newer]] = level[newer]
        self.level_time[series[newer]] = time[newer]

    def names(self) -> Iterator[str]:
        """All names, in order of arrival; others may be added meanwhile."""
        return iter(tuple(self._last))

    def named(self, name: str, tags: Sequence[str] = (), kind: Kind | None = None) -> list[Series]:
        """Series of just this name that carry all of `tags`."""
        wanted = set(tags)
        return [
            self[i]
            for i in self._of(name)
            if (kind is None or self._keys[i][0] is kind) and wanted.issubset(self._keys[i][2])
        ]

    def _of(self, name: str) -> list[int]:
        found, series = [], self._last.get(name, -1)
        while series >= 0:
            found.append(series)
            series = self._before[series]
        return found[::-1]

    def find(self, match: str, tags: Sequence[str] = (), kind: Kind | None = None) -> list[Series]:
        """Series whose whole name fits a glob and that carry all of `tags`."""
        if not any(sign in match for sign in "*?["):
            return self.named(match, tags, kind)
        fits = re.compile(translate(match)).match
        return [one for name in self.names() if fits(name) for one in self.named(name, tags, kind)]

    def knows(self, name: str) -> bool:
        """Tell whether any series has this name."""
        return name in self._last

    def _check(self) -> None:
        assert len(self._ids) == len(self._keys) <= self.limits.series + len(Kind)
        assert all(self._ids[key] == i for i, key in enumerate(self._keys))
        assert sorted(i for name in self._last for i in self._of(name)) == list(range(len(self)))
        assert all(self.kinds[i] == key[0] for i, key in enumerate(self._keys))


def _fits(tag: str, limits: Limits) -> bool:
    key, _, value = tag.partition(":")
    return (
        len(key.encode()) <= limits.tag_key_bytes and len(value.encode()) <= limits.tag_value_bytes
    )
