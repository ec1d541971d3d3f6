"""Sections to bytes and back: nothing is lost but what is meant to be, and damage is found."""

import resource
from dataclasses import fields

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.errors import StorageError
from aggd.sketch import distinct
from aggd.sketch.digest import Digests
from aggd.sketch.distinct import Members
from aggd.sketch.moments import Moments
from aggd.store import codec
from aggd.store.codec import (
    Head,
    cut,
    decode,
    encode,
    pack,
    pack_bytes,
    uncut,
    unpack,
    unpack_bytes,
)
from aggd.store.frame import Counters, Gauges, Section, Sets, Timers, packed
from aggd.store.merge import merge
from aggd.store.series import Kind
from tests.store.frames import frame
from tests.store.test_frame import FULL, values, weights

HALF_BIT = 2.0**-21  # of the 20 bits that are kept
LEAST = 2.0**-1043  # half of the smallest distance that can be told from none

numbers = st.one_of(
    st.sampled_from([0.0, -0.0, 5e-324, -1e-310, 1e300, -1e300, 0.1, 0.07, 1e6 / 3, 2.0**53]),
    st.integers(-(10**9), 10**9).map(float),
    st.integers(-(10**9), 10**9).map(lambda n: n / 1000),
    st.floats(-1e300, 1e300),
)
with_nan = st.one_of(numbers, st.just(np.nan))
ids = st.sets(st.integers(0, 2**31 - 1), max_size=30).map(lambda s: np.array(sorted(s), np.int32))


def bits(column: np.ndarray) -> list[int]:
    """Numbers to the last bit, whatever the width of their type; all NaN are one."""
    whole = np.where(np.isnan(column), np.nan, column.astype(np.float64))
    return whole.view(np.uint64).tolist()


def floats(data, size: int, of=numbers) -> np.ndarray:
    return np.array(data.draw(st.lists(of, min_size=size, max_size=size)), np.float64)


@st.composite
def timers(draw) -> Timers:
    """Rows of atoms and blurred centroids in any order, some of them empty."""
    series = draw(ids)
    rows = [sorted(draw(st.lists(numbers, max_size=6))) for _ in series]
    mean = np.array([x for row in rows for x in row])
    atom = np.array([draw(st.booleans()) for _ in mean], np.bool_)
    weight = np.array([draw(weights) for _ in mean])
    count = np.array([float(len(row)) for row in rows])
    low = np.array([row[0] if row else np.nan for row in rows])
    high = np.array([row[-1] if row else np.nan for row in rows])
    offset = np.concatenate(([0], np.cumsum([len(row) for row in rows], dtype=np.int64)))
    moments = Moments(count, low, count * 0, low, high)
    digests = Digests(offset.astype(np.int64), mean, weight, atom)
    return Timers(series, count, moments, digests, None)


@given(ids, st.data())
def test_counters_and_gauges_come_back_to_the_last_bit(series, data):
    for section in (Counters, Gauges):
        names = [field.name for field in fields(section)][1:]
        found = section(series, *(floats(data, series.size) for _ in names))
        back, _ = decode(encode(found))
        assert isinstance(back, section)
        assert back.series.dtype == np.int32
        assert back.series.tolist() == series.tolist()
        for name in names:
            assert bits(getattr(back, name)) == bits(getattr(found, name))


@given(ids, st.data())
def test_sets_come_back_with_every_member(series, data):
    member = st.sets(st.integers(0, 2**64 - 1), max_size=5)
    rows = [sorted(data.draw(member)) for _ in series]
    offset = np.concatenate(([0], np.cumsum([len(row) for row in rows], dtype=np.int64)))
    found = Sets(
        series,
        floats(data, series.size, weights),
        Members(offset.astype(np.int64), np.array([m for row in rows for m in row], np.uint64)),
    )
    back, _ = decode(encode(found))
    assert isinstance(back, Sets)
    assert back.members.member.dtype == np.uint64
    assert back.members.member.tolist() == found.members.member.tolist()
    assert back.members.offset.tolist() == offset.tolist()
    assert bits(back.count) == bits(found.count)


