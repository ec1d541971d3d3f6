"""The compiled lane, fed from memory: rows, keys, and what a full column or table does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.ingest.column import ODD_LINES, Column
from aggd.ingest.fastlane import FastLane
from aggd.protocol.lines import LARGEST
from tests.ingest.lanes import Row, aside, fed, rows

digits = st.text("0123456789", min_size=1, max_size=40)
numerals = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "-", "+"]),
    digits
    | st.builds("{}.{}".format, digits, digits)
    | st.builds("{}.".format, digits)
    | st.builds(".{}".format, digits),
    st.just("") | st.builds("{}{}".format, st.sampled_from("eE"), st.integers(-400, 400)),
)

LETTERS = {b"c": b"c", b"ms": b"m", b"g": b"g", b"h": b"h", b"d": b"d"}
names = st.from_regex(rb"[a-z]{1,9}(\.[a-z0-9]{1,9}){0,3}", fullmatch=True)
tags = st.just(b"") | st.from_regex(rb"[a-z]{1,5}:[a-z]{1,12}(,[a-z]{1,9}){0,2}", fullmatch=True)
plain = st.tuples(names, st.integers(-999, 999), st.sampled_from(sorted(LETTERS)), tags)


def small(keys: int = 100, arena: int = 1 << 12, seed: int = 7) -> FastLane:
    return FastLane(seed, keys, arena)


def written(line) -> bytes:
    name, value, kind, section = line
    return b"%s:%d|%s" % (name, value, kind) + (b"|#" + section if section else b"")


def meant(line) -> Row:
    name, value, kind, section = line
    spelling = LETTERS[kind] + name + (b"\n" + section if section else b"")
    return Row(spelling, float(value), 0.0 if kind == b"g" and value < 0 else 1.0)


@settings(max_examples=300, deadline=None)
@given(st.lists(numerals, min_size=1, max_size=20), st.booleans())
def test_numbers_are_those_that_float_reads(texts, packed):
    column, lane = Column(100, 1 << 14), small()
    lines = [":".join(texts)] if packed else texts
    body = "\n".join(f"a:{line}|ms" for line in lines)
    lane.feed(body.encode(), column)
    values = [float(text) for text in texts]
    good = [v for v in values if abs(v) <= LARGEST]
    if packed and len(good) < len(values):
        good = []  # one bad number costs its list
    expected = np.array(good, float).view(np.uint64).tolist()
    assert column.value[: len(column)].view(np.uint64).tolist() == expected


@settings(deadline=None)
@given(st.lists(plain, max_size=60), st.integers(1, 5), st.integers(0, 2**64 - 1))
def test_every_plain_line_is_one_row_in_order_however_small_the_column(lines, size, seed):
    lane = small(seed=seed)
    found, odd = fed(lane, Column(size, 100), b"\n".join(map(written, lines)))
    assert found == [meant(line) for line in lines]
    assert odd == []
    assert lane.spellings(0, lane.keys) == list(dict.fromkeys(row.spelling for row in found))


steps = st.lists(st.lists(plain, max_size=10) | st.just("clear"), max_size=12)


@settings(deadline=None)
@given(steps, st.integers(1, 12), st.integers(30, 300))
def test_a_table_with_little_room_keeps_the_keys_it_has(steps, keys, arena):
    lane, column = small(keys, arena), Column(200, 1 << 13)
    known: list[bytes] = []
    unkeyed = 0
    for step in steps:
        if step == "clear":
            lane.clear()
            known = []
            lane._check()
            continue
        found, odd = fed(lane, column, b"\n".join(map(written, step)))
        taken = {row.spelling for row in found}
        now = lane.spellings(0, lane.keys)
        assert now[: len(known)] == known
        assert taken <= set(now)
        assert found == [row for row in map(meant, step) if row.spelling in taken]
        assert odd == [written(line) for line in step if meant(line).spelling not in taken]
        unkeyed += len(odd)
        assert lane.unkeyed == unkeyed
        known = now


def test_rates_become_weights_and_a_signed_gauge_has_none():
    column, lane = Column(10), small()
    lane.feed(b"a:1|c|@0.1\nb:2|ms|#x:y|@0.5\ng:+3|g\ng:-4|g\ng:5|g|@0.25\ng:-6|ms", column)
    assert rows(lane, column) == [
        (b"ca", 1.0, 10.0),
        (b"mb\nx:y", 2.0, 2.0),
        (b"gg", 3.0, 0.0),
        (b"gg", -4.0, 0.0),
        (b"gg", 5.0, 4.0),
        (b"mg", -6.0, 1.0),
    ]


def test_a_list_is_a_row_for_each_number_and_a_single_line():
    column, lane = Column(10), small()
    lane.feed(b"a:1:2:+3|ms|@0.5\ng:1:-2|g", column)
    assert rows(lane, column) == [(b"ma", v, 2.0) for v in (1.0, 2.0, 3.0)] + [
        (b"gg", 1.0, 1.0),
        (b"gg", -2.0, 0.0),
    ]
    assert column.lines == 2


def test_a_spelling_has_the_tags_as_they_stood_but_for_the_blanks_at_the_end():
    column, lane = Column(10), small()
    lane.feed(b"a:1|d|#b:2,a:1\na:1|d|#a:1,b:2\na:1|h|#a \t\r\na:1|h|#a\na b:1|c", column)
    assert lane.spellings(0, lane.keys)[:2] == [b"da\nb:2,a:1", b"da\na:1,b:2"]
    assert {lane.key(row) for row in range(2, lane.keys)} == {b"ha\na", b"ca b"}


def test_what_is_not_plain_is_set_aside_whole_with_its_place():
    column, lane = Column(10), small()
    odd = [b"s:x|s", b"a:1|ms|T1700000000", b"a;k=v:1|c", b"bad", b"_e{1,1}:a|b", b"a:1e301|c"]
    lane.feed(b"a:1|c\n" + b"\na:2|c\n".join(odd), column)
    assert aside(column) == [(i + 1, line) for i, line in enumerate(odd)]
    assert column.lines == len(column) == len(odd)
    assert lane.unkeyed == 0


def test_empty_lines_are_nothing():
    column = Column(10)
    small().feed(b"\n\r\n \t\n\0\n\xef", column)
    assert (len(column), column.odd_count) == (0, 1)


def test_a_line_longer_than_the_room_for_odd_lines_is_lost_and_counted():
    column = Column(10, 20)
    data = b"x" * 21 + b"\na:1|c\n" + b"y" * 20
    assert small().feed(data, column) == len(data)
    assert column.too_long == 1
    assert aside(column) == [(1, b"y" * 20)]


def test_a_column_is_full_when_it_has_no_room_for_an_odd_line():
    lane, column = small(), Column(10, 8)
    data = b"a:x|c\nb:x|c\nc:1|c"
    assert lane.feed(data, column) == len(b"a:x|c\n")
    column.reset()
    assert lane.feed(data, column, 6) == len(data)
    assert (aside(column), len(column)) == ([(0, b"b:x|c")], 1)


def test_a_column_is_full_when_it_has_no_place_for_an_odd_line():
    lane, column = small(), Column(10)
    data = b"x\n" * (ODD_LINES + 1)
    assert lane.feed(data, column) == 2 * ODD_LINES
    assert column.odd_count == ODD_LINES


def test_a_list_that_does_not_fit_goes_whole_into_the_next_column():
    lane, column = small(), Column(4)
    data = b"a:1:2|ms\nb:3:4:5|ms\nc:1:2:3:4:5|ms"
    done = lane.feed(data, column)
    assert [row.value for row in rows(lane, column)] == [1.0, 2.0]
    column.reset()
    done = lane.feed(data, column, done)
    assert [row.value for row in rows(lane, column)] == [3.0, 4.0, 5.0]
    column.reset()
    assert lane.feed(data, column, done) == len(data)
    assert aside(column) == [(0, b"c:1:2:3:4:5|ms")]  # more than any column holds


def test_past_the_cap_lines_of_new_keys_are_set_aside_and_counted_once():
    lane = small(keys=2)
    data = b"a:1|c\nb:1|c\nc:1|c\na:2|c\nd:1:2|c\nc:3|c"
    found, odd = fed(lane, Column(2, 8), data)  # room for one of them, so each is tried twice
    assert [row.value for row in found] == [1.0, 1.0, 2.0]
    assert odd == [b"c:1|c", b"d:1:2|c", b"c:3|c"]
    assert (lane.keys, lane.unkeyed) == (2, 3)


def test_a_full_arena_refuses_a_long_key_and_still_takes_a_short_one():
    lane, column = small(keys=100, arena=48), Column(10)
    lane.feed(b"a:1|c\n" + b"b" * 25 + b":1|c\n" + b"c" * 8 + b":1|c\n", column)
    lane._check()
    assert lane.spellings(0, lane.keys) == [b"ca", b"c" + b"c" * 8]
    assert (lane.unkeyed, column.odd_count) == (1, 1)


def test_a_hundred_thousand_keys_keep_their_rows_while_the_table_doubles():
    lane, column = FastLane(3, 100_000), Column(200_000)
    data = b"\n".join(b"key.%d:%d|c" % (i, i) for i in range(100_000))
    assert lane.feed(data, column) == len(data)
    lane._check()
    assert lane.feed(data, column) == len(data)
    lane._check()
    assert lane.keys == 100_000
    expected = np.arange(100_000)
    assert np.array_equal(column.row[:200_000], np.tile(expected, 2))
    assert np.array_equal(column.value[:200_000], np.tile(expected, 2))
    assert lane.spellings(99_998, 100_000) == [b"ckey.99998", b"ckey.99999"]
    assert lane.unkeyed == 0


def test_after_clearing_rows_begin_anew():
    lane, column = small(), Column(10)
    lane.feed(b"a:1|c\nb:1|c", column)
    lane.clear()
    assert lane.keys == 0
    column.reset()
    lane.feed(b"b:1|c", column)
    assert (column.row[0], column.keys, lane.key(0)) == (0, 1, b"cb")


def test_a_table_that_was_cleared_grows_again_without_its_old_keys():
    lane, column = small(keys=3000, arena=1 << 17), Column(3000)
    for name in (b"old", b"new"):
        lane.clear()
        column.reset()
        lane.feed(b"\n".join(b"%s.%d:1|c" % (name, i) for i in range(3000)), column)
        lane._check()
        assert lane.spellings(0, lane.keys) == [b"c%s.%d" % (name, i) for i in range(3000)]


def test_a_column_says_how_many_keys_there_were_and_what_came():
    lane, column = small(), Column(10)
    lane.feed(b"\xef\xbb\xbfa:1|c\nb:1|c\n", column)
    lane.feed(b"a:1|c", column)
    assert (column.keys, column.lines, column.datagrams, column.bytes) == (2, 3, 2, 20)
    assert [row.spelling for row in rows(lane, column)] == [b"ca", b"cb", b"ca"]


@pytest.mark.parametrize("first_last", [(-1, 0), (0, 2), (1, 0)])
def test_only_keys_that_exist_can_be_read(first_last):
    lane = small()
    lane.feed(b"a:1|c", Column(10))
    with pytest.raises(ValueError, match=r"rows must be in \[0, 1\]"):
        lane.spellings(*first_last)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1, 0), "keys"), ((1, 1 << 31), "keys"), ((1, 1, -5), "arena"), ((1, 1, 1 << 36), "arena")],
)
def test_sizes_no_table_can_have_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FastLane(*arguments)


@pytest.mark.parametrize("start", [-1, 6])
def test_a_start_outside_the_data_is_refused(start):
    with pytest.raises(ValueError, match=r"start must be in \[0, 5\]"):
        small().feed(b"a:1|c", Column(10), start)
