"""Closing, rolling up and tiling, on a clock that the test turns."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.store.rollup import History, Tier
from tests.store.frames import counted, frame

TIERS = [
    Tier("interval", 10, 360),
    Tier("minute", 60, 7200),
    Tier("hour", 3600, 7 * 86400),
    Tier("day", 86400, 90 * 86400),
]
START = 1_700_006_400  # a midnight
MIB = 1 << 20


def history(now: float = START, frames: int = 512 * MIB, samples: int = 256 * MIB) -> History:
    return History(TIERS, frames, samples, now)


def total(tiling) -> float:
    return sum(float(f.counters.sum.sum()) for f in tiling.frames)


def run(h: History, start: int, seconds: int, step: int = 10) -> float:
    """One count each `step` seconds, every interval closed; how many."""
    for now in range(start, start + seconds, step):
        h.add(counted(now))
        h.close(now + step)
    return seconds / step


def test_six_intervals_close_a_minute_and_sixty_minutes_an_hour():
    h = history()
    assert run(h, START, 3600) == 360
    minute = h.rings[1].at(START)
    assert [item.frame.counters.sum.tolist() for item in minute] == [[6.0]]
    hour = h.rings[2].at(START)
    assert [item.frame.counters.sum.tolist() for item in hour] == [[360.0]]
    assert h.rings[3].at(START) == ()
    h._check()


def test_a_day_is_the_exact_sum_of_its_parts():
    h = history()
    run(h, START, 86400)
    day = h.rings[3].at(START)
    assert [item.frame.counters.sum.tolist() for item in day] == [[8640.0]]
    assert total(h.tile(START, START + 86400)) == 8640
    h._check()


def test_a_late_tick_closes_all_that_was_due_and_shifts_no_boundary():
    h = history()
    for now in range(START, START + 60, 10):
        h.add(counted(now))
    h.close(START + 60)
    assert [len(h.rings[0].at(s)) for s in range(START, START + 60, 10)] == [1] * 6
    assert len(h.rings[1].at(START)) == 1
    assert h.closed[:2] == [START + 60, START + 60]


def test_a_clock_that_jumps_back_closes_nothing_twice():
    h = history()
    run(h, START, 120)
    before = h.rings[1].at(START)
    h.close(START + 30)
    assert h.rings[1].at(START) == before
    h.add(counted(START + 30))
    h.close(START + 60)
    assert total(h.tile(START, START + 120)) == 13
    h._check()


def test_a_clock_that_jumps_ahead_leaves_the_skipped_slots_empty():
    h = history()
    run(h, START, 60)
    run(h, START + 7200, 60)
    assert h.rings[2].starts(START, START + 7200) == [START]
    assert total(h.tile(START, START + 10800)) == 12
    h._check()


def test_a_late_point_reaches_every_tier_that_has_closed_its_slot():
    h = history()
    run(h, START, 7200)
    h.add(counted(START + 1000, 100.0))
    for tier in range(3):
        slot = (START + 1000) // TIERS[tier].width * TIERS[tier].width
        held = h.rings[tier].at(slot)
        if tier:  # the interval has left its ring by now
            assert sum(float(i.frame.counters.sum.sum()) for i in held) > 100
    assert total(h.tile(START, START + 7200)) == 820
    h._check()


def test_a_point_of_years_ago_goes_into_an_empty_history():
    h = history()
    old = START - 3 * 365 * 86400
    assert h.add(counted(old - old % 10))
    assert total(h.tile(old - 3600, old + 3600)) == 1
    assert h.oldest() == old - old % 86400


def test_a_point_older_than_every_ring_is_refused():
    h = History([Tier("minute", 60, 180)], 512 * MIB, 0, START)
    for k in range(4):
        assert h.add(counted(START + 60 * k, width=60))
    assert not h.add(counted(START - 600, width=60))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9000), st.sampled_from(["add", "close", "late"])), max_size=60
    ),
    st.integers(0, 9000),
    st.integers(0, 9000),
)
def test_any_tiling_holds_each_sample_of_its_window_once(steps, a, b):
    h, now, kept = history(), START, []
    for step, act in steps:
        if act == "late":
            at = START + step // 10 * 10
        else:
            now += step // 40
            at = now // 10 * 10
        if act == "close":
            h.close(at)
        elif h.add(counted(at, float(len(kept) + 1))):
            kept.append(at)
    h._check()
    start, end = START + min(a, b), START + max(a, b) + 10
    found = h.tile(start, end)
    assert found.start <= start
    assert found.end >= end
    inside = sum(i + 1.0 for i, at in enumerate(kept) if found.start <= at < found.end)
    assert total(found) == inside


@cache
def half_a_day() -> History:
    h = history()
    run(h, START, 20000, 50)
    return h


@given(st.integers(0, 19999), st.integers(1, 20000))
def test_a_tiling_is_widened_only_where_finer_frames_are_gone(offset, length):
    h = half_a_day()
    start, end = START + offset, START + min(20000, offset + length)
    found = h.tile(start, end)
    aligned = start - start % 10, end + -end % 10
    if h.rings[0].horizon <= start:
        assert (found.start, found.end) == aligned
    inside = [s for s in range(START, START + 20000, 50) if found.start <= s < found.end]
    assert total(found) == len(inside)


def test_thirty_days_touch_few_frames():
    h = History(
        TIERS[:1] + [t._replace(retention=40 * 86400) for t in TIERS[1:]], 1 << 40, 0, START
    )
    for day in range(30):
        for hour in range(24):
            at = START + day * 86400 + hour * 3600
            h.add(counted(at))
            h.close(at + 3600)
    assert len(h.tile(START + 1830, START + 30 * 86400 - 1830).frames) <= 150


def test_buckets_are_tiled_by_slots_that_divide_them():
    h = history()
    run(h, START, 7200)
    widths = {f.width for f in h.tile(START, START + 7200, 300).frames}
    assert widths == {60}
    assert {f.width for f in h.tile(START + 6900, START + 7200, 90).frames} == {10}


def test_where_fine_frames_are_gone_the_coarser_one_is_taken_and_the_window_says_so():
    h = history()
    run(h, START, 10800)
    found = h.tile(START + 600, START + 1200)  # two hours back, past the minutes
    assert (found.start, found.end) == (START, START + 3600)
    assert total(found) == 360


def test_fine_frames_are_offered_only_while_all_of_them_are_kept():
    h = history()
    run(h, START, 1000)
    assert h.fine(START + 700, START + 1000) is not None
    assert h.fine(START, START + 1000) is None


def test_samples_leave_the_oldest_frames_first_when_their_budget_is_spent():
    h = history(samples=20_000)
    for k in range(5):
        h.add(frame([(2, v / 7, 1.0) for v in range(400)], START + 10 * k))
        h.close(START + 10 * k + 10)
    assert h.points_nbytes() <= 20_000
    kept = [f.timers.points is not None for f in h.rings[0].between(START, START + 50)]
    assert kept == sorted(kept)
    assert kept[-1]
    assert not kept[0]
    h._check()


def test_frames_over_their_budget_leave_the_finest_tier_and_stay_in_the_coarser_ones():
    h = history(frames=40_000)
    rng = np.random.default_rng(1)
    for k in range(300):
        at = START + 10 * k
        h.add(frame([(2, v, 1.0) for v in rng.random(60)] + [(0, 1.0, 1.0)], at))
        h.close(at + 10)
    assert h.slots.nbytes() <= 44_000  # the open slots on top
    assert h.slots.evicted[0] > 0
    assert total(h.tile(START, START + 3000)) == 300
    h._check()


def test_an_hour_that_does_not_fit_loses_resolution_and_not_the_answer():
    h = history(frames=15_000)
    rng = np.random.default_rng(1)
    for k in range(360):
        at = START + 10 * k
        h.add(frame([(2, v, 1.0) for v in rng.random(60)] + [(0, 1.0, 1.0)], at))
        h.close(at + 10)
    found = h.tile(START, START + 3600)
    assert total(found) == 360
    assert sum(float(f.timers.moments.count.sum()) for f in found.frames) == 360 * 60
    h._check()


def test_the_day_from_minutes_agrees_with_the_day_from_hours():
    h = history()
    rng, values = np.random.default_rng(7), []
    for minute in range(0, 1440, 5):
        x = rng.lognormal(0, 1, 200)
        values.append(x)
        at = START + 60 * minute
        h.add(frame([(2, v, 1.0) for v in x], at))
        h.close(at + 60)
    h.close(START + 86400)
    day = h.rings[3].at(START)[0].frame.timers
    every = np.concatenate(values)
    assert day.moments.count[0] == every.size
    assert day.moments.mean[0] == pytest.approx(every.mean())
    assert day.moments.m2[0] / every.size == pytest.approx(every.var())
