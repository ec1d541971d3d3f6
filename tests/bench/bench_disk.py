"""What the past on disk costs: frames written and compacted, a series read, checkpoints, starts.

``frame``: an hour of minutes of 100,000 series, written as they close, then compacted.
``series``: one timer over a week of minutes, cold and warm.  ``checkpoint``: what is new each
second.  ``start``: the real daemon on a month of state, and on an hour not rolled up yet.

Each step runs in a fresh process.  Seconds of CPU are given beside those of the clock, as
only they can be compared between a quiet machine and a busy one.
"""

import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

import click
import numpy as np

from aggd.store.cache import Cache
from aggd.store.files import connect
from aggd.store.rollup import History
from aggd.store.segment import Change
from aggd.store.series import Kind
from aggd.store.shelf import Shelf, Wanted
from aggd.units import HOUR, MIB, MINUTE
from tests.bench import state, tools
from tests.bench.state import SERIES, Past
from tests.bench.tools import BenchError, Daemon, spread, until

FRAME_MS, FRAME_MB, READ_MS, READY_S, BOUND_S = 40, 3, 200, 3, 0.3  # aims
DIGITS = {"two decimals": 2, "all digits": None}
FULL = "full digests"  # those of an hour
START = 1_700_006_400  # a midnight
INTERVAL = 10  # seconds
RATE = 63_000  # lines a second between checkpoints

Row = dict[str, float]


@contextmanager
def timed(rows: list[Row]) -> Iterator[Row]:
    """Add a row with milliseconds of the clock and of this process's CPU."""
    row: Row = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield row
    row["ms"] = 1e3 * (time.perf_counter() - wall)
    row["cpu_ms"] = 1e3 * (time.process_time() - cpu)
    rows.append(row)


def apart(work: Callable[..., Any], *arguments: object) -> Any:
    """Do some work in a fresh process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def shelf_of(directory: Path, cache: int = 0) -> Shelf:
    """The shelf of minutes in a state directory, opened."""
    shelf = Shelf(directory / "minute", MINUTE, 7 * 1440, Cache(cache))
    shelf.open()
    return shelf


def write_hour(
    directory: Path, digits: int | None, count: int, full: bool = False
) -> dict[str, Any]:
    """Write frames of minutes one by one."""
    rng = np.random.default_rng(1)
    frame = state.folded(state.registry_of(SERIES, rng), digits, rng)
    if full:
        frame = state.coarser(frame, MINUTE, rng)
    shelf, rows = shelf_of(directory), list[Row]()
    for start in range(START, START + count * MINUTE, MINUTE):
        new = state.shuffled(frame, start, MINUTE, SERIES, rng)
        with timed(rows):
            shelf.save(new.end, [Change(shelf.number(), new, ())])
    centroids = frame.timers.digests.mean.size
    return {
        "frames": rows,
        "nbytes": shelf.nbytes(),
        "memory": frame.nbytes(),
        "centroids": centroids,
        "row_nbytes": state.weights(frame),
    }


def compact_hour(directory: Path) -> dict[str, Any]:
    """Compact them; memory at its peak is counted from here on."""
    shelf, rows, steps = shelf_of(directory), list[Row](), list[Row]()
    before = tools.resident(os.getpid())[0]
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    with timed(rows):
        todo = shelf.compact(START + HOUR)
        while True:
            with timed(steps):
                done = next(todo, "done")
            if done:
                break
    most = tools.resident(os.getpid())[1]
    return {**rows[0], "steps": steps[:-1], "before": before, "most": most}


def frames(count: int) -> dict[str, Any]:
    """Both steps, with samples of few digits and of all."""
    found = {}
    for name, digits in DIGITS.items():
        with tempfile.TemporaryDirectory() as directory:
            written = apart(write_hour, Path(directory), digits, count)
            compacted = apart(compact_hour, Path(directory))
            compacted["nbytes"] = live_bytes(Path(directory))
            found[name] = {"written": written, "compacted": compacted}
    with tempfile.TemporaryDirectory() as directory:
        found[FULL] = {"written": apart(write_hour, Path(directory), 2, count // 6, True)}
    return found


def live_bytes(directory: Path) -> int:
    """Bytes of all blocks; the file keeps the room of the frames for those to come."""
    total = 0
    for path in shelf_of(directory).files():
        with closing(connect(path)) as base:
            total += base.execute("SELECT sum(length(data)) FROM blocks").fetchone()[0] or 0
    return total


def frames_text(found: dict[str, Any], count: int) -> str:
    """Two lines for each form of samples."""
    lines = [f"\nframes of a minute, {SERIES:,} series, {count} of each; aim {FRAME_MS} ms, "
             f"{FRAME_MB} MB a frame"]  # fmt: skip
    for name, steps in found.items():
        lines.append(f"  {name + ', written':24}{written_text(steps['written'])}")
        if "compacted" in steps:
            lines.append(f"  {name + ', compacted':24}{compacted_text(steps['compacted'], count)}")
    rows = found["two decimals"]["written"]["row_nbytes"]
    lines.append(
        "  bytes in memory, of a row: " + ", ".join(f"{k} {v:.0f}" for k, v in rows.items())
    )
    return "\n".join(lines)


def written_text(written: dict[str, Any]) -> str:
    """Cost and size of a frame as it closes."""
    rows = written["frames"]
    size = written["nbytes"] / len(rows)
    return (
        f"{spread([r['ms'] for r in rows], '.0f')} ms, CPU "
        f"{spread([r['cpu_ms'] for r in rows], '.0f')} ms, {size / 1e6:.2f} MB a frame, "
        f"{size / written['centroids']:.1f} bytes for each of {written['centroids']:,} centroids; "
        f"in memory {written['memory'] / 1e6:.1f} MB"
    )


def compacted_text(compacted: dict[str, Any], count: int) -> str:
    """Cost, size and memory of an hour's compaction."""
    steps = compacted["steps"]
    return (
        f"{compacted['ms'] / 1e3:.1f} s, CPU {compacted['cpu_ms'] / 1e3:.1f} s an hour, "
        f"{len(steps)} steps of {spread([s['ms'] for s in steps], '.0f')} ms, "
        f"{compacted['nbytes'] / count / 1e6:.2f} MB a frame; resident "
        f"{compacted['before'] / 1e6:.0f} MB before, {compacted['most'] / 1e6:.0f} at most"
    )


