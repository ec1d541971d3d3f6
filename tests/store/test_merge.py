"""Frames to one frame."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.store.frame import Frame
from aggd.store.merge import gather, merge
from aggd.store.series import Kind
from tests.store.frames import frame
from tests.store.test_fold import rows

frames = st.lists(rows.map(frame), max_size=6)


def table(found: Frame) -> dict[tuple[str, int], tuple[float, ...]]:
    """Everything that must not depend on how frames were merged."""
    c, g, t, s = found.sections()
    out = {("c", i): (n, x) for i, n, x in zip(c.series, c.count, c.sum, strict=True)}
    out |= {("g", i): v for i, *v in zip(g.series, g.count, g.low, g.high, strict=True)}
    m = t.moments
    out |= {
        ("t", i): v
        for i, *v in zip(t.series, t.samples, m.count, m.mean, m.m2, m.low, m.high, strict=True)
    }
    members = zip(s.series, s.count, np.diff(s.members.offset), strict=True)
    out |= {("s", i): (n, k) for i, n, k in members}
    return out


def same(a: Frame, b: Frame) -> None:
    """Equal but for rounding."""
    left, right = table(a), table(b)
    assert left.keys() == right.keys()
    for key, values in left.items():
        assert values == pytest.approx(right[key], rel=1e-9, abs=1e-3), key


@given(frames)
def test_a_merge_keeps_the_invariants(parts):
    merge(parts, 0, 60)._check()


@given(frames, frames)
def test_merging_is_associative(first, second):
    nested = merge([merge(first, 0, 60), merge(second, 0, 60)], 0, 60)
    same(nested, merge(first + second, 0, 60))


@given(frames)
def test_merging_is_commutative(parts):
    same(merge(parts, 0, 60), merge(parts[::-1], 0, 60))


@given(rows, st.integers(1, 5))
def test_merging_parts_equals_folding_at_once(lines, n):
    parts = [frame(lines[i::n]) for i in range(n)]
    same(merge(parts, 0, 10), frame(lines))


@given(frames)
def test_merging_with_nothing_changes_nothing(parts):
    whole = merge(parts, 0, 60)
    same(merge([whole, Frame(0, 60)], 0, 60), whole)


def test_the_last_level_is_the_latest_by_its_own_time_and_not_by_arrival():
    late, early = frame([(1, 7.0, 1.0)], 20), frame([(1, 5.0, 1.0)], 10)
    for order in ([late, early], [early, late]):
        assert merge(order, 0, 60).gauges.last.tolist() == [7.0]


def test_samples_are_kept_while_every_part_has_its_own():
    parts = [frame([(2, i + v / 300, 1.0) for v in range(300)]) for i in range(3)]
    points = merge(parts, 0, 10).timers.points
    assert points is not None
    assert points.mean.size == len({i + v / 300 for i in range(3) for v in range(300)})
    lost = merge([parts[0].without_points(), *parts[1:]], 0, 10).timers
    assert not lost.exact().any()


def test_rows_without_samples_cost_only_their_own_row_its_exactness():
    many = [(2, v / 7, 1.0) for v in range(300)]
    other = [(6, v / 7, 1.0) for v in range(300)]
    bare = frame(many).without_points()
    timers = merge([bare, frame(other)], 0, 10).timers
    assert timers.points is None
    kept = merge([frame(many), frame(other)], 0, 10).timers
    assert kept.exact().all()


def test_gathering_merges_series_by_label_and_leaves_the_others_out():
    parts = [frame([(0, 1.0, 1.0), (4, 2.0, 1.0), (8, 4.0, 1.0), (12, 8.0, 1.0)])] * 2
    ids, labels = np.array([0, 8, 4, 28], np.int32), np.array([0, 0, 1, 2], np.int32)
    got = gather([(f, 0) for f in parts], Kind.COUNTER, ids, labels)
    assert got.series.tolist() == [0, 1]
    assert got.sum.tolist() == [10.0, 4.0]


def test_an_offset_keeps_buckets_of_time_apart():
    parts = [(frame([(2, float(k), 1.0)]), k) for k in range(5)]
    ids, labels = np.array([2], np.int32), np.array([0], np.int32)
    got = gather(parts, Kind.TIMER, ids, labels)
    assert got.series.tolist() == [0, 1, 2, 3, 4]
    assert got.moments.mean.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


@settings(max_examples=50)
@given(frames, st.lists(st.integers(0, 2), min_size=8, max_size=8))
def test_merging_groups_equals_merging_their_frames_first(parts, groups):
    ids = np.arange(2, 32, 4, dtype=np.int32)
    labels = np.sort(np.array(groups, np.int32))
    at_once = gather([(f, 0) for f in parts], Kind.TIMER, ids, labels)
    before = gather([(merge(parts, 0, 10), 0)], Kind.TIMER, ids, labels)
    assert at_once.series.tolist() == before.series.tolist()
    assert at_once.moments.mean == pytest.approx(before.moments.mean, rel=1e-9, abs=1e-6)
