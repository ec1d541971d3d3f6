"""Fitted families against scipy on the samples themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import digamma

from aggd.query.fits import FAMILIES, fit

N = 3000
RNG = np.random.default_rng(11)
DRAWN = {
    "normal": np.abs(RNG.normal(100, 9, N)),
    "lognormal": RNG.lognormal(3, 0.7, N),
    "exponential": RNG.exponential(40, N),
    "gamma": RNG.gamma(3, 20, N),
    "weibull": 50 * RNG.weibull(2.5, N),
    "steep": RNG.gamma(0.2, 5, N) + 1e-9,
    "whole": RNG.poisson(30, N) + 1.0,
}
POSITIVE = st.floats(1e-3, 1e6)


def frozen(family, p):
    """The same distribution in scipy."""
    return {
        "normal": lambda: stats.norm(p["mean"], p["std"]),
        "lognormal": lambda: stats.lognorm(p["sigma"], scale=np.exp(p["mu"])),
        "exponential": lambda: stats.expon(scale=1 / p["rate"]),
        "gamma": lambda: stats.gamma(p["shape"], scale=p["scale"]),
        "weibull": lambda: stats.weibull_min(p["shape"], scale=p["scale"]),
    }[family]()


def scipy_fit(family, x):
    """Scipy's own fit, its location held at 0."""
    if family == "normal":
        return stats.norm(*stats.norm.fit(x))
    of = {"lognormal": "lognorm", "exponential": "expon", "weibull": "weibull_min"}
    found = getattr(stats, of.get(family, family))
    return found(*found.fit(x, floc=0))


def fitted(x, weight=None):
    value = np.sort(np.asarray(x, float))
    found, unfitted = fit(value, np.ones(value.size) if weight is None else weight)
    return {one.family: one for one in found}, {one.family: one.reason for one in unfitted}


@pytest.mark.parametrize("drawn", DRAWN)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_fit_is_as_likely_as_that_of_scipy_and_its_figures_are_right(drawn, family):
    x = DRAWN[drawn]
    found = fitted(x)[0][family]
    ours, theirs = frozen(family, found.parameters), scipy_fit(family, x)
    assert found.log_likelihood == pytest.approx(ours.logpdf(x).sum(), rel=1e-9)
    assert found.log_likelihood >= theirs.logpdf(x).sum() - 1e-6 * N
    assert ours.ppf([0.1, 0.5, 0.9]) == pytest.approx(theirs.ppf([0.1, 0.5, 0.9]), rel=2e-3)
    assert found.aic == pytest.approx(2 * len(found.parameters) - 2 * found.log_likelihood)
    assert found.ks == pytest.approx(stats.kstest(x, ours.cdf).statistic, abs=1e-9)


def test_parameters_have_the_names_that_people_expect():
    found, _ = fitted(DRAWN["gamma"])
    assert {family: list(one.parameters) for family, one in found.items()} == {
        "normal": ["mean", "std"],
        "lognormal": ["mu", "sigma"],
        "exponential": ["rate"],
        "gamma": ["shape", "scale"],
        "weibull": ["shape", "scale"],
    }


@pytest.mark.parametrize("family", ["normal", "lognormal", "gamma", "weibull"])
def test_the_family_that_made_the_samples_is_the_best(family):
    found, _ = fit(np.sort(DRAWN[family]), np.ones(N))
    assert found[0].family == family
    assert [one.aic for one in found] == sorted(one.aic for one in found)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(POSITIVE, st.integers(1, 20)), min_size=2, max_size=40))
def test_weights_count_as_repeats(pairs):
    value, weight = (np.array(column, float) for column in zip(*sorted(pairs), strict=True))
    weighted, unfitted = fitted(value, weight)
    repeated, same = fitted(np.repeat(value, weight.astype(int)))
    assert unfitted == same
    for family, one in weighted.items():
        other = repeated[family]
        assert one.log_likelihood == pytest.approx(other.log_likelihood, rel=1e-6, abs=1e-3)
        assert one.ks == pytest.approx(other.ks, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.01, 1000).map(lambda v: round(v, 2)), min_size=3, max_size=30, unique=True)
)
def test_no_parameters_nearby_are_likelier(x):
    found, _ = fitted(x)
    assert set(found) == set(FAMILIES)
    for family, one in found.items():
        for name, best in one.parameters.items():
            for moved in (best * 0.99, best * 1.01, best + 1e-3):
                other = frozen(family, one.parameters | {name: moved})
                assert other.logpdf(x).sum() <= one.log_likelihood + 1e-7 * abs(one.log_likelihood)


