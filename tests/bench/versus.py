"""The same million samples in a daemon and in InfluxDB 1.x: how fast in, how fast answers.

Both are measured in turn, when neither has anything left to do, and the other one goes
first in every second round.  Points are written with their times; lines have none, so
those of aggd count from now on and those of InfluxDB are points all the same.  Over UDP
the rate of aggd is one without loss, that of InfluxDB what it writes of a flood.
"""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from threading import Thread
from typing import Any, NamedTuple

import numpy as np

from aggd.http.service import JSON, TEXT
from tests.bench import influx, tools
from tests.bench.asking import Client, milliseconds
from tests.bench.bench_intake import Case, Served, search
from tests.bench.influx import Influx
from tests.bench.million import MILLION, REACH, values
from tests.bench.tools import BenchError, Daemon, spread

BATCH = 5000  # lines or points in one request
CONNECTIONS = 4  # that write at a time
FIRST_RATE = 4e6  # lines/s where the search for what aggd holds begins
NAME = "NAME"  # stands for the series in bodies
ASKED = "point0"  # of the first round: where aggd, too, has the times


class Pair(NamedTuple):
    """One figure of both: ms, or millions a second."""

    aggd: float
    influx: float


class Row(NamedTuple):
    """One line of the table; the aim is how many times better aggd is to be."""

    title: str
    unit: str
    aim: float

    def better(self, pair: Pair) -> float:
        """How many times better aggd is."""
        return pair.aggd / pair.influx if self.unit == "M/s" else pair.influx / pair.aggd


ROWS = (
    Row("mean, std, min, max", "ms", 50),
    Row("p50, p90, p95, p99", "ms", 50),
    Row("mean by 5 minutes", "ms", 15),
    Row("HTTP, statsd lines", "M/s", 2),
    Row("HTTP, JSON points", "M/s", 1),
    Row("UDP", "M/s", 10),
)


class Both(NamedTuple):
    """The two, and when the million samples begin, in seconds since the epoch."""

    aggd: Daemon
    influx: Influx
    start: int

    def calm(self) -> None:
        """Wait until neither has anything left to do."""
        tools.calm(self.aggd.pid)
        tools.calm(self.influx.pid)


def measure(rounds: int, repeats: int, seconds: float) -> dict[str, Any]:
    """Write some rounds of a million, then ask."""
    pairs: dict[str, list[Pair]] = {row.title: [] for row in ROWS}
    apart = []
    with ExitStack() as stack:
        daemon = tools.aggd()
        stack.callback(daemon.stop)
        server = Influx()
        stack.callback(server.stop)
        both = Both(daemon, server, int(time.time()) - REACH - 100)
        acts = writes(both, seconds)
        for number in range(rounds):
            apart.append(tools.core_distance())
            in_turn(both, acts, number, pairs)
        both.calm()
        agree(both)
        acts = reads(both)
        for number in range(repeats + 1):
            # The first answers warm up.
            in_turn(both, acts, number, pairs if number else {title: [] for title in acts})
    return {"pairs": pairs, "core_distance_ns": apart, "version": influx.version()}


Act = Callable[[int], float]  # takes the number of the round
Acts = dict[str, tuple[Act, Act]]  # aggd's and InfluxDB's


def in_turn(both: Both, acts: Acts, number: int, pairs: dict[str, list[Pair]]) -> None:
    """Measure both in all acts, each when nobody is busy, in odd rounds the other one first."""
    for title, pair in acts.items():
        found = [0.0, 0.0]
        for which in (0, 1)[:: -1 if number % 2 else 1]:
            both.calm()
            found[which] = pair[which](number)
        pairs[title].append(Pair(*found))


def writes(both: Both, seconds: float) -> Acts:
    """All ways in, in millions a second; each round writes series of its own."""
    lines, points, rows = bodies(both.start)

    def mine(media: str, every: list[bytes], name: str) -> Act:
        path = "/api/v1/record"
        return lambda n: posted(both.aggd.http, path, media, named(every, f"{name}{n}"))

    def theirs(name: str) -> Act:
        path = "/write?db=bench&precision=ms"
        return lambda n: posted(both.influx.http, path, TEXT, named(rows, f"{name}{n}"))

    return {
        "HTTP, statsd lines": (mine(TEXT, lines, "line"), theirs("line")),
        "HTTP, JSON points": (mine(JSON, points, "point"), theirs("point")),
        "UDP": (
            lambda number: lines_to_aggd(both.aggd, seconds),
            lambda number: points_to_influx(both.influx, rows, seconds),
        ),
    }


