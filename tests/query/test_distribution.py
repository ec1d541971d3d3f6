"""Histograms, distribution functions and fits of what a history holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.errors import RequestError
from aggd.query.distribution import (
    MAX_ORDERED,
    MAX_POINTS,
    Distribution,
    Points,
    Shape,
    counts,
    describe,
    thinned,
)
from aggd.query.scope import Scope, Window
from aggd.query.search import Run
from aggd.sketch import digest, quantiles
from aggd.store.frame import Timers
from aggd.store.series import Kind
from tests.query.past import START, Past, Sample

values = st.floats(-1e6, 1e6).map(lambda v: round(v, 3))
samples = st.builds(
    Sample, st.integers(0, 3), values, st.sampled_from([1.0, 2.0, 10.0]), st.integers(0, 400)
)


USUAL = Shape()


def asked(past: Past, shape=USUAL, start=0, end=410, tags=()):
    scope = Scope(Window(START + start, START + end), START + end, tags)
    return describe(past.registry, past.history, "t", shape, scope)


def forget_samples(past: Past):
    past.history.samples_memory = 0
    past.history.close(START + 86400)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(samples, min_size=1, max_size=200),
    st.integers(1, 60),
    st.lists(values, min_size=1, max_size=9),
    st.booleans(),
)
def test_few_samples_are_counted_as_numpy_does(rows, bins, at, close):
    past = Past().record(rows, close)
    x = past.raw()
    found = asked(past, Shape(bins, at=at, fit=False))
    edges, count = found["histogram"]["edges"], found["histogram"]["counts"]
    assert (found["exact"], found["rank_error"], found["count"]) == (True, 0, x.size)
    assert (edges[0], edges[-1]) == (x.min(), x.max())
    assert sum(count) == x.size
    if x.min() < x.max():
        assert count == np.histogram(x, edges)[0].tolist()
        assert edges == pytest.approx(np.histogram_bin_edges(x, bins), rel=1e-9)
    for pair in found["cdf"]:
        assert pair["fraction"] == pytest.approx((x <= pair["value"]).mean())


def test_a_sample_on_an_edge_is_in_the_bin_above_it_and_the_largest_in_the_last():
    past = Past().record([Sample(0, float(v), 1.0, v) for v in (0, 1, 1, 2, 5, 8, 10)])
    found = asked(past, Shape(10))["histogram"]
    assert found["edges"] == [float(v) for v in range(11)]
    assert found["counts"] == [1, 2, 1, 0, 0, 1, 0, 0, 1, 1]


def test_the_largest_sample_has_all_at_or_under_it_whatever_the_weights_add_up_to():
    rng = np.random.default_rng(9)
    for n in range(200, 240):
        past = Past(series=1)
        weight = 1 / rng.uniform(0.01, 1, n)
        past.record(Sample(0, float(i), w, i) for i, w in enumerate(weight.tolist()))
        assert asked(past, Shape(at=(n - 1.0, 1e9), fit=False))["cdf"][0]["fraction"] == 1


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize(("start", "end"), [(0, 400), (33, 287), (120, 180)])
def test_many_kept_samples_are_counted_exactly_in_any_window(scale, start, end):
    rng = np.random.default_rng(4)
    x = rng.lognormal(3, 1, 20_000)
    weight = rng.choice([1.0, 2.0, 5.0], x.size)
    past = Past().record(
        Sample(i % 4, v, w, i // 50)
        for i, (v, w) in enumerate(zip(x.tolist(), weight.tolist(), strict=True))
    )
    raw = past.raw(start // 10 * 10, -(-end // 10) * 10, series=(1, 3))
    found = asked(past, Shape(31, scale), start, end, ("env:1",))
    assert (found["exact"], found["resolution"], found["count"]) == (True, "10s", raw.size)
    assert found["tags"] == {"env": "1"}
    edges, count = found["histogram"]["edges"], found["histogram"]["counts"]
    assert count == np.histogram(raw, edges)[0].tolist()
    steps = np.diff(np.log(edges) if scale == "log" else edges)
    assert steps == pytest.approx(np.full(31, steps.mean()))
    assert found["from_samples"]
    lognormal = next(one for one in found["fits"] if one["family"] == "lognormal")
    assert lognormal["parameters"]["mu"] == pytest.approx(np.log(raw).mean(), rel=1e-9)
    assert lognormal["parameters"]["sigma"] == pytest.approx(np.log(raw).std(), rel=1e-9)


@pytest.mark.parametrize("drawn", ["lognormal", "far", "bimodal", "mixed"])
def test_without_the_samples_all_is_within_the_error_that_is_stated(drawn):
    rng = np.random.default_rng(5)
    n = 20_000
    x = {
        "lognormal": rng.lognormal(3, 1, n),
        "far": 1e9 + rng.normal(0, 1, n),
        "bimodal": np.where(rng.random(n) < 0.3, rng.normal(10, 1, n), rng.normal(90, 5, n)),
        "mixed": np.where(rng.random(n) < 0.5, 0.0, rng.normal(50, 20, n)),
    }[drawn]
    past = Past().record(Sample(i % 2, v, 3.0, i // 50) for i, v in enumerate(x.tolist()))
    forget_samples(past)
    raw = np.sort(past.raw())
    found = asked(past)
    assert not found["exact"]
    assert not found["from_samples"]
    assert 0 < found["rank_error"] < 0.05
    count = found["histogram"]["counts"]
    assert sum(count) == raw.size
    assert all(c >= 0 and c == int(c) for c in count)
    for pair in found["cdf"]:
        right = raw.searchsorted(pair["value"], "right") / raw.size
        error = quantiles.rank_error([pair["fraction"]])[0] + 1 / n
        assert abs(pair["fraction"] - right) <= error
        assert error <= found["rank_error"] + 1e-12
    normal = next(one for one in found["fits"] if one["family"] == "normal")
    assert normal["parameters"]["mean"] == pytest.approx(raw.mean(), rel=1e-4)
    assert normal["parameters"]["std"] == pytest.approx(raw.std(), rel=0.01)


def test_fits_from_a_sketch_are_close_to_those_from_its_samples():
    rng = np.random.default_rng(6)
    past = Past().record(
        Sample(i % 2, v, 1.0, i // 50) for i, v in enumerate(rng.gamma(2.5, 30, 20_000).tolist())
    )
    known = asked(past)
    forget_samples(past)
    sketched = asked(past)
    assert (known["from_samples"], sketched["from_samples"]) == (True, False)
    exact, estimated = known["fits"], sketched["fits"]
    assert [one["family"] for one in exact] == [one["family"] for one in estimated]
    for one, other in zip(exact, estimated, strict=True):
        assert other["parameters"] == pytest.approx(one["parameters"], rel=5e-3)
        assert other["log_likelihood"] == pytest.approx(one["log_likelihood"], rel=1e-3)
        assert other["ks"] == pytest.approx(one["ks"], abs=0.003)


def test_a_window_over_all_tiers_counts_everything():
    rng = np.random.default_rng(7)
    seconds = np.sort(rng.integers(0, 4 * 3600, 8000))
    x = rng.exponential(20, seconds.size) + 1
    past = Past(series=2).record(
        Sample(i % 2, v, 1.0, t)
        for i, (v, t) in enumerate(zip(x.tolist(), seconds.tolist(), strict=True))
    )
    found = asked(past, Shape(20, "log"), 0, 4 * 3600)
    assert (found["count"], sum(found["histogram"]["counts"])) == (8000, 8000)
    assert not found["exact"]
    right = np.histogram(x, found["histogram"]["edges"])[0].cumsum()
    off = np.cumsum(found["histogram"]["counts"]) - right
    assert np.abs(off).max() <= found["rank_error"] * 8000
    late = asked(past, Shape(20), 3 * 3600 + 1800, 4 * 3600)
    raw = past.raw(3 * 3600 + 1800)
    assert late["exact"]
    assert late["histogram"]["counts"] == np.histogram(raw, late["histogram"]["edges"])[0].tolist()


def test_coarse_frames_that_kept_every_sample_are_exact_and_as_fine_as_they_are():
    past = Past(series=1).record(Sample(0, float(i % 997), 1.0, i * 10) for i in range(1440))
    found = asked(past, end=1800)
    raw = past.raw(0, 1800)
    assert (found["exact"], found["resolution"], found["count"]) == (True, "1m", 180)
    edges = found["histogram"]["edges"]
    assert found["histogram"]["counts"] == np.histogram(raw, edges)[0].tolist()


def test_more_frames_and_series_than_may_be_searched_are_estimated():
    past = Past(series=12)
    past.record(Sample(i % 12, float(i), 1.0, i) for i in range(3600))
    assert not asked(past, end=3600)["exact"]
    assert asked(past, end=3000)["exact"]


def test_samples_that_may_not_be_put_in_order_are_still_counted():
    rng = np.random.default_rng(8)
    parts = [np.sort(rng.gamma(2, 10, MAX_ORDERED // 2 + 1)) for _ in range(2)]
    raw = np.concatenate(parts)
    rows = np.zeros(raw.size, np.int32)
    moments, digests, _ = digest.summarise(rows, raw, None, 1, digest.K, False)
    timers = Timers(np.zeros(1, np.int32), moments.count, moments, digests, None)
    of = Distribution(timers, [Run(part, None, part.size) for part in parts])
    edges = np.linspace(raw.min(), raw.max(), 101)
    assert counts(of, edges).tolist() == np.histogram(raw, edges)[0].tolist()
    assert of.ordered().runs is None
    few = of._replace(runs=of.runs[:1]).ordered()
    assert few.runs is not None
    assert few.points().value.size <= MAX_POINTS


def test_constant_samples_are_one_bin_and_no_family():
    past = Past().record([Sample(i % 4, 7.5, 2.0, i) for i in range(100)])
    for scale in ("linear", "log"):
        found = asked(past, Shape(10, scale))
        assert found["histogram"] == {"scale": scale, "edges": [7.5, 7.5], "counts": [200]}
        assert found["cdf"] == [{"value": 7.5, "fraction": 1}]
        assert found["fits"] == []
        assert len(found["not_fitted"]) == 5


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_window_without_samples_is_empty_and_its_fractions_null(scale):
    past = Past().record([Sample(0, -1.0, 1.0, 0)])
    found = asked(past, Shape(10, scale, at=(5.0,)), 100, 200)
    assert (found["count"], found["exact"]) == (0, True)
    assert found["histogram"] == {"scale": scale, "edges": [], "counts": []}
    assert found["cdf"] == [{"value": 5.0, "fraction": None}]
    assert found["fits"] == []
    assert asked(past, Shape(10, scale), 100, 200)["cdf"] == []


def test_a_logarithmic_scale_needs_positive_samples():
    past = Past().record([Sample(0, 0.0, 1.0, 0), Sample(0, 5.0, 1.0, 0)])
    with pytest.raises(RequestError, match="the smallest is 0") as caught:
        asked(past, Shape(scale="log"))
    assert (caught.value.status, caught.value.field) == (422, "scale")


def test_only_timers_have_a_distribution():
    past = Past(Kind.GAUGE).record([Sample(0, 1.0, 1.0, 0)])
    with pytest.raises(RequestError, match="is a gauge") as caught:
        asked(past)
    assert caught.value.status == 422


def test_any_range_of_values_has_ascending_edges():
    for low, high in (
        (-1e300, 1e300),
        (5e-324, 1e300),
        (1.0, np.nextafter(1.0, 2)),
        (1e9, 1e9 + 1),
    ):
        past = Past().record([Sample(0, low, 1.0, 0), Sample(0, high, 1.0, 0)])
        for scale in ("linear", "log")[: 1 + (low > 0)]:
            histogram = asked(past, Shape(1000, scale))["histogram"]
            edges = histogram["edges"]
            assert (edges[0], edges[-1]) == (low, high)
            assert (np.diff(edges) >= 0).all()
            assert sum(histogram["counts"]) == 2


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1e300, 1e300), st.floats(0.5, 100)), min_size=1, max_size=300),
    st.integers(1, 50),
)
def test_thinned_points_keep_weight_and_distribution(pairs, limit):
    value, weight = (np.array(column) for column in zip(*sorted(pairs), strict=True))
    few = thinned(Points(value, weight), limit)
    assert few.value.size <= max(limit, 1)
    assert few.weight.sum() == pytest.approx(weight.sum())
    assert ((few.value >= value[0] - 1e285) & (few.value <= value[-1] + 1e285)).all()
    largest = max(weight.max() / weight.sum(), 1 / limit)
    for cut in few.value:
        before = weight[value <= cut].sum() / weight.sum()
        after = few.weight[few.value <= cut].sum() / weight.sum()
        assert abs(before - after) <= 2 * largest + 1e-9
