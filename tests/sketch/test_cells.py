"""What a digest says about the samples between its centroids."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.sketch import cells, ragged
from aggd.sketch.cells import Cells

steps = st.lists(
    st.tuples(st.floats(1e-3, 1e3), st.integers(4, 1000), st.booleans()), min_size=1, max_size=12
)


def one_row(points):
    step, weight, atom = (np.array(column) for column in zip(*points, strict=True))
    mean, weight = np.cumsum(step), weight.astype(float)
    offset = np.array([0, mean.size])
    low, high = mean[:1] - ~atom[:1] * 0.5, mean[-1:] + ~atom[-1:] * 0.5
    return Cells(offset, mean, weight, atom, low, high, ragged.running(weight, offset))


def row_of(points):
    return np.zeros(points.size, np.intp)


@given(steps)
def test_samples_of_a_cell_have_the_mean_of_its_centroid(points):
    row = one_row(points)
    x = (np.arange(2000) + 0.5) / 2000
    for i in range(row.mean.size):
        at = row.until[i] - row.weight[i] + x * row.weight[i]
        inside = at[(at - 0.5 > 0) & (at - 0.5 < row.until[-1] - 1)]
        if inside.size == at.size:
            value = cells.sample(row, row_of(at), at - 0.5)
            assert value.mean() == pytest.approx(row.mean[i], abs=1e-3 * np.ptp(row.mean))


@given(steps)
def test_samples_ascend_from_the_smallest_to_the_largest(points):
    row = one_row(points)
    rank = np.linspace(0, row.until[-1] - 1, 500)
    value = cells.sample(row, row_of(rank), rank)
    assert (np.diff(value) >= -1e-12 * row.high[0]).all()
    assert value[0] == row.low[0]
    assert value[-1] == row.high[0]


@given(steps)
def test_an_atom_is_flat(points):
    row = one_row(points)
    for i in np.flatnonzero(row.atom):
        rank = row.until[i] - row.weight[i] + np.arange(row.weight[i])
        assert (cells.sample(row, row_of(rank), rank) == row.mean[i]).all()


@given(steps)
def test_shares_are_the_inverse_of_samples(points):
    row = one_row(points)
    rank = np.linspace(1, row.until[-1] - 2, 100)
    value = cells.sample(row, row_of(rank), rank)
    share = cells.share(row, row_of(rank), value)
    back = cells.sample(row, row_of(rank), share * row.until[-1] - 0.5)
    cell = ragged.search(row.until, *np.tile([[0], [row.mean.size - 1]], 100), rank + 0.5)
    blurred = ~row.atom[cell]
    assert back[blurred] == pytest.approx(value[blurred], abs=1e-6 * row.high[0])


@given(steps, st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted))
def test_sums_between_ranks_are_those_of_the_samples_read_there(points, part):
    row = one_row(points)
    start, end = (np.array([q * row.until[-1]]) for q in part)
    total, squares = cells.sums(row, start, end)
    n = 40_000
    at = start + (np.arange(n) + 0.5) / n * (end - start)
    inner = at.clip(1.0, row.until[-1] - 1.0)  # the outermost samples are low and high themselves
    value = cells.sample(row, row_of(at), inner - 0.5)
    share, top = (end - start)[0], np.abs(np.append(row.low, row.high)).max()
    slack = (2 + share * 1e-3) * np.ptp(np.append(row.low, row.high)) + 1e-9 * share * top
    assert total[0] == pytest.approx(share * value.mean(), abs=slack)
    assert squares[0] == pytest.approx(share * (value * value).mean(), abs=2 * top * slack)


@given(steps, st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted))
def test_sums_of_neighbouring_ranks_add_up_and_those_of_all_are_the_centroids(points, part):
    row = one_row(points)
    ranks = [np.array([q * row.until[-1]]) for q in (0.0, *part, 1.0)]
    pieces = [cells.sums(row, a, b) for a, b in pairwise(ranks)]
    whole = cells.sums(row, ranks[0], ranks[-1])
    for piece, all_ in zip(np.sum(pieces, axis=0), whole, strict=True):
        assert piece == pytest.approx(all_, rel=1e-9)
    assert whole[0] == pytest.approx((row.weight * row.mean).sum(), rel=1e-12)
    assert whole[1] >= (row.weight * row.mean**2).sum() * (1 - 1e-12)


def test_sums_of_every_row_start_anew():
    offset, mean = np.array([0, 2, 2, 4]), np.array([1.0, 3.0, 10.0, 20.0])
    weight, atom = np.array([2.0, 1.0, 4.0, 1.0]), np.ones(4, bool)
    low, high = np.array([1.0, np.nan, 10.0]), np.array([3.0, np.nan, 20.0])
    rows = Cells(offset, mean, weight, atom, low, high, ragged.running(weight, offset))
    total, squares = cells.sums(rows, np.array([1.0, 0.0, 3.5]), np.array([3.0, 5.0, 4.5]))
    assert total.tolist() == [4.0, 0.0, 15.0]
    assert squares.tolist() == [10.0, 0.0, 250.0]


def test_a_smooth_distribution_is_read_between_its_centroids():
    edges = np.linspace(0, 1, 11)  # ten cells under the quantile function 2 sqrt(q)
    mean = np.diff(4 / 3 * edges**1.5) / 0.1
    low, high = np.array([0.0]), np.array([2.0])
    offset, weight = np.array([0, 10]), np.full(10, 1e6)
    row = Cells(offset, mean, weight, np.zeros(10, bool), low, high, ragged.running(weight, offset))
    rank = np.linspace(0.3, 0.8, 50) * 1e7
    want = 2 * np.sqrt(rank / 1e7)
    straight = np.interp(rank, row.until - 5e5, mean)
    got = cells.sample(row, row_of(rank), rank)
    assert np.abs(got - want).max() < np.abs(straight - want).max() / 5
