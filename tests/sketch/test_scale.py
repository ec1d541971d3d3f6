"""How many centroids stand where."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.sketch import scale
from tests import reference

ranks = st.lists(st.floats(0, 1), min_size=1).map(lambda q: np.sort(np.array(q)))
sizes = st.sampled_from([16, 64, 128, 256, 1000])


@given(ranks, sizes)
def test_bins_ascend_with_rank_and_are_never_more_than_the_size(q, size):
    found = scale.bins(q, size)
    assert (np.diff(found) >= 0).all()
    assert found[0] >= 0
    assert found[-1] < size


@given(st.floats(0, 1), sizes)
def test_the_table_holds_the_scale_function(q, size):
    assert scale.bins(np.array([q]), size)[0] == reference.scale_bin(q, size)


@given(ranks)
def test_a_bin_holds_two_whole_bins_of_twice_the_size(q):
    assert np.array_equal(scale.bins(q, 256) // 2, scale.bins(q, 128))


@pytest.mark.parametrize("size", [64, 128, 256])
def test_every_bin_is_used(size):
    n = 4_000_000
    assert np.unique(scale.bins((np.arange(n) + 0.5) / n, size)).size == size


def test_bins_are_as_wide_as_the_bound_says():
    n = 4_000_000
    bins, share = np.unique(scale.bins((np.arange(n) + 0.5) / n, scale.K), return_counts=True)
    ends = np.cumsum(share) / n
    middle = ends - share / n / 2
    inner = bins[5:-5]
    assert share[inner] / n == pytest.approx(scale.width(middle[inner]), rel=0.15)


def test_widths_are_those_that_answers_state():
    q = np.array([0.5, 0.9, 0.95, 0.99, 0.999, 0.9999])
    want = [0.0216, 0.0113, 0.0073, 0.0021, 0.00028, 0.000036]
    assert scale.width(q) == pytest.approx(want, rel=0.02)
    assert scale.width(1 - q) == pytest.approx(scale.width(q))
