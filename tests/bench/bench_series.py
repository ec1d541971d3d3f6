"""What selecting among a million series costs: ``python -m tests.bench.bench_series``.

Prints tables: entering names, with and without tags, and what they weigh; finding
them by globs and tags; forgetting; statistics and heavy hitters of 100,000 timers.
Times are medians of repeats, with the distance of the middle half as spread; CPU
time where it says so.  About a minute and 2 GB.
"""

import gc
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from aggd.query import catalogue, top
from aggd.query.listing import Listing, matching
from aggd.query.scope import Scope, Window
from aggd.store.fold import Samples, fold
from aggd.store.rollup import History, Tier
from aggd.store.series import Kind, Limits, Registry, Tags
from tests.bench.bench_numbers import clock, cpu, head, row
from tests.bench.tools import resident

MANY = 1_000_000
TIMERS = 100_000
START = 1_699_999_200
TIERS = (Tier("interval", 10, 3600), Tier("minute", 60, 7 * 86400), Tier("hour", 3600, 90 * 86400))


def main() -> None:
    """Print every table."""
    print(f"{cpu()}, Python {platform.python_version()}, numpy {np.__version__}")
    plain, tagged = names(), tags()
    head(f"entering {MANY} series", " " * 14, "us CPU", "us known", "bytes")
    entering("names", plain, [()] * MANY)
    registry = entering("names, 3 tags", plain, tagged)
    one = entering(
        "one name, 3 tags", ["one"] * MANY, [(f"id:{i}", *t) for i, t in enumerate(tagged)]
    )
    finding(registry, plain, one)
    forgetting(registry)
    asking()


def names() -> list[str]:
    return [f"app{i % 7}.svc{i % 53}.h{i % 997}.m{i}.latency" for i in range(MANY)]


def tags() -> list[Tags]:
    return [(f"env:{'dev' if i % 3 else 'prod'}", f"host:{i % 1000}", f"zone:{i % 5}")
            for i in range(MANY)]  # fmt: skip


def entering(title: str, every: Sequence[str], tagged: Sequence[Tags]) -> Registry:
    """Name every series once, and all of them again."""
    gc.collect()
    before, registry = resident(os.getpid())[0], Registry(Limits(series=2 * MANY))
    took = []
    for _ in range(2):
        start = time.thread_time()
        for name, carried in zip(every, tagged, strict=True):
            registry.resolve(Kind.TIMER, name, carried, 0.0)
        took.append(1e6 * (time.thread_time() - start) / MANY)
    weight = (resident(os.getpid())[0] - before) / MANY
    row(title, f"{took[0]:.2f}", f"{took[1]:.2f}", f"{weight:.0f}")
    return registry


def finding(registry: Registry, plain: Sequence[str], one: Registry) -> None:
    head(f"finding among {MANY} series", " " * 14, "ids, ms", "found")
    for title, known, match, carried in (
        ("name", registry, plain[MANY // 2], ()),
        ("app1.svc5.*", registry, "app1.svc5.*", ()),
        ("app1.*", registry, "app1.*", ()),
        ("*.m12345*", registry, "*.m12345*", ()),
        ("*.h5?.*cy", registry, "*.h5?.*cy", ()),
        ("*", registry, "*", ()),
        ("host:7", registry, "*", ("host:7",)),
        ("env:prod,zone:1", registry, "*", ("env:prod", "zone:1")),
        ("app1.*, env:prod", registry, "app1.*", ("env:prod",)),
        ("*.m5*, host:7", registry, "*.m5*", ("host:7",)),
        ("one name", one, "one", ()),
        ("one name, host:7", one, "one", ("host:7",)),
        ("one name, env:prod,zone:1", one, "one", ("env:prod", "zone:1")),
        ("o*, env:prod,zone:1", one, "o*", ("env:prod", "zone:1")),
    ):
        found = known.select(match, carried).size
        tell(title, lambda k=known, m=match, c=carried: k.select(m, c), f"{found}")
    head("pages and values", " " * 14, "ms")
    tell("page of 1000, *", lambda: catalogue.page(registry, "*", (), None, 1000, None))
    first = catalogue.page(registry, "app5.*", (), None, 1000, None)["cursor"]
    tell("  from a cursor", lambda: catalogue.page(registry, "*", (), None, 1000, first))
    tell("  of one name", lambda: catalogue.page(one, "*", ("host:7",), None, 1000, None))
    tell("values of host", lambda: catalogue.values(registry, "host", "*", 1000))
    tell("  of app1.svc5.*", lambda: catalogue.values(registry, "host", "app1.svc5.*", 1000))


def forgetting(registry: Registry) -> None:
    head("forgetting", " " * 14, "us a series")
    ids = registry.select("app1.*")
    start = time.perf_counter()
    for first in range(0, ids.size, 4096):
        registry.forget(ids[first : first + 4096])
    row("app1.*", f"{1e6 * (time.perf_counter() - start) / ids.size:.1f}")


def asking() -> None:
    """Statistics of 10,000 among 100,000 timers of an hour, in minutes and intervals."""
    registry, history = Registry(Limits()), History(TIERS, 1 << 30, 0, START)
    for i in range(TIMERS):
        registry.resolve(Kind.TIMER, f"g{i % 10}.n{i}", (), START)
    rng = np.random.default_rng(1)
    for slot in range(0, 120, 10):
        ids = np.repeat(np.arange(TIMERS, dtype=np.int32), 6)
        value = rng.lognormal(size=ids.size)
        samples = Samples(ids, value, np.ones(ids.size), float(START + slot))
        history.add(fold(samples, registry.kinds, registry.levels, START + slot, 10).frame)
        history.close(START + slot + 10)
    head(f"{TIMERS} timers, 12 x 6 samples", " " * 14, "ms")
    now = START + 120.0
    for title, seconds, listing in (
        ("g1.*, first 1000", 60, Listing()),
        ("g1.*, all 10,000", 60, Listing(limit=10_000)),
        ("g1.*, sort=-p99", 60, Listing("-p99")),
        ("g1.*, last 2m", 120, Listing(limit=10_000)),
        ("*, first 1000", 60, Listing()),
    ):
        scope = Scope(Window(now - seconds, now), now)
        match = title.partition(",")[0]
        ask = lambda m=match, s=scope, li=listing: matching(registry, history, m, (), s, li)  # noqa: E731
        tell(title, ask)
    for by in ("count", "series", "memory"):
        tell(f"top by {by}", lambda by=by: top.top(registry, history, by, Window(), now, 20))


def tell(title: str, work: Callable[[], object], *more: str) -> None:
    middle, width = (1e3 * seconds for seconds in clock(work))
    row(title, f"{middle:.2f} +-{width / 2:.2f}", *more)


if __name__ == "__main__":
    sys.exit(main())
