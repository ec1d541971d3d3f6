"""A state directory as a daemon leaves it after a month of 100,000 series, made in a minute.

    tier       reaches back   slots   with all series
    interval   an hour          360   those of the last minute
    minute     a week        10,080   those since the hour
    hour       a month          720   none
    day        a month           30   none

The other slots hold the first KEPT series alone, as a month of all of them takes 100 GB.
They are written, listed and compacted by the shelves like any others.  A start reads the
lists of all slots and the rows of the newest.  A series has as many rows to be read as
it would have beside 100,000; only the trees over them are a level lower.

Every slot has rows of its own: it takes those of one frame in another order.  Slots that
repeat each other would be compressed to nothing.
"""

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aggd.config import Config
from aggd.retention import limits, tiers
from aggd.store.disk import Disk
from aggd.store.fold import Samples, fold
from aggd.store.frame import Frame, columns, frozen, packed
from aggd.store.merge import merge
from aggd.store.segment import Change
from aggd.store.series import Kind, Registry
from aggd.store.shelf import Shelf
from aggd.units import DAY, GIB, HOUR, MIB, MINUTE

SERIES = 100_000
SHARES = {Kind.COUNTER: 0.6, Kind.GAUGE: 0.2, Kind.TIMER: 0.2}
SAMPLES = 45  # of a timer in a frame, on average
KEPT = 512  # series of the slots that a start doesn't read
MANY = 360  # slots written at a time

Rng = np.random.Generator


class Past(NamedTuple):
    """How far a state reaches back, in slots of each tier."""

    intervals: int = 360
    minutes: int = 7 * 24 * 60
    hours: int = 30 * 24
    days: int = 30


def registry_of(series: int, rng: Rng) -> Registry:
    """So many series, kinds mixed as they come from senders."""
    registry = Registry(limits(Config()))
    kinds = rng.choice(list(SHARES), series, p=list(SHARES.values()))
    for number, kind in enumerate(kinds.tolist()):
        tags = (f"env:{'prod' if number % 3 else 'test'}", f"host:web-{number % 200:03}")
        registry.resolve(Kind(kind), f"shop.service{number % 37}.s{number:06}", tags, time.time())
    return registry


def folded(registry: Registry, digits: int | None, rng: Rng) -> Frame:
    """A minute of all series: milliseconds of so many decimals, None for all of a float."""
    kinds = registry.kinds[: len(registry)]
    often = np.where(kinds == Kind.TIMER, rng.poisson(SAMPLES, kinds.size) + 1, 1)
    series = np.repeat(np.arange(kinds.size, dtype=np.int32), often)
    value = rng.lognormal(3.0, 0.8, series.size)
    value = value if digits is None else value.round(digits)
    counter = kinds[series] == Kind.COUNTER
    value[counter] = rng.poisson(20, np.count_nonzero(counter))
    columns = Samples(series, value, np.ones(series.size), 0.0)
    return packed(fold(columns, registry.kinds, registry.levels, 0, MINUTE).frame)


def second_of(registry: Registry, samples: int, second: int, width: int, rng: Rng) -> Frame:
    """What comes in a second: samples of random series, each some milliseconds."""
    series = rng.integers(0, len(registry), samples, dtype=np.int32)
    columns = Samples(
        series, rng.lognormal(3.0, 0.8, samples).round(2), np.ones(samples), float(second)
    )
    start = second - second % width
    return frozen(fold(columns, registry.kinds, registry.levels, start, width).frame)


def shuffled(frame: Frame, start: int, width: int, series: int, rng: Rng) -> Frame:
    """A frame of another slot: its first series, each with the row of some other one."""
    sections = []
    for section in frame.sections():
        ids = section.series[: np.searchsorted(section.series, series)]
        rows = rng.permutation(section.series.size)[: ids.size]
        sections.append(replace(section.select(rows), series=ids))
    return frozen(Frame(start, width, *sections))


def shuffles(
    frame: Frame, starts: Iterable[int], width: int, series: int, rng: Rng
) -> Iterable[Frame]:
    """The same for several slots."""
    return (shuffled(frame, start, width, series, rng) for start in starts)


def weights(frame: Frame) -> dict[str, float]:
    """Bytes in memory of a row of each kind, and of a centroid."""
    digests = frame.timers.digests
    points = sum(c.nbytes for c in (digests.mean, digests.weight, digests.atom))
    sizes = {
        kind.word: sum(c.nbytes for c in columns(section)) / max(1, section.series.size)
        for kind, section in zip(Kind, frame.without_points().sections(), strict=True)
        if kind in SHARES
    }
    sizes["timer"] -= points / max(1, len(digests))
    return {**sizes, "centroid": points / digests.mean.size}


def put(shelf: Shelf, frames: Iterable[Frame], closed: int) -> None:
    """Write frames, many in a transaction."""
    changes: list[Change] = []
    for frame in frames:
        changes.append(Change(shelf.number(), frame, ()))
        if len(changes) == MANY:
            shelf.save(closed, changes)
            changes.clear()
    if changes:
        shelf.save(closed, changes)


def disk_of(directory: Path) -> Disk:
    """A state directory with room for all that is put there."""
    return Disk(directory, tiers(Config()), 1000 * GIB, 64 * MIB)


def fill(directory: Path, frame: Frame, registry: Registry, past: Past, rng: Rng) -> None:
    """Write a state that ends now, and its catalogue."""
    disk = disk_of(directory)
    disk.open(Registry(limits(Config())))
    small = shuffled(frame, 0, MINUTE, 8 * KEPT, rng)
    hour = coarser(small, HOUR, rng)
    now = int(time.time())
    plans = (
        (small, past.intervals, now - now % MINUTE),
        (small, past.minutes, now - now % HOUR),
        (hour, past.hours, now),
        (coarser(hour, DAY, rng), past.days, now),
    )
    for shelf, (old, count, whole) in zip(disk.shelves, plans, strict=True):
        width, end = shelf.width, now - now % shelf.width
        starts = range(end - count * width, end, width)
        put(shelf, shuffles(old, [s for s in starts if s < whole], width, KEPT, rng), end)
        for start in (s for s in starts if s >= whole):
            put(shelf, [shuffled(frame, start, width, SERIES, rng)], end)
    disk.catalogue.save_names(registry)
    disk.catalogue.save_columns(registry, now - now % MINUTE)
    for _ in disk.compact(now):
        pass


def coarser(frame: Frame, width: int, rng: Rng) -> Frame:
    """A frame of a longer slot, whose digests are full."""
    parts = list(shuffles(frame, [0] * 8, width, SERIES, rng))
    return packed(merge(parts, 0, width, keep=False))


def fill_late(directory: Path, frame: Frame, registry: Registry, rng: Rng) -> None:
    """Write an hour of minutes that ended two hours ago and was never rolled up."""
    disk = disk_of(directory)
    disk.open(Registry(limits(Config())))
    now = int(time.time())
    end = now - now % HOUR - HOUR
    starts = range(end - HOUR, end, MINUTE)
    for new in shuffles(frame, starts, MINUTE, SERIES, rng):
        put(disk.shelves[1], [new], end - MINUTE)
    width = disk.shelves[0].width
    put(disk.shelves[0], [shuffled(frame, end - width, width, KEPT, rng)], end - width)
    put(disk.shelves[2], [shuffled(frame, end - 2 * HOUR, HOUR, KEPT, rng)], end - HOUR)
    disk.catalogue.save_names(registry)
    disk.catalogue.save_columns(registry, end)
