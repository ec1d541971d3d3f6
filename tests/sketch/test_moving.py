"""Summaries of windows that move over slots."""

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.sketch import digest, distinct, moments, moving, quantiles, spans
from aggd.sketch.digest import Digests
from aggd.sketch.moments import Moments
from tests import reference

KERNELS: list[ModuleType] = [spans]
if importlib.util.find_spec("aggd.sketch.sliding"):
    from aggd.sketch import sliding

    KERNELS.append(sliding)

each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.__name__.split(".")[-1])

Q = np.array([0.0, 0.01, 0.5, 0.9, 0.99, 1.0])
HUGE = 1e300
values = st.one_of(
    st.integers(-3, 3).map(float), st.floats(-HUGE, HUGE), st.sampled_from([0.0, -0.0, 5e-324, 1e9])
)
samples = st.lists(st.tuples(st.integers(0, 19), values, st.integers(1, 4)), max_size=80)
shapes = st.tuples(st.integers(1, 20), st.integers(1, 25))  # width, stride
SLOTS = 20


def starts(width, stride):
    return range(0, SLOTS - width + 1, stride)


def per_slot(rows):
    """Moments and digests of every slot."""
    slot, value, weight = map(np.array, zip(*rows, strict=True)) if rows else (np.empty(0),) * 3
    slot, value, weight = slot.astype(np.int32), value.astype(float), weight.astype(float)
    return moments.of(slot, value, weight, SLOTS), digest.build(slot, value, weight, SLOTS)


def extremes(slots, width, stride):
    found = moving.merge_moments(Moments(*(c[None] for c in slots)), width, stride)
    return found.low[0], found.high[0]


def moved_quantiles(rows, width, stride, q=Q):
    found, digests = per_slot(rows)
    slot = np.arange(SLOTS, dtype=np.int32)
    return moving.quantiles(digests, slot, SLOTS, extremes(found, width, stride), width, stride, q)


@each_kernel
@given(rows=samples, shape=shapes)
def test_windows_of_atoms_give_numpys_percentiles(kernel, rows, shape):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moving, "kernel", kernel)
        got = moved_quantiles(rows, *shape)
    assert len(got) == moving.windows(SLOTS, *shape) == len(starts(*shape))
    for start, row in zip(starts(*shape), got, strict=True):
        inside = [r for r in rows if start <= r[0] < start + shape[0]]
        if not inside:
            assert np.isnan(row).all()
            continue
        want = reference.quantile([r[1] for r in inside], [r[2] for r in inside], Q)
        if (np.diff(want) >= 0).all():  # numpy's own may fall by a bit, ours never does
            assert np.array_equal(row, want)


@given(samples, shapes)
def test_moments_of_windows_are_those_of_their_samples(rows, shape):
    rows = [(slot, float(np.clip(v, -1e140, 1e140)), w) for slot, v, w in rows]
    found, _ = per_slot(rows)
    got = moving.merge_moments(Moments(*(c[None] for c in found)), *shape)
    for i, start in enumerate(starts(*shape)):
        own = [r for r in rows if start <= r[0] < start + shape[0]]
        want = reference.moments([r[1] for r in own], [r[2] for r in own])
        size = max((abs(r[1]) for r in own), default=0.0)
        row = [column[0, i] for column in got]
        assert row[0] == want[0]
        assert row[1] == pytest.approx(want[1], abs=1e-14 * size + 1e-322, nan_ok=True)
        assert row[2] == pytest.approx(want[2], rel=1e-9, abs=want[0] * (1e-14 * size) ** 2)
        assert row[3:] == pytest.approx(want[3:], rel=0, nan_ok=True)


def test_one_huge_sample_spoils_no_window_that_does_not_hold_it():
    value = np.ones((1, 1000))
    value[0, 500] = 1e300
    total = moving.add(value, 7, 1)[0]
    assert (total[:494] == 7).all()
    assert (total[501:] == 7).all()
    found = moments.of(np.arange(1000, dtype=np.int32), value[0], None, 1000)
    merged = moving.merge_moments(Moments(*(c[None] for c in found)), 7, 1)
    assert (merged.mean[0, 501:] == 1).all()
    assert (merged.m2[0, 501:] == 0).all()


@given(st.integers(1, 40), st.integers(1, 9))
def test_merges_keep_the_order_of_slots(width, stride):
    names = np.array([[chr(97 + i % 26) for i in range(40)]], object)
    (got,) = moving.merge((names,), width, stride, lambda a, b: (a[0] + b[0],))
    want = ["".join(names[0, i : i + width]) for i in range(0, 41 - width, stride)]
    assert got[0].tolist() == want


@pytest.mark.parametrize("name", reference.HARD)
@pytest.mark.parametrize("shape", ["alike", "one slow slot", "uneven"])
def test_estimates_keep_the_promised_rank_error(name, shape):
    rng = np.random.default_rng(4)
    slots, width = 40, 12
    sizes = {"alike": np.full(slots, 2000), "one slow slot": np.full(slots, 2000)}.get(
        shape, rng.integers(1, 4000, slots)
    )
    slot = np.repeat(np.arange(slots, dtype=np.int32), sizes)
    value, weight = reference.hard_samples(name, slot.size, 3)
    if shape == "one slow slot":
        value = np.where(slot == 20, np.abs(value) * 50 + value.max(), value)
    weight = np.ones(slot.size) if weight is None else weight
    parts = [digest.build(slot, value, weight, slots), moments.of(slot, value, weight, slots)]
    found = Moments(*(c[None] for c in parts[1]))
    whole = moving.merge_moments(found, width, 1)
    q = np.array([0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 1])
    got = moving.quantiles(
        parts[0], np.arange(slots, dtype=np.int32), slots, (whole.low[0], whole.high[0]),
        width, 1, q,
    )  # fmt: skip
    assert (np.diff(got, axis=1) >= 0).all()
    for i, row in enumerate(got):
        own = (slot >= i) & (slot < i + width)
        order = np.argsort(value[own], kind="stable")
        x, w = value[own][order], weight[own][order]
        errors = reference.rank_errors(x, w, row, q)
        assert (errors <= quantiles.rank_error(q) + w.max() / w.sum()).all(), (i, errors)
        assert (row[0], row[-1]) == (x[0], x[-1])