@pytest.mark.parametrize(
    ("x", "left", "reason"),
    [
        ([-1.5, 2, 3], {"lognormal", "exponential", "gamma", "weibull"}, "smallest is -1.5"),
        ([0, 2, 3], {"lognormal", "gamma", "weibull"}, "positive samples, the smallest is 0"),
        ([7, 7, 7], set(FAMILIES), "equal"),
        ([7], set(FAMILIES), "equal"),
        ([], set(FAMILIES), "no samples"),
    ],
)
def test_families_that_have_no_place_for_the_samples_are_left_out_with_a_reason(x, left, reason):
    found, unfitted = fitted(x)
    assert set(unfitted) == left
    assert set(found) == set(FAMILIES) - left
    assert all(reason in said for said in unfitted.values())


def test_far_from_zero_every_two_parameter_family_but_weibull_is_the_normal_one():
    x = 1e9 + np.random.default_rng(3).normal(0, 1, 20_000)
    found, _ = fitted(x)
    normal = found["normal"]
    assert normal.parameters["std"] == pytest.approx(x.std(), rel=1e-9)
    for family in ("lognormal", "gamma"):
        assert found[family].log_likelihood == pytest.approx(normal.log_likelihood, abs=0.1)
        assert found[family].ks == pytest.approx(normal.ks, abs=1e-4)
    assert found["gamma"].parameters["shape"] == pytest.approx((1e9 / x.std()) ** 2, rel=1e-3)
    log = stats.gumbel_l.fit(x - 1e9)  # what a weibull is, far from zero
    assert found["weibull"].parameters["scale"] - 1e9 == pytest.approx(log[0], abs=1e-3)
    assert 1e9 / found["weibull"].parameters["shape"] == pytest.approx(log[1], rel=1e-3)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e300, 1e300), max_size=20), st.booleans())
def test_any_samples_are_fitted_with_finite_figures_or_left_out(x, positive):
    found, unfitted = fitted(np.abs(x) if positive else x)
    assert sorted([*found, *unfitted]) == sorted(FAMILIES)
    for one in found.values():
        figures = [one.log_likelihood, one.aic, one.ks, *one.parameters.values()]
        assert np.isfinite(figures).all(), one
        assert 0 <= one.ks <= 1


def test_six_hundred_decades_keep_their_digits():
    x = 10.0 ** np.linspace(-300, 300, 500)
    found, _ = fitted(x)
    assert found["lognormal"].parameters["mu"] == pytest.approx(0, abs=1e-6)
    shape = found["weibull"].parameters["shape"]
    log = stats.gumbel_l.fit(np.log(x))  # the logarithm of a weibull
    assert 1 / shape == pytest.approx(log[1], rel=1e-3)
    k = found["gamma"].parameters["shape"]
    assert np.log(k) - digamma(k) == pytest.approx(np.log(x.mean()) - np.log(x).mean())


def test_squares_beyond_float64_do_not_keep_the_normal_from_its_fit():
    found, _ = fitted([-1e300, 1e300])
    assert found["normal"].parameters == {"mean": 0, "std": pytest.approx(1e300)}


def test_a_weibull_is_found_where_plain_newton_steps_leave_for_minus_infinity():
    x = np.array([1.0, *[10.0] * 1000, 100.0])
    best = fitted(x)[0]["weibull"]
    assert best.log_likelihood >= scipy_fit("weibull", x).logpdf(x).sum() - 1e-6
    k = best.parameters["shape"]
    power = x**k / (x**k).sum()
    assert power @ np.log(x) - 1 / k - np.log(x).mean() == pytest.approx(0, abs=1e-9)
