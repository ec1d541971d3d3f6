"""Digests: built, merged, read."""

import importlib.util
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.sketch import centroids, digest, moments
from aggd.sketch.digest import Digests
from tests import reference
from tests.sketch.kernels import KERNELS, each_kernel, use

finite = st.floats(-1e300, 1e300)
values = st.one_of(
    st.integers(-5, 5).map(float), finite, st.sampled_from([-0.0, 5e-324, 1e9 + 0.1])
)
samples = st.lists(st.tuples(values, st.integers(1, 9)), min_size=1, max_size=100)
fractions = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def zeros(n):
    return np.zeros(n, np.int32)


def one(value, weight=None, size=digest.K):
    value = np.asarray(value, float)
    return digest.build(zeros(value.size), value, weight, 1, size)


def ask(digests, value, q):
    return digest.quantile(digests, np.array([np.min(value)]), np.array([np.max(value)]), q)[0]


def same(mine: Digests, other: Digests) -> bool:
    return all(
        np.array_equal(getattr(mine, name), getattr(other, name))
        for name in ("offset", "mean", "weight", "atom")
    )


@given(samples, fractions)
def test_few_samples_give_numpys_quantiles_to_the_last_bit(pairs, q):
    value, weight = np.array(pairs).T
    built = one(value, weight)
    built._check()
    assert digest.exact(built).all()
    want = reference.quantile(value, weight.astype(int), q)
    order = np.argsort(q)
    if (np.diff(want[order]) >= 0).all():  # numpy's own may fall by a bit, ours never does
        assert np.array_equal(ask(built, value, np.array(q) * 100.0 / 100.0), want)


def test_exactly_k_different_samples_are_exact_and_one_more_is_not():
    full = np.arange(float(digest.K))
    assert digest.exact(one(np.tile(full, 9))).all()
    assert not digest.exact(one(np.append(full, 0.5))).any()


@given(st.integers(0, 2**32 - 1), st.sampled_from(list(reference.HARD)), fractions)
def test_quantiles_never_fall_and_stay_between_the_extremes(seed, name, q):
    value, weight = reference.hard_samples(name, 3000, seed)
    got = ask(one(value, weight), value, np.sort(q))
    assert (np.diff(got) >= 0).all()
    assert got.min() >= value.min()
    assert got.max() <= value.max()


@each_kernel
@pytest.mark.parametrize("name", reference.HARD)
def test_zero_and_one_are_the_extremes_exactly(kernel, name, monkeypatch):
    use(monkeypatch, kernel)
    value, weight = reference.hard_samples(name, 20_000)
    for built in (one(value, weight), digest.merge([(zeros(1), one(value, weight))] * 3, 1)):
        assert ask(built, value, [1, 0]).tolist() == [value.max(), value.min()]


@given(st.integers(0, 2**32 - 1), st.sampled_from(list(reference.HARD)), st.integers(1, 5000))
def test_a_digest_has_at_most_k_centroids_that_weigh_what_came(seed, name, n):
    value, _ = reference.hard_samples(name, n, seed)
    weight = np.random.default_rng(seed).integers(1, 1000, n).astype(float)
    built = one(value, weight)
    built._check()
    assert built.mean.size <= digest.K
    assert built.weight.sum() == weight.sum()
    merged = digest.merge([(zeros(1), built), (zeros(1), built)], 1)
    merged._check()
    assert merged.mean.size <= digest.K
    assert merged.weight.sum() == 2 * weight.sum()


@each_kernel
@pytest.mark.parametrize("name", reference.HARD)
def test_merging_with_nothing_changes_nothing(kernel, name, monkeypatch):
    use(monkeypatch, kernel)
    built = one(*reference.hard_samples(name, 20_000))
    nothing = (np.array([0, 1], np.int32), Digests.empty(2))
    assert same(digest.merge([nothing, (zeros(1), built), nothing], 1 + 1), two_rows(built))
    assert same(digest.merge([(zeros(1), built)], 1), built)


def two_rows(first: Digests) -> Digests:
    return Digests(np.append(first.offset, first.offset[-1]), first.mean, first.weight, first.atom)


def test_merging_no_parts_gives_empty_digests():
    assert len(digest.merge([], 3)) == 3
    assert len(digest.merge([], 0)) == 0
    assert len(digest.merge([(zeros(0), digest.EMPTY)], 0)) == 0


def test_labels_that_do_not_occur_give_empty_digests():
    merged = digest.merge([(np.array([1, 1, 3], np.int32), three_rows())], 5)
    merged._check()
    assert np.diff(merged.offset).tolist() == [0, 3, 0, 1, 0]
    assert merged.mean.tolist() == [1.0, 2.0, 5.0, 4.0]


def three_rows() -> Digests:
    row = np.array([0, 0, 1, 1, 2], np.int32)
    return digest.build(row, np.array([1.0, 2.0, 2.0, 5.0, 4.0]), None, 3)


parts = st.lists(st.lists(st.tuples(st.integers(0, 6), values), max_size=30), max_size=5)


