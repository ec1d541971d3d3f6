from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd import views
from aggd.views import ASKED_FOR, INTERVAL, MATCHING, STATS, completed, fitting, outline, view

VALUES = {"interval": "5m", "rolling": "1h", "compare": "1d", "slo": "300:0.99"}


def given_(*options):
    return {option: VALUES.get(option, "1") for option in options}


@pytest.mark.parametrize(
    ("name", "options", "found"),
    [
        ("x", (), STATS),
        ("x", ("last", "percentiles", "by", "statistics", "csv"), STATS),
        ("x.*", ("sort", "limit", "by"), MATCHING),
        ("x[ab]", (), MATCHING),
        ("x?", ("json",), MATCHING),
        *(("x", (found.title[2:], "json", "tags", "kind"), found) for found in ASKED_FOR),
    ],
)
def test_options_choose_a_view(name, options, found):
    assert view(name, given_(*options)) is found


def test_a_chart_alone_is_one_over_time():
    assert view("x", given_("plot")).question is INTERVAL.question


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("x", ("last", "from"), "--last is a window of its own: leave out --from and --to"),
        ("x", ("json", "plot"), "--json and --plot exclude each other"),
        ("x", ("rolling", "compare"), "--rolling and --compare exclude each other"),
        ("x", ("step",), "--step goes with --rolling, not with statistics of one window"),
        ("x", ("interval", "step"), "--step goes with --rolling, not with --interval"),
        ("x", ("sort",), "--sort goes with a glob such as 'api.*', not with statistics of one"),
        ("x", ("slo", "csv"), "--csv goes with statistics of one window or a glob such as"),
        ("x", ("distribution", "by"), "--interval or --rolling, not with --distribution"),
        ("x", ("compare", "plot"), "--plot goes with --interval or --rolling, not with --compare"),
        ("x*", ("plot",), "--plot goes with --interval or --rolling, not with a glob such as"),
        ("x*", ("interval",), "--interval is for one name, not for a glob such as 'x*'"),
        ("x", ("plot", "percentiles"), "or --compare, not with --plot"),
    ],
)
def test_options_that_would_be_ignored_are_refused_by_name(name, options, said):
    with pytest.raises(ValueError, match="--") as caught:
        view(name, given_(*options))
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["300", "1:2:3", ""])
def test_an_objective_is_two_numbers(text):
    with pytest.raises(ValueError, match=r"such as 300:0\.99"):
        view("x", {"slo": text})


WINDOW = {"last": "1h", "tags": "a:b", "kind": "timer"}


@pytest.mark.parametrize(
    ("asked", "path", "sent"),
    [
        ({"percentiles": "9", "by": "a"}, ("stats", "x"), {"percentiles": "9", "by": "a"}),
        ({"statistics": "max"}, ("stats", "x"), {"statistics": "max"}),
        ({"compare": "1d"}, ("compare", "x"), {"offset": "1d"}),
        ({"slo": "3 : 0.9"}, ("slo", "x"), {"threshold": "3", "objective": "0.9"}),
        ({"distribution": "True"}, ("distribution", "x"), {"bins": "20"}),
        (
            {"interval": "5m", "statistics": "p9", "by": "a"},
            ("aggregate",),
            {"metric_name": "x", "interval": "5m", "aggregation": "p9", "by": "a"},
        ),
        (
            {"rolling": "1h", "step": "1m", "statistics": "p9"},
            ("rolling",),
            {"metric_name": "x", "window": "1h", "step": "1m", "aggregation": "p9"},
        ),
    ],
)
def test_each_view_asks_its_question(asked, path, sent):
    asked = {**WINDOW, **asked}
    question = view("x", asked).question("x", asked)
    assert question.path == path
    assert question.asked == {**WINDOW, **sent}
    assert question.posted == ("metric_name" in sent)


def test_what_rows_are_sorted_by_is_asked_for():
    sort = {"sort": "-p99.9", "limit": "3"}
    assert MATCHING.question("x*", sort).asked == {**sort, "match": "x*", "statistics": "p99.9"}
    assert MATCHING.question("x*", {"sort": "-name"}).asked == {"match": "x*", "sort": "-name"}


def test_a_name_is_asked_about_first_only_where_something_was_left_open():
    interval = view("x", {"interval": "5m"})
    assert outline(interval, "x", {"interval": "5m", "statistics": "mean"}) is None
    assert outline(interval, "x", {"interval": "5m", "last": "1h"}).asked == {"last": "1h"}
    rolling = {"rolling": "1h", "statistics": "mean"}
    assert outline(views.ROLLING, "x", rolling).path == ("stats", "x")
    assert outline(STATS, "x", {}) is None


ABOUT = {
    "kind": "timer",
    **{"from": "2026-11-24T02:00:00Z", "to": "2026-11-24T03:00:00Z", "resolution": "10s"},
}


def test_what_was_left_open_is_what_is_usual_and_fits():
    assert completed({}, ABOUT, 80) == {"statistics": "mean,p50,p99", "interval": "1m"}
    assert completed({"rolling": "1h"}, ABOUT, 80)["step"] == "1m"
    given = {"statistics": "max", "interval": "5m"}
    assert completed(given, ABOUT, 80) == given


@given(
    st.integers(10, 10**9), st.integers(20, 300), st.sampled_from(["1s", "6s", "10s", "1m", "1d"])
)
def test_an_interval_makes_no_more_buckets_than_columns_and_tiles_what_is_kept(
    seconds, columns, resolution
):
    finest = views.parse_duration(resolution)
    pace = fitting(seconds, columns, resolution)
    assert pace % finest == 0
    assert seconds / pace <= columns
    assert pace <= 5 * max(finest * ceil(seconds / columns / finest), finest)
