"""Digests: built, merged, picked."""

import importlib.util
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.sketch import centroids, digest, moments, quantiles
from aggd.sketch.digest import Digests
from tests import reference
from tests.sketch.digests import ask, one, samples, values, zeros
from tests.sketch.kernels import KERNELS, each_kernel, use


def same(mine: Digests, other: Digests) -> bool:
    return all(
        np.array_equal(getattr(mine, name), getattr(other, name))
        for name in ("offset", "mean", "weight", "atom")
    )


def test_exactly_k_different_samples_are_exact_and_one_more_is_not():
    full = np.arange(float(digest.K))
    assert digest.exact(one(np.tile(full, 9))).all()
    assert not digest.exact(one(np.append(full, 0.5))).any()


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
    shares = quantiles.cdf(built, value.min()[None], value.max()[None], got)[0]
    assert shares == pytest.approx(np.linspace(0, 1, 101), abs=0.02)


def test_without_the_compiled_kernel_numpy_does_the_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "aggd.sketch.compact", None)
    spec = importlib.util.spec_from_file_location("plain_digest", digest.__file__)
    plain = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "plain_digest", plain)
    spec.loader.exec_module(plain)
    assert not plain.COMPILED
    assert plain.arrange is centroids.arrange
    assert same(plain.build(zeros(3), np.array([2.0, 1.0, 2.0]), None, 1), one([2.0, 1.0, 2.0]))