def forget_pages(directory: Path) -> None:
    """Let the kernel drop what it keeps of files."""
    for path in (p for p in directory.rglob("*") if p.is_file()):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def read_from_disk() -> int:
    """Bytes this process has had read from a disk."""
    text = Path("/proc/self/io").read_text()
    return int(text.partition("read_bytes: ")[2].split()[0])


def read_series(directory: Path, series: int) -> dict[str, Any]:
    """Read one timer over all minutes: from the disk, from the page cache, from our own."""
    rows = list[Row]()
    forget_pages(directory)
    with timed(rows):
        shelf = shelf_of(directory, 64 * MIB)
    starts = shelf.starts(0, 1 << 40)
    parts = {part for start in starts for part in shelf.parts(start)}
    wanted = Wanted(Kind.TIMER, np.array([series], np.int32))
    before = read_from_disk()
    for what in ("disk", "pages", "cache"):
        if what == "pages":
            shelf._cache.clear()
        with timed(rows) as row:
            found = shelf.read(0, 1 << 40, parts, wanted)
        row["read"] = read_from_disk() - before
        before += int(row["read"])
    assert {frame.start for frame in found} == set(starts)
    return dict(zip(("open", "disk", "pages", "cache"), rows, strict=True))


def series_of(directory: Path, count: int, rng: state.Rng) -> list[dict[str, Any]]:
    """Some timers, each from a fresh process."""
    kinds = state.registry_of(state.KEPT, np.random.default_rng(1)).kinds[: state.KEPT]
    timers = np.flatnonzero(kinds == Kind.TIMER)
    chosen = rng.choice(timers, count, replace=False).tolist()
    return [apart(read_series, directory, series) for series in chosen]


def series_text(found: list[dict[str, Any]], past: Past, fresh: int) -> str:
    """A line for each state of the caches."""
    lines = [
        f"\none timer over {past.minutes:,} minutes, {fresh} of them not compacted yet, "
        f"{len(found)} timers; aim {READ_MS} ms cold"
    ]
    words = {
        "open": "lists of all slots, once a start",
        "disk": "cold: from the disk",
        "pages": "again, from the kernel's pages",
        "cache": "again, from storage.cache",
    }
    for what, word in words.items():
        rows = [row[what] for row in found]
        lines.append(
            f"  {word:34}{spread([r['ms'] for r in rows], '.0f')} ms, CPU "
            f"{spread([r['cpu_ms'] for r in rows], '.0f')} ms"
            + (
                f", {spread([r['read'] / 1e6 for r in rows], '.1f')} MB read"
                if "read" in rows[0]
                else ""
            )
        )
    return "\n".join(lines)


