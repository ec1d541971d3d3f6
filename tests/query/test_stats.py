"""Statistics of groups against numpy on the samples themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.errors import RequestError
from aggd.query.scope import Window, reach
from aggd.query.selection import merged, select, single, split
from aggd.query.stats import STATISTICS, check, percentile, summarise
from aggd.sketch import quantiles
from aggd.store.series import Kind
from tests.query.past import SHORT, START, Past, Sample

values = st.floats(-1e6, 1e6).map(lambda v: round(v, 3))
samples = st.builds(
    Sample, st.integers(0, 3), values, st.sampled_from([1.0, 2.0, 10.0]), st.integers(0, 400)
)
NAMES = ["count", "sum", "rate", "mean", "std", "min", "max", "median", "p0", "p25", "p99.9"]


def answer(past: Past, groups, names, start=0, end=410):
    window = Window(START + start, START + end)
    found = reach(past.history, window, START + end)
    summary = summarise(found.frames, found.fine, select(past.kind, groups), names, found.seconds)
    return found, summary


def expected(x, name, seconds):
    plain = {
        "count": len(x),
        "sum": x.sum(),
        "rate": len(x) / seconds,
        "mean": x.mean(),
        "std": x.std(),
        "min": x.min(),
        "max": x.max(),
    }
    return plain[name] if name in plain else np.percentile(x, 100 * percentile(name))


@settings(max_examples=60, deadline=None)
@given(st.lists(samples, min_size=1, max_size=60), st.booleans())
def test_few_samples_are_summarised_as_numpy_does(rows, close):
    past = Past().record(rows, close)
    every = [past.registry[i] for i in past.ids]
    groups = split(every, ["env"])
    found, summary = answer(past, groups, NAMES)
    seen = [k for k, group in enumerate(groups) if past.raw(series=group.series).size]
    assert summary.labels.tolist() == seen
    for row, label in enumerate(seen):
        x = past.raw(series=groups[label].series)
        for name, column in summary.columns.items():
            assert column.exact[row]
            assert column.rank_error[row] == 0
            right = expected(x, name, found.seconds)
            assert column.values[row] == pytest.approx(right, rel=1e-9, abs=1e-6), name


@pytest.mark.parametrize("distribution", ["lognormal", "constant", "two values", "far", "sorted"])
@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_many_samples_are_exact_while_kept_and_within_their_error_after(distribution, weight):
    rng = np.random.default_rng(8)
    n = 20_000
    x = {
        "lognormal": rng.lognormal(3, 2, n),
        "constant": np.full(n, 7.25),
        "two values": rng.choice([1.0, 1000.0], n),
        "far": 1e9 + rng.normal(0, 1, n),
        "sorted": np.arange(n) / 7,
    }[distribution]
    past = Past()
    past.record(Sample(i % 2, v, weight, i * 400 // n) for i, v in enumerate(x.tolist()))
    groups = [merged([past.registry[i] for i in past.ids])]
    raw = np.repeat(x, int(weight))
    found, exact = answer(past, groups, NAMES)
    for name, column in exact.columns.items():
        right = expected(raw, name, found.seconds)
        assert column.values[0] == pytest.approx(right, rel=1e-9), name
        assert column.exact[0]
    past.history.samples_memory = 0
    past.history.close(START + 3600)
    _, estimated = answer(past, groups, NAMES)
    ordered = np.sort(raw)
    for name, column in estimated.columns.items():
        if percentile(name) is None:
            right = expected(raw, name, found.seconds)
            assert column.values[0] == pytest.approx(right, rel=1e-9), name
            continue
        q, value = percentile(name), column.values[0]
        low, high = ordered.searchsorted(value, "left"), ordered.searchsorted(value, "right")
        error = max(low / raw.size - q, q - high / raw.size, 0)
        assert error <= column.rank_error[0] + 1 / raw.size, name
        assert column.exact[0] == (distribution in ("constant", "two values"))


def test_fractional_weights_are_found_among_the_samples_too():
    past = Past(series=1)
    rng = np.random.default_rng(2)
    x = rng.normal(50, 9, 3000)
    past.record(Sample(0, v, 1 / 0.3, i // 8) for i, v in enumerate(x.tolist()))
    _, summary = answer(past, [single(past.registry[0])], ["p0", "p50", "p100"])
    assert all(column.exact[0] for column in summary.columns.values())
    got = [column.values[0] for column in summary.columns.values()]
    assert got == pytest.approx([x.min(), np.median(x), x.max()], abs=0.05)


def test_a_frame_that_let_its_samples_go_makes_only_its_groups_estimates():
    past = Past()
    rng = np.random.default_rng(2)
    for at in (0, 10):
        past.add([Sample(at // 10, v, 1.0, at) for v in rng.normal(0, 1, 5000)], START + at)
    past.history.close(START + 20)
    first = past.history.rings[0].at(START)[0]
    past.history.samples_memory = past.history.points_nbytes() - 1
    past.history.close(START + 30)
    past.history.close(START + 60)
    assert past.history.rings[0].at(START)[0] is not first
    groups = [single(past.registry[i]) for i in (0, 1)]
    _, summary = answer(past, groups, ["p99"])
    assert summary.columns["p99"].exact.tolist() == [False, True]
    assert summary.searched.tolist() == [False, True]


def test_counters_gauges_and_sets_have_what_their_kind_has():
    rows = [Sample(0, 3.0, 1.0, 0), Sample(0, 5.0, 1.0, 70), Sample(1, 4.0, 1.0, 90)]
    for kind in (Kind.COUNTER, Kind.GAUGE, Kind.SET):
        past = Past(kind).record(rows)
        groups = [merged([past.registry[i] for i in past.ids])]
        found, summary = answer(past, groups, STATISTICS[kind])
        got = {name: column.values[0] for name, column in summary.columns.items()}
        right = {
            Kind.COUNTER: {"count": 3, "sum": 12, "rate": 12 / found.seconds},
            Kind.GAUGE: {"count": 3, "sum": 12, "mean": 4, "min": 3, "max": 5, "last": 4},
            Kind.SET: {"count": 3, "unique": 3},
        }[kind]
        assert got == right


def test_a_group_without_data_has_no_row():
    past = Past().record([Sample(2, 1.0, 1.0, 5)])
    groups = [single(past.registry[i]) for i in past.ids]
    _, summary = answer(past, groups, ["mean"])
    assert summary.labels.tolist() == [2]


@pytest.mark.parametrize(
    ("name", "fraction"),
    [("median", 0.5), ("p50", 0.5), ("p99.9", 0.999), ("p0", 0), ("p100", 1), ("p1e-05", 1e-7)],
)
def test_names_of_percentiles(name, fraction):
    assert percentile(name) == pytest.approx(fraction)


@pytest.mark.parametrize(
    "name",
    ["p", "p101", "p-1", "pNaN", "pinf", "p9_9", "p 5", "P50", "p5 ", "p5\n", "p\u0665", "mean", "",
     "50", "p1e5", "p" + "9" * 50],
)  # fmt: skip
def test_what_is_no_percentile(name):
    assert percentile(name) is None


def test_a_statistic_that_a_kind_lacks_is_422_and_one_that_nobody_has_400():
    for kind in Kind:
        for name in STATISTICS[kind]:
            check(name, kind, "aggregation")
    for name, kind, status in (
        ("p99", Kind.COUNTER, 422),
        ("unique", Kind.TIMER, 422),
        ("mean", Kind.SET, 422),
        ("avg", Kind.TIMER, 400),
        ("p101", Kind.GAUGE, 400),
    ):
        with pytest.raises(RequestError) as caught:
            check(name, kind, "aggregation")
        assert (caught.value.status, caught.value.field) == (status, "aggregation")
        assert repr(name) in caught.value.message


def test_few_samples_a_minute_stay_exact_when_their_finest_frames_have_gone():
    past = Past(tiers=SHORT)
    x = np.random.default_rng(3).normal(0, 1, 600)
    past.record(Sample(0, v, 1.0, i) for i, v in enumerate(x.tolist()))
    found, summary = answer(past, [single(past.registry[0])], ["p50", "p99"], 60, 300)
    assert summary.columns["p99"].exact[0]
    assert found.covers(bool(summary.searched[0]))["resolution"] == "1m"
    assert summary.columns["p99"].values[0] == np.percentile(x[60:300], 99)


def test_digests_of_the_whole_window_agree_with_those_of_its_parts():
    past = Past()
    rng = np.random.default_rng(4)
    past.record(
        Sample(0, v, 1.0, i * 3000 // 30_000) for i, v in enumerate(rng.gamma(2, 3, 30_000))
    )
    whole = reach(past.history, Window(START, START + 3000), START + 3000)
    assert min(frame.width for frame in whole.frames) >= 60
    group = select(past.kind, [single(past.registry[0])])
    got = summarise(whole.frames, whole.frames, group, ["p99"], 1)
    assert not got.columns["p99"].exact[0]
    assert not got.searched[0]
    x = np.sort(past.raw())
    rank = x.searchsorted(got.columns["p99"].values[0]) / x.size
    assert abs(rank - 0.99) <= quantiles.rank_error([0.99])[0] + 1 / x.size


@pytest.mark.parametrize("names", [["p99"], ["mean_90"], ["p99", "mean_90"], ["mean", "std"]])
def test_an_answer_says_of_which_groups_it_looked_for_the_samples(names):
    past = Past(series=3)
    rng = np.random.default_rng(7)
    for at, n in ((0, 3000), (10, 3000), (20, 50)):
        past.add([Sample(at // 10, v, 1.0, at) for v in rng.normal(0, 1, n)], START + at)
    past.history.close(START + 30)
    past.history.samples_memory = past.history.points_nbytes() - 1
    past.history.close(START + 60)
    groups = [single(past.registry[i]) for i in past.ids]
    _, summary = answer(past, groups, names)
    looked = names != ["mean", "std"]
    assert summary.searched.tolist() == [False, looked, False]  # gone, kept, few enough
    exact = [all(column.exact[i] for column in summary.columns.values()) for i in range(3)]
    assert exact == [not looked, True, True]
