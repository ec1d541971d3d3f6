"""Objectives against the samples themselves, and the alerting rule on known days."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.errors import RequestError
from aggd.query.scope import Scope, Window
from aggd.query.slo import RULES, WINDOWS, Objective, assess
from aggd.store.rollup import History, Tier
from aggd.store.series import Kind
from tests.query.past import START, Past, Sample

HOUR, DAY = 3600, 86400
GOOD, BAD = 100.0, 900.0


def asked(past: Past, objective=0.99, threshold=300.0, end=None, start=None, now=None, tags=()):
    window = Window(start and START + start, end and START + end)
    scope = Scope(window, START + (now or end or 0), tags)
    return assess(past.registry, past.history, "t", Objective(threshold, objective), scope)


def burning(past: Past, until: int, bad, every: int = 60) -> Past:
    """A sample now and then, bad where `bad` says so."""
    times = range(0, until, every)
    return past.record([Sample(0, BAD if bad(t) else GOOD, 1.0, t) for t in times])


def firing(found):
    return {(a["long"], a["severity"]) for a in found["alerts"] if a["firing"]}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.builds(Sample, st.integers(0, 3), st.integers(0, 20).map(float),
                  st.sampled_from([1.0, 4.0]), st.integers(0, 399)),
        min_size=1, max_size=300,
    ),
    st.integers(-1, 21),
    st.sampled_from([0.5, 0.9, 0.999]),
)  # fmt: skip
def test_good_is_the_share_at_or_under_the_threshold(rows, threshold, objective):
    past = Past().record(rows)
    x = past.raw()
    found = asked(past, objective, float(threshold), 400, 0)
    good = (x <= threshold).mean()
    assert (found["threshold"], found["objective"], found["count"]) == (
        threshold,
        objective,
        x.size,
    )
    assert (found["exact"], found["error"]) == (True, 0)
    assert found["good"] == pytest.approx(good)
    assert (found["good_count"], found["bad_count"]) == (
        (x <= threshold).sum(),
        (x > threshold).sum(),
    )
    assert found["budget_remaining"] == pytest.approx(1 - (1 - good) / (1 - objective))
    for word, seconds in WINDOWS.items():
        inside = past.raw(max(0, 400 - seconds))
        expected = (inside > threshold).mean() / (1 - objective) if inside.size else None
        assert found["burn_rate"][word] == pytest.approx(expected), word


def test_all_good_burns_nothing_even_with_fractional_weights():
    past = Past().record([Sample(0, float(i), 1 / 0.3, i) for i in range(300)])
    found = asked(past, threshold=300.0, end=300)
    assert (found["good"], found["bad_count"], found["budget_remaining"]) == (1, 0, 1)
    assert set(found["burn_rate"].values()) == {0}


def test_without_the_samples_good_is_within_its_stated_error():
    rng = np.random.default_rng(1)
    x = rng.lognormal(5, 1, 20_000)
    past = Past().record(Sample(i % 2, v, 2.0, i // 50) for i, v in enumerate(x.tolist()))
    past.history.samples_memory = 0
    past.history.close(START + DAY)
    for threshold in (30.0, 150.0, 300.0, 1500.0, 1e9):
        found = asked(past, threshold=threshold, end=400)
        right = (x <= threshold).mean()
        assert not found["exact"]
        assert 0 < found["error"] < 0.05
        assert abs(found["good"] - right) <= found["error"]
        assert found["good_count"] + found["bad_count"] == found["count"] == 40_000
        assert found["good"] == pytest.approx(found["good_count"] / 40_000)


def test_the_rule_is_that_of_the_workbook():
    assert [tuple(rule) for rule in RULES] == [
        ("page", "1h", "5m", 14.4),
        ("page", "6h", "30m", 6.0),
        ("ticket", "3d", "6h", 1.0),
    ]


def test_a_fast_burn_pages_while_it_lasts():
    past = burning(Past(), 7 * HOUR, lambda t: t >= 6 * HOUR + 1800)
    now = asked(past, end=7 * HOUR)
    assert now["burn_rate"]["5m"] == pytest.approx(100)
    assert now["burn_rate"]["1h"] == pytest.approx(50, rel=0.02)
    assert now["alerting"]
    assert ("1h", "page") in firing(now)
    over = burning(Past(), 7 * HOUR, lambda t: 6 * HOUR + 1000 < t < 7 * HOUR - 600)
    over = asked(over, end=7 * HOUR)
    assert over["burn_rate"]["1h"] > 14.4
    assert over["burn_rate"]["5m"] == 0
    assert ("1h", "page") not in firing(over)


def test_a_slow_burn_is_a_ticket_only():
    past = burning(Past(), 8 * HOUR, lambda t: t % 1500 == 0)
    found = asked(past, end=8 * HOUR)
    assert 1 < found["burn_rate"]["3d"] < 6
    assert firing(found) == {("3d", "ticket")}


def test_a_burn_within_the_budget_alerts_nobody():
    past = burning(Past(), 8 * HOUR, lambda t: t % 12_000 == 0)
    found = asked(past, end=8 * HOUR)
    assert 0 < found["burn_rate"]["6h"] < 1
    assert found["alerting"] is False
    assert 0 < found["budget_remaining"] < 1


def test_burn_rates_end_where_the_question_does():
    past = burning(Past(), 3 * HOUR, lambda t: t < HOUR)
    then = asked(past, end=HOUR, now=3 * HOUR)
    assert list(then["burn_rate"].values()) == [pytest.approx(100)] * len(WINDOWS)
    assert then["alerting"]
    assert asked(past, now=3 * HOUR)["burn_rate"]["1h"] == 0
    assert asked(past, start=HOUR, end=2 * HOUR, now=3 * HOUR)["budget_remaining"] == 1


def test_burn_rates_of_a_question_that_reaches_into_the_future_end_now():
    past = burning(Past(), 2 * HOUR, lambda t: t >= HOUR)
    now, later = (asked(past, start=0, end=end, now=2 * HOUR) for end in (2 * HOUR, 9 * DAY))
    assert later["burn_rate"] == now["burn_rate"]
    assert later["burn_rate"]["5m"] == pytest.approx(100)
    assert later["alerting"]


def test_what_is_only_kept_by_the_hour_says_nothing_about_minutes():
    past = Past()
    tiers = (Tier("interval", 10, 600), Tier("minute", 60, 1800), Tier("hour", HOUR, 30 * DAY))
    past.history = History(tiers, 1 << 30, 1 << 28, START)
    burning(past, 5 * HOUR, lambda t: True)
    found = asked(past, end=HOUR, now=5 * HOUR)
    burn = found["burn_rate"]
    assert (burn["5m"], burn["30m"]) == (None, None)
    assert [burn[word] for word in ("1h", "6h", "3d")] == [pytest.approx(100)] * 3
    assert ("1h", "page") not in firing(found)


def test_a_window_without_samples_has_nulls_and_no_alert():
    past = Past().record([Sample(0, BAD, 1.0, 0)])
    found = asked(past, start=-9 * DAY, end=-8 * DAY)
    assert (found["count"], found["good_count"], found["bad_count"]) == (0, 0, 0)
    assert [found[key] for key in ("good", "error", "budget_remaining")] == [None] * 3
    assert set(found["burn_rate"].values()) == {None}
    assert found["alerting"] is False


def test_tags_narrow_all_windows():
    past = Past(series=2)
    past.record([Sample(i % 2, BAD if i % 2 else GOOD, 1.0, i) for i in range(300)])
    assert asked(past, end=300, tags=("host:0",))["burn_rate"]["5m"] == 0
    assert asked(past, end=300, tags=("host:1",))["burn_rate"]["5m"] == pytest.approx(100)


def test_only_timers_have_objectives():
    past = Past(Kind.COUNTER).record([Sample(0, 1.0, 1.0, 0)])
    with pytest.raises(RequestError, match="is a counter") as caught:
        asked(past, end=10)
    assert caught.value.status == 422
