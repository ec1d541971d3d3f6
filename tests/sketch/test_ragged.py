"""Rows of different length in one array."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aggd.sketch import ragged

lengths = st.lists(st.integers(0, 100), max_size=12).map(lambda n: np.array(n, np.int64))


@given(lengths)
def test_rows_stand_one_behind_the_other(length):
    offset = ragged.offsets(length)
    assert offset.dtype == np.int64
    assert offset.tolist() == [sum(length[:i]) for i in range(length.size + 1)]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), max_size=12))
def test_ranges_are_listed_one_after_the_other(ranges):
    start, length = np.array(ranges, np.int64).reshape(-1, 2).T
    want = [place for a, n in ranges for place in range(a, a + n)]
    assert ragged.expand(start, length).tolist() == want


@given(lengths)
def test_each_point_is_labelled_with_its_row(length):
    want = [row for row, n in enumerate(length) for _ in range(n)]
    assert ragged.labels(length).tolist() == want


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2, 65_535, 65_536, 200_001]), st.integers(0, 3))))
def test_points_are_ordered_by_row_then_value_and_equal_ones_keep_their_order(points):
    row, value = np.array(points, np.int32).reshape(-1, 2).T
    want = sorted(range(len(points)), key=lambda i: points[i])
    assert ragged.order(row, value).tolist() == want


@given(lengths, st.randoms(use_true_random=False))
def test_running_sums_start_anew_in_every_row(length, random):
    offset = ragged.offsets(length)
    value = np.array([random.choice([0.1, 1.0, 1e20, 1 / 3]) for _ in range(offset[-1])])
    want = [np.cumsum(value[a:b]) for a, b in pairwise(offset)]
    assert np.array_equal(ragged.running(value, offset), np.concatenate([*want, []]))


def test_a_huge_row_does_not_round_its_neighbours():
    total = ragged.running(np.array([1e20, 0.25, 0.5]), np.array([0, 1, 3]))
    assert total.tolist() == [1e20, 0.25, 0.75]


@given(lengths, st.integers(-1, 6))
def test_search_finds_the_first_value_over_the_target(length, target):
    offset = ragged.offsets(length)
    value = np.concatenate([*(np.linspace(0.0, 5.0, n) for n in length), []])
    found = ragged.search(value, offset[:-1], offset[1:], np.full(length.size, float(target)))
    want = [a + np.searchsorted(value[a:b], target, side="right") for a, b in pairwise(offset)]
    assert found.tolist() == want


def test_sums_of_no_values_are_zeros_not_integers():
    total = ragged.sums(np.empty(0, np.int32), np.empty(0), 2)
    assert total.dtype == np.float64
    assert total.tolist() == [0.0, 0.0]