def write_checkpoints(directory: Path, intervals: int) -> dict[str, list[Row]]:
    """Record a second of samples, write what is new; close when an interval is over."""
    rng = np.random.default_rng(1)
    registry = state.registry_of(SERIES, rng)
    disk = state.disk_of(directory)
    disk.open(state.Registry(state.limits(state.Config())))
    history = History(state.tiers(state.Config()), 512 * MIB, 256 * MIB, START, disk.shelves)
    history.gather_soon = lambda: None
    disk.save(registry, history)
    found: dict[str, list[Row]] = {"checkpoint": [], "close": []}
    for second in range(START, START + intervals * INTERVAL):
        history.add(state.second_of(registry, RATE, second, INTERVAL, rng))
        history.gather()
        with timed(found["checkpoint"]) as row:
            before = written_bytes()
            disk.save(registry, history)
            row["written"] = written_bytes() - before
        if (second + 1) % INTERVAL == 0:
            history.close(second + 1)
            with timed(found["close"]) as row:
                before = written_bytes()
                disk.save(registry, history)
                row["written"] = written_bytes() - before
    return found


def written_bytes() -> int:
    """Bytes this process has written."""
    text = Path("/proc/self/io").read_text()
    return int(text.partition("wchar: ")[2].split()[0])


def checkpoints_text(found: dict[str, list[Row]]) -> str:
    """Two lines."""
    lines = [f"\ncheckpoints, {RATE:,} samples a second of {SERIES:,} series"]
    words = {"checkpoint": "a second's", "close": f"an interval of {INTERVAL} s, closed"}
    for what, word in words.items():
        rows = found[what]
        lines.append(
            f"  {word:34}{spread([r['ms'] for r in rows], '.0f')} ms, CPU "
            f"{spread([r['cpu_ms'] for r in rows], '.0f')} ms, "
            f"{spread([r['written'] / 1e6 for r in rows], '.1f')} MB written"
        )
    return "\n".join(lines)


def free_port() -> int:
    """A UDP port that nobody has just now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Knock(Thread):
    """Sends one datagram as soon as somebody has bound a port of this machine."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self.bound = 0.0  # when, by the monotonic clock
        self.start()

    def run(self) -> None:
        wanted = f"0100007F:{self._port:04X}"
        table = Path("/proc/net/udp")
        end = time.monotonic() + tools.DEADLINE
        while wanted not in table.read_text() and time.monotonic() < end:
            time.sleep(0.001)
        self.bound = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"bench.early:1|c", ("127.0.0.1", self._port))


def start_once(directory: Path) -> Row:
    """Start the daemon on a state; stop it as systemd does."""
    knock = Knock(port := free_port())
    options = [f"--udp=127.0.0.1:{port}", "--http=127.0.0.1:0", f"--state-dir={directory}"]
    daemon = Daemon("-m", "aggd", "run", *options)
    try:
        ready_cpu = tools.thread_cpu(daemon.pid).total()
        until(lambda: daemon.figures()["aggd_lines_total"] > 0, "the early datagram", ask=0.01)
        counted = time.monotonic() - daemon.started
        tools.calm(daemon.pid)
        memory, most = tools.resident(daemon.pid)
    finally:
        stopping = time.monotonic()
        daemon.stop()
    return {
        "bound_s": knock.bound - daemon.started,
        "ready_s": daemon.ready,
        "ready_cpu_s": ready_cpu,
        "counted_s": counted,
        "memory": memory,
        "most": most,
        "stop_s": time.monotonic() - stopping,
    }


def starts(directory: Path, count: int) -> list[Row]:
    """Start on the same state again and again; the first fills the page cache."""
    return [start_once(directory) for _ in range(count + 1)][1:]


def late_starts(directory: Path, count: int) -> list[Row]:
    """Start on copies of a state that the start has to roll up."""
    found = []
    for _ in range(count):
        with tempfile.TemporaryDirectory() as copy:
            shutil.copytree(directory, copy, dirs_exist_ok=True)
            found.append(start_once(Path(copy)))
    return found


