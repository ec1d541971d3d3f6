"""What an interval costs with its names and its close, and what a start costs.

``interval``: 100k distinct timers, 630k samples in each interval; CPU a million lines,
in the first interval (names included) and in those after it.  ``start``: from exec to
the start line, and to the first datagram in /metrics.
"""

import json
import socket
import sys
import time
from collections import Counter
from typing import Any

import click

from tests.bench import tools
from tests.bench.bench_intake import LOSS, SLICE
from tests.bench.tools import BenchError, Daemon, Traffic, middle, spread, until


def next_boundary(interval: int, after: float) -> float:
    """First boundary of the interval past a time, as aggd counts them."""
    return (after // interval + 1) * interval


def wait_for(clock: float) -> None:
    """Wait until the wall clock says so: what is paced by the clock, not a result."""
    while (left := clock - time.time()) > 0:
        time.sleep(left)


def closed(daemon: Daemon, count: float) -> Counter[str]:
    """Figures as soon as so many intervals have closed."""

    def found() -> Counter[str] | None:
        now = daemon.figures()
        return now if now["aggd_close_seconds_count"] >= count else None

    return until(found, "interval closed", 2 * tools.DEADLINE, ask=0.1)


def intervals(daemon: Daemon, count: int, traffic: Traffic, length: int) -> dict[str, Any]:
    """CPU of each interval from close to close, over paced traffic that fills them all."""
    boundary = next_boundary(length, time.time() + 1)
    wait_for(boundary - 0.5)
    closes = daemon.figures()["aggd_close_seconds_count"] + 1
    wait_for(boundary)
    start = closed(daemon, closes)
    before, idle = tools.thread_cpu(daemon.pid), tools.resident(daemon.pid)[0]
    generator = tools.start_traffic(daemon.udp, traffic)
    rows, figures, cpu = [], start, before
    try:
        for number in range(count + 1):
            boundary += length
            closes += 1
            wait_for(boundary)
            now, used = closed(daemon, closes), tools.thread_cpu(daemon.pid)
            rows.append(interval_row(number, figures, now, dict(used - cpu)))
            figures, cpu = now, used
        sent = tools.sent(generator, traffic)
    finally:
        generator.kill()
        generator.wait()
    new = daemon.settled(start, sent["datagrams"])
    memory, most = tools.resident(daemon.pid)
    return {
        "sent": sent,
        "lines": new["aggd_lines_total"],
        "cpu_s": dict(cpu - before),
        "intervals": rows,
        "memory_bytes": {"idle": idle, "after": memory, "most": most},
    }


def interval_row(
    number: int, then: Counter[str], now: Counter[str], cpu: dict[str, float]
) -> dict[str, Any]:
    """What happened from one close to the next."""
    closes = now["aggd_close_seconds_count"] - then["aggd_close_seconds_count"]
    return {
        "number": number,
        "lines": now["aggd_lines_total"] - then["aggd_lines_total"],
        "series": now["aggd_series"],
        "closes": closes,
        "close_s": now["aggd_close_seconds_sum"] - then["aggd_close_seconds_sum"],
        "cpu_s": cpu,
        "distance_ns": tools.core_distance(),
    }


def cost(row: dict[str, Any]) -> float:
    """CPU seconds a million lines."""
    return sum(row["cpu_s"].values()) * 1e6 / max(row["lines"], 1)


def interval_text(found: dict[str, Any], traffic: Traffic) -> str:
    """One line for all, the first interval apart, threads."""
    lost = 1 - found["lines"] / found["sent"]["lines"]
    full = [row for row in found["intervals"] if row["lines"] > traffic.rate]
    steady = full[1:]
    per = {name: used * 1e6 / found["lines"] for name, used in found["cpu_s"].items()}
    memory = {key: f"{value / 1e6:.0f}" for key, value in found["memory_bytes"].items()}
    lines = [
        f"\n{traffic.series:,} distinct timers, {traffic.rate:,.0f} lines/s packed for "
        f"{traffic.seconds:.0f} s: {found['lines']:,.0f} lines, {lost:.2%} lost"
        + (" (TOO MANY)" if lost > LOSS else ""),
        f"  CPU s/M lines, all      {sum(per.values()):.3f}   by thread: "
        + ", ".join(f"{name} {used:.3f}" for name, used in sorted(per.items())),
        f"  first interval, names   {cost(full[0]):.3f}",
        f"  those after it          {spread([cost(row) for row in steady], '.3f')}",
        f"  one close, ms           {spread([1e3 * row['close_s'] for row in full], '.0f')}",
        f"  MB idle/after/at most   {memory['idle']} / {memory['after']} / {memory['most']}",
        "  ns between cores        "
        + spread([row["distance_ns"] for row in full if row["distance_ns"]], ".0f"),
    ]
    return "\n".join(lines)


def first_datagram(daemon: Daemon) -> float:
    """Seconds from exec until a datagram that is sent again and again is counted."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:

        def counted() -> bool:
            sock.sendto(b"bench.start:1|c", ("127.0.0.1", daemon.udp))
            return daemon.figures()["aggd_lines_total"] > 0

        until(counted, "the first datagram", ask=0.01)
    return time.monotonic() - daemon.started


def starts(count: int) -> dict[str, list[dict[str, float]]]:
    """Start aggd and the naive version in turn, from a warm page cache."""
    found: dict[str, list[dict[str, float]]] = {"aggd": [], "naive": []}
    for number in range(count + 1):
        for name, start in (("aggd", tools.aggd), ("naive", tools.naive)):
            daemon = start()
            try:
                idle = tools.resident(daemon.pid)[0]
                taken = first_datagram(daemon)
                used = tools.thread_cpu(daemon.pid).total()
            finally:
                daemon.stop()
            if number:  # the first of each fills the page cache
                row = {"ready_s": daemon.ready, "taken_s": taken, "cpu_s": used, "idle": idle}
                found[name].append(row)
    return found


def starts_text(found: dict[str, list[dict[str, float]]]) -> str:
    """A row for each."""
    lines = [
        f"\nstart, {len(found['aggd'])} times, median (lowest-highest); counted includes the "
        f"{SLICE} s a column may wait in aggd",
        f"{'':10}{'start line, s':>20}{'counted, s':>20}{'CPU s':>20}{'MB idle':>10}",
    ]
    for name, rows in found.items():
        cells = [spread([row[key] for row in rows]) for key in ("ready_s", "taken_s", "cpu_s")]
        idle = middle([row["idle"] for row in rows])[0] / 1e6
        lines.append(f"{name:10}" + "".join(f"{cell:>20}" for cell in cells) + f"{idle:>10.0f}")
    return "\n".join(lines)


EPILOG = """
\b
Examples:
  python -m tests.bench.bench_interval                   both, about 2 minutes
  python -m tests.bench.bench_interval --quick           3 intervals, 3 starts: 1 minute
  python -m tests.bench.bench_interval interval --intervals 30
  python -m tests.bench.bench_interval start --starts 15 --json
"""


@click.command(help="Cost of an interval with names and close; of a start.", epilog=EPILOG)
@click.argument("what", nargs=-1, type=click.Choice(["interval", "start"]))
@click.option("--intervals", "count", default=10, show_default=True, help="Full intervals.")
@click.option("--length", default=10, show_default=True, help="Of an interval, in seconds.")
@click.option("--series", default=100_000, show_default=True, help="Distinct timers.")
@click.option("--rate", default=63_000, show_default=True, help="Lines a second.")
@click.option("--tags", default=0, show_default=True, help="Tags of each line.")
@click.option("--starts", "starts_", default=7, show_default=True, help="Starts of each.")
@click.option("--quick", is_flag=True, help="3 intervals and 3 starts.")
@click.option("--json", "json_", is_flag=True, help="JSON in place of text.")
def main(
    what: tuple[str, ...],
    count: int,
    length: int,
    series: int,
    rate: int,
    tags: int,
    starts_: int,
    quick: bool,
    json_: bool,
) -> None:
    if quick:
        count, starts_ = min(count, 3), min(starts_, 3)
    about = tools.machine()
    done: dict[str, Any] = {"machine": about}
    tell = sys.stderr.write if json_ else sys.stdout.write
    tell(tools.machine_line(about) + "\n")
    tools.end_on_sigterm()
    try:
        if not what or "start" in what:
            done["start"] = starts(starts_)
            tell(starts_text(done["start"]) + "\n")
        if not what or "interval" in what:
            seconds = count * length
            traffic = Traffic("packed", series, tags, rate, seconds, "ms:100", pool=rate * length)
            daemon = tools.aggd(f"{length}s")
            try:
                done["interval"] = intervals(daemon, count, traffic, length)
            finally:
                daemon.stop()
            tell(interval_text(done["interval"], traffic) + "\n")
    except BenchError as error:
        click.echo(f"can't measure: {error}", err=True)
        sys.exit(2)
    if json_:
        click.echo(json.dumps(done, indent=1))


if __name__ == "__main__":
    main()
