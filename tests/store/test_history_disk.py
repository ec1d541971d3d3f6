"""A history with shelves is one in memory that forgets what was not saved when it crashes."""

import shutil
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.sketch import quantiles
from aggd.store.cache import Cache
from aggd.store.merge import merge
from aggd.store.rollup import History, Tier
from aggd.store.series import Kind
from aggd.store.shelf import Shelf, Wanted
from tests.store.frames import frame

START = 1_700_006_400  # a midnight
LONG = (Tier("interval", 10, 7200), Tier("minute", 60, 86400), Tier("hour", 3600, 30 * 86400))
SHORT = (Tier("interval", 10, 60), Tier("minute", 60, 3600), Tier("hour", 3600, 30 * 86400))
Q = np.array([0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 1.0])


class Sample(NamedTuple):
    at: int  # start of its interval
    series: int  # series % 4 is the kind
    value: float


class Kept:
    """A history on disk, and all samples it must know as a plain list."""

    def __init__(self, directory: Path, tiers=LONG, memory: int = 1 << 30) -> None:
        self.directory, self.tiers, self.memory = directory, tiers, memory
        self.now = START
        self.known: list[Sample] = []
        self.saved: list[Sample] = []
        self.open()

    def open(self) -> None:
        """Begin with what the directory holds, as a new process does."""
        cache = Cache(1 << 20)
        self.shelves = [
            Shelf(self.directory / tier.name, tier.width, tier.slots, cache) for tier in self.tiers
        ]
        assert [shelf.open() for shelf in self.shelves] == [[]] * len(self.tiers)
        self.history = History(self.tiers, self.memory, self.memory, self.now, self.shelves)
        self.known = list(self.saved)

    def add(self, ago: int, lines: list[tuple[int, float]]) -> None:
        at = (self.now - ago) // 10 * 10
        if self.history.add(frame([(series, value, 1.0) for series, value in lines], at)):
            self.known += [Sample(at, series, value) for series, value in lines]

    def save(self) -> None:
        self.history.save()
        self.saved = list(self.known)

    def close(self) -> None:
        self.history.close(self.now // 10 * 10)

    def compact(self, steps: int) -> None:
        for shelf in self.shelves:
            for _, _ in zip(range(steps), shelf.compact(self.now), strict=False):
                pass

    def crash(self) -> None:
        self.open()

    def stop(self) -> None:
        self.save()
        self.open()

    def check(self, start: int, end: int) -> None:
        """Compare all that is known of a window with the samples in it."""
        self.history._check()
        for shelf in self.shelves:
            shelf._check()
            assert shelf.damaged == 0
        found = self.history.tile(start, end)
        assert found.start <= start
        assert found.end >= min(end, found.end)
        agrees(merge(found.frames, 0, 1), self.inside(found.start, found.end))
        fine = self.history.fine(start, end)
        if fine is not None:
            agrees(merge(fine.frames, 0, 1), self.inside(fine.start, fine.end))

    def check_one(self, start: int, end: int, series: int) -> None:
        """Ask for one series only."""
        wanted = Wanted(Kind(series % 4), np.array([series], np.int32))
        found = self.history.tile(start, end, wanted=wanted)
        got = merge(found.frames, 0, 1).sections()[series % 4]
        got = got.select(np.flatnonzero(got.series == series))
        values = [s.value for s in self.inside(found.start, found.end) if s.series == series]
        count = got.moments.count if series % 4 == Kind.TIMER else got.count
        assert count.sum() == len(values)

    def inside(self, start: int, end: int) -> list[Sample]:
        return [sample for sample in self.known if start <= sample.at < end]


def agrees(got, samples: list[Sample]) -> None:
    """Each sample once, in every kind."""
    rows = defaultdict(list)
    for sample in samples:
        rows[sample.series].append(sample)
    for kind, section in zip(Kind, got.sections(), strict=True):
        assert section.series.tolist() == sorted(s for s in rows if s % 4 == kind)
    counters, gauges, timers, sets = (
        [rows[series] for series in section.series.tolist()] for section in got.sections()
    )
    assert got.counters.count.tolist() == list(map(len, counters))
    assert got.counters.sum.tolist() == [sum(s.value for s in row) for row in counters]
    gauges_agree(got.gauges, gauges)
    timers_agree(got.timers, timers)
    members = np.diff(got.sets.members.offset).tolist()
    assert got.sets.count.tolist() == list(map(len, sets))
    assert members == [len({s.value for s in row}) for row in sets]


def gauges_agree(got, rows: list[list[Sample]]) -> None:
    assert got.count.tolist() == list(map(len, rows))
    assert got.sum.tolist() == [sum(s.value for s in row) for row in rows]
    assert got.low.tolist() == [min(s.value for s in row) for row in rows]
    assert got.high.tolist() == [max(s.value for s in row) for row in rows]
    for last, time, row in zip(got.last, got.last_time, rows, strict=True):
        assert time == max(s.at for s in row)
        assert last in {s.value for s in row if s.at == time}


def timers_agree(got, rows: list[list[Sample]]) -> None:
    m = got.moments
    values = [np.sort([s.value for s in row]) for row in rows]
    assert got.samples.tolist() == m.count.tolist() == list(map(len, rows))
    assert m.low.tolist() == [x[0] for x in values]
    assert m.high.tolist() == [x[-1] for x in values]
    np.testing.assert_allclose(m.mean, [x.mean() for x in values], rtol=1e-9)
    np.testing.assert_allclose(m.m2, [x.var() * x.size for x in values], rtol=1e-6, atol=1e-6)
    for answer, x in zip(quantiles.quantile(got.digests, m.low, m.high, Q), values, strict=True):
        slack = 1e-6 * (x[-1] - x[0])  # what means of centroids lose on disk
        below = np.searchsorted(x, answer - slack, "left") / x.size
        above = np.searchsorted(x, answer + slack, "right") / x.size
        bound = quantiles.rank_error(Q) + 1.5 / x.size
        assert (below - bound <= Q).all()
        assert (above + bound >= Q).all()


lines = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 30]), st.integers(1, 50).map(float)),
    min_size=1,
    max_size=6,
)
steps = st.one_of(
    st.tuples(st.just("add"), st.sampled_from([0, 0, 0, 10, 70, 400, 4000]), lines),
    st.tuples(st.just("wait"), st.sampled_from([1, 10, 50, 600, 3600])),
    st.sampled_from(["close", "close", "save", "gather", "crash", "stop"]).map(lambda a: (a,)),
    st.tuples(st.just("compact"), st.integers(1, 9)),
)


