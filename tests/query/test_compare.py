"""Two windows side by side, and the test of whether they differ, against scipy."""

import numpy as np
import pytest
from scipy import stats

from aggd.query.compare import Sides, change, compare, effective_samples, two_sample
from aggd.query.distribution import known
from aggd.query.scope import Scope, Window, timers_of
from aggd.store.series import Kind
from tests.query.past import START, Past, Sample

NOW, THEN = 3000, 1000  # seconds after START; the windows are 400 s long
SIDES = Sides(offset=NOW - THEN)


def spread(x, start, weight=1.0, seconds=400):
    """Samples over some seconds, of four series where they are few."""
    series = 4 if len(x) < 1000 and seconds > 10 else 1
    return [
        Sample(i % series, v, weight, start + i * seconds // len(x))
        for i, v in enumerate(np.asarray(x).tolist())
    ]


def two(now, then, weight=1.0, seconds=400) -> Past:
    return Past().record([*spread(then, THEN, weight, seconds), *spread(now, NOW, weight, seconds)])


def asked(past: Past, sides=SIDES, start=NOW, end=NOW + 400, tags=()):
    scope = Scope(Window(START + start, START + end), START + end, tags)
    return compare(past.registry, past.history, "t", sides, scope)


def found(past: Past, start: int):
    window = Window(START + start, START + start + 400)
    return timers_of(past.registry, past.history, "t", Scope(window, START + start + 400))


def forget_samples(past: Past) -> Past:
    past.history.samples_memory = 0
    past.history.close(START + 86400)
    return past


def test_both_windows_have_the_statistics_of_stats_and_the_change_of_each():
    past = two([30.0, 50.0], [10.0, 10.0, 40.0])
    answer = asked(past, SIDES._replace(percentiles=(25.0,)))
    now, then = answer["current"], answer["before"]
    assert (answer["name"], answer["kind"], answer["tags"]) == ("t", "timer", {})
    assert (now["count"], then["count"]) == (2, 3)
    assert (now["mean"], then["mean"], now["p25"]) == (40, 20, 35)
    assert answer["change"]["mean"] == {"absolute": 20, "relative": 1}
    assert answer["change"]["p25"] == {"absolute": 25, "relative": 2.5}
    assert answer["change"]["last"] == {"absolute": None, "relative": None}
    head = ["name", "kind", "tags", "from", "to", "resolution", "exact", "rank_error"]
    assert [*head, *answer["change"]] == list(now) == list(then)


def test_change_is_relative_to_what_was():
    assert change(3.0, -2.0) == {"absolute": 5, "relative": 2.5}
    assert change(3.0, 0.0) == {"absolute": 3, "relative": None}
    assert change(None, 1.0) == change(1.0, None) == {"absolute": None, "relative": None}


@pytest.mark.parametrize("seed", range(8))
def test_the_test_is_that_of_scipy_on_the_samples(seed):
    rng = np.random.default_rng(seed)
    now, then = rng.gamma(2, 30 + seed, 900), rng.gamma(2, 30, 700)
    if seed % 2:
        now, then = now.round(), then.round()
    test = asked(two(now, then))["test"]
    right = stats.ks_2samp(now, then, method="asymp")
    assert test["method"] == "kolmogorov-smirnov"
    assert (test["exact"], test["effective_samples"]) == (True, [900, 700])
    assert test["distance"] == pytest.approx(right.statistic, abs=1e-12)
    assert test["p_value"] == pytest.approx(right.pvalue, rel=0.15, abs=0.02)
    assert test["differs"] == (test["p_value"] < test["alpha"])
    assert test["differs"] == (test["distance"] > test["critical_value"])


@pytest.mark.parametrize("kept", [True, False])
def test_windows_of_one_distribution_seldom_differ(kept):
    differed = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        past = two(rng.lognormal(3, 1, 300), rng.lognormal(3, 1, 400), seconds=10)
        if not kept:
            forget_samples(past)
        test = two_sample(found(past, NOW), found(past, THEN), 0.01)
        assert test["exact"] is kept
        differed += test["differs"]
    assert differed <= 5


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(("factor", "direction"), [(1.5, "higher"), (0.7, "lower")])
def test_a_shift_is_seen_and_which_way(kept, factor, direction):
    rng = np.random.default_rng(1)
    past = two(factor * rng.lognormal(3, 1, 9000), rng.lognormal(3, 1, 9000))
    if not kept:
        forget_samples(past)
    test = asked(past)["test"]
    assert (test["differs"], test["direction"], test["exact"]) == (True, direction, kept)
    assert test["p_value"] < 1e-6


@pytest.mark.parametrize("drawn", ["lognormal", "two values", "far", "gaps", "sorted"])
def test_a_sketch_never_differs_from_its_own_samples(drawn):
    rng = np.random.default_rng(2)
    n = 8000
    x = {
        "lognormal": rng.lognormal(0, 4, n),
        "two values": rng.choice([1.0, 2.0], n),
        "far": 1e9 + rng.normal(0, 1, n),
        "gaps": 10.0 ** rng.integers(-100, 100, n) * rng.uniform(1, 1.001, n),
        "sorted": np.arange(n) / 7,
    }[drawn]
    kept, gone = (Past().record(spread(x, NOW)) for _ in range(2))
    forget_samples(gone)
    assert known(found(kept, NOW)).runs is not None
    assert (known(found(gone, NOW)).runs is None) == (drawn != "two values")
    for pair in ((kept, gone), (gone, kept), (gone, gone)):
        test = two_sample(*(found(past, NOW) for past in pair), 0.999)
        assert not test["differs"]
        assert test["direction"] is None
        assert test["distance"] < test["critical_value"]
        assert test["p_value"] == 1


def test_many_samples_are_compared_to_four_parts_in_ten_thousand():
    rng = np.random.default_rng(3)
    now, then = rng.normal(0, 1, 40_000), rng.normal(0.05, 1, 30_000)
    test = asked(two(now, then))["test"]
    right = stats.ks_2samp(now, then, method="asymp")
    assert right.statistic - 4e-4 <= test["distance"] <= right.statistic + 1e-12
    assert test["differs"]


def test_repeats_of_a_sample_rate_are_no_evidence():
    differed = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        past = two(rng.normal(50, 9, 200), rng.normal(50, 9, 200), 50.0, 20)
        test = two_sample(found(past, NOW), found(past, THEN), 0.01)
        assert test["effective_samples"] == [200, 200]
        differed += test["differs"]
    assert differed <= 5
    assert stats.ks_2samp(past.raw(NOW), past.raw(0, NOW), method="asymp").pvalue < 0.01


def test_effective_samples_are_those_of_kish_where_series_and_frames_have_rates_of_their_own():
    rng = np.random.default_rng(4)
    rows = [
        Sample(i % 4, float(rng.normal()), float(1 + 3 * (i % 4) + i // 240), NOW + i // 4)
        for i in range(1600)
        if i % 4 != 2 or i >= 800
    ]
    past = Past().record(rows)
    weight = np.array([row.weight for row in rows])
    for _ in range(2):
        kish = weight.sum() ** 2 / (weight**2).sum()
        assert effective_samples(found(past, NOW)) == pytest.approx(kish, rel=1e-9)
        forget_samples(past)
    assert kish < weight.size
    alone = Scope(Window(START + NOW, START + NOW + 400), START + NOW, ("host:2",))
    of = timers_of(past.registry, past.history, "t", alone)
    weight = np.array([row.weight for row in rows if row.series == 2])
    assert effective_samples(of) == pytest.approx(weight.sum() ** 2 / (weight**2).sum())


def test_a_window_without_samples_has_no_test_but_its_statistics():
    past = Past().record(spread([1.0, 2.0], NOW))
    answer = asked(past)
    assert answer["test"] is None
    assert (answer["current"]["count"], answer["before"]["count"]) == (2, 0)
    assert answer["change"]["count"] == {"absolute": 2, "relative": None}
    assert answer["change"]["mean"] == {"absolute": None, "relative": None}


@pytest.mark.parametrize("kind", [Kind.COUNTER, Kind.GAUGE])
def test_other_kinds_have_their_changes_and_no_test(kind):
    past = Past(kind).record([*spread([1.0, 2.0], THEN), *spread([5.0, 7.0], NOW)])
    answer = asked(past)
    assert answer["test"] is None
    assert answer["change"]["sum"] == {"absolute": 9, "relative": 3}


def test_sets_are_compared_by_their_members():
    past = Past(Kind.SET).record([*spread([1.0], THEN), *spread([5.0, 7.0], NOW)])
    answer = asked(past)
    assert answer["test"] is None
    assert answer["change"]["unique"] == {"absolute": 1, "relative": 1}


def test_one_sample_or_equal_samples_are_compared_too():
    for n, then, differs in ((1, 5.0, False), (1, 9.0, False), (60, 5.0, False), (60, 9.0, True)):
        test = asked(two([5.0] * n, [then] * n))["test"]
        assert test["distance"] == float(then != 5.0)
        assert test["differs"] is differs


def test_without_edges_the_last_hour_is_compared():
    past = Past().record([Sample(0, float(i), 1.0, i * 100) for i in range(100)])
    scope = Scope(Window(), START + 9000)
    answer = compare(past.registry, past.history, "t", Sides(3600), scope)
    assert answer["current"]["to"] > answer["before"]["to"] == answer["current"]["from"]
    assert (answer["current"]["count"], answer["before"]["count"]) == (36, 36)
    ending = scope._replace(window=Window(None, START + 7200))
    answer = compare(past.registry, past.history, "t", Sides(3600), ending)
    assert (answer["current"]["min"], answer["before"]["min"]) == (36, 0)


def test_nothing_lies_before_the_epoch():
    past = Past().record([Sample(0, 1.0, 1.0, 0)])
    scope = Scope(Window(0.0, START + 10), START + 10)
    answer = compare(past.registry, past.history, "t", Sides(10.0 * START), scope)
    assert answer["before"]["count"] == 0
    assert answer["before"]["to"] == "1970-01-01T00:00:00Z"


def test_windows_of_different_tiers_and_edges_are_compared():
    rng = np.random.default_rng(5)
    seconds = np.sort(rng.integers(0, 5 * 3600, 60_000)).tolist()
    x = rng.exponential(30, len(seconds))
    past = Past().record(
        Sample(i % 8 // 7, v, 1.0, t)
        for i, (v, t) in enumerate(zip(x.tolist(), seconds, strict=True))
    )
    end = 5 * 3600 - 7
    answer = asked(past, Sides(3.5 * 3600), end - 1800, end, ("env:0",))
    assert (answer["current"]["resolution"], answer["before"]["resolution"]) == ("10s", "1m")
    raw = past.raw((end - 1800) // 10 * 10, -(-end // 10) * 10, series=(0,))
    assert answer["current"]["count"] == raw.size
    assert not answer["test"]["exact"]
    assert not answer["test"]["differs"]
    assert sum(answer["test"]["effective_samples"]) == (
        answer["current"]["count"] + answer["before"]["count"]
    )