def bodies(start: int) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """The million as lines, as points in JSON and as InfluxDB reads it, `BATCH` a body."""
    stamp = start * 1000 + np.arange(MILLION) * (REACH * 1000 // MILLION)
    pairs = list(zip(values().tolist(), stamp.tolist(), strict=True))
    lines, points, rows = [], [], []
    for i in range(0, MILLION, BATCH):
        some = pairs[i : i + BATCH]
        lines.append("\n".join(f"{NAME}:{v}|ms" for v, _ in some).encode())
        data = (f'{{"name":"{NAME}","value":{v},"timestamp":{t / 1e3:.3f}}}' for v, t in some)
        points.append(f'{{"data":[{",".join(data)}]}}'.encode())
        rows.append("\n".join(f"{NAME} value={v} {t}" for v, t in some).encode())
    return lines, points, rows


def named(every: list[bytes], name: str) -> list[bytes]:
    """The same bodies about a series of this name."""
    return [body.replace(NAME.encode(), name.encode()) for body in every]


def posted(port: int, path: str, media: str, every: list[bytes]) -> float:
    """Millions a second that were taken, over some connections at a time."""
    failed: list[Exception] = []

    def post(some: list[bytes]) -> None:
        client = Client(port)
        try:
            for body in some:
                client.post(path, body, media)
        except (OSError, BenchError) as error:
            failed.append(error)

    threads = [Thread(target=post, args=(every[i::CONNECTIONS],)) for i in range(CONNECTIONS)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise BenchError(f"{path}: {failed[0]!r}")
    return len(every) * BATCH / (time.monotonic() - start) / 1e6


def lines_to_aggd(daemon: Daemon, seconds: float) -> float:
    """Millions a second held without loss; the generator is often the limit."""
    loads = search(Served(daemon), Case("packed", 1, 0), seconds, FIRST_RATE)
    return max((load.rate for load in loads if load.held), default=0.0) / 1e6


def points_to_influx(server: Influx, every: list[bytes], seconds: float) -> float:
    """Millions a second written of as many as fit through its socket."""
    before = server.taken()
    server.flood(named(every, "udp"), seconds)
    end = last = time.monotonic()
    taken = server.taken()
    while time.monotonic() < last + 0.5:  # nothing tells when the last one was written
        time.sleep(tools.ASK)
        now = server.taken()
        if now > taken:
            taken, last = now, time.monotonic()
    return (taken - before) / (seconds + last - end) / 1e6


def reads(both: Both) -> Acts:
    """The same questions, in ms; the first is one bucket of a day, or two."""
    mine, theirs = Client(both.aggd.http), Client(both.influx.http)
    end = both.start + REACH
    edges = f"from={both.start}&to={end}"
    stats = f"/api/v1/stats/{ASKED}?{edges}"
    buckets = f"/api/v1/aggregate?metric_name={ASKED}&{edges}"

    def pair(path: str, words: str, rest: str = "") -> tuple[Act, Act]:
        during = f"WHERE time >= {both.start}s AND time < {end}s"
        query = influx.query(f"SELECT {words} FROM {ASKED} {during}{rest}")
        return (
            lambda number: milliseconds(lambda: mine.ask(path)),
            lambda number: milliseconds(lambda: theirs.ask(query)),
        )

    quantiles = ", ".join(f"percentile(value, {p})" for p in (50, 90, 95, 99))
    moments = "mean(value), stddev(value), min(value), max(value)"
    return {
        "mean, std, min, max": pair(f"{buckets}&interval=1d&aggregation=mean,std,min,max", moments),
        "p50, p90, p95, p99": pair(stats, quantiles),
        "mean by 5 minutes": pair(
            f"{buckets}&interval=5m&aggregation=mean", "mean(value)", " GROUP BY time(5m)"
        ),
    }


def agree(both: Both) -> None:
    """Refuse to compare answers about different samples."""
    edges = f"from={both.start}&to={both.start + REACH}"
    mine = json.loads(Client(both.aggd.http).ask(f"/api/v1/stats/{ASKED}?{edges}"))
    query = influx.query(f"SELECT count(value), mean(value), max(value) FROM {ASKED}")
    theirs = json.loads(Client(both.influx.http).ask(query))
    known = theirs["results"][0]["series"][0]["values"][0][1:]
    if known[0] != MILLION or not np.allclose([mine[k] for k in ("count", "mean", "max")], known):
        raise BenchError(f"different samples: {mine} and {theirs}")


def table(found: dict[str, Any]) -> str:
    """One row for each act: both, and how many times better aggd is."""
    cells = "".join(f"{cell:>28}" for cell in ("aggd", "InfluxDB", "times better"))
    rows = [f"{'1 M samples, ' + found['version']:<34}{cells}{'aim':>6}"]
    for row in ROWS:
        pairs = found["pairs"][row.title]
        form = ".3f" if row.unit == "M/s" else ".2f"
        figures = [
            spread([pair.aggd for pair in pairs], form),
            spread([pair.influx for pair in pairs], form),
            spread([row.better(pair) for pair in pairs], ".1f"),
        ]
        cells = "".join(f"{figure:>28}" for figure in figures)
        rows.append(f"{row.title + ', ' + row.unit:<34}{cells}{row.aim:>6g}")
    apart = spread([ns for ns in found["core_distance_ns"] if ns], ".0f")
    return "\n".join([*rows, f"median (lowest-highest); cores {apart} ns apart"])