@given(timers())
def test_timers_come_back_but_for_the_last_bits_of_what_is_blurred(found):
    back, _ = decode(encode(found))
    assert isinstance(back, Timers)
    assert back.points is None
    assert back.series.tolist() == found.series.tolist()
    for one, other in zip(
        (back.samples, *back.moments), (found.samples, *found.moments), strict=True
    ):
        assert bits(one) == bits(other)
    digests, atom = back.digests, found.digests.atom
    assert digests.offset.tolist() == found.digests.offset.tolist()
    assert digests.atom.tolist() == atom.tolist()
    assert bits(digests.weight) == bits(found.digests.weight)
    assert bits(digests.mean[atom]) == bits(found.digests.mean[atom])
    length = np.diff(digests.offset)
    low, high = (np.repeat(column, length) for column in (found.moments.low, found.moments.high))
    off = np.abs(digests.mean / 4 - found.digests.mean / 4)
    spacing = np.spacing(np.maximum(np.abs(low), np.abs(found.digests.mean))) + LEAST
    assert (off <= HALF_BIT * (found.digests.mean / 4 - low / 4) + spacing).all()
    assert ((low <= digests.mean) & (digests.mean <= high)).all()
    row = np.repeat(np.arange(length.size), length)
    assert (np.diff(digests.mean)[row[1:] == row[:-1]] >= 0).all()


def test_a_mean_that_rounds_past_the_atom_beside_it_stays_beside_it():
    mean = np.array([0.0, 1.0, 1.0 + 1e-9, 1.0 + 2e-9, 7.0, 7.0 + 9e-9])
    atom = np.array([True, True, False, True, False, False])
    moments = Moments(*(np.array([x]) for x in (6.0, 2.0, 1.0, 0.0, mean[-1])))
    digests = Digests(np.array([0, 6]), mean, np.ones(6), atom)
    found = Timers(np.array([2], np.int32), np.array([6.0]), moments, digests, None)
    back = decode(encode(found))[0].digests
    assert back.mean[[0, 1, 3]].tolist() == mean[[0, 1, 3]].tolist()
    assert 1.0 <= back.mean[2] <= 1.0 + 2e-9
    assert 7.0 * (1 - HALF_BIT) <= back.mean[4] <= back.mean[5] <= mean[-1]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 31), values, weights), max_size=60))
def test_packed_frames_come_back_as_those_that_were_not(lines):
    whole = merge([frame(lines + FULL)], 0, 10, keep=False)
    for thin, wide in zip(packed(whole).sections(), whole.sections(), strict=True):
        assert same(decode(encode(thin))[0], decode(encode(wide))[0])


def same(a: Section, b: Section) -> bool:
    one, other = decode(encode(a))[1], decode(encode(b))[1]
    return all(bits(one[name]) == bits(other[name]) for name in one)


@pytest.mark.parametrize("kind", Kind)
def test_a_section_without_rows_is_one(kind):
    empty = frame([]).sections()[kind]
    back = decode(encode(empty))[0]
    assert type(back) is type(empty)
    assert back.series.size == 0


def test_samples_beside_digests_are_left_out():
    found = frame(FULL).timers
    assert found.points is not None
    assert decode(encode(found))[0].points is None
    assert decode(encode(found))[0].digests.mean.size == found.digests.mean.size


def test_columns_beside_a_section_come_back_by_name():
    slot = np.array([3600, 60, 1 << 40])
    _, columns = decode(encode(frame(FULL).counters, {"slot": slot}))
    assert columns["slot"].tolist() == slot.tolist()


@given(st.lists(with_nan, max_size=200).map(np.array), st.sampled_from([16, 32, 64]))
def test_a_column_of_floats_of_any_width_comes_back_to_the_bit(column, width):
    with np.errstate(over="ignore", under="ignore"):
        column = column.astype(f"f{width // 8}")
    back = unpack(pack(column), column.size)
    assert bits(back) == bits(column)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50), st.booleans())
def test_a_column_of_whole_numbers_comes_back(numbers_, ascending):
    column = np.array(sorted(numbers_) if ascending else numbers_, np.int64)
    assert unpack(pack(column), column.size).tolist() == column.tolist()
    small = (column >> 32).astype(np.int32)
    assert unpack(pack(small), small.size).tolist() == small.tolist()
    large = column.view(np.uint64)
    assert unpack(pack(large), large.size).tolist() == large.tolist()


@given(st.lists(st.booleans(), max_size=50))
def test_a_column_of_flags_comes_back(flags):
    column = np.array(flags, np.bool_)
    assert unpack(pack(column), column.size).tolist() == flags


