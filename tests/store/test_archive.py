"""Frames to rows and back, to the last bit; rows of others only where they are sound."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.sketch import digest
from aggd.store.archive import (
    MAX_CENTROIDS,
    Row,
    checked,
    frame_of,
    joined,
    lists,
    normal_tags,
    numbers,
    renumbered,
)
from aggd.store.fold import OPEN_SIZE
from aggd.store.frame import Section, columns, frozen, only
from aggd.store.merge import merge
from aggd.store.series import Kind
from tests.store.frames import frame
from tests.store.test_fold import rows, values
from tests.store.test_frame import FULL, same, weights

TIMER = {
    "name": "t", "kind": "timer", "start": 60, "width": 60, "count": 4.0, "samples": 3.0,
    "min": 1.0, "max": 9.0, "mean": 3.0, "m2": 2.0, "means": [1.0, 2.0, 8.0],
    "weights": [1.0, 2.0, 1.0], "atoms": [True, False, True],
}  # fmt: skip
GAUGE = {
    "name": "g", "kind": "gauge", "start": 60, "width": 60, "count": 2.0, "sum": 3.0,
    "min": 1.0, "max": 2.0, "last": 2.0, "last_time": 61.5,
}  # fmt: skip
COUNTER = {"name": "c", "kind": "counter", "start": 60, "width": 60, "count": 2.0, "sum": -3.5}
SET = {
    "name": "s", "kind": "set", "start": 60, "width": 60, "count": 2.0,
    "members": ["000000000000000f", "ffffffffffffffff"],
}  # fmt: skip
WRONG = [
    (COUNTER, {"count": 0.0}, "count"),
    (COUNTER, {"count": -1.0}, "count"),
    (COUNTER, {"count": np.nan}, "count"),
    (COUNTER, {"count": np.inf}, "count"),
    (COUNTER, {"sum": None}, "sum"),
    (COUNTER, {"sum": 1.1e300}, "sum"),
    (GAUGE, {"min": None}, "min"),
    (GAUGE, {"max": 0.5}, "max"),
    (GAUGE, {"last": 2.5}, "last"),
    (GAUGE, {"last_time": -1.0}, "last_time"),
    (GAUGE, {"last_time": None}, "last_time"),
    (TIMER, {"mean": 9.5}, "mean"),
    (TIMER, {"min": 1.5}, "means must ascend from min"),
    (TIMER, {"max": 7.5}, "means must ascend from min"),
    (TIMER, {"m2": -1.0}, "m2"),
    (TIMER, {"m2": np.nan}, "m2"),
    (TIMER, {"samples": None}, "samples"),
    (TIMER, {"samples": -1.0}, "samples"),
    (TIMER, {"means": [], "weights": [], "atoms": []}, "got 0, 0 and 0"),
    (TIMER, {"atoms": [True]}, "got 3, 3 and 1"),
    (TIMER, {"means": [1.0, 3.0, 2.0]}, "means must ascend"),
    (TIMER, {"means": [1.0, np.nan, 8.0]}, "means must ascend"),
    (TIMER, {"means": [1.0, 1.0, 8.0], "atoms": [True] * 3}, "one atom"),
    (TIMER, {"weights": [1.0, 0.0, 3.0]}, "weights"),
    (TIMER, {"weights": [1.0, np.inf, 1.0]}, "weights"),
    (TIMER, {"weights": [1.0, 2.0, 2.0]}, "add up to 5"),
    (SET, {"members": []}, "members"),
    (SET, {"members": ["0f"]}, "16 hexadecimal digits, got '0f'"),
    (SET, {"members": ["000000000000000F"]}, "16 hexadecimal digits"),
    (SET, {"members": ["\u0660" * 16]}, "16 hexadecimal digits"),
    (SET, {"members": [1 << 64]}, "16 hexadecimal digits"),
    (SET, {"members": [-1]}, "16 hexadecimal digits"),
    (SET, {"members": [5, 5]}, "ascend"),
    (SET, {"members": [6, 5]}, "ascend"),
]  # fmt: skip
MISSHAPED = [
    (COUNTER, {"name": ""}),
    (COUNTER, {"kind": "meter"}),
    (COUNTER, {"tags": {"a": 1}}),
    (COUNTER, {"width": 1.5}),
    (COUNTER, {"count": "2"}),
    (COUNTER, {"start": None}),
    (TIMER, {"means": [0.0] * (MAX_CENTROIDS + 1)}),
    (TIMER, {"atoms": [1, 0, 1]}),
    (SET, {"members": list(range(2049))}),
]


def row(found: dict, **other) -> Row:
    return msgspec.convert({**found, **other}, Row)


def as_rows(kind: Kind, section: Section, start: int, width: int) -> list[Row]:
    """Rows of a section, taken from its columns one by one."""
    every = []
    for i in range(section.series.size):
        found = {name: column.tolist()[i] for name, column in numbers(section).items()}
        for name, (offset, value) in lists(section).items():
            found[name] = value[offset[i] : offset[i + 1]].tolist()
        head = {"name": "x", "kind": kind.word, "start": start, "width": width}
        every.append(row(head, **found))
    return every


@given(st.lists(st.tuples(st.integers(0, 31), values, weights), min_size=1, max_size=60))
def test_a_frame_comes_back_from_its_rows_to_the_last_bit(lines):
    whole = frame(FULL + lines, 60, 60).without_points()
    for kind in Kind:
        section = whole.sections()[kind]
        found = [checked(one) for one in as_rows(kind, section, 60, 60)]
        back = frame_of(found, section.series, 60, 60)
        back._check()
        same(back, frozen(only(60, 60, section)))


@given(st.lists(rows, min_size=1, max_size=4))
def test_frames_of_one_slot_are_joined_as_they_are_merged(parts):
    frames = [frame(lines) for lines in parts]
    merged = merge(frames, 0, 10, keep=False)
    for kind in Kind:
        found = joined(frames, kind)
        if found is None:
            assert not merged.sections()[kind].series.size
            continue
        assert found.series.tolist() == merged.sections()[kind].series.tolist()
        assert (
            numbers(found)["count"].tolist() == numbers(merged.sections()[kind])["count"].tolist()
        )
        if kind is not Kind.TIMER:
            pairs = zip(columns(found), columns(merged.sections()[kind]), strict=True)
            assert all(np.array_equal(one, other) for one, other in pairs)  # but for -0.0


def test_series_that_only_one_frame_has_stay_as_they_are():
    one, other = frame(FULL), frame([(10, 1.0, 1.0)])  # more centroids than a merge leaves
    assert np.diff(one.timers.digests.offset).max() > digest.K
    found = joined([other, one], Kind.TIMER, np.array([6], np.int32))
    assert found.series.tolist() == [6]
    at = one.timers.series.searchsorted([6])
    same(frozen(only(0, 10, found)), frozen(only(0, 10, one.without_points().timers.select(at))))


def test_nothing_is_joined_where_there_is_nothing():
    assert joined([], Kind.TIMER) is None
    assert joined([frame([(0, 1.0, 1.0)])], Kind.TIMER) is None
    assert joined([frame([(2, 1.0, 1.0)])], Kind.TIMER, np.array([6], np.int32)) is None


def test_rows_that_get_one_id_are_merged_and_stand_in_order():
    section = frame([(0, 1.0, 1.0), (4, 2.0, 1.0), (8, 4.0, 1.0)]).counters
    found = renumbered(Kind.COUNTER, section, np.array([9, 5, 9], np.int32))
    assert (found.series.tolist(), found.sum.tolist()) == ([5, 9], [2.0, 5.0])


def test_an_infinite_spread_survives_as_null():
    (found,) = (frame_of([checked(row(TIMER, m2=None))], np.array([2], np.int32), 60, 60),)
    assert found.timers.moments.m2.tolist() == [np.inf]


def test_digests_of_others_become_as_small_as_ours():
    k = MAX_CENTROIDS
    large = row(
        TIMER, count=float(k), min=0.0, max=float(k - 1), means=[*map(float, range(k))],
        weights=[1.0] * k, atoms=[True] * k,
    )  # fmt: skip
    digests = frame_of([checked(large)], np.array([2], np.int32), 60, 60).timers.digests
    assert digests.offset[-1] <= OPEN_SIZE
    assert digests.weight.sum() == k


@pytest.mark.parametrize("found", [COUNTER, GAUGE, TIMER, SET])
def test_sound_rows_are_taken(found):
    frame_of([checked(row(found))], np.array([3], np.int32), 60, 60)._check()


@pytest.mark.parametrize(("found", "change", "message"), WRONG)
def test_rows_that_are_no_part_of_a_frame_are_refused_with_the_reason(found, change, message):
    with pytest.raises(ValueError, match=message):
        checked(row(found, **change))


@pytest.mark.parametrize(("found", "change"), MISSHAPED)
def test_rows_of_another_shape_are_refused(found, change):
    with pytest.raises(msgspec.ValidationError):
        row(found, **change)


def test_tags_come_in_every_form_the_registry_has():
    found = {"z": ["2", "1"], "bare": "", "a": "x", "": "lost"}
    assert normal_tags(found) == ("a:x", "bare", "z:1", "z:2")
