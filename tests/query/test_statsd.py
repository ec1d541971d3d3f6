"""Statistics by statsd's names: its documented examples, and plain lists."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import trim_mean

from aggd.query import statsd
from aggd.query.scope import Window, reach
from aggd.query.search import EXACT_LOOKUPS
from aggd.query.selection import merged, select
from aggd.query.stats import check, summarise
from aggd.sketch import digest, moments
from aggd.store.series import Kind
from tests import reference
from tests.query.past import START, Past, Sample

# Run with statsd's own process_metrics.js, but for the last, where that gives NaN.
EXAMPLES = [
    ([100, 200, 300], 90, {"count": 3, "mean": 200, "upper": 300, "sum": 600,
                           "sum_squares": 140000}),
    ([100, 200, 300], 80, {"count": 2, "mean": 150, "upper": 200, "sum": 300,
                           "sum_squares": 50000}),
    ([100, 200, 300], -20, {"count": 1, "mean": 300, "lower": 300, "sum": 300,
                            "sum_squares": 90000}),
    ([100], 90, {"count": 1, "mean": 100, "upper": 100, "sum": 100, "sum_squares": 10000}),
    ([100], -10, {"count": 1, "mean": 100, "lower": 100, "sum": 100, "sum_squares": 10000}),
    ([100], 1, {"count": 1, "mean": 100, "upper": 100, "sum": 100, "sum_squares": 10000}),
    (range(1, 11), 90, {"upper": 9, "sum": 45}),
    (range(1, 11), 50, {"upper": 5, "sum": 15}),
    (range(1, 11), 10, {"upper": 1, "sum": 1}),
    (range(1, 11), 99.9, {"upper": 10, "sum": 55}),
    (range(1, 11), -10, {"lower": 10, "sum": 10}),
    ([1, 2], 10, dict.fromkeys(statsd.LOWEST)),
    ([1, 2], -10, dict.fromkeys(statsd.HIGHEST)),
    ([100, 200], -90, {"mean": 150, "lower": 100, "sum": 300, "count": 2}),
]  # fmt: skip

values = st.floats(-1e6, 1e6).map(lambda v: round(v, 2))
percents = st.one_of(st.integers(1, 100), st.sampled_from([0.1, 2.5, 12.5, 99.9, 99.99]))


def columns(x, names, weight=None, size=None):
    """Statistics of one row of samples, None for NaN."""
    x = np.array(x, float)
    weight = None if weight is None else np.array(weight, float)
    row = np.zeros(x.size, np.int32)
    found = statsd.columns(
        moments.of(row, x, weight, 1), digest.build(row, x, weight, 1, size), names
    )
    return {name: None if math.isnan(column[0]) else column[0] for name, column in found.items()}


def nearest_rank(x, p):
    """What statsd's rule gives on a plain list."""
    x, n = sorted(x), len(x)
    k = n if n == 1 else math.floor(abs(p) / 100 * n + 0.5)
    part = x[:k] if p > 0 else x[n - k :]
    if not k:
        return dict.fromkeys(("count", "mean", "upper", "lower", "sum", "sum_squares"))
    return {"count": k, "mean": math.fsum(part) / k, "upper": part[-1], "lower": part[0],
            "sum": math.fsum(part), "sum_squares": math.fsum(v * v for v in part)}  # fmt: skip


@pytest.mark.parametrize(("samples", "p", "right"), EXAMPLES)
def test_the_examples_of_statsd_hold(samples, p, right):
    names = statsd.family(p)
    found = dict(zip(names, columns(samples, names).values(), strict=True))
    for word, value in right.items():
        name = next(name for name in names if statsd.part(name).statistic == word)
        assert found[name] == value, name


@given(st.lists(values, min_size=1, max_size=60), percents, st.booleans())
def test_known_samples_give_what_the_nearest_rank_of_a_plain_list_does(x, p, top):
    p = -p if top else p
    right = nearest_rank(x, p)
    for name, value in columns(x, statsd.family(p)).items():
        wanted = right[statsd.part(name).statistic]
        assert value == (None if wanted is None else pytest.approx(wanted, rel=1e-12, abs=1e-6))


