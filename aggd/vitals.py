"""The daemon's own figures, as ``/metrics`` shows them."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aggd.http.service import Audience
from aggd.outputs.prometheus import Family
from aggd.store.recorder import Figures
from aggd.store.rollup import History
from aggd.store.series import Registry


class Timing:
    """How often something was done, and how long it took in all."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.last = 0.0

    @contextmanager
    def measure(self, clock: Callable[[], float]) -> Iterator[None]:
        """Time what is done inside."""
        start = clock()
        yield
        self.last = clock() - start
        self.count += 1
        self.seconds += self.last

    def families(self, name: str, help: str) -> Iterator[Family]:
        """As a summary without quantiles, and the last one."""
        samples: list[tuple[str, float]] = [("_sum", self.seconds), ("_count", self.count)]
        yield Family(f"aggd_{name}_seconds", "summary", help, [({}, n, s) for s, n in samples])
        yield gauge(f"{name}_last_seconds", f"{help[:-1]}, the last time.", self.last)


PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def intake(figures: Figures) -> Iterator[Family]:
    """Lines, samples, refusals."""
    yield counter("datagrams", "Datagrams received.", figures.datagrams)
    yield counter("received_bytes", "Bytes of datagrams received.", figures.bytes)
    yield by("lines", "Lines received, by the lane that read them.", "lane", figures.lines)
    samples = {kind.word: n for kind, n in figures.samples.items()}
    yield by("samples", "Samples recorded, by kind.", "kind", samples)
    yield by("lines_bad", "Lines and samples refused, by reason.", "reason", figures.bad)
    yield by("warnings", "Samples kept with a warning, by reason.", "reason", figures.warnings)
    yield counter("events", "DogStatsD events received.", figures.events)
    yield counter("checks", "DogStatsD service checks received.", figures.checks)


def memory(registry: Registry, history: History) -> Iterator[Family]:
    """Series, frames, and what they weigh."""
    yield gauge("series", "Series known.", len(registry))
    yield gauge("series_limit", "Series that may be known.", registry.limits.series)
    yield counter("series_overflow", "Names that became aggd.overflow.", registry.overflowed)
    yield counter("tags_dropped", "Tags over a limit, dropped from names.", registry.tags_dropped)
    tiers = [tier.name for tier in history.tiers]
    slots = dict(zip(tiers, map(len, history.rings), strict=True))
    yield by("slots", "Slots that hold data, by tier.", "tier", slots, "gauge")
    sizes = dict(zip(tiers, (ring.nbytes for ring in history.rings), strict=True))
    yield by("frames_bytes", "Bytes of frames, by tier.", "tier", sizes, "gauge")
    yield gauge("samples_bytes", "Bytes of raw samples among them.", history.points_nbytes())
    evicted = dict(zip(tiers, history.slots.evicted, strict=True))
    yield by("evicted", "Slots that left for want of memory, by tier.", "tier", evicted)


def audience(found: Audience) -> Iterator[Family]:
    """Who listens to streams."""
    yield gauge("live_listeners", "Connections that streams are sent to.", found.listeners)
    yield counter("live_dropped", "Streams ended as their readers fell behind.", found.dropped)


def process() -> Iterator[Family]:
    """What the process uses."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield gauge("process_resident_bytes", "Memory in RAM.", resident_bytes())
    yield counter("process_cpu_seconds", "CPU time used.", usage.ru_utime + usage.ru_stime)


def counter(name: str, help: str, value: float) -> Family:
    """A total without labels."""
    return Family(f"aggd_{name}_total", "counter", help, [({}, value)])


def gauge(name: str, help: str, value: float) -> Family:
    """A level without labels."""
    return Family(f"aggd_{name}", "gauge", help, [({}, value)])


def by(name: str, help: str, label: str, values: dict[str, int], type: str = "counter") -> Family:
    """One sample for each value of a label."""
    suffix = "_total" if type == "counter" else ""
    samples = [({label: key}, float(n)) for key, n in sorted(values.items())]
    return Family(f"aggd_{name}{suffix}", type, help, samples)
