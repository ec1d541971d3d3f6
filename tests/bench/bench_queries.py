"""How long answers take, while a million lines a second come in, and beside InfluxDB.

    month    a daemon with a month of 100,000 series in memory (month.py): latency over one
             connection that is kept alive, while 1,000 lines a second come in and while a
             million do, and how many of those were lost
    process  a million samples of one series, asked inside the process (million.py)
    influx   the same million samples in a daemon and in InfluxDB 1.x, both over HTTP, and
             how fast they got there (versus.py)

Each part pairs what it compares and repeats it.  Under load the generator, the daemon and
the one who asks share the cores, so the largest latencies are as much the scheduler's.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import click
import numpy as np

from aggd.store.series import Kind
from tests.bench import influx, million, month, tools, versus
from tests.bench.asking import Client, Latencies, line, milliseconds, percentiles
from tests.bench.tools import BenchError, Daemon, Traffic

QUIET, LOADED = 1000, 1_000_000  # lines/s while questions are asked
ENTER = 200_000  # lines/s while the series are entered


class Question(NamedTuple):
    """What is asked of the month, and how often in a turn; the aim is of p99, in ms."""

    title: str
    path: str
    often: int
    aim: float | None


QUESTIONS = (
    Question("stats, 1 h", "/api/v1/stats/{name}?last=1h", 20, 2),
    Question("stats, 50 min, exact", "/api/v1/stats/{name}?last=50m", 5, None),
    Question("stats, 30 d", "/api/v1/stats/{name}?last=30d", 20, 10),
    Question(
        "aggregate, week by hour",
        "/api/v1/aggregate?metric_name={name}&interval=1h&aggregation=mean,p99&last=7d",
        10,
        None,
    ),
    Question(
        "rolling p99, week, 1 h / 1 min",
        "/api/v1/rolling?metric_name={name}&window=1h&step=1m&aggregation=p99&last=7d"
        "&format=columns",
        1,
        None,
    ),
    Question(
        "glob, 10k timers of a minute",
        "/api/v1/stats?match=*.s[1-5]%3F%3F%3F%3F&kind=timer&limit=10000&from={start}&to={end}",
        1,
        250,
    ),
)


class Load(NamedTuple):
    """What came in while questions were asked."""

    lines: int
    seconds: float
    taken: int
    kernel_drops: int  # datagrams


class Asker:
    """Asks all questions in turns, about timers drawn at random, over one connection."""

    def __init__(self, port: int) -> None:
        self._client = Client(port)
        self._timers = [name for kind, name in month.names() if kind is Kind.TIMER]
        self._rng = np.random.default_rng(1)

    def turn(self) -> Latencies:
        """Every question as often as it says."""
        end = int(time.time()) // 60 * 60
        found: Latencies = {}
        for question in QUESTIONS:
            drawn = self._rng.integers(len(self._timers), size=question.often).tolist()
            edges = {"start": end - 60, "end": end}
            paths = [question.path.format(name=self._timers[i], **edges) for i in drawn]
            found[question.title] = [self._took(path) for path in paths]
        return found

    def _took(self, path: str) -> float:
        return milliseconds(lambda: self._client.ask(path))

    def turns(self, going: Callable[[], bool]) -> Latencies:
        """Turns as long as it goes on: at least one, and then none in which it ended."""
        found = self.turn()
        while going():
            more = self.turn()
            if not going():
                break
            for title, took in more.items():
                found[title] += took
        return found


def measure_month(seconds: float) -> dict[str, Any]:
    """Latencies, half of the time under next to no load and then under a full one.

    With no line at all the finest ring would stand still, and hours be answered from it.
    """
    daemon = Daemon("-m", "tests.bench.month")
    try:
        enter(daemon)
        asker = Asker(daemon.http)
        asker.turn()
        tools.calm(daemon.pid)
        apart = [tools.core_distance()]
        quiet, _ = under_load(daemon, asker, QUIET, seconds / 2)
        apart.append(tools.core_distance())
        loaded, load = under_load(daemon, asker, LOADED, seconds)
        return {
            "quiet": quiet,
            "loaded": loaded,
            "load": load._asdict(),
            "memory_bytes": tools.resident(daemon.pid)[1],
            "core_distance_ns": apart,
            "filled_seconds": daemon.ready,
        }
    finally:
        daemon.stop()


def enter(daemon: Daemon) -> None:
    """Send a line of every series once, so that no load pays for names."""
    many = month.SERIES
    traffic = Traffic("packed", many, 0, ENTER, 60, month.MIX, lines=many, pool=many)
    before = daemon.figures()
    sent = tools.sent(tools.start_traffic(daemon.udp, traffic), traffic)
    daemon.settled(before, sent["datagrams"])


def under_load(daemon: Daemon, asker: Asker, rate: float, seconds: float) -> tuple[Latencies, Load]:
    """Ask while lines come in, from the first of them to the last."""
    traffic = Traffic("packed", month.SERIES, 0, rate, seconds, month.MIX)
    before = daemon.figures()
    generator = tools.start_traffic(daemon.udp, traffic)
    try:
        known = before["aggd_lines_total"]
        tools.until(lambda: daemon.figures()["aggd_lines_total"] > known, "the first lines")
        loaded = asker.turns(lambda: generator.poll() is None)
    finally:
        sent = tools.sent(generator, traffic)
    new = daemon.settled(before, sent["datagrams"])
    drops = int(new["aggd_kernel_drops_total"])
    return loaded, Load(sent["lines"], sent["seconds"], int(new["aggd_lines_total"]), drops)


def month_table(found: dict[str, Any]) -> str:
    """Latencies of every question, and what became of the load."""
    states = ("quiet", "loaded")
    head = [cell for state in states for cell in (f"{state} p50", "p99", "n")]
    rows = [line("ms, a month of 100,000 series", *head, "aim p99")]
    for question in QUESTIONS:
        cells = [cell for state in states for cell in percentiles(found[state][question.title])]
        rows.append(line(question.title, *cells, f"{question.aim:g}" if question.aim else "-"))
    load = Load(**found["load"])
    apart = " and ".join(f"{ns:.0f}" for ns in found["core_distance_ns"] if ns)
    rows += [
        f"loaded: {load.lines / load.seconds / 1e6:.3f} M lines/s for {load.seconds:.0f} s, "
        f"{load.lines - load.taken:,} of {load.lines:,} lines lost, "
        f"{load.kernel_drops} datagrams dropped by the kernel",
        f"filled and started in {found['filled_seconds']:.0f} s, "
        f"{found['memory_bytes'] / 1e6:.0f} MB at most; cores {apart} ns apart",
    ]
    return "\n".join(rows)


PARTS = ("month", "process", "influx")

EPILOG = """
\b
Examples:
  python -m tests.bench.bench_queries                  everything, about 4 minutes
  python -m tests.bench.bench_queries --quick          less of everything, about 90 seconds
  python -m tests.bench.bench_queries --part process   only inside the process
  python -m tests.bench.bench_queries --json > queries.json
