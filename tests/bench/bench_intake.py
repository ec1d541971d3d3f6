"""How many lines a second aggd takes without loss, and what they cost.

For each load the bare sink (what one thread can take at most, with the pause that aggd
makes), the naive version and aggd are measured in turn, in rounds whose order turns
around.  In a round each takes one light load, for its CPU time, and then paced loads in
search of the highest rate it holds: less than 0.1 % of the lines lost, and no backlog
left that a buffer had hidden.  Who isn't measured stands still (SIGSTOP).

The receive buffer holds a second of a slow receiver's traffic, so a rate is lines over
the time until the last of them was recorded, less the slice of time after which aggd
hands over a column however little it holds.  Intervals close when the clock says so,
inside a load or between two; bench_interval.py counts their whole cost.
"""

import json
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any, NamedTuple

import click

from tests.bench import tools
from tests.bench.tools import ASK, DEADLINE, BenchError, Daemon, Traffic, middle, spread

LOSS = 0.001  # share of the lines below which a load counts as lossless
SLICE = 0.25  # seconds a column may wait in aggd before it is recorded
LAG = SLICE + 0.4  # seconds from the last datagram to the last record past which a load is too much
STEP = 1.25  # between rates while only one side of the limit is known
CLOSE = 1.06  # quotient of rates lost and held at which the search ends
BOUND = 0.95  # share of the rate asked for below which the generator is the limit
LIGHT = {"single": 100_000, "packed": 400_000}  # lines/s
ENTER = 200_000  # lines/s while the series are entered
FIRST, LATER = 6, 3  # loads of a search, in the first round and after it


@dataclass(frozen=True, slots=True)
class Load:
    """One load and what became of it; lag is the time from its end to the last record."""

    asked: float  # lines/s, 0: as many as the generator could
    lines: int
    taken: int
    seconds: float
    lag: float
    cpu: dict[str, float]  # seconds, by thread
    distance: float | None  # nanoseconds between two cores, just before

    @property
    def loss(self) -> float:
        return 1 - self.taken / self.lines

    @property
    def rate(self) -> float:
        return self.taken / max(self.seconds, self.seconds + self.lag - SLICE)

    @property
    def held(self) -> bool:
        return self.loss < LOSS and self.lag < LAG

    @property
    def generator_bound(self) -> bool:
        return self.held and (not self.asked or self.lines / self.seconds < BOUND * self.asked)

    def cost(self) -> dict[str, float]:
        """CPU seconds a million lines, by thread."""
        return {name: used * 1e6 / max(self.taken, 1) for name, used in self.cpu.items()}


class Case(NamedTuple):
    """The traffic of one table."""

    mode: str
    series: int
    tags: int

    def __str__(self) -> str:
        tags = f"{self.tags} tags" if self.tags else "no tags"
        return f"{self.mode}, {self.series:,} series, {tags}"

    def traffic(self, rate: float, seconds: float) -> Traffic:
        return Traffic(self.mode, self.series, self.tags, rate, seconds)


