"""Windows to frames, names to series."""

from threading import Event, Thread

import numpy as np
import pytest

from aggd.errors import RequestError
from aggd.protocol.times import LATEST
from aggd.query.scope import Window, nearest, pick, reach
from aggd.query.selection import select, single
from aggd.query.stats import summarise
from aggd.store.series import Kind
from tests.query.past import SHORT, START, Past, Sample


def test_a_window_is_widened_to_the_finest_slots_and_says_so():
    past = Past().record([Sample(0, 1.0, 1.0, at) for at in (0, 45, 90)], close=False)
    found = reach(past.history, Window(START + 41.5, START + 58.2), START + 100)
    assert (found.start, found.end, found.seconds) == (START + 40, START + 60, 20)
    assert [frame.start - START for frame in found.frames] == [40]
    assert found.covers(False)["resolution"] == "10s"


def test_without_edges_a_window_is_all_there_is():
    past = Past()
    empty = reach(past.history, Window(), START + 5.5)
    assert (empty.start, empty.end, empty.frames) == (START, START + 10, [])
    past.record([Sample(0, 1.0, 1.0, at) for at in (0, 45, 190)])
    found = reach(past.history, Window(), START + 100.5)  # the sender is ahead of us
    assert (found.start, found.end) == (START, START + 200)
    assert sum(frame.timers.samples.sum() for frame in found.frames) == 3


def test_a_window_that_the_finest_frames_have_is_not_widened():
    past = Past(tiers=SHORT).record([Sample(0, float(at), 1.0, at) for at in range(0, 900, 10)])
    assert past.history.rings[2].starts(START, START + 900)  # moved there before its time
    found = reach(past.history, Window(START + 880, START + 900), START + 900)
    assert (found.start, found.end) == (START + 880, START + 900)
    assert found.frames == found.fine
    assert [frame.timers.moments.low[0] for frame in found.frames] == [880, 890]


def test_no_window_reaches_what_no_time_can_be_written_for():
    past = Past().record([Sample(0, 1.0, 1.0, 0)])
    for start in (START, LATEST - 1):
        found = reach(past.history, Window(start, LATEST - 0.1), START + 10)
        assert found.start <= found.end
        assert found.covers(False)["to"] == "9999-12-31T00:00:00Z"


def test_a_window_before_everything_is_empty():
    past = Past().record([Sample(0, 1.0, 1.0, 0)])
    found = reach(past.history, Window(None, START - 1000), START + 10)
    assert found.frames == []
    assert found.end <= START - 990


def test_names_spelled_alike_are_found_in_bounded_work():
    names = ["api.latency", "api.latent", "db.latency", "web.requests"]
    assert nearest("api.latenzy", names)[0] == "api.latency"
    assert nearest("API.LATENCY", ["api.latency"]) == []
    assert nearest("wbe.requests", names) == ["web.requests"]
    assert nearest("x" * 10_000, names) == []
    assert len(nearest("name1", (f"name{i}" for i in range(10_000_000)))) == 3


def test_the_kind_that_is_meant_is_one_that_carries_the_tags():
    past = Past()
    past.registry.resolve(Kind.COUNTER, "t", ("only:counter",), 0.0)
    assert pick(past.registry, "t", (), None)[0] is Kind.TIMER
    kind, series = pick(past.registry, "t", ("only:counter",), None)
    assert (kind, len(series)) == (Kind.COUNTER, 1)
    assert pick(past.registry, "t", ("no:such",), None) == (Kind.TIMER, [])
    with pytest.raises(RequestError, match="a timer and a counter, no gauge") as caught:
        pick(past.registry, "t", (), Kind.GAUGE)
    assert caught.value.status == 404


def test_answers_stay_exact_and_end_while_another_thread_records():
    past = Past(series=1)
    group = select(Kind.TIMER, [single(past.registry[0])])
    rng = np.random.default_rng(9)
    done = Event()

    def write():
        for part in range(300):
            past.add([Sample(0, v, 1.0, 0) for v in rng.normal(0, 1, 400).tolist()], START)
            if part % 40 == 0:
                past.history.close(START + part)
        done.set()

    writer = Thread(target=write)
    writer.start()
    counts = []
    while not done.is_set():
        found = reach(past.history, Window(START, START + 10), START + 10)
        summary = summarise(found.frames, found.fine, group, ["count", "p99", "p100"], 10)
        if summary.labels.size:
            counts.append(summary.columns["count"].values[0])
            assert summary.columns["p99"].exact[0]
    writer.join()
    assert counts == sorted(counts)