"""


@click.command(help="Latency of answers, and InfluxDB beside them.", epilog=EPILOG)
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Only these.")
@click.option("--quick", is_flag=True, help="Fewer rounds, in 90 seconds.")
@click.option("--json", "json_", is_flag=True, help="Every figure, as JSON, in place of tables.")
def main(parts: tuple[str, ...], quick: bool, json_: bool) -> None:
    chosen = parts or PARTS
    tell = partial(click.echo, err=json_)
    tools.end_on_sigterm()
    about = tools.machine()
    tell(tools.machine_line(about))
    done: dict[str, Any] = {"machine": about}
    try:
        if "month" in chosen:
            done["month"] = measure_month(15 if quick else 60)
            tell(f"\n{month_table(done['month'])}")
        if "process" in chosen:
            done["process"] = million.measure(50 if quick else 300)
            tell(f"\n{million.table(done['process'])}")
        if "influx" in chosen and influx.version() is None:
            tell("\nInfluxDB is not installed (Debian: apt install influxdb): not compared")
        elif "influx" in chosen:
            done["influx"] = versus.measure(*((1, 3, 1.0) if quick else (3, 7, 2.0)))
            tell(f"\n{versus.table(done['influx'])}")
    except BenchError as error:
        click.echo(f"can't measure: {error}", err=True)
        sys.exit(2)
    if json_:
        click.echo(json.dumps(done, indent=1))


if __name__ == "__main__":
    main()
