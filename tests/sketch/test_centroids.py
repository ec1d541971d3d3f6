"""Points to centroids, in numpy and compiled."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.sketch import centroids, ragged
from tests import reference
from tests.sketch.kernels import KERNELS, each_kernel

ROWS = 5
HUGE = 1e300
values = st.one_of(
    st.integers(-3, 3).map(float),
    st.floats(-HUGE, HUGE),
    st.sampled_from([0.0, -0.0, 5e-324, -5e-324, HUGE, -HUGE, 1e9]),
)
weights = st.one_of(st.integers(1, 20).map(float), st.sampled_from([1 / 0.3, 1 / 0.7, 1e6]))
points = st.lists(st.tuples(st.integers(0, ROWS - 1), values, weights, st.booleans()), max_size=60)


def columns(points):
    row, value, weight, atom = zip(*points, strict=True) if points else ((), (), (), ())
    return np.array(row, np.int32), np.array(value, float), np.array(weight), np.array(atom, bool)


def row_lists(offset, mean, weight, atom):
    triples = list(zip(mean.tolist(), weight.tolist(), atom.tolist(), strict=True))
    return [triples[a:b] for a, b in pairwise(offset)]


@each_kernel
@given(points)
def test_arranging_is_sorting_each_row_and_collapsing_equal_atoms(kernel, points):
    got = row_lists(*kernel.arrange(*columns(points), ROWS))
    for i in range(ROWS):
        want = reference.arrange(point[1:] for point in points if point[0] == i)
        assert got[i] == [(mean, pytest.approx(w, rel=1e-12), atom) for mean, w, atom in want]


@each_kernel
def test_without_weights_and_flags_all_weigh_one_and_are_atoms(kernel):
    row, value = np.array([1, 0, 1], np.int32), np.array([2.0, 3.0, 2.0])
    got = row_lists(*kernel.arrange(row, value, None, None, 3))
    assert got == [[(3.0, 1.0, True)], [(2.0, 2.0, True)], []]


@each_kernel
def test_zeros_of_both_signs_are_one_value(kernel):
    got = kernel.arrange(np.zeros(2, np.int32), np.array([0.0, -0.0]), None, None, 1)
    assert got[2].tolist() == [2.0]
    assert not np.signbit(got[1]).any()


@each_kernel
@pytest.mark.parametrize("row", [-1, 3, 2**31 - 1])
def test_a_row_out_of_range_is_refused(kernel, row):
    with pytest.raises(ValueError, match="rows must be in"):
        kernel.arrange(np.array([0, row], np.int32), np.zeros(2), None, None, 3)


@each_kernel
def test_columns_may_be_read_only_and_strided(kernel):
    table = np.arange(12.0).reshape(6, 2)
    row = np.zeros(12, np.int32)[::2]
    for array in (table, row):
        array.flags.writeable = False
    offset, mean, _, _ = kernel.arrange(row, table[:, 0], table[:, 1] + 1, row == 0, 1)
    assert offset.tolist() == [0, 6]
    assert mean.tolist() == table[:, 0].tolist()


@each_kernel
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 1000, 4097])
@pytest.mark.parametrize("shape", ["random", "sorted", "reversed", "runs", "saw"])
def test_any_order_of_arrival_is_sorted(kernel, n, shape):
    rng = np.random.default_rng(n)
    value = {
        "random": rng.normal(size=n),
        "sorted": np.arange(n, dtype=float),
        "reversed": np.arange(n, 0, -1.0),
        "runs": np.arange(n) % 37 + rng.random(n) * 0.1,
        "saw": np.arange(n) % 3.0,
    }[shape]
    atom = np.zeros(n, bool)  # nothing collapses: every point is seen
    weight = np.arange(1.0, n + 1)
    _, mean, got, _ = kernel.arrange(np.zeros(n, np.int32), value, weight, atom, 1)
    order = np.argsort(value, kind="stable")
    assert np.array_equal(mean, value[order])
    assert np.array_equal(got, weight[order])


@each_kernel
@given(points, st.sampled_from([4, 8, 16]))
def test_compressing_is_binning_by_rank(kernel, points, size):
    arranged = centroids.arrange(*columns(points), ROWS)
    got = row_lists(*kernel.compress(*arranged, size))
    for row, source in zip(got, row_lists(*arranged), strict=True):
        want = reference.compress(source, size)
        scale = max((abs(mean) for mean, _, _ in source), default=0.0)
        assert len(row) <= size
        assert [point[2] for point in row] == [point[2] for point in want]
        assert [point[1] for point in row] == pytest.approx([point[1] for point in want], rel=1e-12)
        for point, other in zip(row, want, strict=True):
            assert abs(point[0] - other[0]) <= 1e-12 * scale


@pytest.mark.skipif(len(KERNELS) < 2, reason="needs a C compiler; CI has one")
@given(st.integers(0, 2**32 - 1), st.sampled_from([None, "integers", "rates"]), st.booleans())
def test_both_kernels_cut_at_the_same_places(seed, weighing, ties):
    rng = np.random.default_rng(seed)
    n, rows = int(rng.integers(1, 4000)), int(rng.integers(1, 20))
    row = rng.integers(0, rows, n).astype(np.int32)
    value = np.floor(rng.lognormal(3, 1, n)) if ties else 1e9 + rng.normal(size=n)
    choice = {"integers": [1.0, 2.0, 10.0], "rates": [1.0, 1 / 0.3, 1 / 0.7]}
    weight = None if weighing is None else rng.choice(choice[weighing], n)
    atom = rng.random(n) < 0.5 if rng.random() < 0.5 else None
    results = []
    for kernel in KERNELS:
        arranged = kernel.arrange(row, value, weight, atom, rows)
        results.append((*arranged, *kernel.compress(*arranged, 64)))
    for mine, other in zip(*results, strict=True):
        assert mine.dtype == other.dtype
        if mine.dtype == np.float64:
            np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-12)
        else:
            assert np.array_equal(mine, other)
    assert np.array_equal(results[0][2], results[1][2])  # weights to the last bit
    assert np.array_equal(results[0][6], results[1][6])


@each_kernel
@given(points)
def test_compressing_small_rows_returns_them_as_they_are(kernel, points):
    arranged = kernel.arrange(*columns(points), ROWS)
    for mine, other in zip(kernel.compress(*arranged, 60), arranged, strict=True):
        assert np.array_equal(mine, other)


@each_kernel
def test_means_at_the_largest_values_do_not_overflow(kernel):
    value = np.repeat([-HUGE, HUGE], 500) * np.linspace(0.9, 1, 1000)
    arranged = kernel.arrange(np.zeros(1000, np.int32), value, np.full(1000, 1e6), None, 1)
    _, mean, weight, _ = kernel.compress(*arranged, 16)
    assert np.isfinite(mean).all()
    assert (np.diff(mean) > 0).all()
    assert weight.sum() == 1e9


@each_kernel
@given(points)
def test_described_samples_have_their_moments(kernel, points):
    points = [
        (row, np.clip(value, -1e140, 1e140), weight, True) for row, value, weight, _ in points
    ]
    offset, mean, weight, _ = kernel.arrange(*columns(points), ROWS)
    got = np.array(kernel.describe(offset, mean, weight)).T
    for i in range(ROWS):
        own = [point for point in points if point[0] == i]
        want = reference.moments([p[1] for p in own], [p[2] for p in own])
        size = max((abs(p[1]) for p in own), default=0.0)
        blur = want[0] * (1e-15 * size) ** 2 + 1e-300
        assert got[i, [0, 3, 4]] == pytest.approx(np.array(want)[[0, 3, 4]], rel=1e-12, nan_ok=True)
        assert got[i, 1] == pytest.approx(want[1], abs=1e-14 * size + 1e-322, nan_ok=True)
        assert got[i, 2] == pytest.approx(want[2], rel=1e-9, abs=blur)


def test_labels_of_many_rows_pass_sixteen_bits():
    rows = 70_000
    row = np.arange(rows, dtype=np.int32)[::-1].copy()
    for kernel in KERNELS:
        offset, mean, _, _ = kernel.arrange(row, row.astype(float), None, None, rows)
        assert np.array_equal(offset, np.arange(rows + 1))
        assert np.array_equal(mean, np.arange(rows))


def test_the_sum_of_no_rows_is_no_row():
    empty = np.empty(0, np.int32), np.empty(0), None, None, 0
    for kernel in KERNELS:
        arranged = kernel.arrange(*empty)
        assert [column.size for column in arranged] == [1, 0, 0, 0]
        assert [column.size for column in kernel.compress(*arranged, 8)] == [1, 0, 0, 0]
        assert all(column.size == 0 for column in kernel.describe(*arranged[:3]))


def test_rows_between_others_may_be_empty():
    length = np.array([0, 300, 0, 5, 0], np.int64)
    row = ragged.labels(length)
    for kernel in KERNELS:
        arranged = kernel.arrange(row, np.arange(row.size, dtype=float), None, None, 5)
        offset, _, weight, _ = kernel.compress(*arranged, 64)
        assert np.diff(arranged[0]).tolist() == length.tolist()
        assert (np.diff(offset)[[0, 2, 4]] == 0).all()
        assert np.add.reduceat(weight, offset[[1, 3]]).tolist() == [300.0, 5.0]
