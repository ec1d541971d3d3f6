"""Tables of real answers; what they say of numbers is tested where the numbers come from."""

import csv
import io
import json
import re

import pytest
import pytest_asyncio

from tests.command import DAY, commanding, past
from tests.http.server import Past


@pytest_asyncio.fixture
async def aggd():
    async with commanding(past()) as command:
        yield command


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


async def test_one_name_has_a_statistic_a_row(aggd):
    assert (
        await aggd.text("query", "api.latency", "--last", "1h", "-p", "99.9")
        == """\
api.latency  timer  env:prod
2023-11-14T21:13:20Z to 2023-11-14T22:13:30Z, resolution 10s, exact

count        464
sum        63348
rate    0.128764
mean     136.526
median      62.5
std       129.79
min           20
max          398
p50         62.5
p90        340.7
p95        369.7
p99       392.37
p99.9    397.537
"""
    )


async def test_what_is_estimated_says_how_far_its_rank_may_be_off():
    about = Past()
    for minute in range(60):  # so many rows of frames are not searched
        lines = (f"t:{minute + host / 100}|ms|#host:{host}" for host in range(100))
        about.send(*lines, age=DAY + 60 * minute)
    async with commanding(about) as aggd:
        lines = await aggd.lines("query", "t", "-s", "count,p99")
        buckets = await aggd.lines("query", "t", "--interval", "1d", "-s", "p99")
    assert lines[1].endswith(", estimated")
    assert lines[3] == "count     6000"
    assert re.fullmatch(r"p99    59\.[0-9]+  rank within 0\.[0-9]{2} %", lines[4])
    assert re.fullmatch(r"p99: rank within 0\.[0-9]{2} %", buckets[2])


async def test_a_window_without_samples_has_a_count_alone(aggd):
    lines = await aggd.lines("query", "api.latency", "--from", "5", "--to", "100000")
    assert lines[2:] == ["", "count  0"]


async def test_groups_are_a_row_each_without_statistics_that_none_has(aggd):
    lines = await aggd.lines("query", "queue.depth", "--last", "1h", "--by", "host")
    assert lines[0] == "queue.depth  gauge  by host"
    assert lines[3:] == [
        "host  count   sum     mean  min  max  last",
        "-        58  1729  29.8103    0   59     0",
    ]


async def test_every_series_that_matches_is_a_row(aggd):
    lines = await aggd.lines("query", "*", "--last", "1h")
    assert lines[0] == "*  5 series"
    assert [" ".join(line.split()) for line in lines[3:5]] == [
        "name kind tags count rate mean p50 p99 max last unique",
        "api.latency timer env:prod,host:a 232 0.0643819 250.552 254 395.69 398 - -",
    ]
    assert [line.split()[0] for line in lines[5:]] == [
        *("api.latency", "api.requests", "queue.depth", "users")
    ]
    assert len({len(line) for line in lines[3:]}) == 1


async def test_what_is_sorted_by_or_asked_for_stands_first_and_the_rest_is_told(aggd):
    words = ["query", "api.*", "--last", "1h", "--sort", "-std", "-p", "99.90", "--limit", "1"]
    lines = await aggd.lines(*words)
    assert lines[3].split()[:6] == ["name", "kind", "tags", "std", "p99.9", "count"]
    assert lines[4].split()[3:6] == ["87.6656", "397.769", "232"]
    assert lines[5:] == ["", "More match: ask for them with --limit, or narrow the name."]


async def test_statistics_that_are_named_are_the_only_ones(aggd):
    one = await aggd.lines("query", "api.latency", "--last", "1h", "-s", "max,p90")
    many = await aggd.lines("query", "api.*", "--last", "1h", "-s", "max,p90")
    by = await aggd.lines("query", "api.latency", "--last", "1h", "-s", "max,p90", "--by", "host")
    assert one[3:] == ["max    398", "p90  340.7"]
    assert many[3].split() == ["name", "kind", "tags", "max", "p90"]
    assert by[3:] == ["host  max    p90", "a     398  369.8", "b      25     24"]


async def test_columns_of_csv_are_the_same_for_every_kind(aggd):
    found = [await aggd.text("query", name, "--csv") for name in ("api.latency", "users", "*")]
    assert len({text.splitlines()[0] for text in found}) == 1
    assert rows(found[1])[0]["unique"] == "58"
    assert rows(found[0])[0]["unique"] == ""
    assert [row["tags"] for row in rows(found[2])[:2]] == ["env:prod,host:a", "env:prod,host:b"]


async def test_csv_holds_what_json_holds(aggd):
    words = ["query", "api.latency", "--last", "1h", "--by", "host,zone"]
    as_json = json.loads(await aggd.text(*words, "--json"))["series"]
    as_csv = rows(await aggd.text(*words, "--csv"))
    for row, group in zip(as_csv, as_json, strict=True):
        assert (row["tags.host"], row["tags.zone"]) == (group["tags"]["host"], "")
        assert row["exact"] == "true"
        for key in ("count", "rate", "mean", "std", "p99"):
            assert float(row[key]) == group[key]


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("api.latency", "timestamp,count,mean,p50,p99"),
        ("api.requests", "timestamp,count,sum,rate"),
        ("queue.depth", "timestamp,count,last,mean,min,max"),
        ("users", "timestamp,count,unique"),
    ],
)
async def test_buckets_show_what_is_usual_of_a_kind(aggd, name, header):
    lines = await aggd.lines("query", name, "--last", "1h", "--interval", "20m", "--csv")
    assert lines[0] == header
    assert len(lines) == 5


