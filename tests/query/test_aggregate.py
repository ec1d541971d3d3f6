"""Buckets of time against plain lists."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.query import answer
from aggd.query.aggregate import Buckets, Span, aggregate, filled, worst
from aggd.query.scope import Scope, Window, reach
from aggd.query.selection import merged, select, split
from tests.query.past import START, Past, Sample

values = st.floats(-1e6, 1e6).map(lambda v: round(v, 3))
samples = st.builds(
    Sample, st.integers(0, 3), values, st.sampled_from([1.0, 4.0]), st.integers(0, 700)
)


def buckets(past: Past, groups, names, step, start=0, end=710):
    found = reach(past.history, Window(START + start, START + end), START + end, step)
    span = Span(found.start, found.end, step)
    return aggregate(found.frames, found.fine, select(past.kind, groups), names, span)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(samples, min_size=1, max_size=60),
    st.sampled_from([10, 30, 60, 70, 300, 3600]),
    st.booleans(),
)
def test_every_bucket_holds_just_its_samples(rows, step, close):
    past = Past().record(rows, close)
    groups = split([past.registry[i] for i in past.ids], ["env"])
    found = buckets(past, groups, ["count", "sum", "min", "median", "rate"], step)
    assert len(found) == len(groups)
    for group, of in zip(groups, found, strict=True):
        starts = {(START + s.time) // step * step for s in rows if s.series in group.series}
        assert of.start.tolist() == sorted(starts)
        assert of.exact
        assert of.rank_error == {}
        for i, start in enumerate(sorted(starts)):
            x = past.raw(start - START, start - START + step, group.series)
            covered = min(start + step, START + 710) - max(start, START)
            got = [column[i] for column in of.columns.values()]
            right = [len(x), x.sum(), x.min(), np.median(x), len(x) / covered]
            assert got == pytest.approx(right, rel=1e-9, abs=1e-6)


def test_percentiles_of_buckets_are_exact_while_their_samples_are_kept():
    past = Past(series=1)
    rng = np.random.default_rng(6)
    past.record(Sample(0, v, 1.0, i // 40) for i, v in enumerate(rng.gamma(2, 9, 24_000)))
    groups = [merged([past.registry[i] for i in past.ids])]
    (of,) = buckets(past, groups, ["p99"], 60, end=600)
    assert of.exact
    for start, value in zip(of.start.tolist(), of.columns["p99"].tolist(), strict=True):
        assert value == np.percentile(past.raw(start - START, start - START + 60), 99)
    past.history.samples_memory = 0
    past.history.close(START + 3600)
    (of,) = buckets(past, groups, ["p99"], 60, end=600)
    assert not of.exact
    assert 0 < of.rank_error["p99"] < 0.01


def test_far_apart_buckets_of_many_groups_keep_their_place():
    past = Past(series=200)
    past.registry.resolve(past.kind, "t", ("host:a",), 0)
    past.record([Sample(i, float(i), 1.0, 0) for i in range(200)])
    long_ago = START - 20 * 86400
    past.add([Sample(i, 1000.0 + i, 1.0, long_ago - START) for i in range(200)], long_ago)
    groups = split([past.registry[i] for i in past.ids], ["host"])
    found = buckets(past, groups, ["max"], 10, start=-21 * 86400)
    for group, of in zip(groups, found, strict=True):
        (series,) = group.series
        assert of.columns["max"].tolist() == [1000.0 + series, series]


def test_a_window_without_frames_has_no_buckets():
    past = Past()
    (of,) = buckets(past, [merged([past.registry[0]])], ["mean", "p50"], 60)
    assert (of.start.size, of.columns["mean"].size, of.exact) == (0, 0, True)


def test_empty_buckets_are_filled_and_the_others_stay():
    start = np.array([20, 50], np.int64)
    of = Buckets(start, {"count": np.array([1.0, 2.0]), "mean": np.array([5.0, 7.0])}, True, {})
    span = Span(8, 65, 10)
    for fill, mean in (
        ("null", [np.nan, np.nan, 5, np.nan, np.nan, 7, np.nan]),
        ("zero", [0, 0, 5, 0, 0, 7, 0]),
        ("previous", [np.nan, np.nan, 5, 5, 5, 7, 7]),
    ):
        got = filled(of, span, fill)
        assert got.start.tolist() == [0, 10, 20, 30, 40, 50, 60]
        assert got.columns["count"].tolist() == [0, 0, 1, 0, 0, 2, 0]
        assert got.columns["mean"] == pytest.approx(mean, nan_ok=True)


def test_buckets_say_how_fine_the_frames_were_that_answered():
    rng = np.random.default_rng(3)
    past = Past().record(Sample(0, v, 1.0, i // 10) for i, v in enumerate(rng.random(6000)))
    about = Scope(Window(START, START + 600), START + 600)
    for name, resolution in (("mean", "1m"), ("p99", "10s"), ("upper_90", "10s")):
        found = answer.aggregate(past.registry, past.history, "t", [name], 300, None, about)
        said = found.covers()
        assert (said["resolution"], said["exact"], said["count"]) == (resolution, True, 6000), name


def test_the_worst_error_of_all_groups_is_told():
    none = np.empty(0)
    errors = ({"p50": 0.1}, {"p50": 0.05, "p99": 0.2}, {})
    every = [Buckets(none.astype(np.int64), {}, False, of) for of in errors]
    assert worst(every) == {"p50": 0.1, "p99": 0.2}
    assert worst(every[::-1]) == {"p50": 0.1, "p99": 0.2}
