"""Heavy hitters, against sums over the samples and all prefixes."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.protocol.lines import LineParser
from aggd.query import top as heavy
from aggd.query.scope import Window
from aggd.query.top import row_nbytes, top
from aggd.store.frame import columns
from aggd.store.naming import Policy
from aggd.store.recorder import Recorder
from aggd.store.rollup import History
from aggd.store.series import Limits, Registry
from tests.query.past import START, TIERS

names = st.text(st.sampled_from("ab.-/"), min_size=1, max_size=6)
lines = st.lists(
    st.tuples(names, st.sampled_from(["c", "ms", "g", "s"]), st.sampled_from("xyz"),
              st.integers(1, 9)),
    max_size=40,
)  # fmt: skip
measures = st.sampled_from(["count", "series", "memory"])
EVERYTHING = Window()
COLUMN = {"count": "count", "series": "series", "memory": "bytes"}


class Traffic:
    """A recorder that takes lines."""

    def __init__(self, *every: str, tiers=TIERS) -> None:
        self.registry = Registry(Limits())
        self.history = History(tiers, 1 << 30, 1 << 28, START)
        self.recorder = Recorder(self.registry, self.history, Policy(sanitize_names=False))
        self.send(*every)

    def send(self, *every: str, after: float = 0.0) -> None:
        parsed = LineParser(sanitize_names=False).parse("\n".join(every).encode())
        assert not parsed.bad
        self.recorder.record(parsed.records, START + after)

    def top(self, by: str = "count", limit: int = 1000, window: Window = EVERYTHING):
        return top(self.registry, self.history, by, window, START + 1.0, limit)


def written(name: str, kind: str, tag: str, value: int) -> str:
    return f"{name}:{value}|{kind}|#t:{tag}"


def prefixes(name: str) -> list[str]:
    return [name[: i + 1] for i, sign in enumerate(name) if sign == "."]


@settings(max_examples=150, deadline=None)
@given(lines, measures)
def test_names_and_prefixes_weigh_what_their_samples_do(every, by):
    traffic = Traffic(*(written(*line) for line in every))
    found = traffic.top(by)
    count = Counter((name, kind) for name, kind, _, _ in every)
    series = Counter((name, kind) for name, kind, _ in {line[:3] for line in every})
    words = {"timer": "ms", "counter": "c", "gauge": "g", "set": "s"}
    shown = {(of["name"], words[of["kind"]]): of for of in found["names"]}
    assert {key: of["count"] for key, of in shown.items()} == count
    assert {key: of["series"] for key, of in shown.items()} == series
    sums: dict[str, Counter[str]] = {}
    for (name, _), of in shown.items():
        for prefix in prefixes(name):
            sums.setdefault(prefix, Counter()).update({k: of[k] for k in COLUMN.values()})
    assert {of.pop("prefix"): of for of in found["prefixes"]} == sums
    assert (found["count"], found["exact"]) == (len(every), True)
    for listed in (found["names"], found["prefixes"]):
        weights = [of[COLUMN[by]] for of in listed]
        assert weights == sorted(weights, reverse=True)


@settings(max_examples=60, deadline=None)
@given(lines, measures, st.integers(1, 4))
def test_a_limit_keeps_the_heaviest(every, by, limit):
    traffic = Traffic(*(written(*line) for line in every))
    cut, full = traffic.top(by, limit), traffic.top(by)
    for listed in ("names", "prefixes"):
        weights = [of[COLUMN[by]] for of in full[listed][:limit]]
        assert [of[COLUMN[by]] for of in cut[listed]] == weights
        assert all(of in full[listed] for of in cut[listed])


@settings(max_examples=60, deadline=None)
@given(lines)
def test_the_bytes_of_all_rows_are_those_of_the_frame(every):
    traffic = Traffic(*(written(*line) for line in every))
    for frame in traffic.history.rings[0].between(0, 1 << 40):
        for section in frame.sections():
            ragged = [c for c in columns(section) if c.size > section.series.size]
            whole = sum(column.nbytes for column in columns(section))
            ends = sum(c.itemsize for c in ragged if c.size == section.series.size + 1)
            if section.series.size:
                assert row_nbytes(section).sum() == pytest.approx(whole, abs=max(ends, 16))


def test_only_the_window_counts_and_says_what_it_is():
    traffic = Traffic("old.a:1|c", "both.a:1|c")
    traffic.send("new.a:1|c|@0.1", "both.a:1|c", after=20)
    found = traffic.top(window=Window(START + 20, START + 30))
    assert [(of["name"], of["count"]) for of in found["names"]] == [("new.a", 10), ("both.a", 1)]
    assert (found["from"], found["to"]) == ("2023-11-14T22:00:20Z", "2023-11-14T22:00:30Z")
    assert (found["by"], found["resolution"], found["count"]) == ("count", "10s", 11)


def test_what_is_forgotten_weighs_nothing():
    traffic = Traffic("a.x:1|c|#h:1", "a.x:1|c|#h:2", "b.x:1|ms")
    assert traffic.recorder.forget("a.*", ("h:1",)) == 1
    found = traffic.top("series")
    assert [(of["name"], of["series"]) for of in found["names"]] == [("a.x", 1), ("b.x", 1)]
    assert [of["prefix"] for of in found["prefixes"]] == ["a.", "b."]
    traffic.recorder.forget("*")
    assert traffic.top()["names"] == traffic.top()["prefixes"] == []


def test_timers_and_sets_weigh_more_the_more_they_hold():
    rng = np.random.default_rng(3)
    traffic = Traffic(*(f"few:{i}|ms" for i in range(5)), *(f"set:{i}|s" for i in range(50)))
    traffic.send(*(f"many:{v!r}|ms" for v in rng.normal(size=500).tolist()))
    found = {of["name"]: of["bytes"] for of in traffic.top("memory")["names"]}
    assert list(found) == ["many", "set", "few"]
    assert found["many"] > 500 * 8
    assert 50 * 8 <= found["set"] < 50 * 8 + 50


def test_many_prefixes_that_are_alike_end_the_search_and_it_says_so(monkeypatch):
    monkeypatch.setattr(heavy, "CUTS", 50)
    every = [f"u{i}.x:1|c" for i in range(1000)] + ["big.x:1|c"] * 500
    found = Traffic(*every).top(limit=20)
    assert found["prefixes"][0] == {"prefix": "big.", "count": 500, "series": 1,
                                    "bytes": found["prefixes"][0]["bytes"]}  # fmt: skip
    assert found["exact"] is False
    assert Traffic(*every).top(limit=1)["exact"] is True


def test_many_names_without_prefixes_cost_no_search(monkeypatch):
    monkeypatch.setattr(heavy, "CUTS", 20)
    found = Traffic("a.b:1|c", *(f"a.n{i}:1|c" for i in range(2000))).top()
    assert [of["prefix"] for of in found["prefixes"]] == ["a."]
    assert found["exact"] is True
