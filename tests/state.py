"""State directories for tests, as a daemon that ended leaves them."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from aggd.config import Config, load
from aggd.retention import limits, tiers
from aggd.store.archive import joined, lists, numbers
from aggd.store.disk import Disk
from aggd.store.fold import Samples, fold
from aggd.store.frame import Section
from aggd.store.rollup import History
from aggd.store.series import Kind, Registry
from aggd.units import HOUR, MINUTE

START = 1_700_006_400  # a midnight
MINUTES = 65
END = START + MINUTES * MINUTE
NAMES = ("a.one", "a.two", "b.three")
EVERY = 300  # samples of a timer in an interval, every now and then: more than a digest holds


def config(directory: Path) -> Config:
    return load(None, {}, {"storage.state_dir": str(directory)})


def series(registry: Registry) -> np.ndarray:
    """A counter, a gauge, a timer and a set of each name."""
    keys = [(kind, name, ("bare", f"of:{name}", "z:1", "z:2")) for name in NAMES for kind in Kind]
    return np.array([registry.resolve(*key, START) for key in keys], np.int32)


def fill(directory: Path, start: int = START, minutes: int = MINUTES, seed: int = 0) -> Path:
    """Record samples of all series at every third interval, close all that is over."""
    settings, registry = config(directory), Registry(limits(config(directory)))
    disk = Disk(directory, tiers(settings), 1 << 40, 1 << 20)
    disk.hold("a test")
    assert disk.open(registry)[1] == []
    history = History(tiers(settings), 1 << 29, 1 << 26, start, disk.shelves)
    ids, rng = series(registry), np.random.default_rng(seed)
    for slot in range(start, start + minutes * MINUTE, 30):
        many = EVERY if slot % HOUR == 0 else 5
        of = np.repeat(ids, many)
        value = rng.lognormal(3, 1, of.size)
        members = registry.kinds[of] == Kind.SET
        value[members] = rng.integers(0, 50, np.count_nonzero(members)).view(float)
        weight = np.where(registry.kinds[of] == Kind.GAUGE, 1.0, 1 / 0.3)
        samples = Samples(of, value, weight, slot + np.linspace(0, 9, of.size))
        frame = fold(samples, registry.kinds, registry.levels, slot, 10).frame
        assert history.add(frame)
        registry.seen(ids, slot)
        registry.set_levels(frame.gauges.series, frame.gauges.last, frame.gauges.last_time)
        history.close(slot + 30)
        if slot % MINUTE == 0:
            disk.save(registry, history)
    disk.save(registry, history)
    for _ in disk.compact(start + minutes * MINUTE):
        pass
    disk.catalogue.save_columns(registry, start + minutes * MINUTE)
    disk.release()
    return directory


def content(directory: Path, width: int) -> dict:
    """All that is kept of a tier, by start, kind, name and tags: rows as lists."""
    registry, settings = Registry(limits(config(directory))), config(directory)
    disk = Disk(directory, tiers(settings), 1 << 40, 1 << 20)
    assert disk.open(registry)[1] == []
    shelf = next(shelf for shelf in disk.shelves if shelf.width == width)
    found = {}
    for start in shelf.starts(0, 1 << 40):
        frames = shelf.read(start, start + width, shelf.parts(start))
        for kind in Kind:
            rows = joined(frames, kind)
            if rows is not None:
                keys = [(one.name, one.tags) for one in registry.series(rows.series)]
                every = zip(keys, as_lists(rows), strict=True)
                found |= {(start, kind, *key): row for key, row in every}
    assert shelf.damaged == 0
    return found


def as_lists(section: Section) -> list[list]:
    """Every number of every row."""
    columns = [column.tolist() for column in numbers(section).values()]
    for offset, value in lists(section).values():
        edges = pairwise(offset.tolist())
        columns.append([value[a:b].tolist() for a, b in edges])
    return [list(row) for row in zip(*columns, strict=True)]
