"""Columns and points to frames."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.ingest.column import Column, sender_text
from aggd.listeners.udp import packed_sender
from aggd.protocol.lines import LineParser, Sample
from aggd.store.recorder import BAD_LINES, BadLine
from aggd.store.rollup import Tier
from aggd.store.series import Kind, Limits
from tests.store.intake import NOW, Intake

LONG = b"n" * 20
SHORT = Limits(name_bytes=10)


def points(*lines: bytes) -> list[Sample]:
    return LineParser().parse(b"\n".join(lines)).records


def test_a_spelling_is_named_once():
    intake = Intake()
    intake.take(b"a:1|c", b"b:1|c")
    intake.take(b"b:1|c", b"a:1|c")
    intake.take(b"a:1|c", b"c:1|c", b"a:1|c")
    assert intake.asked == [(0, 2), (2, 3)]
    assert intake.total() == 7
    assert [s.name for s in intake.registry.find("*")] == ["a", "b", "c"]


def test_spellings_that_mean_one_series_are_added_up():
    intake = Intake()
    intake.take(b"a:1|ms|#x:1,y:2", b"a:2|h|#y:2,x:1", b"a:3|d|#y:2,x:1,x:1", b"a:4|ms|#x:1,y:2|T1")
    (series,) = intake.registry.find("*")
    assert (series.kind, series.name, series.tags) == (Kind.TIMER, "a", ("x:1", "y:2"))
    assert intake.frame().timers.samples.tolist() == [4]


def test_a_name_is_a_series_of_each_kind():
    intake = Intake()
    intake.take(b"a:1|c", b"a:1|g", b"a:1|ms", b"a:1|s", b"a 1:1|c")
    assert [(s.name, s.kind) for s in intake.registry.find("*")] == [
        ("a", Kind.SET),  # read first, as it goes the slow way
        ("a", Kind.COUNTER),
        ("a", Kind.GAUGE),
        ("a", Kind.TIMER),
        ("a_1", Kind.COUNTER),
    ]
    assert intake.figures.samples == {
        Kind.COUNTER: 2, Kind.GAUGE: 1, Kind.TIMER: 1, Kind.SET: 1,
    }  # fmt: skip


def test_every_sample_of_a_refused_key_is_counted_by_reason_and_costs_no_other():
    intake = Intake(SHORT)
    first = intake.take(LONG + b":1:2|c", b"a:1|c", LONG + b":3|ms", b"a:2|c")
    second = intake.take(b"a:4|c", LONG + b":1|c")
    assert (first.accepted, second.accepted) == (2, 1)
    assert intake.bad() == {"name_too_long": 4}
    assert intake.total() == 7
    assert len(intake.registry) == 1


FORMS = {"plain": b"%s:%s|g", "odd": b"%s:%s|g|c:id", "list": b"%s:%s:+1|g"}
texts = st.builds(b"%s%d".__mod__, st.tuples(st.sampled_from([b"", b"+", b"-"]), st.integers(0, 9)))
gauges = st.tuples(st.sampled_from([b"g", b"h", LONG]), texts, st.sampled_from(sorted(FORMS)))


def followed(lines, name: bytes) -> list[float]:
    """Levels of one gauge, line by line."""
    levels = [0.0]
    for of, text, form in lines:
        if of == name:
            levels.append(float(text) + (levels[-1] if text[0] in b"+-" else 0.0))
            if form == "list":
                levels.append(levels[-1] + 1)
    return levels[1:]


@settings(max_examples=200, deadline=None)
@given(st.lists(gauges, max_size=40), st.integers(2, 8))
def test_set_aside_lines_are_put_back_in_their_place(lines, rows):
    intake = Intake(SHORT, rows=rows)
    intake.take(*(FORMS[form] % (name, text) for name, text, form in lines))
    for name in (b"g", b"h"):
        expected = followed(lines, name)
        if expected:
            assert intake.level(name.decode()) == expected[-1]
            (series,) = intake.registry.named(name.decode())
            (at,) = np.flatnonzero(intake.frame().gauges.series == series.id)
            got = intake.frame().gauges
            assert (got.low[at], got.high[at]) == (min(expected), max(expected))
            assert (got.count[at], got.sum[at]) == (len(expected), sum(expected))
    refused = [form for name, _, form in lines if name == LONG]
    assert intake.bad().get("name_too_long", 0) == len(refused) + refused.count("list")


def test_a_line_set_aside_behind_nothing_but_a_refused_row_is_recorded():
    intake = Intake(SHORT)
    assert intake.take(LONG + b":1|c", b"s:x|s").accepted == 1
    assert intake.frame().sets.count.tolist() == [1]


def test_a_line_set_aside_behind_a_refused_row_keeps_its_place():
    intake = Intake(SHORT)
    assert intake.take(LONG + b":1|c", b"g:5|g", b"g:+2|g|c:id", b"g:7|g").accepted == 3
    assert intake.level() == 7
    assert intake.frame().gauges.high.tolist() == [7]
    assert intake.bad() == {"name_too_long": 1}


@pytest.mark.parametrize(
    ("sign", "line", "level"),
    [
        ("delta", b"g:-2|g", 8), ("delta", b"g:+2|g|#a:b", 12), ("delta", b"g:-2|g|c:id", 8),
        ("absolute", b"g:-2|g", -2), ("absolute", b"g:+2|g|#a:b", 2),
        ("absolute", b"g:-2|g|c:id", -2), ("auto", b"g:-2|g", 8), ("auto", b"g:+2|g|#a:b", 2),
        ("auto", b"g:-2|g|c:id", -2), ("auto", b"g:-2|g|@0.5", 8),
        ("delta", b"g:2|g", 2), ("absolute", b"g:2|g", 2), ("auto", b"g:2|g|#a:b", 2),
    ],
)  # fmt: skip
def test_a_sign_means_what_the_configuration_says(sign, line, level):
    intake = Intake(gauge_sign=sign)
    tags = b"|#a:b" if b"#" in line else b""
    intake.take(b"g:10|g" + tags)
    intake.take(line)
    assert intake.level() == level
    other = Intake(gauge_sign=sign)  # and the same for points of a body
    other.recorder.record(points(b"g:10|g" + tags, line), NOW)
    assert other.level() == level


def test_totals_count_by_their_growth_and_anew_from_zero_when_they_fell():
    intake = Intake(monotonic=True)
    intake.take(*(b"a:%d|C" % total for total in (10, 15, 15, 3, 4)), b"b:100|C", b"a:2|c|c:id")
    assert intake.total() == 0 + 5 + 0 + 3 + 1 + 0 + 2
    intake.take(b"a:9|C", b"a:3|c|c:id")
    assert intake.total() == 11 + 5 + 3


def test_without_that_option_type_c_is_an_increment():
    intake = Intake()
    intake.take(b"a:10|C", b"a:15|C")
    assert intake.total() == 25


def test_a_timestamp_may_be_a_little_ahead_and_no_more():
    intake = Intake(future=60.0)
    found = intake.take(b"a:1|c|T%d" % (NOW + 60), b"a:1:2|c|T%d" % (NOW + 61), b"b:1|c")
    assert found.accepted == 2
    assert intake.bad() == {"future_timestamp": 2}
    assert intake.total() == 2
    assert intake.recorder.record(points(b"c:1|c", b"d:1|c|T%d" % (NOW + 61)), NOW) == [
        (1, "future_timestamp")
    ]
    assert not intake.registry.knows("d")


def old() -> Intake:
    """A recorder whose history keeps three minutes, and has lost the first of four."""
    intake = Intake(tiers=(Tier("minute", 60, 180),))
    for minute in range(4):
        intake.take(b"a:1|c", now=NOW + 60 * minute)
    return intake


def test_a_timestamp_older_than_all_that_is_kept_is_refused_and_counted():
    intake = old()
    line = b"a:5|c|T%d" % (NOW - 600)
    found = intake.take(line, b"a:5:6|c|T%d" % (NOW - 900), b"a:7|c", now=NOW + 180)
    assert found.accepted == 1
    assert intake.bad() == {"stale_timestamp": 3}
    assert intake.recorder.record(points(b"b:1|c", line, b"b:2|c"), NOW + 180) == [
        (1, "stale_timestamp")
    ]
    assert intake.total() == 3 + 7 + 3
    assert intake.figures.samples[Kind.COUNTER] == 4 + 1 + 2


def test_refused_points_are_named_by_place_whatever_their_times_are():
    ages = [900, 0, 600, -300, 780, 1]
    given_points = points(*(b"a:1|c|T%d" % (NOW + 180 - age) for age in ages))
    assert old().recorder.record(given_points, NOW + 180) == [
        (0, "stale_timestamp"),
        (2, "stale_timestamp"),
        (3, "future_timestamp"),
        (4, "stale_timestamp"),
    ]


def test_a_refused_point_sets_no_level():
    intake = old()
    intake.take(b"g:50|g|T%d" % (NOW - 600), now=NOW + 180)
    assert intake.bad() == {"stale_timestamp": 1}
    intake.take(b"g:+1|g", now=NOW + 180)
    assert intake.level() == 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 7000), st.integers(1, 9)), max_size=30))
def test_late_points_go_into_the_slot_of_their_time(late):
    intake = Intake()
    lines = [b"a:%d|c|T%d" % (n, NOW - age) for age, n in late]
    assert intake.take(*lines, b"a:100|c").accepted == len(late) + 1
    expected: dict[int, float] = {}
    for age, n in [*late, (0, 100)]:
        start = int(NOW - age) // 10 * 10
        expected[start] = expected.get(start, 0) + n
    ring = intake.history.rings[0]
    found = {
        start: sum(float(item.frame.counters.sum.sum()) for item in ring.at(start))
        for start in ring.starts(0, 1 << 40)
    }
    assert found == expected


def test_of_late_gauges_the_latest_by_its_own_time_is_the_level():
    intake = Intake()
    intake.take(*(b"g:%d|g|T%d" % (v, NOW - age) for v, age in ((1, 30), (2, 5), (3, 20))))
    assert intake.level() == 2
    intake.take(b"g:4|g|T%d" % (NOW - 10))
    assert intake.level() == 2


def test_late_gauges_of_one_time_are_followed_in_order_of_arrival():
    intake = Intake()
    intake.take(*(b"g:%d|g|T%d" % (v, NOW - v % 3) for v in range(600)))
    assert intake.level() == 597


def test_members_of_sets_are_counted_once_whatever_bits_their_hashes_have():
    intake = Intake()
    intake.take(*(b"s:%d|s" % (i % 1500) for i in range(3000)), b"a:1|c")
    intake.take(*(b"s:m%d|s|T%d" % (i, NOW) for i in range(500)))
    sets = intake.frame().sets
    assert np.diff(sets.members.offset).tolist() == [2000]
    assert sets.count.tolist() == [3500]
    assert intake.figures.samples[Kind.SET] == 3500


def test_timers_below_zero_are_kept_with_a_warning():
    intake = Intake()
    intake.take(b"a:-1|ms", b"a:-2:3|h", b"a:-4|ms|c:id", b"b:-1|c", b"g:-1|g", b"a:0|ms")
    assert intake.figures.warnings["negative_timer"] == 3
    assert intake.frame().timers.moments.low.tolist() == [-4]


def test_what_would_overflow_is_refused_and_counted_and_its_neighbours_kept():
    intake = Intake()
    intake.take(b"a:9e299|c", b"a:9e299|c", b"b:1|c", b"g:9e299|g", b"g:+9e299|g")
    assert intake.bad() == {"overflow": 3}
    assert intake.total() == 1
    assert intake.level() == 9e299


def test_the_newest_refused_lines_are_kept_for_a_person_to_look_at():
    intake, column = Intake(), Column(10)
    sender = packed_sender(("192.0.2.7", 99))
    for i in range(BAD_LINES + 50):
        column.set_aside(b"bad.%d" % i, sender)
    column.start = NOW
    refused = intake.recorder.column(column).refused
    assert [(bad.reason, bad.line) for bad in refused] == [
        ("no_colon", b"bad.%d" % i) for i in range(BAD_LINES + 50)
    ]
    kept = intake.figures.bad_lines
    assert len(kept) == BAD_LINES
    assert kept[0] == BadLine(NOW, sender_text(sender), "no_colon", b"bad.50")
    assert kept[-1].line == b"bad.%d" % (BAD_LINES + 49)
    assert intake.bad() == {"no_colon": BAD_LINES + 50}