@pytest.mark.parametrize(
    ("column", "coding", "dtype"),
    [
        (np.array([1.0, 2.0, 255.0]), "tens0", "u1"),
        (np.array([-1.0, 2.0, 127.0]), "tens0", "i1"),
        (np.array([0.1, 0.3, 25.5]), "tens1", "u1"),
        (np.array([0.001, 65.0]), "tens3", "u2"),
        (np.array([0.000001, 4000.0]), "tens4", "u4"),
        (np.array([1 / 3]), "float", "f8"),
        (np.array([-0.0]), "float", "f8"),
        (np.array([np.nan]), "float", "f8"),
        (np.array([2.0**53]), "float", "f8"),
        (np.array([1.0, 2.0], np.float16), "half", "f2"),
        (np.arange(1 << 20, (1 << 20) + 300, dtype=np.int32), "steps", "u4"),
        (np.array([300, 1], np.int32), "whole", "u2"),
        (np.array([True, False]), "bits", "u1"),
    ],
)
def test_a_column_takes_the_narrowest_coding_that_loses_nothing(column, coding, dtype):
    found = pack(column)
    assert (found.coding, found.dtype) == (coding, dtype)
    assert bits(unpack(found, column.size)) == bits(column)


def test_one_odd_value_behind_many_round_ones_is_not_rounded():
    column = np.append(np.ones(1000), 1 / 3)
    assert unpack(pack(column), 1001)[-1] == 1 / 3


@given(st.floats(0, 2e300))
def test_a_cut_distance_is_right_to_half_a_bit_of_twenty(distance):
    back = float(uncut(cut(np.array([distance])))[0])
    assert abs(back - distance) <= max(HALF_BIT * distance, LEAST)


@given(st.lists(st.floats(0, 2e300)).map(sorted).map(np.array))
def test_cutting_keeps_the_order(distances):
    assert (np.diff(uncut(cut(distances))) >= 0).all()


WRITTEN = [encode(section) for section in frame(FULL).sections()]


def damaged_or_right(data: bytes, whole: bytes) -> None:
    """All that damage may do: be noticed, or change nothing that counts."""
    try:
        back, _ = decode(data)
    except StorageError:
        return
    assert same(back, decode(whole)[0])


