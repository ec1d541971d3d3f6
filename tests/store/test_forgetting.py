"""Series that are forgotten, and what comes for them later, through lane and points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.protocol.lines import LineParser, Sample
from aggd.store import index, recorder
from aggd.store.merge import gather
from aggd.store.series import OVERFLOW, Kind, Limits, Registry
from tests.store.intake import NOW, Intake

names = st.sampled_from(["a", "b", "api.latency", "api.errors", "api"])
tags = st.sampled_from([(), ("env:prod",), ("env:prod", "host:a"), ("bare",)])
entering = st.tuples(st.sampled_from(Kind), names, tags)
forgetting = st.tuples(
    st.sampled_from(["*", "a*", "*api*", "a", "api.?r*"]),
    st.sampled_from([(), ("env:prod",), ("bare",)]),
    st.sampled_from([None, Kind.SET, Kind.TIMER]),
)


def points(*lines: bytes) -> list[Sample]:
    return LineParser().parse(b"\n".join(lines)).records


@settings(max_examples=200, deadline=None)
@given(st.lists(entering | forgetting, max_size=50), st.integers(3, 30))
def test_a_registry_is_a_dictionary_that_forgets(steps, limit):
    known, model = Registry(Limits(series=limit)), {}
    used = set()
    for kind, name, carried in (step for step in steps if isinstance(step[0], Kind)):
        used.add((kind, name, carried))
    for first, second, third in steps:
        if isinstance(first, Kind):
            series = known.resolve(first, second, third, 1.0)
            key = known[series][1:4]
            assert key == (first, second, third) or key[1] == OVERFLOW
            assert model.setdefault(key, series) == series
        else:
            gone = known.select(first, second, third)
            assert known.forget(gone) == gone.size
            assert known.forget(gone) == 0
            model = {key: i for key, i in model.items() if i not in set(gone.tolist())}
        known._check()
        assert len(known) == len(model)
        assert known.find("*") == sorted(
            (known[i] for i in model.values()), key=lambda s: (s.name, s.id)
        )
    for match in ("*", "a*", "*pi*", "?", "api", "api.[el]*"):
        for carried in ((), ("env:prod",), ("env:prod", "host:a")):
            walked = [i for ids in known.walk(match, carried) for i in ids.tolist()]
            assert walked == [s.id for s in known.find(match, carried)]
            assert known.select(match, carried).tolist() == sorted(walked)
            slow = [s.id for s in known.find("*") if set(carried) <= set(s.tags)]
            assert set(walked) == set(slow) & set(known.select(match).tolist())


def test_ids_of_forgotten_series_name_nothing_and_are_not_used_again():
    known = Registry(Limits())
    first = known.resolve(Kind.GAUGE, "g", (), 0.0)
    known.levels[first], known.level_time[first] = 7.0, 1.0
    assert known.forget(np.array([first], np.int32)) == 1
    assert known.series(np.array([first], np.int32)) == []
    with pytest.raises(KeyError, match="forgotten"):
        known[first]
    again = known.resolve(Kind.GAUGE, "g", (), 0.0)
    assert again != first
    assert (known.levels[again], known.level_time[again]) == (0.0, -np.inf)
    assert known.forgotten == 1


def test_a_registry_comes_back_from_its_entries_with_its_gaps():
    known = Registry(Limits())
    for i in range(1500):
        known.resolve(Kind.TIMER, f"n{i % 700}", (f"host:{i % 3}", "env:x"), float(i))
    known.forget(known.select("n1*", ("host:1",)))
    again = Registry(Limits())
    again.restore(known.entries(0), {"last_seen": known.last_seen[:1200]})
    again._check()
    assert again.entries(0) == known.entries(0)
    assert again.forgotten == known.forgotten
    assert again.last_seen[:1200].tolist() == known.last_seen[:1200].tolist()
    assert again.resolve(Kind.TIMER, "new", (), 0.0) == len(known.entries(0))
    empty = Registry(Limits())
    empty.restore([None] * 1024, {})
    assert empty.resolve(Kind.TIMER, "new", (), 0.0) == 1024
    empty._check()


def sum_of(intake: Intake, name: str) -> float:
    """Of the counters of a name, as answers have it."""
    ids = intake.registry.select(name)
    frames = [(frame, 0) for frame in intake.history.tile(0, 1 << 40).frames]
    found = gather(frames, Kind.COUNTER, ids, np.zeros(ids.size, np.int32))
    return float(found.sum.sum())


@pytest.mark.parametrize("lane", ["compiled", "points"])
def test_what_comes_for_a_forgotten_series_starts_anew(lane):
    intake = Intake()

    def take(*lines: bytes) -> None:
        if lane == "compiled":
            assert intake.take(*lines).accepted == len(lines)
        else:
            assert intake.recorder.record(points(*lines), NOW) == []

    take(b"a:1|c", b"b:2|c", b"g:50|g", b"a:4|c|#x:y", b"t:1|ms")
    assert intake.recorder.forget("[ag]") == 3
    assert not intake.registry.knows("a")
    assert len(intake.registry) == 2
    take(b"b:3|c", b"t:2|ms")
    assert not intake.registry.knows("a")
    take(b"a:8|c", b"g:+3|g", b"a:16|c", b"b:1|c")
    assert sum_of(intake, "a") == 24
    assert sum_of(intake, "b") == 6
    (gauge,) = intake.registry.named("g")
    assert intake.registry.levels[gauge.id] == 3
    intake.registry._check()
    take(b"a:1|c", b"a:2|c|#x:y")
    assert sum_of(intake, "a") == 27
    assert len(intake.registry.named("a")) == 2


spoken = st.sampled_from([b"a:1|c", b"b:1|c", b"a:1|c|#x:1", b"a:1|c|c:odd", b"c:1:1|c"])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(spoken, min_size=1, max_size=6) | st.sampled_from(["a", "b", "*", "?"])))
def test_sums_are_those_since_a_name_was_forgotten(steps):
    intake, sums = Intake(), dict.fromkeys("abc", 0)
    for step in steps:
        if isinstance(step, str):
            intake.recorder.forget(step)
            sums = {name: 0 if step in (name, "*", "?") else n for name, n in sums.items()}
        else:
            intake.take(*step)
            for line in step:
                sums[line[:1].decode()] += 2 if line.startswith(b"c") else 1
        intake.registry._check()
        assert {name: sum_of(intake, name) for name in sums} == sums


def test_forgetting_makes_room_even_for_what_was_one_too_many():
    intake = Intake(Limits(series=2))
    intake.take(b"a:1|c", b"b:1|c", b"c:1|c")
    assert intake.registry.knows(OVERFLOW)
    assert intake.recorder.forget("a") == 1
    intake.take(b"b:1|c", b"c:4|c")
    assert sum_of(intake, "c") == 4
    intake.take(b"a:1|c")
    assert not intake.registry.knows("a")
    assert intake.recorder.forget("*") == 3


def test_a_refused_spelling_stays_refused():
    intake = Intake(Limits(name_bytes=4))
    intake.take(b"long.name:1|c", b"a:1|c")
    intake.recorder.forget("*")
    intake.take(b"long.name:1|c", b"a:1|c")
    assert intake.bad() == {"name_too_long": 2}
    assert [s.name for s in intake.registry.find("*")] == ["a"]


def test_only_rows_that_come_again_are_named_again():
    intake = Intake()
    intake.take(b"a:1|c", b"b:1|c", b"c:1|c")
    intake.recorder.forget("*")
    intake.take(b"b:1|c", b"b:1|c")
    intake.take(b"b:1|c")
    assert intake.asked == [(0, 3), (1, 2)]
    assert [s.name for s in intake.registry.find("*")] == ["b"]


def test_a_total_that_was_forgotten_is_counted_from_anew():
    intake = Intake(monotonic=True)
    intake.recorder.record(points(b"a:10|C", b"a:15|C"), NOW)
    intake.recorder.forget("a")
    intake.recorder.record(points(b"a:100|C", b"a:101|C"), NOW)
    assert sum_of(intake, "a") == 1


def test_many_are_forgotten_in_pieces(monkeypatch):
    monkeypatch.setattr(recorder, "FORGOTTEN", 7)
    monkeypatch.setattr(index, "LEAF", 4)
    intake = Intake()
    intake.take(*(b"n%d:1|c|#h:%d" % (i, i % 3) for i in range(100)))
    assert intake.recorder.forget("n*", ("h:1",)) == 33
    assert len(intake.registry) == 67
    intake.registry._check()
    assert intake.recorder.forget("n*", kind=Kind.TIMER) == 0
    assert intake.recorder.forget("nothing") == 0