@given(
    st.lists(st.tuples(values, st.integers(1, 6)), min_size=1, max_size=30), percents, st.booleans()
)
def test_weights_count_as_repeats(pairs, p, top):
    x, weight = zip(*pairs, strict=True)
    names = [*statsd.family(-p if top else p), "trimmed_12.5"]
    right = columns(np.repeat(x, weight), names)
    for name, value in columns(x, names, weight).items():
        assert value == (right[name] and pytest.approx(right[name], rel=1e-12, abs=1e-9)), name


@given(st.lists(st.tuples(values, st.floats(1, 40)), min_size=1, max_size=30), percents)
def test_of_fractional_weights_k_is_whole_or_all_there_is(pairs, p):
    x, weight = np.array(pairs).T
    n = weight.sum()
    found = columns(x, statsd.family(p), weight)
    text = statsd.family(p)[0].removeprefix("count_")
    count = found[f"count_{text}"]
    if count is None:
        assert p / 100 * n < 0.5 + 1e-9
        assert set(found.values()) == {None}
        return
    whole = count % 1 == 0 and abs(count - p / 100 * n) <= 0.5 + 1e-9
    assert whole or (count == pytest.approx(n) and (n < 1.5 or p / 100 * n + 0.5 > n))
    assert x.min() <= found[f"mean_{text}"] <= found[f"upper_{text}"] <= x.max()


def test_one_sample_is_taken_whole_whatever_it_weighs_up_to_one_and_a_half():
    assert columns([7], ["count_10", "upper_10"], [1 / 0.9]) == {"count_10": 1 / 0.9, "upper_10": 7}
    assert columns([7], ["count_10"], [10]) == {"count_10": 1}