def starts_text(found: dict[str, list[Row]]) -> str:
    """A row for each state."""
    lines = [
        f"\nstart of aggd run --state-dir; aims: socket {BOUND_S} s, start line {READY_S} s",
        f"{'':12}{'socket, s':>20}{'start line, s':>20}{'CPU s':>20}{'counted, s':>20}"
        f"{'stop, s':>20}{'MB':>7}{'most':>7}",
    ]
    for name, rows in found.items():
        keys = ("bound_s", "ready_s", "ready_cpu_s", "counted_s", "stop_s")
        cells = [f"{spread([row[key] for row in rows]):>20}" for key in keys]
        memory = [
            f"{tools.middle([r[k] for r in rows])[0] / 1e6:>7.0f}" for k in ("memory", "most")
        ]
        lines.append(f"  {name:10}" + "".join(cells + memory))
    return "\n".join(lines)


WHAT = ("frame", "series", "checkpoint", "start")
EPILOG = """
\b
Examples:
  python -m tests.bench.bench_disk                     all, under 5 minutes
  python -m tests.bench.bench_disk --quick             fewer and shorter, 1 minute
  python -m tests.bench.bench_disk frame --json
  python -m tests.bench.bench_disk start --starts 9
"""


@click.command(help="Cost of the past on disk.", epilog=EPILOG)
@click.argument("what", nargs=-1, type=click.Choice(WHAT))
@click.option("--frames", "count", default=60, show_default=True, help="Minutes of the hour.")
@click.option("--timers", default=9, show_default=True, help="Timers to be read.")
@click.option("--starts", "starts_", default=5, show_default=True, help="Starts on each state.")
@click.option("--quick", is_flag=True, help="15 frames, 3 timers, 3 starts, a day of minutes.")
@click.option("--json", "json_", is_flag=True, help="JSON in place of text.")
def main(
    what: tuple[str, ...], count: int, timers: int, starts_: int, quick: bool, json_: bool
) -> None:
    past = Past()
    if quick:
        count, timers, starts_ = min(count, 15), min(timers, 3), min(starts_, 3)
        past = past._replace(minutes=24 * 60)
    about = tools.machine()
    done: dict[str, Any] = {"machine": about}
    tell = sys.stderr.write if json_ else sys.stdout.write
    tell(tools.machine_line(about) + "\n")
    tools.end_on_sigterm()
    try:
        for name, found, text in measured(what or WHAT, count, timers, starts_, past):
            done[name] = found
            tell(text + "\n")
    except BenchError as error:
        click.echo(f"can't measure: {error}", err=True)
        sys.exit(2)
    if json_:
        click.echo(json.dumps(done, indent=1))


def measured(
    what: tuple[str, ...], count: int, timers: int, starts_: int, past: Past
) -> Iterator[tuple[str, Any, str]]:
    """Name, figures and text of all that was asked for, as it is done."""
    if "frame" in what:
        yield "frame", (found := frames(count)), frames_text(found, count)
    if "checkpoint" in what:
        with tempfile.TemporaryDirectory() as directory:
            saved = apart(write_checkpoints, Path(directory), max(2, count // 10))
        yield "checkpoint", saved, checkpoints_text(saved)
    if not {"series", "start"} & set(what):
        return
    rng = np.random.default_rng(1)
    registry = state.registry_of(SERIES, rng)
    frame = state.folded(registry, 2, rng)
    with tempfile.TemporaryDirectory() as directory:
        begin, fresh = time.perf_counter(), int(time.time()) % HOUR // MINUTE
        state.fill(Path(directory), frame, registry, past, rng)
        sys.stderr.write(f"state of a month made in {time.perf_counter() - begin:.0f} s\n")
        if "series" in what:
            read = series_of(Path(directory), timers, rng)
            yield "series", read, series_text(read, past, fresh)
        if "start" in what:
            with tempfile.TemporaryDirectory() as late:
                state.fill_late(Path(late), frame, registry, rng)
                rows = {
                    "a month": starts(Path(directory), starts_),
                    "late hour": late_starts(Path(late), max(1, starts_ // 2)),
                }
            yield "start", rows, starts_text(rows)


if __name__ == "__main__":
    main()
