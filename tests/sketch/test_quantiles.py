"""What digests say, against numpy on the samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.sketch import digest, moments, quantiles
from aggd.sketch.digest import Digests
from tests import reference
from tests.sketch.digests import ask, finite, fractions, one, samples, values, zeros
from tests.sketch.kernels import each_kernel, use


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


def test_rows_without_samples_have_no_quantile():
    low = high = np.array([np.nan, 4.0, np.nan])
    row = digest.build(np.array([1], np.int32), np.array([4.0]), None, 3)
    got = quantiles.quantile(row, low, high, [0.0, 0.5, 1.0])
    assert np.isnan(got[[0, 2]]).all()
    assert (got[1] == 4.0).all()
    assert np.isnan(quantiles.cdf(row, low, high, [0.0])[[0, 2]]).all()
    assert digest.exact(row).all()


def test_many_rows_answer_as_each_would_alone():
    rng = np.random.default_rng(5)
    row = np.repeat(np.arange(40, dtype=np.int32), rng.integers(0, 700, 40))
    value = rng.lognormal(size=row.size) * 10.0 ** (row % 7)
    built, known = digest.build(row, value, None, 40), moments.of(row, value, None, 40)
    q, x = [0.0, 0.3, 0.5, 0.99, 1.0], [0.5, 1.0, 1e3]
    got = quantiles.quantile(built, known.low, known.high, q)
    shares = quantiles.cdf(built, known.low, known.high, x)
    for i in range(40):
        alone = digest.select(built, np.array([i])), known.low[i : i + 1], known.high[i : i + 1]
        assert np.array_equal(got[i : i + 1], quantiles.quantile(*alone, q), equal_nan=True)
        assert np.array_equal(shares[i : i + 1], quantiles.cdf(*alone, x), equal_nan=True)


@pytest.mark.parametrize("q", [-0.01, 1.01, np.nan])
def test_a_quantile_out_of_range_is_refused(q):
    with pytest.raises(ValueError, match=r"q must be in \[0, 1\]"):
        quantiles.quantile(digest.EMPTY, np.empty(0), np.empty(0), [0.5, q])


def test_no_question_has_no_answer():
    assert quantiles.quantile(one([1.0]), np.ones(1), np.ones(1), []).shape == (1, 0)
    assert quantiles.cdf(one([1.0]), np.ones(1), np.ones(1), []).shape == (1, 0)


@given(samples, st.lists(values, min_size=1, max_size=5))
def test_the_share_under_a_value_is_exact_while_the_digest_is(pairs, x):
    value, weight = np.array(pairs).T
    got = quantiles.cdf(one(value, weight), value.min()[None], value.max()[None], x)[0]
    want = [reference.cdf(value, weight, limit) for limit in x]
    assert got == pytest.approx(want, rel=1e-12, abs=0)


@given(st.integers(0, 2**32 - 1), st.sampled_from(list(reference.HARD)))
def test_shares_invert_quantiles(seed, name):
    value, weight = reference.hard_samples(name, 5000, seed)
    built, low, high = one(value, weight), value.min()[None], value.max()[None]
    q = np.linspace(0.001, 0.999, 21)
    order = np.argsort(value, kind="stable")
    ordered, weight = value[order], None if weight is None else weight[order]
    shares = quantiles.cdf(built, low, high, np.quantile(ordered, q))[0]
    assert (np.diff(shares) >= 0).all()
    first = np.searchsorted(ordered, np.quantile(ordered, q), "left")
    last = np.searchsorted(ordered, np.quantile(ordered, q), "right")
    below = np.arange(5001.0) if weight is None else np.append(0, np.cumsum(weight))
    bound = quantiles.rank_error(q) + 1e-3
    assert (shares >= below[first] / below[-1] - bound).all()
    assert (shares <= below[last] / below[-1] + bound).all()


def test_shares_end_at_the_extremes():
    value = np.random.default_rng(3).lognormal(size=100_000)
    built, low, high = one(value), value.min()[None], value.max()[None]
    under, lowest, highest = np.nextafter(low[0], -1), low[0], high[0]
    got = quantiles.cdf(built, low, high, [under, lowest, np.nextafter(highest, 0), highest])[0]
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
    got = quantiles.quantile(built, np.array([1.0, 0.0]), np.array([200.0, 999.0]), q)[1]
    assert np.array_equal(got, ask(alone, np.arange(1000.0), q))


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
    shares = quantiles.cdf(digests, mean.min()[None], mean.max()[None], np.sort(mean))[0]
    assert ((shares >= 0) & (shares <= 1)).all()


def test_the_bound_is_what_the_scale_function_promises():
    got = quantiles.rank_error([0.5, 0.9, 0.95, 0.99, 0.999, 0.9999])
    want = np.array([0.0432, 0.0226, 0.0146, 0.0042, 0.00056, 0.000072])
    assert got == pytest.approx(want, rel=0.02)
