"""Scores of buckets against those before them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.errors import RequestError
from aggd.query import anomaly
from aggd.query.aggregate import Buckets
from aggd.query.anomaly import LEAST, Trail, scored, scores, trail

values = st.one_of(
    st.integers(0, 3).map(float),
    st.floats(-1e6, 1e6).map(lambda v: round(v, 2)),
    st.sampled_from([np.nan, np.inf]),
)
rows = st.lists(st.tuples(st.integers(1, 4), values), max_size=40)


def slow(start, value, window):
    """The definition, bucket by bucket."""
    out = []
    for at, x in zip(start, value, strict=True):
        before = [
            v for t, v in zip(start, value, strict=True)
            if at - window <= t < at and np.isfinite(v)
        ]  # fmt: skip
        if len(before) < LEAST or not np.isfinite(x):
            out.append(np.nan)
            continue
        median = np.median(before)
        distances = np.abs(np.array(before) - median)
        spread = 1.4826 * np.median(distances)
        if spread == 0:
            spread = 1.2533 * np.mean([*distances, abs(x - median)])
        out.append((x - median) / spread if spread else np.nan)
    return out


@given(rows, st.integers(5, 12), st.integers(1, 30))
def test_scores_are_those_of_the_definition(steps, window, room):
    start = 60 * np.cumsum([step for step, _ in steps], dtype=np.int64)
    value = np.array([v for _, v in steps])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anomaly, "AT_ONCE", room)
        got = scores(start, value, Trail(60, 60 * window))
    want = slow(start.tolist(), value.tolist(), 60 * window)
    assert got == pytest.approx(want, rel=1e-9, nan_ok=True)


@given(st.lists(values, min_size=8, max_size=40), st.integers(0, 39), values)
def test_what_comes_later_changes_no_score(found, place, other):
    place = min(place, len(found) - 1)
    start = np.arange(len(found), dtype=np.int64) * 10
    changed = [*found[: place + 1], *(other for _ in found[place + 1 :])]
    first, second = (scores(start, np.array(x), Trail(10, 600)) for x in (found, changed))
    assert np.array_equal(first[: place + 1], second[: place + 1], equal_nan=True)


def test_a_spike_stands_out_and_neither_hides_nor_makes_the_next():
    rng = np.random.default_rng(1)
    value = rng.normal(100, 2, 500)
    value[300] = 1e9
    got = scores(np.arange(500, dtype=np.int64), value, Trail(1, 60))
    assert np.isnan(got[:LEAST]).all()
    assert got[300] > 1e8
    assert np.abs(np.delete(got[60:], 240)).max() < 6
    assert np.std(np.delete(got[60:], 240)) == pytest.approx(1, abs=0.2)  # sigmas


def test_after_equal_buckets_an_equal_one_has_no_score_and_any_other_a_finite_one():
    start = np.arange(61, dtype=np.int64)
    for last, score in ((7.0, np.nan), (7.5, 61 / 1.2533), (-1e300, -61 / 1.2533)):
        value = np.append(np.full(60, 7.0), last)
        got = scores(start, value, Trail(1, 60))
        assert np.isnan(got[:60]).all()
        assert got[60] == pytest.approx(score, nan_ok=True)


def buckets(start, count, mean):
    columns = {"count": np.array(count, float), "mean": np.array(mean, float)}
    return Buckets(np.array(start, np.int64), columns, True, {})


def test_empty_buckets_judge_only_as_zeros():
    of = buckets(range(0, 100, 10), [1, 1, 1, 1, 0, 0, 0, 1, 1, 1], [5, 6, 5, 6, 0, 0, 0, 5, 6, 90])
    (nulls,) = scored([of], "mean", Trail(10, 600), zeros=False)
    (zeros,) = scored([of], "mean", Trail(10, 600), zeros=True)
    assert list(nulls.columns) == ["count", "mean", "anomaly"]
    assert np.isnan(nulls.columns["anomaly"]).tolist() == [True] * 8 + [False] * 2
    assert nulls.columns["anomaly"][9] == pytest.approx((90 - 5.5) / (1.4826 * 0.5))
    assert np.isnan(zeros.columns["anomaly"]).tolist() == [True] * 5 + [False] * 5
    assert zeros.columns["anomaly"][5] == pytest.approx((0 - 5) / 1.4826)


def test_the_trailing_window_is_sixty_intervals_or_a_multiple_of_one():
    assert trail(60, None) == Trail(60, 3600)
    assert trail(60, 600.0) == Trail(60, 600)
    for window in (90, 240, 1.5):
        with pytest.raises(RequestError, match="multiple of the interval, 1m, and at least 5"):
            trail(60, window)


def test_too_many_comparisons_are_refused(monkeypatch):
    of = buckets(range(0, 100, 10), [1] * 10, [1] * 10)
    monkeypatch.setattr(anomaly, "MAX_COMPARED", 99)
    scored([of], "mean", Trail(10, 90), zeros=False)
    with pytest.raises(RequestError, match="compares 100 buckets, up to 99") as refused:
        scored([of], "mean", Trail(10, 100), zeros=False)
    assert (refused.value.code, refused.value.status) == ("bad_anomaly_window", 422)


def test_a_window_longer_than_all_there_is_costs_no_more():
    of = buckets(range(0, 100, 10), [1] * 10, [*range(9), 90])
    of_all, of_ages = (
        scored([of], "mean", Trail(10, window), zeros=False)[0].columns["anomaly"]
        for window in (100, 10**13)
    )
    assert np.array_equal(of_all, of_ages, equal_nan=True)
    assert of_ages[-1] > 10


def test_no_bucket_has_no_score():
    (none,) = scored([buckets([], [], [])], "mean", Trail(10, 600), zeros=False)
    assert none.columns["anomaly"].size == 0
