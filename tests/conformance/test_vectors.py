"""All vectors of the protocol, through the parser and through the daemon's own intake."""

from collections import Counter

import numpy as np
import pytest

from aggd.ingest.column import Column
from aggd.ingest.fastlane import FastLane
from aggd.protocol.lines import LineParser
from aggd.store.naming import Policy
from aggd.store.recorder import Recorder
from aggd.store.rollup import History, Tier
from aggd.store.series import KINDS, Kind, Limits, Registry
from tests.conformance.lanes import Lanes
from tests.conformance.vectors import VECTORS, as_vector, taken

NOW = 1_700_000_000.0
each = pytest.mark.parametrize("vector", VECTORS, ids=[v.id for v in VECTORS])


@each
def test_the_parser_reads_it_as_the_protocol_says(vector):
    parsed = LineParser().parse(vector.datagram)
    assert [as_vector(record) for record in parsed.records] == vector.parsed
    assert sorted(reason for reason, _ in parsed.bad) == vector.bad
    assert sorted(parsed.warnings) == sorted(vector.warn)


@each
def test_both_lanes_read_it_alike(vector):
    parsed = LineParser().parse(vector.datagram)
    bad, warnings = sorted(r for r, _ in parsed.bad), sorted(parsed.warnings)
    assert Lanes().parse(vector.datagram) == (taken(parsed), bad, warnings)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "python"])
@each
def test_the_intake_records_it(vector, compiled):
    lane = FastLane(1, 1000, 1 << 16)
    history = History([Tier("day", 86400, 1 << 40)], 1 << 30, 1 << 30, NOW)
    registry = Registry(Limits(name_bytes=1 << 16))
    recorder = Recorder(registry, history, Policy(future=1e12), [lane.spellings])
    column = Column(1 << 10, 1 << 17)
    column.start, column.whole = NOW, not compiled
    if compiled:
        assert lane.feed(vector.datagram, column) == len(vector.datagram)
    else:
        column.set_aside(vector.datagram, b"")
    recorder.column(column)
    figures = recorder.figures
    expected = [p for p in vector.parsed if "type" in p]
    by_kind = Counter(KINDS[p["type"]] for p in expected for _ in p["values"])
    assert {k: n for k, n in figures.samples.items() if n} == by_kind
    assert sorted(r for r, n in figures.bad.items() for _ in range(n)) == vector.bad
    del figures.warnings["negative_timer"]  # of the aggregator, not of the line
    assert sorted(w for w, n in figures.warnings.items() for _ in range(n)) == sorted(vector.warn)
    assert figures.events + figures.checks == len(vector.parsed) - len(expected)
    named = {(KINDS[p["type"]], p["name"], tuple(p["tags"])) for p in expected}
    assert {(s.kind, s.name, s.tags) for s in registry.find("*")} == named
    _check_sums(history, registry, expected)


def _check_sums(history, registry, expected):
    frames = history.tile(0, 1 << 40).frames
    counters = [p for p in expected if KINDS[p["type"]] is Kind.COUNTER]
    total = sum(v / p["sample_rate"] for p in counters for v in p["values"])
    assert sum(float(f.counters.sum.sum()) for f in frames) == pytest.approx(total, rel=1e-12)
    timers = [p for p in expected if KINDS[p["type"]] is Kind.TIMER]
    weight = sum(len(p["values"]) / p["sample_rate"] for p in timers)
    assert sum(float(f.timers.moments.count.sum()) for f in frames) == pytest.approx(weight)
    for series in registry.find("*", kind=Kind.GAUGE):
        level = 0.0
        for p in expected:
            same = (p["name"], tuple(p["tags"])) == (series.name, series.tags)
            if same and KINDS[p["type"]] is Kind.GAUGE:
                signs = np.broadcast_to(p.get("sign", ""), len(p["values"]))
                for value, sign in zip(p["values"], signs, strict=True):
                    level = level + value if sign else value
        assert registry.levels[series.id] == level
