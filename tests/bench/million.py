"""A million samples of one series: what answers about them cost, without HTTP."""

from functools import partial
from typing import NamedTuple

import numpy as np

from aggd.config import Config
from aggd.query import answer
from aggd.query.scope import Scope, Window, groups, pick, reach
from aggd.query.selection import select
from aggd.query.stats import summarise
from aggd.retention import tiers
from aggd.store.fold import Samples, fold
from aggd.store.rollup import History
from aggd.store.series import Kind, Limits, Registry
from tests.bench.asking import Latencies, line, milliseconds, percentiles

MILLION = 1_000_000
REACH = 3000  # seconds they are spread over: all of them in the finest tier


def values(digits: int = 3) -> np.ndarray:
    """The million samples, in order of time; as clients send them, some 3 % have an equal."""
    return np.random.default_rng(1).lognormal(3.0, 0.8, MILLION).round(digits)


class Recorded(NamedTuple):
    """The million samples in a history, and the window that holds them."""

    registry: Registry
    history: History
    scope: Scope

    def some(self, *names: str) -> None:
        """Find just these statistics."""
        _, series = pick(self.registry, "million", (), None)
        selection = select(Kind.TIMER, groups("million", Kind.TIMER, series, self.scope))
        past = reach(self.history, self.scope.window, self.scope.now)
        summarise(past.frames, past.fine, selection, names, past.seconds)

    def means(self) -> None:
        """Find the means of five minutes."""
        answer.aggregate(self.registry, self.history, "million", ["mean"], 300, None, self.scope)

    def stats(self) -> None:
        """Find all that an answer about one name has."""
        answer.stats(self.registry, self.history, "million", (), self.scope)


def recorded(samples: np.ndarray) -> Recorded:
    """Record samples interval by interval, as they would have come."""
    start = 1_699_999_200
    registry, history = Registry(Limits()), History(tiers(Config()), 1 << 30, 1 << 28, start)
    series = registry.resolve(Kind.TIMER, "million", (), start)
    parts = np.array_split(samples, REACH // 10)
    for slot, value in zip(range(start, start + REACH, 10), parts, strict=True):
        row = np.full(value.size, series, np.int32)
        columns = Samples(row, value, np.ones(value.size), float(slot))
        history.add(fold(columns, registry.kinds, registry.levels, slot, 10).frame)
        history.close(slot + 10)
    end = start + REACH
    return Recorded(registry, history, Scope(Window(start, end), end))


def measure(repeats: int) -> Latencies:
    """What answers cost without HTTP, in ms."""
    inside, untied = recorded(values()), recorded(values(12))
    asked = ("p50", "p90", "p95", "p99")
    works = {
        "mean, std, min, max": partial(inside.some, "mean", "std", "min", "max"),
        "p50, p90, p95, p99": partial(inside.some, *asked),
        "  where no two are equal": partial(untied.some, *asked),
        "5-minute means": inside.means,
        "all of stats": inside.stats,
    }
    for work in works.values():
        work()
    found: Latencies = {title: [] for title in works}
    for _ in range(repeats):
        for title, work in works.items():
            found[title].append(milliseconds(work))
    return found


AIMS = {
    "mean, std, min, max": "2",
    "p50, p90, p95, p99": "5",
    "  where no two are equal": "5",
    "5-minute means": "2",
}


def table(found: Latencies) -> str:
    """One row for each question."""
    rows = [line("ms, 1 M samples, in the process", "p50", "p99", "n", "aim")]
    rows += [line(title, *percentiles(took), AIMS.get(title, "-")) for title, took in found.items()]
    return "\n".join(rows)
