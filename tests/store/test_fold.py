"""Samples to partial frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.sketch import digest
from aggd.store.fold import OPEN_SIZE, fold
from aggd.store.series import Kind
from tests.store.frames import KINDS, NO_LEVELS, frame, samples

values = st.floats(-1e6, 1e6)
rates = st.sampled_from([1.0, 2.0, 10.0, 1 / 0.3])
rows = st.lists(st.tuples(st.integers(0, 31), values, rates), max_size=80)


@given(rows)
def test_a_frame_of_any_samples_keeps_its_invariants(lines):
    frame(lines)._check()


@given(rows)
def test_counters_count_by_inverse_rate_and_sum_by_value_over_rate(lines):
    got = frame(lines).counters
    of = {s: [(v, w) for i, v, w in lines if i == s] for s in range(0, 32, 4)}
    assert got.series.tolist() == [s for s, found in of.items() if found]
    for series, count, total in zip(got.series, got.count, got.sum, strict=True):
        assert count == pytest.approx(sum(w for _, w in of[series]))
        assert total == pytest.approx(sum(v * w for v, w in of[series]), abs=1e-6)


@given(st.lists(st.tuples(st.sampled_from([1, 5, 9]), values, st.booleans()), max_size=60))
def test_gauges_are_followed_line_by_line(lines):
    levels = np.arange(KINDS.size, dtype=float)
    expected: dict[int, list[float]] = {}
    for series, value, change in lines:
        before = expected[series][-1] if series in expected else levels[series]
        expected.setdefault(series, []).append(before + value if change else value)
    given_rows = [(s, v, 0.0 if change else 1.0) for s, v, change in lines]
    got = fold(samples(given_rows), KINDS, levels, 0, 10).frame.gauges
    assert got.series.tolist() == sorted(expected)
    for i, series in enumerate(got.series):
        seen = expected[series]
        assert got.last[i] == seen[-1]
        assert (got.low[i], got.high[i], got.count[i]) == (min(seen), max(seen), len(seen))
        assert got.sum[i] == pytest.approx(sum(seen), abs=1e-6)


def test_a_huge_gauge_does_not_round_the_changes_of_a_small_one():
    lines = [(1, 1e300, 1.0), (5, 0.25, 0.0), (5, 0.25, 0.0)]
    assert frame(lines).gauges.last.tolist() == [1e300, 0.5]


def test_a_change_that_would_overflow_a_gauge_is_refused_and_counted():
    folded = fold(samples([(1, 9e299, 1.0), (1, 9e299, 0.0)]), KINDS, NO_LEVELS, 0, 10)
    assert folded.overflow == 1
    assert folded.frame.gauges.last.tolist() == [9e299]


def test_a_sum_that_would_overflow_is_refused_and_its_neighbours_are_kept():
    lines = [(0, 9e299, 1.0), (0, 9e299, 1.0), (4, 1.0, 1.0)]
    folded = fold(samples(lines), KINDS, NO_LEVELS, 0, 10)
    assert folded.overflow == 2
    assert folded.frame.counters.series.tolist() == [4]


def test_the_latest_of_timed_gauges_is_the_last_by_time():
    timed = samples([(1, 3.0, 1.0), (1, 4.0, 1.0)])._replace(time=np.array([5.0, 6.0]))
    gauges = fold(timed, KINDS, NO_LEVELS, 0, 10).frame.gauges
    assert (gauges.last[0], gauges.last_time[0]) == (4.0, 6.0)


def test_samples_stand_beside_the_digests_that_gave_some_up_and_only_there():
    few = [(2, float(v), 1.0) for v in range(10)]
    many = [(6, v / 7, 1.0) for v in range(OPEN_SIZE + 1)]
    timers = frame(few + many).timers
    assert timers.points is not None
    assert np.diff(timers.points.offset).tolist() == [0, OPEN_SIZE + 1]
    assert digest.exact(timers.digests).tolist() == [True, False]
    assert timers.exact().all()


def test_set_members_travel_as_the_bits_of_their_hash():
    hashes = np.array([1, 0xFFF8000000000000, 2**63], np.uint64)  # a NaN among them
    rows_ = samples([(3, 0.0, 1.0)] * 3)._replace(value=hashes.view(float))
    sets = fold(rows_, KINDS, NO_LEVELS, 0, 10).frame.sets
    assert sets.members.member.tolist() == sorted(hashes.tolist())
    assert Kind(KINDS[sets.series[0]]) is Kind.SET
