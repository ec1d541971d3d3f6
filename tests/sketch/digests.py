"""Samples and digests of one row."""

import numpy as np
from hypothesis import strategies as st

from aggd.sketch import digest, quantiles

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
    return quantiles.quantile(digests, np.array([np.min(value)]), np.array([np.max(value)]), q)[0]
