"""Count, mean, spread and extremes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.sketch import moments
from aggd.sketch.moments import Moments
from tests import reference
from tests.sketch.kernels import each_kernel

ROWS = 4
values = st.one_of(st.floats(-1e140, 1e140), st.integers(-9, 9).map(float), st.just(1e9 + 0.1))
weights = st.one_of(st.integers(1, 20).map(float), st.sampled_from([1 / 0.3, 1e6]))
samples = st.lists(st.tuples(st.integers(0, ROWS - 1), values, weights), max_size=60)


def columns(samples):
    row, value, weight = zip(*samples, strict=True) if samples else ((), (), ())
    return np.array(row, np.int32), np.array(value, float), np.array(weight, float)


def agree(got: Moments, samples) -> None:
    for i, (count, mean, m2, low, high) in enumerate(zip(*got, strict=True)):
        own = [sample for sample in samples if sample[0] == i]
        want = reference.moments([s[1] for s in own], [s[2] for s in own])
        size = max((abs(s[1]) for s in own), default=0.0)
        assert count == pytest.approx(want[0], rel=1e-12)
        assert mean == pytest.approx(want[1], abs=1e-14 * size + 1e-322, nan_ok=True)
        assert m2 == pytest.approx(want[2], rel=1e-9, abs=count * (1e-14 * size) ** 2 + 1e-300)
        assert np.array_equal([low, high], want[3:], equal_nan=True)


@given(samples)
def test_moments_are_those_of_the_samples(samples):
    agree(moments.of(*columns(samples), ROWS), samples)


@given(st.lists(samples, min_size=1, max_size=4))
def test_merging_moments_is_taking_them_of_all_samples(lists):
    known = moments.concatenate([moments.of(*columns(samples), ROWS) for samples in lists])
    label = np.tile(np.arange(ROWS), len(lists))
    agree(moments.merge(label, known, ROWS), [sample for samples in lists for sample in samples])


@given(samples, st.permutations(range(ROWS)))
def test_labels_may_come_in_any_order(samples, label):
    known = moments.of(*columns(samples), ROWS)
    agree(moments.merge(np.array(label), known, ROWS), [(label[r], v, w) for r, v, w in samples])


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e9])
@each_kernel
def test_a_large_mean_costs_no_digits_of_the_spread(kernel, offset):
    value = offset + np.random.default_rng(1).normal(size=20_000)
    row = np.zeros(value.size, np.int32)
    want = reference.moments(value.tolist(), [1.0] * value.size)
    arranged = kernel.arrange(row, value, None, None, 1)
    pieces = moments.of((np.arange(value.size) % 20).astype(np.int32), value, None, 20)
    for got in (
        moments.of(row, value, None, 1),
        kernel.describe(*arranged[:3]),
        moments.merge(np.zeros(20, np.int64), pieces, 1),
    ):
        assert [column[0] for column in got] == pytest.approx(want, rel=1e-9, abs=1e-9)


@each_kernel
def test_squares_past_the_largest_float_make_the_spread_infinite_and_nothing_else(kernel):
    value = np.array([-1e300, 1e300, 1e300])
    row = np.zeros(3, np.int32)
    known = moments.of(row, value, None, 1)
    for got in (known, Moments(*kernel.describe(*kernel.arrange(row, value, None, None, 1)[:3]))):
        assert got.count[0] == 3
        assert got.mean[0] == pytest.approx(1e300 / 3)
        assert got.m2[0] == np.inf
        assert moments.variance(got)[0] == np.inf
    again = moments.merge(np.zeros(3, int), moments.concatenate([known] * 3), 1)
    assert again.m2[0] == np.inf
    assert again.mean[0] == pytest.approx(1e300 / 3)


def test_equal_samples_have_no_spread():
    got = moments.of(np.zeros(7, np.int32), np.full(7, 0.1), np.full(7, 1 / 0.3), 1)
    assert got.mean[0] == 0.1
    assert got.m2[0] == 0


def test_rows_without_samples_have_nothing_but_a_count():
    got = moments.of(np.array([1], np.int32), np.array([2.0]), None, 3)
    assert got.count.tolist() == [0, 1, 0]
    assert got.m2.tolist() == [0, 0, 0]
    assert np.isnan(np.array([got.mean, got.low, got.high])[:, [0, 2]]).all()
    assert np.isnan(moments.variance(got)).tolist() == [True, False, True]
    assert moments.of(np.empty(0, np.int32), np.empty(0), None, 0).count.size == 0


@given(samples)
def test_variance_is_that_of_the_population(samples):
    samples = [(row, np.clip(value, -1e9, 1e9), weight) for row, value, weight in samples]
    got = moments.variance(moments.of(*columns(samples), ROWS))
    for i in range(ROWS):
        own = [sample for sample in samples if sample[0] == i]
        if own:
            value, weight = np.array(own).T[1:]
            mean = np.average(value, weights=weight)
            want = np.average((value - mean) ** 2, weights=weight)
            assert got[i] == pytest.approx(want, rel=1e-6, abs=1e-6)