@pytest.mark.parametrize("name", ["weighted", "integers", "offset", "gaps"])
def test_both_kernels_read_the_same(name):
    rng = np.random.default_rng(9)
    slots = 60
    slot = np.sort(rng.integers(0, slots, 30_000)).astype(np.int32)
    slot = slot[(slot < 20) | (slot > 30)]  # some windows are empty
    value, weight = reference.hard_samples(name, slot.size)
    digests = digest.build(slot, value, weight, slots)
    found = moments.of(slot, value, weight, slots)
    answers = []
    for width, stride in ((1, 1), (7, 1), (7, 3), (4, 9), (60, 1)):
        edges = extremes_of(found, width, stride)
        for kernel in KERNELS:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(moving, "kernel", kernel)
                rows = np.arange(slots, dtype=np.int32)
                answers.append(moving.quantiles(digests, rows, slots, edges, width, stride, Q))
        assert answers[-1] == pytest.approx(answers[-len(KERNELS)], rel=1e-12, nan_ok=True)


def extremes_of(found, width, stride):
    merged = moving.merge_moments(Moments(*(c[None] for c in found)), width, stride)
    return merged.low[0], merged.high[0]


def test_nothing_drifts_over_many_windows_of_fractional_weights():
    rng = np.random.default_rng(2)
    slots = 20_000
    slot = np.arange(slots, dtype=np.int32)
    value = rng.normal(size=slots)
    weight = rng.choice([1 / 0.3, 1 / 0.7, 1e6, 1.0], slots)
    digests = Digests(np.arange(slots + 1), value, weight, np.ones(slots, bool))
    found = moments.of(slot, value, weight, slots)
    got = moving.quantiles(digests, slot, slots, extremes_of(found, 5, 1), 5, 1, Q)
    last = digest.merge([(np.zeros(5, np.int32), digest.select(digests, slot[-5:]))], 1)
    low, high = value[-5:].min(keepdims=True), value[-5:].max(keepdims=True)
    assert got[-1] == pytest.approx(quantiles.quantile(last, low, high, Q)[0], rel=1e-9)


@given(st.lists(st.floats(1e-6, 1e12), min_size=1, max_size=50))
def test_units_are_whole_and_nearly_all_of_the_weight(weights):
    weight = np.array(weights)
    units, scale = moving.units(weight)
    assert units.min() >= 1
    assert sum(units.tolist()) < 2**62
    share = units / scale / weight.sum() - weight / weight.sum()
    assert np.abs(share).max() < 1e-15
    whole = np.rint(weight) + 1
    units, scale = moving.units(whole)
    assert (units / scale == whole).all()


@each_kernel
@given(st.lists(values, max_size=60), st.integers(0, 2**32 - 1))
def test_values_are_ordered_and_equal_ones_stay_as_they_came(kernel, found, seed):
    rng = np.random.default_rng(seed)
    value = np.concatenate([found, 1e9 + rng.normal(size=300), np.zeros(3)])
    value = rng.permutation(value) if seed % 2 else value
    assert np.array_equal(kernel.order(value), np.argsort(value, kind="stable"))


@each_kernel
def test_values_that_crowd_within_a_huge_range_are_ordered_all_the_same(kernel):
    value = np.append(1.0 + np.arange(3000)[::-1] * 2.0**-52, [HUGE, -HUGE])
    assert np.array_equal(kernel.order(value), np.argsort(value, kind="stable"))
    assert kernel.order(np.empty(0)).size == 0


@each_kernel
@given(
    rows=st.lists(st.tuples(st.integers(0, SLOTS - 1), st.integers(0, 30)), max_size=60),
    shape=shapes,
    k=st.integers(3, 40),
)
def test_different_members_are_those_of_the_union(kernel, rows, shape, k):
    hashes = np.array([distinct.hash_member(b"%d" % m) for _, m in rows], np.uint64)
    slot = np.array([s for s, _ in rows], np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moving, "kernel", kernel)
        patch.setattr(distinct, "K", k)
        members = distinct.build(slot, hashes, SLOTS)
        row = np.arange(SLOTS, dtype=np.int32)
        count, exact = moving.different(members, row, SLOTS, *shape)
        for start, got, whole in zip(starts(*shape), count, exact, strict=True):
            inside = (slot >= start) & (slot < start + shape[0])
            union = distinct.build(np.zeros(inside.sum(), np.int32), hashes[inside], 1)
            assert got == distinct.estimate(union)[0]
            assert whole == (len(set(hashes[inside].tolist())) < k)


@pytest.mark.parametrize("q", [-0.1, 1.1, float("nan")])
def test_a_fraction_out_of_range_is_refused(q):
    with pytest.raises(ValueError, match="q must be in"):
        moved_quantiles([(0, 1.0, 1)], 1, 1, [q])


def test_without_a_compiler_the_readable_twin_runs(monkeypatch):
    monkeypatch.setitem(sys.modules, "aggd.sketch.sliding", None)
    monkeypatch.delattr("aggd.sketch.sliding", raising=False)
    spec = importlib.util.find_spec("aggd.sketch.moving")
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    assert fresh.kernel is spans