def walk(kept: Kept, step: tuple) -> None:
    act, *given_ = step
    if act == "wait":
        kept.now += given_[0]
        kept.close()
    elif act == "gather":
        kept.history.gather()
    else:
        getattr(kept, act)(*given_)


@settings(max_examples=40)
@given(
    st.lists(steps, max_size=30),
    st.sampled_from([LONG, SHORT]),
    st.sampled_from([0, 4000, 20_000, 1 << 30]),
    st.integers(0, 5000),
    st.integers(10, 5000),
)
def test_whatever_happens_each_sample_counts_once(new_directory, many, tiers, memory, ago, length):
    kept = Kept(new_directory(), tiers, memory)
    for step in many:
        walk(kept, step)
        start = kept.now - ago
        kept.check(start, min(start + length, kept.now + 10))
    kept.check(START - 86400, kept.now + 10)
    for series in (0, 1, 2, 3, 30):
        kept.check_one(START - 86400, kept.now + 10, series)
    kept.crash()
    kept.check(START - 86400, kept.now + 10)
    shutil.rmtree(kept.directory)


CHANCES = {"add": 0.5, "wait": 0.14, "close": 0.1, "save": 0.12, "gather": 0.03,
           "compact": 0.05, "crash": 0.04, "stop": 0.02}  # fmt: skip


@pytest.mark.parametrize("memory", [0, 3000, 30_000, 1 << 30])
@pytest.mark.parametrize("tiers", [LONG, SHORT], ids=["long", "short"])
def test_a_long_walk_counts_each_sample_once(directory, tiers, memory):
    rng = np.random.default_rng(memory + len(tiers[0].name) + tiers[0].retention)
    kept = Kept(directory, tiers, memory)
    for _ in range(120):
        act = rng.choice(list(CHANCES), p=list(CHANCES.values()))
        if act == "add":
            series, values = rng.integers(0, 12, 8).tolist(), rng.integers(1, 999, 8).tolist()
            ago = int(rng.choice([0, 0, 10, 60, 300, 3600])) if rng.random() < 0.5 else 0
            walk(kept, ("add", ago, list(zip(series, map(float, values), strict=True))))
        elif act == "wait":
            walk(kept, ("wait", int(rng.choice([10, 20, 60, 900]))))
        else:
            walk(kept, (act, 3) if act == "compact" else (act,))
        ago = int(rng.integers(0, 8000))
        start = kept.now - ago
        kept.check(start, start + int(rng.integers(10, 8000)))
    kept.check(0, kept.now + 86400)
    kept.crash()
    kept.check(0, kept.now + 86400)
