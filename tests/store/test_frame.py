"""Frames: packed, frozen, checked, moved."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.sketch.moments import Moments
from aggd.store.fold import OPEN_SIZE
from aggd.store.frame import Frame, columns, frozen, packed
from aggd.store.merge import merge
from tests.store.frames import frame
from tests.store.test_fold import rows, values

MANY = [(6, v / 7, 1.0) for v in range(OPEN_SIZE + 1)]  # more than a digest holds
FULL = [(0, 1.0, 1.0), (1, 2.0, 1.0), (2, 3.0, 1.0), (3, 5e-324, 1.0), *MANY]
weights = st.sampled_from([1.0, 2048.0, 2049.0, 65519.0, 65520.0, 2.0**24 + 1, 1 / 0.3, 1e6])


def same(a: Frame, b: Frame) -> None:
    """Equal to the last bit, in whatever width."""
    left, right = list(columns(a)), list(columns(b))
    assert (a.start, a.width, len(left)) == (b.start, b.width, len(right))
    for one, other in zip(left, right, strict=True):
        assert one.astype(other.dtype).tobytes() == other.tobytes()
        assert one.astype(np.float64).tolist() == other.astype(np.float64).tolist()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 31), values, weights), max_size=80))
def test_packing_changes_no_number(lines):
    found = frame(lines)
    same(packed(found), found)
    frozen(packed(found))._check()


@settings(deadline=None)
@given(rows, rows)
def test_packed_frames_merge_as_if_they_were_not(first, second):
    parts = [frame(first + MANY), frame(second)]
    merged = merge([packed(part) for part in parts], 0, 60)
    same(merged, merge(parts, 0, 60))
    for column, wide in zip(columns(merged), columns(merge(parts, 0, 60)), strict=True):
        assert column.dtype == wide.dtype


def test_packing_is_as_narrow_as_it_is_exact():
    def kinds(*weights: float) -> tuple[np.dtype, np.dtype]:
        timers = packed(frame([(2, float(i), w) for i, w in enumerate(weights)])).timers
        return timers.digests.weight.dtype, timers.moments.count.dtype

    assert kinds(1.0, 1.0) == (np.float16, np.float16)
    assert packed(frame([(2, 1.0, 1 / 0.3)])).timers.samples.dtype == np.float16
    assert kinds(1.0, 2049.0) == (np.float32, np.float16)  # 2049 has a bit too many, 2050 in all
    assert kinds(1.0, 65504.0) == (np.float16, np.float32)
    assert kinds(1.0, 1e5) == (np.float32, np.float32)
    assert kinds(1.0, 1 / 0.3) == (np.float64, np.float64)
    assert kinds(1.0, 2.0**25) == (np.float32, np.float64)


def test_packing_saves_memory_and_says_so():
    whole = frame(FULL)
    assert packed(whole).nbytes() < whole.nbytes()
    assert packed(whole).points_nbytes() < whole.points_nbytes()
    few = packed(frame([(i, 1.0, 1.0) for i in range(2, 32, 4)]))
    assert few.timers.points is not None
    assert few.timers.points.offset.strides == (0,)  # one number, however many rows


def test_a_packed_frame_without_samples_stays_without():
    assert packed(frame(FULL).without_points()).timers.points is None


def test_a_frozen_frame_can_not_be_written_to():
    found = frozen(packed(frame(FULL)))
    assert len(list(columns(found))) == 3 + 7 + 2 + 5 + 4 + 4 + 4
    for column in columns(found):
        with pytest.raises(ValueError, match="read-only"):
            column[...] = 0
    found._check()


def test_a_frame_counts_its_series_and_weighs_its_columns():
    found = frame(FULL)
    assert len(found) == 5
    assert found.end == 10
    assert found.nbytes() == sum(column.nbytes for column in columns(found))
    points = found.timers.points
    assert found.points_nbytes() == sum(
        column.nbytes for column in (points.offset, points.mean, points.weight, points.atom)
    )
    assert len(Frame(0, 10)) == 0


def test_letting_the_samples_go_keeps_all_the_rest():
    found = frame(FULL)
    bare = found.without_points()
    assert bare.points_nbytes() == 0
    assert bare.nbytes() == found.nbytes() - found.points_nbytes()
    same(replace(bare, timers=replace(bare.timers, points=found.timers.points)), found)
    assert found.timers.exact().tolist() == [True, True]
    assert bare.timers.exact().tolist() == [True, False]
    bare._check()


@settings(deadline=None)
@given(st.integers(0, 10**9), st.sampled_from([10, 60, 3600, 86400]))
def test_a_moved_frame_is_in_the_slot_that_holds_it(slot, width):
    found = frame(FULL, slot * 10)
    moved = found.moved(width)
    assert (moved.width, moved.start % width) == (width, 0)
    assert moved.start <= found.start
    assert found.end <= moved.end
    assert moved.sections() == found.sections()
    moved._check()


@settings(deadline=None)
@given(rows, st.data())
def test_selected_rows_are_those_rows(lines, data):
    found = frame(lines + FULL)
    for section in found.sections():
        rows_ = st.integers(0, section.series.size - 1)
        chosen = data.draw(st.lists(rows_, min_size=1, max_size=5))
        part = section.select(np.array(chosen))
        for place, row in enumerate(chosen):
            one, other = part.select(np.array([place])), section.select(np.array([row]))
            assert [c.tolist() for c in columns(one)] == [c.tolist() for c in columns(other)]


def broken(found: Frame) -> dict[str, Frame]:
    counters, timers, sets = found.counters, found.timers, found.sets
    moments = timers.moments
    none = moments._replace(count=np.zeros_like(moments.count))
    long = replace(timers.digests, weight=np.ones(1))
    writable = replace(counters, sum=counters.sum.copy())
    return {
        "an unaligned start": replace(found, start=5),
        "no width": replace(found, width=0),
        "series twice": replace(found, counters=counters.select(np.array([0, 0]))),
        "wide ids": replace(found, sets=replace(sets, series=sets.series.astype(np.int64))),
        "an open column": replace(found, counters=writable),
        "a row too few": replace(found, timers=replace(timers, samples=timers.samples[:1])),
        "a digest too few": replace(
            found, timers=replace(timers, digests=timers.select(np.array([0])).digests)
        ),
        "a set too few": replace(found, sets=replace(sets, series=np.array([3, 7], np.int32))),
        "no weight": replace(found, timers=replace(timers, moments=none)),
        "a broken digest": replace(found, timers=replace(timers, digests=long)),
        "a counter too few": replace(found, counters=replace(counters, count=np.ones(2))),
        "a level too few": replace(found, gauges=replace(found.gauges, last=np.ones(2))),
        "moments too few": replace(
            found, timers=replace(timers, moments=Moments(*(c[:1] for c in moments)))
        ),
    }


@pytest.mark.parametrize("fault", broken(frame(FULL)))
def test_a_check_finds(fault):
    found = frame(FULL)
    found._check()
    wrong = broken(found)[fault]
    if fault != "an open column":
        frozen(wrong)
    with pytest.raises(AssertionError):
        wrong._check()
