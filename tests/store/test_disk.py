"""What a start brings up to date from the frames of a state directory."""

from dataclasses import replace

import numpy as np
import pytest

from aggd.store.disk import Disk, restore_levels
from aggd.store.frame import frozen
from aggd.store.rollup import History, Tier
from aggd.store.series import Kind, Limits, Registry
from tests.store.frames import frame
from tests.store.test_history_disk import START

TIERS = (Tier("interval", 10, 3600), Tier("minute", 60, 86400), Tier("hour", 3600, 30 * 86400))
GAUGE = 1  # series % 4 is the kind


def opened(directory, now: int) -> tuple[Disk, Registry, History]:
    """A state directory as a daemon that starts at `now` has it."""
    disk, registry = Disk(directory, TIERS, 1 << 40, 1 << 20), Registry(Limits())
    disk.hold("a test")
    saved, troubles = disk.open(registry)
    assert troubles == []
    history = History(TIERS, 1 << 30, 0, now, disk.shelves)
    restore_levels(history, registry, saved, now)
    return disk, registry, history


def killed(directory, *levels: tuple[int, float]) -> None:
    """A daemon that set a gauge at some times, wrote frames and names, and ended."""
    disk, registry, history = opened(directory, START)
    for kind in (Kind.COUNTER, Kind.GAUGE):
        registry.resolve(kind, "x", (), START)
    for at, level in levels:
        history.close(at)
        history.add(frame([(GAUGE, level, 1.0)], at))
        disk.save(registry, history)
    disk.release()


@pytest.mark.parametrize("later", [0, 9, 10, 3 * 3600, 20 * 86400])
def test_a_gauge_goes_on_from_the_last_level_on_disk(directory, later):
    killed(directory, (START, 5.0), (START + 60, 7.0))
    disk, registry, _ = opened(directory, START + 60 + later)
    disk.release()
    assert registry.levels[GAUGE] == 7
    assert START <= registry.last_seen[GAUGE] <= START + 60 + max(10, later)


def test_a_gauge_goes_on_from_what_came_while_levels_were_saved(directory):
    killed(directory, (START, 5.0))
    disk, registry, history = opened(directory, START + 10)
    history.close(START + 10)
    disk.save(registry, history)
    disk.catalogue.save_columns(registry, START + 10)
    samples = frame([(GAUGE, 7.0, 1.0)], START)
    late = replace(samples, gauges=replace(samples.gauges, last_time=np.array([START + 9.9])))
    assert history.add(frozen(late))
    disk.save(registry, history)
    disk.release()
    disk, registry, _ = opened(directory, START + 20)
    disk.release()
    assert registry.levels[GAUGE] == 7


def test_a_gauge_goes_on_from_its_last_level_where_the_clock_was_set_back(directory):
    killed(directory, (START, 5.0), (START + 7200, 7.0))
    disk, registry, history = opened(directory, START + 60)
    assert registry.levels[GAUGE] == 7
    assert registry.last_seen[GAUGE] <= START + 60
    for second in range(0, 600, 10):  # of a clock that is two hours behind
        assert history.add(frame([(0, 1.0, 1.0)], START + 60 + second))
        history.close(START + 70 + second)
        disk.save(registry, history)
    found = history.tile(START, START + 7210).frames
    assert sum(f.counters.count.sum() for f in found) == 60
    disk.release()
    disk, registry, history = opened(directory, START + 660)
    found = history.tile(START, START + 7210).frames
    assert sum(f.counters.count.sum() for f in found) == 60
    disk.release()


def test_series_that_come_while_frames_are_written_keep_their_names(directory, monkeypatch):
    disk, registry, history = opened(directory, START)
    save = history.save

    def one_more():
        registry.resolve(Kind.COUNTER, "new", (), START)
        history.add(frame([(0, 1.0, 1.0)], START))
        save()

    monkeypatch.setattr(history, "save", one_more)
    disk.save(registry, history)
    disk.release()
    disk, registry, _ = opened(directory, START + 10)
    assert [series.name for series in registry.series(np.array([0], np.int32))] == ["new"]
    disk.release()
