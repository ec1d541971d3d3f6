"""Memory keeps to its budget, whatever can't be written: resolution goes first, then the oldest."""

from contextlib import contextmanager

import numpy as np
import pytest

from aggd.store.rollup import History, Tier
from tests.store.frames import counted, frame
from tests.store.test_history_disk import LONG, START, Kept

BUDGET = 200_000
DAY = Tier("day", 86400, 400 * 86400)


@contextmanager
def unwritable(kept: Kept):
    """Directories in whose place a file stands."""
    for shelf in kept.shelves:
        shelf.directory.rename(shelf.directory.with_suffix(".away"))
        shelf.directory.write_text("")
    yield
    for shelf in kept.shelves:
        shelf.directory.unlink()
        shelf.directory.with_suffix(".away").rename(shelf.directory)


def pass_time(kept: Kept, intervals: int) -> None:
    """Fill and close intervals, with points that come late, and try to save after each."""
    for _ in range(intervals):
        for ago in (0, 10):
            kept.add(ago, [(series, float(kept.now % 97), 1.0)[:2] for series in range(32)])
        kept.now += 10
        kept.close()
        with pytest.raises(OSError, match="exists"):
            kept.save()
        assert kept.history.slots.nbytes() <= BUDGET * 1.05


def test_a_disk_that_stays_full_costs_resolution_and_no_sample(directory):
    kept = Kept(directory, LONG, BUDGET)
    for _ in range(2):  # the second time part of the slot is on disk
        kept.add(0, [(series, 1.0) for series in range(32)])
        kept.save()
    kept.add(0, [(series, 2.0) for series in range(32)])
    with unwritable(kept):
        pass_time(kept, 800)
        items = [item for ring in kept.history.rings for start in ring.starts(0, 1 << 40)
                 for item in ring.at(start)]  # fmt: skip
        assert max(len(item.stored) for item in items) <= 2
        assert kept.history.slots.evicted[0] > 700
        assert len(kept.history.rings[1]) > 1  # minutes stay as long as there is room
    kept.check(0, kept.now + 86400)
    kept.save()
    kept.check(0, kept.now + 86400)
    kept.crash()
    kept.check(0, kept.now + 86400)


def test_what_fits_in_no_tier_goes_and_is_counted_where_nothing_can_be_written(directory):
    kept = Kept(directory, (LONG[0], LONG[2]), 20_000)
    kept.add(0, [(0, 1.0)])
    kept.save()
    with unwritable(kept):
        for _ in range(50):
            kept.add(0, [(series, 1.0) for series in range(32)])
            kept.now += 3600
            kept.close()
            with pytest.raises(OSError, match="exists"):
                kept.save()
        assert kept.history.slots.nbytes() <= 20_000
        assert sum(kept.history.slots.evicted) > 0
        newest = kept.history.tile(kept.now - 3600, kept.now)
        assert sum(f.counters.count.sum() for f in newest.frames) == 8


def test_days_past_the_budget_go_where_there_is_no_disk():
    h = History([LONG[2], DAY], 40_000, 0, START)
    rng = np.random.default_rng(1)
    for day in range(200):
        at = START + day * 86400
        h.add(frame([(2, v, 1.0) for v in rng.random(500)], at, 3600))
        h.close(at + 86400)
        assert h.slots.nbytes() <= 40_000
    assert h.slots.evicted[1] > 0
    assert h.rings[1].newest() == START + 199 * 86400
    h._check()


def test_what_waits_to_be_written_stays_over_the_budget(directory):
    kept = Kept(directory, LONG, 0)
    for _ in range(400):
        kept.history.add(counted(kept.now))
        kept.now += 10
        kept.close()
    found = kept.history.tile(START, kept.now).frames
    assert sum(f.counters.count.sum() for f in found) == 400