@given(st.integers(1, 400), st.sampled_from([5, 10, 20, 25, 49]), st.integers(0, 2**32 - 1))
def test_a_trimmed_mean_is_scipys_where_the_cut_is_whole(n, p, seed):
    x = np.random.default_rng(seed).lognormal(3, 1, n * 100)[: n * 100 // (2 if p != 49 else 1)]
    if x.size * p % 100 == 0:
        (found,) = columns(x, [f"trimmed_{p}"]).values()
        assert found == pytest.approx(trim_mean(x, p / 100), rel=1e-9)


@given(st.lists(values, min_size=1, max_size=80), st.floats(0.01, 49.9))
def test_a_trimmed_mean_takes_a_part_of_the_samples_at_its_cuts(x, p):
    p = round(p, 2)
    (found,) = columns(x, [f"trimmed_{p}"]).values()
    cut = p / 100 * len(x)
    share = np.clip(np.arange(1, len(x) + 1), cut, len(x) - cut)
    share -= np.clip(np.arange(len(x)), cut, len(x) - cut)
    assert found == pytest.approx(np.average(sorted(x), weights=share), rel=1e-9, abs=1e-6)


def test_an_outlier_that_is_cut_off_leaves_no_trace():
    x = [-1e300, *np.arange(1.0, 99.0), 1e300]
    assert columns(x, ["trimmed_1", "mean_99", "sum_top99"]) == {
        "trimmed_1": 49.5,
        "mean_99": pytest.approx(-1e300 / 99),
        "sum_top99": 1e300,
    }
    middle = columns(x[1:], ["sum_98.9", "mean_98.9"])
    assert list(middle.values()) == [98 * 99 / 2, 49.5]


def test_sums_past_the_largest_number_are_left_out_not_made_up():
    found = columns([1e300, 1e300], ["sum_100", "mean_100", "sum_squares_100"], [1e10, 1e10])
    assert found == {"sum_100": math.inf, "mean_100": None, "sum_squares_100": math.inf}


@pytest.mark.parametrize("name", reference.HARD)
def test_estimates_stand_between_the_sums_at_the_ranks_their_bound_allows(name):
    x, weight = reference.hard_samples(name, 50_000)
    weight = np.ones(x.size) if weight is None else weight
    names = ["sum_90", "sum_99_9", "sum_top10", "trimmed_5", "upper_90", "lower_top10"]
    found = columns(x, names, weight, digest.K)
    order = np.argsort(x, kind="stable")
    x, until = x[order], np.cumsum(weight[order])
    total = until[-1]

    def lowest(rank):
        inside = np.diff(np.minimum(until, rank), prepend=0.0)
        return float((inside * x).sum())

    def between(word, a, b):
        error = statsd.rank_error([word])[0] * total + 2 * weight.max()
        sums = [
            lowest(np.clip(q, 0, total)) - lowest(np.clip(p, 0, total))
            for p in (a - error, a, a + error) for q in (b - error, b, b + error)
        ]  # fmt: skip
        slack = 1e-9 * float((weight[order] * np.abs(x)).sum())
        return min(sums) - slack, max(sums) + slack

    ends = {"sum_90": (0, 0.9), "sum_99_9": (0, 0.999), "sum_top10": (0.9, 1)}
    for word, (a, b) in {**ends, "trimmed_5": (0.05, 0.95)}.items():
        low, high = between(word, a * total, b * total)
        value = found[word] * (0.9 * total if word == "trimmed_5" else 1)
        assert low <= value <= high, word


def test_estimated_sums_are_far_closer_than_their_bound_on_smooth_samples():
    x = np.sort(np.random.default_rng(7).lognormal(3, 1, 100_000))
    found = columns(x, ["mean_90", "sum_squares_90", "mean_top10", "trimmed_5"], size=digest.K)
    assert found["mean_90"] == pytest.approx(x[:90_000].mean(), rel=1e-4)
    assert found["sum_squares_90"] == pytest.approx((x[:90_000] ** 2).sum(), rel=1e-3)
    assert found["mean_top10"] == pytest.approx(x[90_000:].mean(), rel=1e-3)
    assert found["trimmed_5"] == pytest.approx(trim_mean(x, 0.05), rel=1e-4)
    whole = columns(x, ["sum_100", "sum_squares_100"], size=digest.K)
    assert whole["sum_100"] == pytest.approx(x.sum(), rel=1e-12)
    assert whole["sum_squares_100"] == pytest.approx((x * x).sum(), rel=1e-3)


@given(st.integers(0, 2**32 - 1), st.sampled_from(list(reference.HARD)), st.data())
@settings(max_examples=60)
def test_more_samples_never_have_a_lower_upper_nor_a_smaller_square(seed, name, data):
    x, weight = reference.hard_samples(name, 2000, seed)
    p = sorted(data.draw(st.lists(st.integers(1, 100), min_size=2, max_size=6, unique=True)))
    for word in ("upper", "mean", "sum_squares", "count"):
        got = list(columns(x, [f"{word}_{k}" for k in p], weight, digest.K).values())
        slack = 1e-9 * max(map(abs, got))
        assert (np.diff(got) >= -slack).all(), word


def test_rows_of_many_blocks_answer_as_each_would_alone(monkeypatch):
    rng = np.random.default_rng(5)
    row = np.repeat(np.arange(40, dtype=np.int32), rng.integers(1, 700, 40))
    x = rng.lognormal(size=row.size) * 10.0 ** (row % 7)
    known, built = moments.of(row, x, None, 40), digest.build(row, x, None, 40)
    names = ["sum_90", "trimmed_5", "sum_squares_top10"]
    monkeypatch.setattr(digest, "BLOCK", 300)
    found = statsd.columns(known, built, names)
    for i in range(40):
        alone = columns(x[row == i], names, size=digest.K)
        assert [found[name][i] for name in names] == pytest.approx(
            [math.nan if v is None else v for v in alone.values()], nan_ok=True, rel=1e-12
        )


@pytest.mark.parametrize("n", [1, 2, 1024, 20_000])
@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_answers_are_exact_while_the_samples_are_kept_and_say_when_they_are_not(n, weight):
    x = np.random.default_rng(n).lognormal(3, 2, n)
    past = Past()
    past.record(Sample(i % 2, v, weight, i * 400 // n) for i, v in enumerate(x.tolist()))
    groups = [merged([past.registry[i] for i in past.ids])]
    names = [*statsd.family(90), *statsd.family(-10), "trimmed_25", "p99"]

    def ask():
        found = reach(past.history, Window(START, START + 410), START + 410)
        return summarise(found.frames, found.fine, select(Kind.TIMER, groups), names, 1.0).columns

    kept, right = ask(), columns(np.repeat(x, int(weight)), names[:-1])
    for name, value in right.items():
        assert kept[name].values[0] == pytest.approx(math.nan if value is None else value,
                                                     rel=1e-12, nan_ok=True)  # fmt: skip
        assert kept[name].exact[0]
        assert kept[name].rank_error[0] == 0
    past.history.samples_memory = 0
    past.history.close(START + 3600)
    gone = ask()
    for name in right:
        known = n <= 1024 or name.startswith("count")  # the atoms of each slot are all there
        assert gone[name].exact[0] == known
        assert (gone[name].rank_error[0] == 0) == known
    assert gone["count_90"].values[0] == kept["count_90"].values[0]


def test_more_samples_than_are_put_in_order_are_estimated(monkeypatch):
    monkeypatch.setattr("aggd.query.stats.EXACT_SAMPLES", 5000)
    past, rng = Past(), np.random.default_rng(3)
    past.record(Sample(0, v, 1.0, i // 50) for i, v in enumerate(rng.gamma(2, 3, 3000)))
    past.record(Sample(1, v, 1.0, i // 50) for i, v in enumerate(rng.gamma(2, 3, 3000)))
    groups = [merged([past.registry[i]]) for i in (0, 1)]
    found = reach(past.history, Window(START, START + 410), START + 410)
    assert len(found.fine) < EXACT_LOOKUPS
    got = summarise(found.frames, found.fine, select(Kind.TIMER, groups), ["sum_90", "p99"], 1.0)
    assert got.columns["sum_90"].exact.tolist() == [True, False]
    assert got.columns["p99"].exact.tolist() == [True, True]


@pytest.mark.parametrize(
    ("name", "statistic", "p"),
    [
        ("upper_90", "upper", 90), ("lower_top10", "lower", -10), ("mean_99_9", "mean", 99.9),
        ("mean_99.9", "mean", 99.9), ("sum_squares_top0_5", "sum_squares", -0.5),
        ("count_100", "count", 100), ("trimmed_2_5", "mean", 2.5), ("sum_top100", "sum", -100),
    ],
)  # fmt: skip
def test_names_say_which_part(name, statistic, p):
    found = statsd.part(name)
    assert (found.statistic, found.ranks.p) == (statistic, p)
    assert found.ranks.trimmed == name.startswith("trimmed")
    check(name, Kind.TIMER, "aggregation")


@pytest.mark.parametrize(
    "name",
    ["upper_top10", "lower_10", "upper_0", "upper_101", "mean_-10", "trimmed_50", "trimmed_0",
     "trimmed_top5", "median_90", "std_90", "upper_", "upper_9_9_9", "mean_1e1", "UPPER_90",
     "mean_90 ", "mean_90\n", "mean_\u0669", "upper90", "mean", "p90"],
)  # fmt: skip
def test_what_is_no_part(name):
    assert statsd.part(name) is None


@pytest.mark.parametrize(
    ("p", "first", "last"),
    [(90, "count_90", "sum_squares_90"), (-10.0, "count_top10", "sum_squares_top10"),
     (99.9, "count_99_9", "sum_squares_99_9"), (1e-07, "count_0_0000001", "sum_squares_0_0000001")],
)  # fmt: skip
def test_a_family_is_named_as_statsd_names_it_and_reads_back(p, first, last):
    names = statsd.family(p)
    assert (names[0], names[-1], len(names)) == (first, last, 5)
    assert {statsd.part(name).ranks.p for name in names} == {p}
