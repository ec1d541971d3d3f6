"""Whatever a disk refuses, the daemon goes on and says so."""

import logging

import pytest

from aggd.storage import Storage
from aggd.store.disk import Disk
from aggd.store.rollup import History, Tier
from aggd.store.series import Kind, Limits, Registry
from tests.store.frames import counted

START = 1_700_006_400  # a midnight
TIERS = (Tier("interval", 10, 86400), Tier("minute", 60, 86400))


class Kept:
    """A storage, and all that belongs to it."""

    def __init__(self, directory, max_bytes: int = 1 << 40) -> None:
        self.disk = Disk(directory, TIERS, max_bytes, 1 << 20)
        self.disk.hold("a test")
        self.registry = Registry(Limits())
        self.disk.open(self.registry)
        self.history = History(TIERS, 1 << 30, 0, START, self.disk.shelves)
        self.bugs: list[BaseException] = []
        self.storage = Storage(self.disk, self.registry, self.history, self.bugs.append)
        self.registry.resolve(Kind.COUNTER, "x", (), START)

    def pass_hours(self, hours: int) -> int:
        """A sample and a close an hour; the last boundary."""
        for hour in range(hours):
            self.history.add(counted(START + 3600 * hour))
            self.history.close(START + 3600 * hour + 10)
            self.storage.closed(START + 3600 * hour + 10)
        return START + 3600 * hours


def test_a_file_that_cannot_be_dropped_ends_nothing(directory, caplog):
    kept = Kept(directory)
    now = kept.pass_hours(3)
    oldest = kept.disk.shelves[0].path(START)
    oldest.unlink()
    oldest.mkdir()
    kept.disk.max_bytes = 0
    kept.storage.closed(now)
    assert kept.storage.failures >= 1  # compaction may have come upon it, too
    assert f"{directory} can't be written: " in caplog.text
    assert kept.storage.reasons()
    oldest.rmdir()
    kept.disk.max_bytes = 1 << 40
    with caplog.at_level(logging.INFO):
        kept.storage.closed(now + 10)
    assert "can be written again; nothing was lost" in caplog.text
    assert kept.storage.reasons() == []
    kept.storage.finish(now + 10)
    assert kept.bugs == []


@pytest.mark.parametrize("name", ["catalogue.db", "interval-10s", "minute"])
def test_a_place_that_cannot_be_written_ends_nothing(directory, caplog, name):
    kept = Kept(directory)
    now = kept.pass_hours(1)
    (directory / name).rename(directory / "away")
    (directory / name).touch()
    kept.history.add(counted(now))
    kept.registry.resolve(Kind.COUNTER, "y", (), now)
    kept.storage.closed(now + 60)
    kept.history.close(now + 3600)
    kept.storage.closed(now + 3600)
    assert kept.storage.failures >= 1
    assert caplog.text.count("can't be written") == 1
    (directory / name).unlink()
    (directory / "away").rename(directory / name)
    kept.storage.closed(now + 3660)
    kept.storage.finish(now + 3660)
    again = Kept(directory)
    frames = again.history.tile(START, now + 60).frames
    assert sum(f.counters.count.sum() for f in frames) == 2
    again.storage.finish(now + 3660)
    assert kept.bugs == again.bugs == []