async def test_buckets_are_a_row_each(aggd):
    words = ["query", "api.latency", "--last", "1h", "--interval", "20m", "-s", "max,count"]
    assert (
        await aggd.text(*words)
        == """\
api.latency  every 20m
2023-11-14T21:13:20Z to 2023-11-14T22:13:30Z, resolution 10s, exact

timestamp             count  max
2023-11-14T21:00:00Z     48  398
2023-11-14T21:20:00Z    160  368
2023-11-14T21:40:00Z    144  268
2023-11-14T22:00:00Z    112  168
"""
    )
    by = await aggd.lines(*words, "--by", "host")
    assert by[0] == "api.latency  every 20m  by host"
    assert by[3:5] == [
        "host  timestamp             count  max",
        "a     2023-11-14T21:00:00Z     24  398",
    ]
    assert (await aggd.lines(*words, "--by", "host", "--csv"))[-1] == "b,2023-11-14T22:00:00Z,56,25"


async def test_points_of_moving_windows_are_a_row_each(aggd):
    words = ["query", "api.latency", "--last", "1h", "--rolling", "30m", "--step", "20m"]
    lines = await aggd.lines(*words, "-s", "max,p50")
    answer = json.loads(await aggd.text(*words, "-s", "max,p50", "--json"))
    assert lines[0] == "api.latency  over 30m, every 20m"
    assert lines[3].split() == ["timestamp", "count", "max", "p50"]
    for line, point in zip(lines[4:], answer["points"], strict=True):
        assert line.split()[:2] == [point["timestamp"], str(point["count"])]
    by = await aggd.lines(*words, "--by", "host", "--csv")
    assert by[0] == "tags.host,timestamp,count,mean,p50,p99"
    assert [line.split(",")[0] for line in by[1:]] == ["a"] * 4 + ["b"] * 4


async def test_moving_windows_without_a_step_take_one_that_fits(aggd):
    lines = await aggd.lines("query", "api.requests", "--last", "1h", "--rolling", "10m")
    assert lines[0] == "api.requests  over 10m, every 1m"
    assert 60 <= len(lines[4:]) <= 62


async def test_no_bucket_and_no_group_are_said(aggd):
    empty = ["query", "api.latency", "--from", "5", "--to", "100000"]
    said = "api.latency: nothing in this window\n"
    assert await aggd.text(*empty, "--interval", "1d", "-s", "mean") == said
    assert await aggd.text(*empty, "--interval", "1d", "-s", "mean", "--plot") == said
    assert await aggd.text("query", "api.latency", "--tags", "no:one", "--by", "host") == said


async def test_tags_without_value_or_with_several_are_told(aggd):
    about = Past()
    about.send("a:1|c|#bare,zone:x,zone:y", "a:1|c")
    async with commanding(about) as aggd:
        assert "a     counter  bare,zone:x,zone:y" in await aggd.text("series")
        by = await aggd.lines("query", "a", "--by", "zone", "-s", "count")
    assert {line.split()[0] for line in by[4:]} == {"x,y", "-"}


async def test_series_are_listed_to_the_second_and_in_csv_to_the_last_digit(aggd):
    lines = await aggd.lines("series", "--match", "api.*", "--tags", "host:a")
    assert lines == [
        "name         kind   tags             first_seen            last_seen",
        "api.latency  timer  env:prod,host:a  2023-11-14T22:13:23Z  2023-11-14T22:13:23Z",
    ]
    found = rows(await aggd.text("series", "--kind", "set", "--csv"))
    assert [row["name"] for row in found] == ["users"]
    assert found[0]["last_seen"] == "2023-11-14T22:13:23.5Z"


async def test_the_heaviest_names_and_prefixes_are_told(aggd):
    lines = await aggd.lines("top", "--last", "1h", "--limit", "2")
    assert lines[0] == "heaviest by count"
    assert lines[1].startswith("2023-11-14T21:13:20Z to 2023-11-14T22:13:30Z, resolution ")
    assert [line.split()[:4] for line in lines[3:6]] == [
        ["name", "kind", "count", "series"],
        ["api.latency", "timer", "464", "2"],
        ["api.requests", "counter", "58", "1"],
    ]
    assert [line.split()[:3] for line in lines[7:]] == [
        ["prefix", "count", "series"],
        ["api.", "522", "3"],
        ["queue.", "58", "1"],
    ]
    found = rows(await aggd.text("top", "--last", "1h", "--by", "series", "--csv"))
    assert [row["what"] for row in found] == ["name"] * 4 + ["prefix"] * 2
    assert list(found[0].values())[:5] == ["name", "api.latency", "timer", "464", "2"]
    assert list(found[-1])[-3:] == ["count", "series", "bytes"]
    empty = await aggd.lines("top", "--from", "5", "--to", "100000")
    assert empty[3:] == ["Nothing in this window."]
