"""Charts of real answers."""

import pytest_asyncio

from aggd.terminal.plot import GROUP_ROWS, MOST_CHARTS
from tests.command import commanding, past
from tests.http.server import Past


@pytest_asyncio.fixture
async def aggd():
    async with commanding(past()) as command:
        yield command


async def test_a_chart_has_80_columns_and_20_rows_where_there_is_no_terminal(aggd):
    lines = await aggd.lines("query", "api.latency", "--last", "1h", "--plot", "-s", "max")
    assert lines[:4] == [
        "api.latency  every 1m",
        "2023-11-14T21:13:20Z to 2023-11-14T22:13:30Z, resolution 10s, exact",
        "",
        "max",
    ]
    assert len(lines[4:]) == 20
    assert len(lines[-2]) == 80
    assert lines[4].startswith("400 ┤ ⠉⠒")
    assert lines[-3] == "  0 ┤"
    assert lines[-1].split() == ["21:20", "21:30", "21:40", "21:50", "22:00", "22:10"]


async def test_minutes_without_samples_part_the_line(aggd):
    lines = await aggd.lines("query", "api.latency", "--last", "1h", "--plot", "-s", "max")
    columns = zip(*(line.ljust(80)[5:] for line in lines[4:-2]), strict=True)
    drawn = "".join(" " if set(column) == {" "} else "#" for column in columns)
    assert [len(part) for part in drawn.split()] == [46, 25]


async def test_the_width_is_that_of_the_terminal(aggd):
    words = ["query", "api.latency", "--last", "1h", "--interval", "10m", "--plot"]
    lines = (await aggd.text(*words, COLUMNS="50", LINES="18")).splitlines()
    assert lines[3] == "mean"
    assert len(lines[4:]) == 12
    assert max(map(len, lines[4:])) == 50


async def test_moving_windows_are_drawn_without_the_holes_of_minutes(aggd):
    words = ["query", "api.latency", "--last", "1h", "--rolling", "10m", "--step", "1m"]
    lines = await aggd.lines(*words, "--plot", "-s", "max")
    assert lines[0] == "api.latency  over 10m, every 1m"
    columns = zip(*(line.ljust(80)[5:] for line in lines[4:-2]), strict=True)
    drawn = "".join(" " if set(column) == {" "} else "#" for column in columns)
    assert len(drawn.split()) == 1
    assert len(drawn.strip()) > 70


async def test_groups_have_a_chart_each_on_one_scale(aggd):
    lines = await aggd.lines(
        "query", "api.latency", "--last", "1h", "--plot", "--by", "host", "-s", "p99,max"
    )
    titles = [at for at, line in enumerate(lines) if line.startswith("p99")]
    assert [lines[at] for at in titles] == ["p99  host:a", "p99  host:b"]
    charts = [lines[at + 1 : at + 1 + GROUP_ROWS] for at in titles]
    labels = [[line.partition("┤")[0] for line in chart if "┤" in line] for chart in charts]
    assert labels[0] == labels[1] == ["400 ", "300 ", "200 ", "100 ", "  0 "]
    assert lines[titles[1] - 1] == ""
    assert len(lines) == titles[1] + 1 + GROUP_ROWS


async def test_more_groups_than_can_be_compared_are_counted():
    about = Past()
    for i in range(MOST_CHARTS + 3):
        about.send(f"a:{i}|ms|#host:{i:02}")
    async with commanding(about) as aggd:
        lines = await aggd.lines("query", "a", "--last", "1m", "--plot", "--by", "host")
    assert sum(line.startswith("mean  host:") for line in lines) == MOST_CHARTS
    assert lines[-1] == "and 3 more groups: narrow them with --tags"
