"""What the terminal says of comparisons, objectives and distributions."""

import csv
import io
import json

import pytest
import pytest_asyncio

from tests.command import commanding, past


@pytest_asyncio.fixture
async def aggd():
    async with commanding(past()) as command:
        yield command


async def test_two_windows_stand_side_by_side(aggd):
    words = ["query", "api.latency", "--last", "1h", "--compare", "1d"]
    lines = await aggd.lines(*words)
    assert lines[0] == "api.latency  timer  env:prod"
    assert lines[1:3] == [
        "2023-11-14T21:13:20Z to 2023-11-14T22:13:30Z, resolution 10s, exact",
        "before: 2023-11-13T21:13:20Z to 2023-11-13T22:13:30Z",
    ]
    assert lines[4:8] == [
        "          before   current       change",
        "count        464       464            0       +0 %",
        "sum        10440     63348        52908   +506.8 %",
        "rate    0.128532  0.128764  0.000231846  +0.1804 %",  # of what has passed
    ]
    assert lines[-2] == "They differ: the current samples are higher."
    assert lines[-1].startswith("Kolmogorov-Smirnov distance 0.5, over the 0.1")
    assert lines[-1].endswith(" from 464 and 464 samples.")
    found = {
        row["statistic"]: row
        for row in csv.DictReader(io.StringIO(await aggd.text(*words, "--csv")))
    }
    answer = json.loads(await aggd.text(*words, "--json"))
    for name in ("count", "mean", "p99"):
        assert float(found[name]["before"]) == answer["before"][name]
        assert float(found[name]["current"]) == answer["current"][name]
        assert float(found[name]["absolute"]) == answer["change"][name]["absolute"]
        assert float(found[name]["relative"]) == answer["change"][name]["relative"]


async def test_windows_of_one_distribution_show_no_sign_of_a_difference(aggd):
    words = ["query", "api.latency", "--last", "1h", "--tags", "host:b", "--compare", "1d"]
    lines = await aggd.lines(*words, "-p", "99.9")
    assert lines[-3] == ""
    assert lines[-2] == "No sign that they differ."
    assert lines[-1].startswith("Kolmogorov-Smirnov distance 0, within the 0.1")
    assert lines[-4].split() == ["p99.9", "25", "25", "0", "+0", "%"]


async def test_the_samples_of_both_windows_are_told_the_earlier_first(aggd):
    words = ["query", "api.latency", "--last", "1h", "--compare", "30m"]
    answer = json.loads(await aggd.text(*words, "--json"))
    before, current = answer["before"]["count"], answer["current"]["count"]
    assert before < current
    assert (await aggd.lines(*words))[-1].endswith(f" from {before} and {current} samples.")


@pytest.mark.parametrize(
    ("name", "offset", "said"),
    [
        ("api.requests", "1d", "No test: only timers have one."),
        ("api.latency", "5d", "No test: a window has no samples."),
    ],
)
async def test_windows_that_cannot_be_tested_say_so(aggd, name, offset, said):
    lines = await aggd.lines("query", name, "--last", "1h", "--compare", offset)
    assert lines[-1] == said
    assert not any(line.split()[1:3] == ["-", "-"] for line in lines)


async def test_an_objective_in_danger_is_an_alert_and_exits_with_3(aggd):
    words = ["query", "api.latency", "--last", "1h", "--slo", "300:0.99"]
    lines = await aggd.lines(*words, code=3)
    assert lines[3:] == [
        "objective    99 % at or under 300",
        "good         82.97 %  (79 bad of 464)",
        "budget left  -1603 %",
        "burn rate    0 over 5m",
        "             0 over 30m",
        "             17.0259 over 1h",
        "             17.0259 over 6h",
        "             8.51293 over 3d",
        "",
        "ALERT ticket: burns faster than 1 over 3d and 6h",
    ]
    assert json.loads(await aggd.text(*words, "--json", code=3))["alerting"] is True


async def test_an_objective_that_holds_exits_with_0(aggd):
    lines = await aggd.lines("query", "api.latency", "--last", "1h", "--slo", "398:0.99")
    assert lines[4] == "good         100 %  (0 bad of 464)"
    assert lines[-1] == "Not alerting."


async def test_an_objective_without_samples_has_no_figures(aggd):
    words = ["query", "api.latency", "--from", "5", "--to", "100000", "--slo", "1:0.9"]
    lines = await aggd.lines(*words)
    assert lines[4:6] == ["good         -  (0 bad of 0)", "budget left  -"]


async def test_a_distribution_is_bars_and_what_fits_it(aggd):
    words = ["query", "api.latency", "--last", "1h", "--distribution"]
    lines = await aggd.lines(*words)
    answer = json.loads(await aggd.text(*words, "--json"))
    bars = lines[3:23]
    assert [int(line.split()[3]) for line in bars] == answer["histogram"]["counts"]
    assert bars[0] == "   20  to   38.9  232  " + "█" * 57
    assert bars[1] == " 38.9  to   57.8    0"
    assert max(map(len, lines)) == 80
    assert lines[24].startswith("best fit  lognormal    mu 4.28")
    fits = [line.removeprefix("best fit").split()[0] for line in lines[24:]]
    assert fits == [fit["family"] for fit in answer["fits"]]


async def test_a_distribution_without_samples_says_so(aggd):
    words = ["query", "api.latency", "--from", "5", "--to", "100000", "--distribution"]
    assert (await aggd.lines(*words))[3:] == ["Nothing in this window."]


async def test_one_value_is_one_bar_and_fits_nothing():
    about = past()
    about.send("one:7|ms")
    async with commanding(about) as aggd:
        lines = await aggd.lines("query", "one", "--distribution")
    assert lines[3].startswith("7  to  7  1  ████")
    assert lines[5:] == ["No family was fitted."]