class Sink:
    """The bare receiver, a process for each load."""

    def __init__(self) -> None:
        self.memory: dict[str, int] = {}

    @contextmanager
    def awake(self) -> Iterator[None]:
        yield

    def enter(self, case: Case) -> None:
        """Nothing to enter: it keeps nothing."""

    def load(self, traffic: Traffic) -> Load:
        distance = tools.core_distance()
        longest = traffic.seconds + DEADLINE
        command = [str(tools.program("sink")), "--idle=0.3", f"--seconds={longest}"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stderr
                port = int(process.stderr.readline().rpartition(":")[2])
                sent = tools.sent(tools.start_traffic(port, traffic), traffic)
                took = json.loads(process.communicate(timeout=longest)[0])
            except BaseException:
                process.kill()
                raise
        self.memory = {"most": took["resident_kib"] * 1024}
        lag = max(0.0, took["seconds"] - sent["seconds"])
        cpu = {"main": took["cpu_s"]}
        return Load(traffic.rate, sent["lines"], took["lines"], sent["seconds"], lag, cpu, distance)

    def remember(self) -> None:
        """The process has said what it used."""

    def stop(self) -> None:
        """It has ended by itself."""


class Served:
    """aggd or the naive version, one process for all loads of a case."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.awake = daemon.awake
        self.stop = daemon.stop
        self.memory = {"idle": tools.resident(daemon.pid)[0]}

    def enter(self, case: Case) -> None:
        """Send a line of every series once, so that no load pays for names."""
        warm = case.traffic(ENTER, 60)._replace(lines=case.series, pool=case.series)
        load = self.load(warm)
        if load.lines != load.taken:
            raise BenchError(f"{load.lines - load.taken} lines lost while series were entered")
        self.memory["entered"] = tools.resident(self.daemon.pid)[0]

    def load(self, traffic: Traffic) -> Load:
        tools.calm(self.daemon.pid)
        distance = tools.core_distance()
        before, cpu = self.daemon.figures(), tools.thread_cpu(self.daemon.pid)
        sent = tools.sent(tools.start_traffic(self.daemon.udp, traffic), traffic)
        end = time.monotonic()
        new = self.daemon.settled(before, sent["datagrams"])
        lag = time.monotonic() - end
        used = tools.thread_cpu(self.daemon.pid) - cpu
        taken = int(new["aggd_lines_total"])
        return Load(traffic.rate, sent["lines"], taken, sent["seconds"], lag, dict(used), distance)

    def remember(self) -> None:
        self.memory["after"], self.memory["most"] = tools.resident(self.daemon.pid)


def receiver(name: str, interval: str) -> Sink | Served:
    """One to be measured, by the name in the tables."""
    if name == "sink":
        return Sink()
    if name == "naive":
        return Served(tools.naive(interval))
    return Served(tools.aggd(interval, compiled=name == "aggd"))


@dataclass(slots=True)
class Measured:
    """All loads that one receiver was given in a case."""

    name: str
    light: list[Load] = field(default_factory=list)
    best: list[Load | None] = field(default_factory=list)  # of each round
    loads: list[Load] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)

    def round(self, receiver: Sink | Served, case: Case, seconds: float) -> None:
        """One light load, then a search that begins where the last one ended."""
        self.light.append(receiver.load(case.traffic(LIGHT[case.mode], seconds)))
        known = [load.rate for load in self.best if load]
        found = search(receiver, case, seconds, known[-1] if known else 0)
        self.loads += found
        held = [load for load in found if load.held]
        self.best.append(max(held, key=lambda load: load.rate, default=None))
        receiver.remember()
        self.memory = receiver.memory

    def held(self) -> list[Load]:
        return [load for load in self.best if load]

    def row(self, sink: "Measured | None") -> str:
        """Of the table: figures over the rounds."""
        best = self.held()
        bound = "+" if any(load.generator_bound for load in best) else " "
        rate = spread([load.rate / 1e6 for load in best], ".3f") + bound
        full, light = (spread(totals(loads), ".3f") for loads in (best, self.light))
        return f"{self.name:12}{rate:>25}{self.share(sink):>9}{full:>25}{light:>25}" + (
            f"{megabytes(self.memory):>18}  {self.distances()}"
        )

    def share(self, sink: "Measured | None") -> str:
        """Median over the rounds of the rate as a share of the sink's in the same round."""
        if not sink:
            return "-"
        pairs = zip(self.best, sink.best, strict=True)
        shares = [mine.rate / limit.rate for mine, limit in pairs if mine and limit]
        return f"{middle(shares)[0]:.0%}" if shares else "-"

    def distances(self) -> str:
        found = [load.distance for load in (*self.light, *self.loads) if load.distance]
        return spread(found, ".0f")

    def threads(self) -> str:
        """Median CPU seconds a million lines of each thread, at full and at light load."""
        if len({name for load in self.loads for name in load.cpu}) < 2:
            return ""
        full, light = by_thread(self.held()), by_thread(self.light)
        names = sorted({*full, *light})
        parts = [f"{name} {full[name]:.3f}/{light[name]:.3f}" for name in names]
        return f"{'':12}  by thread, full/light: {', '.join(parts)}"


def search(receiver: Sink | Served, case: Case, seconds: float, known: float) -> list[Load]:
    """Loads in search of the highest rate held; from an unpaced one where none is known."""
    found: list[Load] = []
    low, high, rate = 0.0, math.inf, known
    while len(found) < (LATER if known else FIRST) and high > CLOSE * low:
        load = receiver.load(case.traffic(rate, seconds))
        found.append(load)
        if load.generator_bound:
            break
        # Overrun by an unpaced load, what it took is a place to begin at and no bound.
        if load.held:
            low, high = max(low, rate), high if high > rate else math.inf
        elif load.asked:
            high = min(high, rate)
        rate = next_rate(low, high, load.rate)
    return found


def next_rate(low: float, high: float, guess: float) -> float:
    """Half way between the bounds, a step past the only one, or a guess."""
    if low:
        return low * STEP if high == math.inf else (low * high) ** 0.5
    return guess if high == math.inf else high / STEP


def totals(loads: list[Load]) -> list[float]:
    """CPU seconds a million lines of the whole process."""
    return [sum(load.cost().values()) for load in loads]


def by_thread(loads: list[Load]) -> Counter[str]:
    """Median CPU seconds a million lines of each thread."""
    names = {name for load in loads for name in load.cpu}
    costs = [load.cost() for load in loads]
    return Counter({name: middle([cost.get(name, 0.0) for cost in costs])[0] for name in names})


def megabytes(memory: dict[str, int]) -> str:
    """Memory before, after the series were entered, and at most."""
    keys = [key for key in ("idle", "entered", "most") if key in memory]
    return " / ".join(f"{memory[key] / 1e6:.0f}" for key in keys)


def measure(
    case: Case, names: list[str], budget: float, rounds: int, seconds: float, interval: str
) -> list[Measured]:
    """One case: rounds until the budget in seconds is used, at least one."""
    results = [Measured(name) for name in names]
    start = time.monotonic()
    with ExitStack() as stack:
        receivers = {}
        for name in names:
            receivers[name] = receiver(name, interval)
            stack.callback(receivers[name].stop)
            with receivers[name].awake():
                receivers[name].enter(case)
        expected = 0.0
        for number in range(rounds):
            began = time.monotonic()
            if number and began - start + expected > budget:
                break
            for result in results[:: -1 if number % 2 else 1]:
                with receivers[result.name].awake():
                    result.round(receivers[result.name], case, seconds)
            took = time.monotonic() - began
            expected = took if number else took * (LATER + 1) / (FIRST + 1)
    return results


def table(case: Case, results: list[Measured]) -> str:
    """What was measured in one case."""
    sink = next((result for result in results if result.name == "sink"), None)
    count = len(results[0].light)
    head = (
        f"\n{case}: {count} round{'s' if count > 1 else ''}, median (lowest-highest); "
        f"light: {LIGHT[case.mode]:,} lines/s\n"
        f"{'':12}{'M lines/s lossless':>24} {'of sink':>9}{'CPU s/M lines':>25}"
        f"{'at light load':>25}{'MB':>18}  ns apart"
    )
    rows = [line for result in results for line in (result.row(sink), result.threads()) if line]
    return "\n".join([head, *rows])


def as_json(case: Case, results: list[Measured]) -> dict[str, Any]:
    """Every load of a case, with what was made of it."""
    return {
        **case._asdict(),
        "receivers": {
            result.name: {
                "lossless_lines_per_s": [load and load.rate for load in result.best],
                "generator_bound": [bool(load and load.generator_bound) for load in result.best],
                "cpu_s_per_million": by_thread(result.held()),
                "cpu_s_per_million_light": by_thread(result.light),
                "memory_bytes": result.memory,
                "light": [asdict(load) for load in result.light],
                "loads": [{**asdict(load), "held": load.held} for load in result.loads],
            }
            for result in results
        },
    }


LEGEND = f"""
+         the generator could send no more beside it: it takes at least this
of sink   against the bare sink of the same round
MB        resident at start / with all series entered / at most (the sink: at most)
ns apart  a cache line between two cores, before each load: compare like with like
Lossless: under {LOSS:.1%} lost, all recorded within {LAG} s of the end (asked every {ASK} s)."""

EPILOG = """
\b
Examples:
  python -m tests.bench.bench_intake                  all 12 cases, about 10 minutes
  python -m tests.bench.bench_intake --quick          2 cases, about 2 minutes
  python -m tests.bench.bench_intake --mode packed --series 10000 --tags 0
  python -m tests.bench.bench_intake --python-lane    what aggd does without the compiled lane
  python -m tests.bench.bench_intake --quick --json > intake.json
"""


@click.command(help="Lossless lines a second, CPU and memory of aggd.", epilog=EPILOG)
@click.option("--mode", "modes", multiple=True, type=click.Choice(list(LIGHT)))
@click.option("--series", multiple=True, type=click.IntRange(1, 1_000_000))
@click.option("--tags", multiple=True, type=click.IntRange(0, 6), help="Tags of each line.")
@click.option("--quick", is_flag=True, help="10,000 series without tags, in 2 minutes.")
@click.option("--python-lane", is_flag=True, help="Only that: packed, against naive.")
@click.option("--minutes", type=click.FloatRange(0.1, 120), help="Budget; one round always runs.")
@click.option("--rounds", default=5, show_default=True, help="At most, of each case.")
@click.option("--seconds", default=2.0, show_default=True, help="Traffic of one load.")
@click.option("--interval", default="10s", show_default=True, help="Flush interval.")
@click.option("--json", "json_", is_flag=True, help="Every load, as JSON, in place of tables.")
def main(
    modes: tuple[str, ...],
    series: tuple[int, ...],
    tags: tuple[int, ...],
    quick: bool,
    python_lane: bool,
    minutes: float | None,
    rounds: int,
    seconds: float,
    interval: str,
    json_: bool,
) -> None:
    small = quick or python_lane
    cases = [
        Case(*case)
        for case in product(
            modes or (("packed",) if python_lane else tuple(LIGHT)),
            series or ((10_000,) if small else (100, 10_000, 100_000)),
            tags or ((0,) if small else (0, 4)),
        )
    ]
    names = ["naive", "aggd-python"] if python_lane else ["sink", "naive", "aggd"]
    budget = 60 * (minutes or (2 if small else 10)) / len(cases)
    tell = sys.stderr.write if json_ else sys.stdout.write
    tools.end_on_sigterm()
    try:
        about = tools.machine()
        tell(tools.machine_line(about) + "\n")
        done = []
        for case in cases:
            results = measure(case, names, budget, rounds, seconds, interval)
            tell(table(case, results) + "\n")
            sys.stdout.flush()
            done.append(as_json(case, results))
        tell(LEGEND + "\n")
    except BenchError as error:
        click.echo(f"can't measure: {error}", err=True)
        sys.exit(2)
    if json_:
        click.echo(json.dumps({"machine": about, "cases": done}, indent=1))


if __name__ == "__main__":
    main()