@pytest.mark.parametrize("whole", WRITTEN, ids=[kind.name for kind in Kind])
def test_a_cut_anywhere_is_damage(whole):
    for end in range(0, len(whole), max(1, len(whole) // 200)):
        with pytest.raises(StorageError, match="damaged"):
            decode(whole[:end])
        with pytest.raises(StorageError):
            decode(whole[end + 1 :])


@pytest.mark.parametrize("whole", WRITTEN, ids=[kind.name for kind in Kind])
def test_a_flipped_bit_anywhere_is_noticed_or_changes_nothing(whole):
    rng = np.random.default_rng(1)
    places = set(range(min(len(whole), 40))) | set(rng.integers(0, len(whole), 300).tolist())
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        damaged_or_right(bytes(data), whole)


@given(st.binary(max_size=200))
def test_garbage_is_damage(data):
    for some in (data, pack_bytes(data), b"y" + data + WRITTEN[0], WRITTEN[0] + data + b"x"):
        with pytest.raises(StorageError):
            decode(some)


@pytest.mark.parametrize("nothing", [None, 7, "text", b""])
def test_what_is_no_blob_is_damage(nothing):
    with pytest.raises(StorageError):
        decode(nothing)
    with pytest.raises(StorageError):
        unpack_bytes(nothing)


def forged(head: list[object] | bytes, columns: bytes = b"") -> bytes:
    """A row whose checksum is right and whose head is not."""
    text = head if isinstance(head, bytes) else msgspec.json.encode(head)
    return pack_bytes(len(text).to_bytes(4, "little") + text + columns)


HUGE = 1 << 50
ONE = [
    ["series", "whole", "u1", 1, 1],
    ["count", "whole", "u1", 1, 1],
    ["sum", "whole", "u1", 1, 1],
]
TIMER = [
    *([name, "whole", "u1", 1, 1] for name in ("series", "samples", *Moments._fields)),
    ["atoms", "whole", "u1", 0, 0],
    ["blurred", "whole", "u4", 0, 0],
]
FORGED = {
    "no head": forged(b""),
    "a head of another kind": forged([9, ONE], b"abc"),
    "no columns": forged([0, []]),
    "a column too few": forged([0, ONE[:2]], b"ab"),
    "bytes too few": forged([0, ONE], b"ab"),
    "a huge head": pack_bytes((0xFFFFFFFF).to_bytes(4, "little") + b"[]"),
    "huge bits": forged([0, [["series", "bits", "u1", HUGE, 1], *ONE[1:]]], b"abc"),
    "huge numbers": forged([0, [["series", "whole", "u8", HUGE, 8], *ONE[1:]]], b"a" * 10),
    "past all bounds": forged([0, [["series", "bits", "u1", 1 << 70, 1], *ONE[1:]]], b"abc"),
    "less than nothing": forged([0, [["series", "whole", "u1", -1, 1], *ONE[1:]]], b"abc"),
    "negative bytes": forged([0, [["series", "whole", "u1", 1, -1], *ONE[1:]]], b"abc"),
    "objects": forged([0, [["series", "whole", "O", 1, 8], *ONE[1:]]], b"a" * 10),
    "a type without name": forged([0, [["series", "whole", "", 1, 1], *ONE[1:]]], b"abc"),
    "a structure": forged([0, [["series", "whole", "i4,i4", 1, 8], *ONE[1:]]], b"a" * 10),
    "wide text": forged([0, [["series", "whole", "U9999999", 0, 0], *ONE[1:]]], b"ab"),
    "a power unknown": forged([0, [["series", "tens9", "u1", 1, 1], *ONE[1:]]], b"abc"),
    "columns of several lengths": forged(
        [0, [*ONE[:2], ["sum", "whole", "u1", 2, 2]]], b"abcd"
    ),
    "rows of a huge length": forged(
        [2, [*TIMER, ["length", "whole", "u8", 1, 8], ["weight", "whole", "u1", 0, 0],
             ["atom", "bits", "u1", 0, 0]]],
        b"a" * 7 + b"\0" * 6 + b"\1\0",
    ),
    "rows of negative length": forged(
        [2, [*TIMER, ["length", "whole", "i1", 1, 1], ["weight", "whole", "u1", 0, 0],
             ["atom", "bits", "u1", 0, 0]]],
        b"a" * 7 + b"\xff",
    ),
    "lengths whose sum wraps": forged(
        [3, [["series", "whole", "u1", 2, 2], ["count", "whole", "u1", 2, 2],
             ["length", "whole", "u8", 2, 16], ["member", "whole", "u8", 0, 0]]],
        b"abcd" + b"\0" * 14 + b"\x80\x80",
    ),
    "weights too few": forged(
        [2, [*TIMER[:-2], ["atoms", "whole", "u1", 1, 1], ["blurred", "whole", "u4", 0, 0],
             ["length", "whole", "u1", 1, 1], ["weight", "whole", "u1", 0, 0],
             ["atom", "bits", "u1", 1, 1]]],
        b"a" * 7 + b"a\1\x80",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FORGED)
def test_a_head_that_asks_for_the_impossible_is_damage_and_costs_no_memory(fault, limited):
    with pytest.raises(StorageError):
        decode(FORGED[fault])


def test_the_forged_rows_are_wrong_in_one_thing_only():
    assert decode(forged([0, ONE], b"abc"))[0].series.tolist() == [97]
    assert isinstance(msgspec.json.decode(msgspec.json.encode([0, ONE]), type=Head), Head)


def test_a_row_that_swells_past_all_measure_is_damage(monkeypatch):
    bomb = pack_bytes(bytes(1 << 22))
    assert len(bomb) < 1000
    assert len(unpack_bytes(bomb)) == 1 << 22
    monkeypatch.setattr(codec, "LARGEST", 1 << 20)
    for read in (unpack_bytes, decode):
        with pytest.raises(StorageError):
            read(bomb)


def test_the_largest_row_a_shelf_may_write_can_be_read():
    full = 4096 * distinct.K * 8  # members of a slice of sets that are all full
    assert full < codec.LARGEST // 2


@given(st.binary(max_size=2000))
def test_bytes_come_back(data):
    assert unpack_bytes(pack_bytes(data)) == data


@pytest.fixture
def limited():
    """Little memory is to be had above what is in use."""
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
