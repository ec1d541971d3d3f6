"""What a recorder counts, and points that were parsed elsewhere."""

from aggd.ingest.column import Column
from aggd.ingest.fastlane import FastLane
from aggd.store.naming import Policy
from aggd.store.recorder import Recorder
from aggd.store.rollup import History
from aggd.store.series import Kind, Limits, Registry
from tests.store.intake import NOW, TIERS, Intake
from tests.store.test_recorder import LONG, SHORT, points


def test_events_and_checks_are_counted_and_leave_no_sample():
    intake = Intake()
    found = intake.take(b"_e{1,1}:a|b", b"_sc|a|0", b"_e{1,1}:c|d", b"_e{9,9}:a|b", b"a:1|c")
    assert found.accepted == 1
    assert (intake.figures.events, intake.figures.checks) == (2, 1)
    assert intake.bad() == {"bad_event": 1}
    assert intake.figures.lines == {"compiled": 1, "python": 4}


def test_datagrams_bytes_and_lines_are_counted_by_lane():
    intake = Intake()
    intake.take(b"a:1:2|c", b"s:x|s", b"", b"bad")
    intake.take(b"a:1|c")
    whole = Column(10)
    whole.whole, whole.start = True, NOW
    whole.set_aside(b"a:1|c\nb:1|c\n", b"")
    whole.set_aside(b"c:1|c", b"")
    assert intake.recorder.column(whole).accepted == 3
    figures = intake.figures
    assert (figures.datagrams, figures.bytes) == (4, 17 + 1 + 5 + 12 + 5)
    assert figures.lines == {"compiled": 2, "python": 2 + 3}


def test_lines_too_long_for_a_column_are_counted_as_refused():
    intake, column = Intake(), Column(10, 8)
    intake.lane.feed(b"x" * 9 + b"\n" + b"y" * 9, column)
    intake.recorder.column(column)
    assert intake.bad() == {"line_too_long": 2}


def test_warnings_are_counted_by_reason():
    intake = Intake()
    intake.take(b"a:1|c|@2", b"b:1|c|@3", b"a:1|c|nonsense")
    warnings = {reason: n for reason, n in intake.figures.warnings.items() if n}
    assert warnings == {"rate_clamped": 2, "unknown_field": 1}
    assert intake.total() == 3


def test_an_empty_column_changes_nothing():
    intake = Intake()
    assert intake.recorder.column(Column(10)) == (0, [])
    assert len(intake.history.rings[0]) == 0
    assert intake.bad() == {}


def test_each_lane_has_rows_of_its_own():
    lanes = [FastLane(1, 10), FastLane(2, 10)]
    registry, history = Registry(Limits()), History(TIERS, 1 << 30, 1 << 30, NOW)
    recorder = Recorder(registry, history, Policy(), [lane.spellings for lane in lanes])
    for number, data in ((0, b"a:1|c\nb:2|c"), (1, b"b:4|c\na:8|c"), (0, b"b:16|c\na:32|c")):
        column = Column(10)
        column.start, column.lane = NOW, number
        lanes[number].feed(data, column)
        recorder.column(column)
    frames = history.tile(0, 1 << 40).frames
    totals: dict[str, float] = {}
    for frame in frames:
        for series, value in zip(frame.counters.series, frame.counters.sum, strict=True):
            name = registry[series].name
            totals[name] = totals.get(name, 0.0) + float(value)
    assert totals == {"a": 41, "b": 22}


def test_a_series_is_last_seen_when_its_last_sample_came():
    intake = Intake()
    intake.take(b"a:1|c", b"b:1|ms", now=NOW)
    intake.take(b"a:1|c", b"b:1|ms|T%d" % (NOW - 50), now=NOW + 30)
    seen = {s.name: (s.first_seen, s.last_seen) for s in intake.registry.find("*")}
    assert seen == {"a": (NOW, NOW + 30), "b": (NOW, NOW)}


def test_points_are_seen_at_once_and_the_refused_are_named_by_place():
    intake = Intake(SHORT)
    given = points(LONG + b":1|c", b"a:1:2|c", b"b:3|ms|@0.1", LONG + b":1|g", b"s:x|s")
    assert intake.recorder.record(given, NOW) == [(0, "name_too_long"), (3, "name_too_long")]
    frame = intake.frame()
    assert frame.counters.sum.tolist() == [3]
    assert frame.timers.moments.count.tolist() == [10]
    assert frame.timers.samples.tolist() == [1]
    assert frame.sets.count.tolist() == [1]
    assert intake.bad() == {"name_too_long": 2}
    assert intake.figures.samples[Kind.COUNTER] == 2


def test_past_the_limit_of_series_samples_are_kept_under_one_name():
    intake = Intake(Limits(series=1))
    intake.take(b"a:1|c", b"b:2|c", b"c:4|c")
    intake.take(b"b:8|c", b"a:16|c")
    frame = intake.frame()
    names = [intake.registry[s].name for s in frame.counters.series]
    assert dict(zip(names, frame.counters.sum.tolist(), strict=True)) == {
        "a": 17,
        "aggd.overflow": 14,
    }
    assert intake.registry.overflowed == 2