@given(parts, st.sampled_from([16, None]), st.integers(1, 40))
def test_merging_block_by_block_is_merging_row_by_row(parts, size, block):
    labelled = []
    for points in parts:
        row, value = np.array(points, float).reshape(-1, 2).T
        labelled.append((np.arange(7, dtype=np.int32) // 2, build7(row, value)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digest, "BLOCK", block)
        merged = digest.merge(labelled, 5, size)
    merged._check()
    for label in range(5):
        own = [
            (zeros(chosen.size), digest.select(built, chosen))
            for labels, built in labelled
            for chosen in [np.flatnonzero(labels == label)]
        ]
        assert same(digest.select(merged, np.array([label])), digest.merge(own, 1, size))


def build7(row, value):
    return digest.build(row.astype(np.int32), value, None, 7, 16)


@given(st.lists(samples, min_size=1, max_size=4))
def test_merging_without_a_size_is_building_from_all_samples(lists):
    built = [one(*np.array(pairs).T, size=None) for pairs in lists]
    together = np.array([pair for pairs in lists for pair in pairs]).T
    merged = digest.merge([(zeros(1), points) for points in built], 1, None)
    assert same(merged, one(*together, size=None))


@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_a_summary_is_moments_digests_and_the_samples_digests_gave_up(seed, weighed, skewed):
    rng = np.random.default_rng(seed)
    row = np.minimum(rng.geometric(0.4, 2000), 6).astype(np.int32) * (2 if skewed else 1)
    value = rng.lognormal(size=2000)
    weight = rng.choice([1.0, 10.0], 2000) if weighed else None
    for kernel in KERNELS:
        with pytest.MonkeyPatch.context() as patch:
            use(patch, kernel)
            taken, digests, points = digest.summarise(row, value, weight, 13, digest.K, True)
        for mine, other in zip(taken, moments.of(row, value, weight, 13), strict=True):
            assert mine == pytest.approx(other, rel=1e-9, nan_ok=True)
        assert same(digests, digest.build(row, value, weight, 13))
        blurred = ~digest.exact(digests)
        assert np.array_equal(np.diff(points.offset) > 0, blurred)
        raw = digest.build(row, value, weight, 13, None)
        chosen = np.flatnonzero(blurred)
        assert same(digest.select(points, chosen), digest.select(raw, chosen))


def test_a_summary_keeps_samples_only_where_asked_and_needed():
    value = np.arange(300.0)
    row = np.repeat([0, 1], 150).astype(np.int32)
    assert digest.summarise(row, value, None, 2, 128, False)[2] is None
    assert np.diff(digest.summarise(row, value, None, 2, 128, True)[2].offset).tolist() == [150] * 2
    assert digest.summarise(row, value, None, 2, 256, True)[2].mean.size == 0


@given(st.lists(st.integers(0, 2), max_size=6))
def test_selecting_picks_rows_in_any_order(chosen):
    source = three_rows()
    picked = digest.select(source, np.array(chosen, np.intp))
    picked._check()
    want = [source.mean[source.offset[i] : source.offset[i + 1]].tolist() for i in chosen]
    got = [
        picked.mean[a:b].tolist()
        for a, b in zip(picked.offset[:-1], picked.offset[1:], strict=True)
    ]
    assert got == want


def test_rows_without_samples_have_no_quantile():
    low = high = np.array([np.nan, 4.0, np.nan])
    row = digest.build(np.array([1], np.int32), np.array([4.0]), None, 3)
    got = digest.quantile(row, low, high, [0.0, 0.5, 1.0])
    assert np.isnan(got[[0, 2]]).all()
    assert (got[1] == 4.0).all()
    assert np.isnan(digest.cdf(row, low, high, [0.0])[[0, 2]]).all()
    assert digest.exact(row).all()


def test_many_rows_answer_as_each_would_alone():
    rng = np.random.default_rng(5)
    row = np.repeat(np.arange(40, dtype=np.int32), rng.integers(0, 700, 40))
    value = rng.lognormal(size=row.size) * 10.0 ** (row % 7)
    built, known = digest.build(row, value, None, 40), moments.of(row, value, None, 40)
    q, x = [0.0, 0.3, 0.5, 0.99, 1.0], [0.5, 1.0, 1e3]
    got = digest.quantile(built, known.low, known.high, q)
    shares = digest.cdf(built, known.low, known.high, x)
    for i in range(40):
        alone = digest.select(built, np.array([i])), known.low[i : i + 1], known.high[i : i + 1]
        assert np.array_equal(got[i : i + 1], digest.quantile(*alone, q), equal_nan=True)
        assert np.array_equal(shares[i : i + 1], digest.cdf(*alone, x), equal_nan=True)


@pytest.mark.parametrize("q", [-0.01, 1.01, np.nan])
def test_a_quantile_out_of_range_is_refused(q):
    with pytest.raises(ValueError, match=r"q must be in \[0, 1\]"):
        digest.quantile(digest.EMPTY, np.empty(0), np.empty(0), [0.5, q])


def test_no_question_has_no_answer():
    assert digest.quantile(one([1.0]), np.ones(1), np.ones(1), []).shape == (1, 0)
    assert digest.cdf(one([1.0]), np.ones(1), np.ones(1), []).shape == (1, 0)


@given(samples, st.lists(values, min_size=1, max_size=5))
def test_the_share_under_a_value_is_exact_while_the_digest_is(pairs, x):
    value, weight = np.array(pairs).T
    got = digest.cdf(one(value, weight), value.min()[None], value.max()[None], x)[0]
    want = [reference.cdf(value, weight, limit) for limit in x]
    assert got == pytest.approx(want, rel=1e-12, abs=0)


@given(st.integers(0, 2**32 - 1), st.sampled_from(list(reference.HARD)))
def test_shares_invert_quantiles(seed, name):
    value, weight = reference.hard_samples(name, 5000, seed)
    built, low, high = one(value, weight), value.min()[None], value.max()[None]
    q = np.linspace(0.001, 0.999, 21)
    order = np.argsort(value, kind="stable")
    ordered, weight = value[order], None if weight is None else weight[order]
    shares = digest.cdf(built, low, high, np.quantile(ordered, q))[0]
    assert (np.diff(shares) >= 0).all()
    first = np.searchsorted(ordered, np.quantile(ordered, q), "left")
    last = np.searchsorted(ordered, np.quantile(ordered, q), "right")
    below = np.arange(5001.0) if weight is None else np.append(0, np.cumsum(weight))
    bound = digest.rank_error(q) + 1e-3
    assert (shares >= below[first] / below[-1] - bound).all()
    assert (shares <= below[last] / below[-1] + bound).all()


def test_shares_end_at_the_extremes():
    value = np.random.default_rng(3).lognormal(size=100_000)
    built, low, high = one(value), value.min()[None], value.max()[None]
    under, lowest, highest = np.nextafter(low[0], -1), low[0], high[0]
    got = digest.cdf(built, low, high, [under, lowest, np.nextafter(highest, 0), highest])[0]
    assert got[0] == 0
    assert 0 < got[1] < 1e-3
    assert 0.999 < got[2] < 1
    assert got[3] == 1


def test_a_row_of_huge_weight_leaves_its_neighbours_alone():
    value = np.append(np.full(200, 1.0) + np.arange(200), np.arange(1000.0))
    row = np.repeat([0, 1], [200, 1000]).astype(np.int32)
    weight = np.repeat([1e18, 1.0], [200, 1000])
    built = digest.build(row, value, weight, 2)
    alone = one(np.arange(1000.0))
    q = np.linspace(0, 1, 50)
    got = digest.quantile(built, np.array([1.0, 0.0]), np.array([200.0, 999.0]), q)[1]
    assert np.array_equal(got, ask(alone, np.arange(1000.0), q))


@each_kernel
@pytest.mark.parametrize("scale", [1e300, 1e-300, 5e-324 * 1000])
def test_the_largest_and_smallest_values_are_digested(kernel, scale, monkeypatch):
    use(monkeypatch, kernel)
    value = np.random.default_rng(2).uniform(-1, 1, 5000) * scale
    built = one(value)
    built._check()
    got = ask(built, value, np.linspace(0, 1, 101))
    assert np.isfinite(got).all()
    assert got == pytest.approx(np.quantile(value, np.linspace(0, 1, 101)), abs=0.02 * scale)
    shares = digest.cdf(built, value.min()[None], value.max()[None], got)[0]
    assert shares == pytest.approx(np.linspace(0, 1, 101), abs=0.02)


@pytest.mark.filterwarnings("error")
@given(
    st.lists(st.tuples(finite, st.floats(1e-3, 1e15), st.booleans()), min_size=2, max_size=40),
    fractions,
)
def test_any_digest_from_outside_can_be_read(points, q):
    points = reference.arrange(points)
    mean, weight, atom = (np.array(column) for column in zip(*points, strict=True))
    digests = Digests(np.array([0, mean.size]), mean, weight, atom)
    digests._check()
    got = ask(digests, mean, np.sort(q))
    assert (np.diff(got) >= 0).all()
    assert got.min() >= mean.min()
    assert got.max() <= mean.max()
    shares = digest.cdf(digests, mean.min()[None], mean.max()[None], np.sort(mean))[0]
    assert ((shares >= 0) & (shares <= 1)).all()


def test_without_the_compiled_kernel_numpy_does_the_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "aggd.sketch.compact", None)
    spec = importlib.util.spec_from_file_location("plain_digest", digest.__file__)
    plain = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "plain_digest", plain)
    spec.loader.exec_module(plain)
    assert not plain.COMPILED
    assert plain.arrange is centroids.arrange
    assert same(plain.build(zeros(3), np.array([2.0, 1.0, 2.0]), None, 1), one([2.0, 1.0, 2.0]))


def test_the_bound_is_what_the_scale_function_promises():
    got = digest.rank_error([0.5, 0.9, 0.95, 0.99, 0.999, 0.9999])
    want = np.array([0.0432, 0.0226, 0.0146, 0.0042, 0.00056, 0.000072])
    assert got == pytest.approx(want, rel=0.02)
