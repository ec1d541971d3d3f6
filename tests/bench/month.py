"""A daemon with a month of 100,000 series in memory: ``python -m tests.bench.month``.

    tier       reaches back    frames   of which different
    interval   an hour            360   12, folded from 6 samples a timer
    minute     a week          10,080   12, folded from 36 samples a timer
    hour       a month            720   6, each merged from 8 of those minutes
    day        a month             31   3, each merged from 4 of those hours

Different frames take turns and share their columns, as a month of so many series takes
130 GB.  So a question reads as many rows as it would, but from fewer bytes: some cache
misses don't happen, a tenth of a microsecond each.  All else is the daemon as it runs.
"""

import asyncio
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import uvloop

from aggd.config import Address, Config, Http, Limits, Listen
from aggd.daemon import Daemon
from aggd.sockets import open_sockets
from aggd.store.fold import Samples, fold
from aggd.store.frame import Frame, frozen, packed
from aggd.store.merge import merge
from aggd.store.ring import Ring, held
from aggd.store.rollup import History
from aggd.store.series import KINDS, Kind, Registry
from aggd.units import DAY, HOUR, MINUTE
from tests.bench import tools

SERIES = 100_000
MIX = "c:60,ms:20,g:20"
MONTH = 30 * DAY
ANY = Address("127.0.0.1", 0)


def main() -> None:
    """Fill a daemon and run it until SIGTERM."""
    logging.basicConfig(level="INFO", format="%(levelname)s %(message)s", stream=sys.stderr)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())


async def _serve() -> None:
    config = Config(
        listen=Listen(udp=(ANY,)),
        http=Http(listen=ANY),
        limits=Limits(frames_memory=1 << 50),  # shared columns count once for every frame
    )
    sockets = open_sockets(config)
    daemon = Daemon(config, sockets, lambda: config)
    fill(daemon.registry, daemon.history)
    await daemon.run()


def names() -> list[tuple[Kind, str]]:
    """Kind and name of every series the generator sends, by its number."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "lines"
        many = [f"--{option}={SERIES}" for option in ("series", "lines", "pool")]
        command = [str(tools.program("gen")), *many, f"--mix={MIX}", f"--dump={path}"]
        subprocess.run(command, check=True, timeout=tools.DEADLINE)
        lines = path.read_text().splitlines()
    found = ((line.split("|")[1], line.partition(":")[0]) for line in lines)
    return [(KINDS[letters], name) for letters, name in sorted(found, key=_number)]


def _number(found: tuple[str, str]) -> int:
    return int(found[1].rpartition(".s")[2])


def fill(registry: Registry, history: History) -> None:
    """Enter all series and put frames into every ring, up to where its tier is closed."""
    now = time.time()
    for kind, name in names():
        registry.resolve(kind, name, (), now - MONTH)
    rng = np.random.default_rng(1)
    minutes = [folded(registry, 36, rng) for _ in range(12)]
    hours = [merge(_turn(minutes, k, 8), 0, HOUR, keep=False) for k in range(0, 12, 2)]
    days = [merge(_turn(hours, k, 4), 0, DAY, keep=False) for k in range(0, 6, 2)]
    intervals = [folded(registry, 6, rng) for _ in range(12)]
    history.close(int(time.time()))
    # The open slot as well: where one is missing the finest ring reaches further back.
    ends = [history.closed[0] + history.width, *history.closed[1:]]
    for ring, end, different in zip(
        history.rings, ends, (intervals, minutes, hours, days), strict=True
    ):
        spread_out(ring, end, [frozen(packed(frame)) for frame in different])


def _turn(frames: list[Frame], first: int, count: int) -> list[Frame]:
    """So many frames from one on, round about."""
    return list(islice(cycle(frames), first, first + count))


def folded(registry: Registry, samples: int, rng: np.random.Generator) -> Frame:
    """A frame with so many samples of every timer, and one of everything else."""
    kinds = registry.kinds[: len(registry)]
    often = np.where(kinds == Kind.TIMER, samples, 1)
    series = np.repeat(np.arange(kinds.size, dtype=np.int32), often)
    value = rng.lognormal(3.0, 0.8, series.size).round(3)
    columns = Samples(series, value, np.ones(series.size), 0.0)
    return fold(columns, registry.kinds, registry.levels, 0, MINUTE).frame


def spread_out(ring: Ring, end: int, different: Sequence[Frame]) -> None:
    """Let frames take turns in all slots up to an end; full, as rings are after a month."""
    ring.horizon = end - min(ring.capacity, MONTH // ring.width + 1) * ring.width
    starts = range(ring.horizon, end, ring.width)
    for start, frame in zip(starts, cycle(different), strict=False):
        ring.append(held(replace(frame, start=start, width=ring.width), 0))


if __name__ == "__main__":
    main()
