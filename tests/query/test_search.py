"""Exact percentiles of many sorted runs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.query.search import Run, search
from aggd.sketch import digest, moments, quantiles
from aggd.store.frame import Timers

values = st.one_of(
    st.floats(-1e9, 1e9).map(lambda v: v + 0.0), st.sampled_from([0.0, 1.0, 1e300, -1e300, 5e-324])
)
runs = st.lists(st.lists(values, min_size=1, max_size=30), min_size=1, max_size=12)
fractions = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def timers(x, weight, size=digest.K) -> Timers:
    row = np.zeros(x.size, np.int32)
    digests = digest.build(row, x, weight, 1, size)
    count = np.array([float(x.size if weight is None else weight.sum())])
    return Timers(
        np.zeros(1, np.int32), count, moments.of(row, x, weight, 1), digests, digest.EMPTY
    )


@settings(deadline=None)
@given(runs, fractions, st.booleans())
def test_runs_give_the_percentiles_of_all_their_samples(parts, q, plain):
    q.sort()
    every = np.concatenate(parts)
    rng = np.random.default_rng(len(every))
    weights = [None if plain else rng.integers(1, 5, len(part)).astype(float) for part in parts]
    ordered = []
    for part, weight in zip(parts, weights, strict=True):
        x = np.array(part)
        order = np.argsort(x, kind="stable")
        ordered.append(
            Run(
                x[order],
                None if weight is None else weight[order],
                float(x.size if weight is None else weight.sum()),
            )
        )
    weight = None if plain else np.concatenate(weights)
    raw = every if plain else np.repeat(every, weight.astype(int))
    got = search(ordered, timers(every, weight, 16), np.array(q))
    with np.errstate(over="ignore", invalid="ignore"):
        right = np.quantile(raw, q)
    good = np.isfinite(right)  # numpy's own difference of 1e300 and -1e300 is fine, 2e308 isn't
    assert got[good] == pytest.approx(right[good], rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("size", [16, 128])
def test_a_digest_that_points_beside_the_rank_is_searched_further(size):
    rng = np.random.default_rng(1)
    x = np.sort(np.concatenate([rng.normal(0, 1, 5000), rng.normal(1e6, 1, 5000)]))
    q = np.linspace(0, 1, 41)
    got = search([Run(x[::2], None, 5000.0), Run(x[1::2], None, 5000.0)], timers(x, None, size), q)
    assert got.tolist() == np.quantile(x, q).tolist()


def test_samples_of_somebody_else_give_no_answer_instead_of_a_wrong_one():
    x = np.arange(1000.0)
    alien = Run(np.arange(5000.0, 9000.0), None, 4000.0)
    got = search([alien], timers(x, None), np.array([0.5]))
    assert np.isnan(got).all()


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.floats(1, 30)), min_size=1, max_size=40),
    fractions,
)
def test_fractional_weights_are_read_as_the_digest_reads_them(samples, q):
    q.sort()
    value = np.array([float(v) for v, _ in samples])
    weight = np.array([w for _, w in samples])
    row = timers(value, weight)
    digests = row.digests
    run = Run(digests.mean, digests.weight, float(digests.weight.sum()))
    got = search([run], row, np.array(q))
    right = quantiles.quantile(digests, row.moments.low, row.moments.high, q)[0]
    assert got == pytest.approx(right, rel=1e-9)


@pytest.mark.parametrize("decimals", [0, 2, 9])
@pytest.mark.parametrize("narrow", [np.float16, np.float64])
def test_many_runs_with_equal_samples_are_bracketed_and_exact(decimals, narrow):
    rng = np.random.default_rng(3)
    x = np.round(rng.lognormal(3, 1, 60_000), decimals)
    runs = []
    for part in np.split(x, 40):
        value, count = np.unique(part, return_counts=True)
        runs.append(Run(value, count.astype(narrow), float(part.size)))
    q = np.array([0, 0.001, 0.5, 0.9, 0.99, 0.9999, 1])
    assert search(runs, timers(x, None), q).tolist() == np.quantile(x, q).tolist()
