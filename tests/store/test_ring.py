"""A ring is a dict that forgets."""

from hypothesis import given
from hypothesis import strategies as st

from aggd.store.ring import FAN, Ring, crowd, held
from tests.store.frames import counted

slots = st.integers(0, 30)


@given(st.lists(slots, max_size=60), st.integers(1, 8))
def test_a_ring_keeps_the_newest_slots_that_hold_data(starts, capacity):
    ring, model = Ring(10, capacity), {}
    for slot in starts:
        if ring.takes(slot * 10):
            ring.append(held(counted(slot * 10), 1))
            model[slot] = model.get(slot, 0) + 1
            if len(ring) > capacity:
                ring.drop_oldest()
                del model[min(model)]
        else:
            ring.refuse(slot * 10)
        ring._check()
        assert {s // 10: len(ring.at(s)) for s in ring.starts(0, 1000)} == model
        assert ring.horizon <= min(model) * 10


@given(st.lists(slots, max_size=40), slots, slots)
def test_slots_between_two_times_are_those_that_overlap_them(starts, a, b):
    ring = Ring(10, 100)
    for slot in starts:
        ring.append(held(counted(slot * 10), 1))
    start, end = a * 10 + 3, b * 10 + 3
    expected = sorted({s * 10 for s in starts if s * 10 + 10 > start and s * 10 < end})
    assert ring.starts(start, end) == (expected if start < end else [])


def test_what_left_before_a_swap_is_not_put_back():
    ring = Ring(10, 4)
    first, second = held(counted(0), 1), held(counted(0), 1)
    ring.append(first)
    assert not ring.swap(0, [first, second], held(counted(0), 2))
    ring._check()


def test_a_swap_keeps_what_came_meanwhile():
    ring = Ring(10, 4)
    first, late = held(counted(0, 1.0), 1), held(counted(0, 2.0), 1)
    ring.append(first)
    ring.append(late)
    whole = held(counted(0, 5.0), 0)
    assert ring.swap(0, [first], whole)
    assert ring.at(0) == (whole, late)
    ring._check()


def test_parts_crowd_when_as_many_of_one_size_as_the_fan_stand_last():
    part, whole = held(counted(0), 1), held(counted(0), 0)
    assert crowd(()) == ()
    assert crowd((whole, *[part] * (FAN - 1))) == ()
    assert crowd((whole, *[part] * FAN)) == (part,) * FAN
    many = part._replace(parts=FAN * FAN)
    assert crowd((whole, *[many] * FAN)) == (whole, *[many] * FAN)
