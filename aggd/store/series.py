"""The registry: a number for every series, and what it is called.

    (kind, name, tags) ---> series id ---> kind, name, tags, first and last seen
                               ^
    name glob, tags, kind -----+  by two indexes: of names, and of tags

Ids are never renumbered while a frame refers to them: a series that is forgotten
leaves its id behind, and takes a new one where it comes again.  One name may be a
counter and a timer at once, so the kind is part of the identity.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggd.errors import ProtocolError
from aggd.store.index import Glob, Ids, Index, common, glob, within

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


Key = tuple[Kind, str, Tags]

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
    counted; those few come on top of the limit.  One thread at a time may name and
    forget; any number read meanwhile.

    Attributes
    ----------
    name_of : ndarray of int32
        The name of every series, by id, as the first id that has the same name; -1
        where there is no such series, or no longer.
    kinds, first_seen, last_seen, levels, level_time : ndarray
        By id; levels are those of gauges, times are seconds since the epoch.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.overflowed = 0  # names that became aggd.overflow
        self.tags_dropped = 0  # tags over a limit
        self.forgotten = 0  # ids that name nothing any more
        self.index = Index()  # of names
        self.tag_index = Index()
        self._ids: dict[Key, int] = {}
        self._keys: list[Key | None] = []  # None: forgotten
        self.name_of: Ids = np.full(1024, -1, np.int32)
        self.kinds: NDArray[np.uint8] = np.zeros(1024, np.uint8)
        self.first_seen: NDArray[np.float64] = np.zeros(1024)
        self.last_seen: NDArray[np.float64] = np.zeros(1024)
        self.levels: NDArray[np.float64] = np.zeros(1024)
        self.level_time: NDArray[np.float64] = np.full(1024, -np.inf)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, series: int) -> Series:
        key = self._keys[series]
        if key is None:
            raise KeyError(f"series {series} is forgotten")
        seen = float(self.first_seen[series]), float(self.last_seen[series])
        return Series(series, *key, *seen)

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
        key = (kind, name, tags)
        if key in self._ids:
            return self._ids[key]
        if name != OVERFLOW and self._full():
            self.overflowed += 1
            return self.resolve(kind, OVERFLOW, (), now)
        return self._add(key, now)

    def _full(self) -> bool:
        over = len(self._ids) - self.limits.series
        return over >= 0 and over >= self.index.of(OVERFLOW).size

    def _add(self, key: Key, now: float) -> int:
        kind, name, tags = key
        series = len(self._keys)
        if series == self.kinds.size:
            self._grow()
        self.kinds[series] = kind
        self.first_seen[series] = self.last_seen[series] = now
        self._keys.append(key)
        add = self.tag_index.add
        for tag in tags:
            add(tag, series)
        self.name_of[series] = self.index.add(name, series)
        self._ids[key] = series
        return series

    def _allowed(self, tags: Tags) -> Tags:
        limits = self.limits
        kept = tuple(tag for tag in tags[: limits.tags] if _fits(tag, limits))
        self.tags_dropped += len(tags) - len(kept)
        return kept if len(kept) < len(tags) else tags

    def _grow(self) -> None:
        # New arrays, so that a reader in another thread keeps a whole one.
        self.name_of = np.concatenate([self.name_of, np.full_like(self.name_of, -1)])
        self.kinds = np.concatenate([self.kinds, np.zeros_like(self.kinds)])
        self.first_seen = np.concatenate([self.first_seen, np.zeros_like(self.first_seen)])
        self.last_seen = np.concatenate([self.last_seen, np.zeros_like(self.last_seen)])
        self.levels = np.concatenate([self.levels, np.zeros_like(self.levels)])
        self.level_time = np.concatenate([self.level_time, np.full_like(self.level_time, -np.inf)])

    def forget(self, ids: Ids) -> int:
        """Forget series; how many of them were still known.

        Nothing finds the rows that frames still have of them.  Costs some 10 us each, and
        as much as it takes to read all series once that share a name or a tag with them.
        """
        gone = np.array([i for i in ids.tolist() if self._keys[i] is not None], np.int32)
        gone.sort()
        keys = [key for key in map(self._keys.__getitem__, gone.tolist()) if key is not None]
        for name in {name for _, name, _ in keys}:
            left = self.index.take_away(name, gone)
            self.name_of[left] = left[:1]
        for tag in set(chain.from_iterable(tags for _, _, tags in keys)):
            self.tag_index.take_away(tag, gone)
        self.name_of[gone] = -1
        for series, key in zip(gone.tolist(), keys, strict=True):
            del self._ids[key]
            self._keys[series] = None
        self.forgotten += len(keys)
        return len(keys)

    def entries(self, first: int) -> list[tuple[int, str, Tags] | None]:
        """Kind, name and tags of every series from an id on; None where it is forgotten."""
        return [*self._keys[first:]]

    def restore(
        self,
        entries: Iterable[tuple[int, str, Tags] | None],
        columns: Mapping[str, NDArray[np.float64]],
    ) -> None:
        """Fill an empty registry with `entries` and, as far as they go, columns by id."""
        assert not self._keys
        for entry in entries:
            if entry is None:
                self._keys.append(None)
                self.forgotten += 1
            else:
                kind, name, tags = entry
                self._add((Kind(kind), name, tags), 0.0)
            if len(self._keys) == self.kinds.size:
                self._grow()
        for name, column in columns.items():
            kept = column[: len(self._keys)]
            getattr(self, name)[: kept.size] = kept

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
        """All names, in their order; others may be added meanwhile."""
        return chain.from_iterable(part.words for part in self.index.walk())

    def knows(self, name: str) -> bool:
        """Tell whether any series has this name."""
        return name in self.index

    def named(self, name: str, tags: Sequence[str] = (), kind: Kind | None = None) -> list[Series]:
        """Series of just this name that carry all of `tags`, in order of arrival."""
        return self.series(self.narrowed(self.index.of(name), tags, kind))

    def find(self, match: str, tags: Sequence[str] = (), kind: Kind | None = None) -> list[Series]:
        """Series whose whole name fits a glob and that carry all of `tags`, by name."""
        found = self.series(self.select(match, tags, kind))
        found.sort(key=_by_name)  # those of one name stay in order of arrival
        return found

    def series(self, ids: Ids) -> list[Series]:
        """Series by their ids; those that are forgotten are left out."""
        keys = [self._keys[i] for i in ids.tolist()]
        first, last = self.first_seen[ids].tolist(), self.last_seen[ids].tolist()
        every = zip(ids.tolist(), keys, first, last, strict=True)
        return [Series(i, *key, *seen) for i, key, *seen in every if key is not None]

    def select(self, match: str = "*", tags: Sequence[str] = (), kind: Kind | None = None) -> Ids:
        """Ids, ascending, of the series whose whole name fits a glob and that carry all of `tags`.

        Of a million series: a few ms by tags, a name and tags, or for all; 0.1 us a name
        with the prefix of a glob; where it begins with a sign 20 ms, and 0.4 us a name
        that stands in a leaf with one that has its longest literal.
        """
        wanted = glob(match)
        if wanted.exact:
            return self.narrowed(self.index.of(match), tags, kind)
        if tags:
            carrying = common([self.tag_index.of(tag) for tag in tags])
            if match == "*":
                return self.narrowed(carrying, (), kind)
            names = self._names(carrying)
            if names.size < self.index.reach(wanted.prefix):
                return self.narrowed(self._fitting(wanted, carrying, names), (), kind)
        elif match == "*":
            return self.narrowed(np.flatnonzero(self.name_of >= 0).astype(np.int32), (), kind)
        parts = [self.index.under(part) for part in self.index.fitting(wanted)]
        ids = np.sort(np.concatenate(parts)) if parts else np.empty(0, np.int32)
        return self.narrowed(ids, tags, kind)

    def narrowed(self, ids: Ids, tags: Sequence[str] = (), kind: Kind | None = None) -> Ids:
        """Those of ascending `ids` that carry all of `tags`, are of a kind, and still known."""
        ids = common([ids, *(self.tag_index.of(tag) for tag in tags)])
        kept = self.name_of[ids] >= 0
        if kind is not None:
            kept &= self.kinds[ids] == kind
        return ids if kept.all() else ids[kept]

    def _names(self, ids: Ids) -> Ids:
        """First id of every name among some series."""
        names = self.name_of[ids]
        marks = np.zeros(self.name_of.size, np.bool_)
        marks[names[names >= 0]] = True
        return np.flatnonzero(marks).astype(np.int32)

    def _fitting(self, wanted: Glob, ids: Ids, names: Ids) -> Ids:
        """Those of some series, of some `names`, whose name fits."""
        keys = [self._keys[i] for i in names.tolist()]
        words = ["" if key is None else key[1] for key in keys]
        if wanted.prefix:
            begin = [i for i, word in enumerate(words) if word.startswith(wanted.prefix)]
            names, words = names[begin], [words[i] for i in begin]
        return ids[within(self.name_of[ids], names[wanted.among(words)])]

    def walk(
        self,
        match: str = "*",
        tags: Sequence[str] = (),
        kind: Kind | None = None,
        after: tuple[str, int] = ("", -1),
    ) -> Iterator[Ids]:
        """Ids as ``select`` finds them, but by name and then id, some at a time.

        `after` is where to go on: a name, and an id that had it.
        """
        start, last = after
        carrying = common([self.tag_index.of(tag) for tag in tags]) if tags else None
        for part in self.index.fitting(glob(match), start):
            ids = self.index.under(part)
            if part.words[0] == start:
                ids = ids[~((ids <= last) & within(ids, self.index.of(start)))]
            if carrying is not None:
                ids = ids[within(ids, carrying)]
            ids = self.narrowed(ids, (), kind)
            if ids.size:
                yield ids

    def _check(self) -> None:
        known = {i: key for i, key in enumerate(self._keys) if key is not None}
        assert self._ids == {key: i for i, key in known.items()}
        assert len(self) <= self.limits.series + len(Kind)
        ids = np.array(list(known), np.int32)
        assert np.array_equal(np.flatnonzero(self.name_of >= 0), ids)
        assert self.kinds[ids].tolist() == [kind for kind, _, _ in known.values()]
        for i, (_, name, _) in known.items():
            assert self.name_of[i] == self.index.of(name)[0]
        self._check_index(self.index, {i: (name,) for i, (_, name, _) in known.items()})
        self._check_index(self.tag_index, {i: tags for i, (_, _, tags) in known.items()})

    def _check_index(self, index: Index, words: dict[int, Tags]) -> None:
        index._check(chain.from_iterable(words.values()))
        for word in set(chain.from_iterable(words.values())):
            assert index.of(word).tolist() == [i for i, of in words.items() if word in of]


def _fits(tag: str, limits: Limits) -> bool:
    key, _, value = tag.partition(":")
    return (
        len(key.encode()) <= limits.tag_key_bytes and len(value.encode()) <= limits.tag_value_bytes
    )


def _by_name(series: Series) -> str:
    return series.name
