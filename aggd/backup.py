"""A state directory as rows: read while its daemon runs, written to where none does.

    directory --plan--> steps: some series of one kind in some slots of one tier --read--> sections

A step is small enough for memory, whatever the directory holds.  It is read again where a
running daemon rewrote its slots meanwhile: numbers of parts are never used twice, so parts
that are still listed afterwards were there all the time.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from aggd.config import Config
from aggd.errors import StorageError
from aggd.retention import limits, tiers
from aggd.store.archive import joined
from aggd.store.cache import Cache
from aggd.store.catalogue import Catalogue
from aggd.store.disk import INTERVAL, folder, interval_in
from aggd.store.frame import Ids, Section
from aggd.store.rollup import FOREVER, Tier
from aggd.store.series import Kind, Registry, Series
from aggd.store.shelf import Shelf, Wanted
from aggd.units import MIB

# Of 60 slots with 128 centroids, or 2048 members, in each: 100 MB.
GROUP = {Kind.COUNTER: 4096, Kind.GAUGE: 4096, Kind.TIMER: 512, Kind.SET: 128}
SLOTS = 60
CACHE = 64 * MIB
LOOKS = 20  # at slots that a daemon rewrites meanwhile; it does so once in a checkpoint
CATALOGUE = "catalogue.db"


class Asked(NamedTuple):
    """What of a directory is wanted; times in seconds since the epoch."""

    start: int = 0
    end: int = FOREVER
    match: str = "*"
    tags: tuple[str, ...] = ()
    kind: Kind | None = None
    resolution: str | None = None  # name of a tier


class Writer(Protocol):
    """Writes rows to an open file."""

    def write(self, series: Sequence[Series], start: int, width: int, section: Section) -> None:
        """Write one slot of some series: what its rows are of, in their order."""

    def close(self) -> None:
        """Write what is left."""


class Step(NamedTuple):
    """Some series of one kind in the slots of ``[start, end)`` of a tier, all in one file."""

    shelf: Shelf
    start: int
    end: int
    kind: Kind
    ids: Ids


def tiers_in(directory: Path, config: Config) -> list[Tier]:
    """Tiers that a directory has, or will have, finest first; any length of intervals."""
    known = tiers(config)
    names = {folder(directory, tier).name for tier in known}
    kept = config.retention.interval
    others = [
        Tier("interval", width, kept)
        for path in directory.glob(f"{INTERVAL}*")
        if path.name not in names and (width := interval_in(path))
    ]
    return sorted([*others, *known], key=lambda tier: tier.width)


class Source:
    """A state directory as it is read; nothing in it changes.

    Parameters
    ----------
    directory : Path
        A daemon may be using it.
    only : Path, optional
        The one file of a tier that is wanted.

    Raises
    ------
    StorageError
        Where it isn't there, or of a newer version of aggd.
    """

    def __init__(self, directory: Path, config: Config, only: Path | None = None) -> None:
        if not directory.is_dir():
            raise StorageError(f"{directory} is no directory; name the state directory of an aggd")
        self.directory = directory
        self.tiers = tiers_in(directory, config)
        cache = Cache(CACHE)
        self.shelves = [
            Shelf(folder(directory, tier), tier.width, FOREVER, cache) for tier in self.tiers
        ]
        self.troubles = [trouble for shelf in self.shelves for trouble in shelf.look()]
        self.registry = Registry(limits(config))
        series = max(shelf.series for shelf in self.shelves)
        # After the frames, so that it knows all series in them.
        self.troubles += Catalogue(directory / CATALOGUE).look(self.registry, series)
        self._only = only

    @property
    def damaged(self) -> int:
        """Rows that could not be read."""
        return sum(shelf.damaged for shelf in self.shelves)

    def plan(self, asked: Asked) -> list[Step]:
        """Steps that together read what is asked for, slot by slot in each tier."""
        chosen = [kind for kind in Kind if asked.kind in (None, kind)]
        found = {kind: self.registry.select(asked.match, asked.tags, kind) for kind in chosen}
        neighbours = [(kind, some) for kind in chosen for some in groups(kind, found[kind])]
        return [
            Step(shelf, start, end, kind, ids)
            for tier, shelf in zip(self.tiers, self.shelves, strict=True)
            if asked.resolution in (None, tier.name)
            for start, end in self._spans(shelf, asked)
            for kind, ids in neighbours
        ]

    def _spans(self, shelf: Shelf, asked: Asked) -> Iterator[tuple[int, int]]:
        """Up to SLOTS slots of one unit each."""
        most = SLOTS * shelf.width
        starts = shelf.starts(asked.start, asked.end)
        if self._only is not None:
            starts = [start for start in starts if shelf.path(start) == self._only]
        for _, some in groupby(starts, lambda start: (start // shelf.unit, start // most)):
            slots = list(some)
            yield slots[0], slots[-1] + shelf.width

    def read(self, step: Step) -> Iterator[tuple[int, Section]]:
        """Start and rows of each slot of a step.

        Raises
        ------
        StorageError
            Where a daemon rewrites the slots sooner than they are read.
        """
        shelf, start, end, kind, ids = step
        for _ in range(LOOKS):
            parts = {part for slot in shelf.starts(start, end) for part in shelf.parts(slot)}
            pieces = shelf.read_parts(start, end, parts, Wanted(kind, ids))
            if shelf.listed(start, end) == parts:
                break
            shelf.look_again(start)
        else:
            raise StorageError(f"{shelf.path(start)} changes faster than it can be read; try again")
        pieces.sort(key=lambda piece: (piece[1].start, piece[0]))
        for slot, some in groupby(pieces, lambda piece: piece[1].start):
            if rows := joined([frame for _, frame in some], kind, ids):
                yield slot, rows


def export(source: Source, asked: Asked, writer: Writer, done: Callable[[float], None]) -> int:
    """Write what is asked for, and tell the fraction that is done; how many rows there were."""
    rows, steps = 0, source.plan(asked)
    with closing(writer):
        for number, step in enumerate(steps, 1):
            for start, section in source.read(step):
                series = source.registry.series(section.series)
                writer.write(series, start, step.shelf.width, section)
                rows += len(series)
            done(number / len(steps))
    return rows


def groups(kind: Kind, ids: Ids) -> list[Ids]:
    """Series that are read together: neighbours on disk."""
    return np.split(ids, np.flatnonzero(np.diff(ids // GROUP[kind])) + 1) if ids.size else []
