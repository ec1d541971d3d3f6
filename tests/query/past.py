"""Histories for tests: raw samples in, and the same samples as plain lists beside them."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from aggd.store.fold import Samples, fold
from aggd.store.rollup import History, Tier
from aggd.store.series import Kind, Limits, Registry

START = 1_699_999_200  # a whole hour
TIERS = (Tier("interval", 10, 3600), Tier("minute", 60, 86400), Tier("hour", 3600, 86400 * 30))

SHORT = (Tier("interval", 10, 60), Tier("minute", 60, 600), Tier("hour", 3600, 86400))


class Sample(NamedTuple):
    series: int
    value: float
    weight: float
    time: int  # seconds after START


class Past:
    """A history, and what was recorded in it."""

    def __init__(
        self, kind: Kind = Kind.TIMER, series: int = 4, tiers: tuple[Tier, ...] = TIERS
    ) -> None:
        self.registry = Registry(Limits())
        self.history = History(tiers, 1 << 30, 1 << 28, START)
        self.kind = kind
        self.ids = [
            self.registry.resolve(kind, "t", (f"env:{i % 2}", f"host:{i}"), START)
            for i in range(series)
        ]
        self.samples: list[Sample] = []

    def record(self, samples: Iterable[Sample], close: bool = True) -> "Past":
        """Record samples slot by slot, closing every slot on the way."""
        slots = defaultdict(list)
        for sample in samples:
            slots[sample.time // 10 * 10].append(sample)
            self.samples.append(sample)
        for slot in sorted(slots):
            self.add(slots[slot], START + slot)
            if close:
                self.history.close(START + slot + 10)
        return self

    def add(self, samples: list[Sample], start: int) -> None:
        series, value, weight, time = zip(*samples, strict=True)
        times = np.array(time, float) + START
        order = np.argsort(times, kind="stable")
        columns = Samples(
            np.array(series, np.int32), np.array(value, float), np.array(weight, float), times
        ).take(order)
        columns = columns._replace(time=times[order])
        registry = self.registry
        folded = fold(columns, registry.kinds, registry.levels, start, 10)
        assert not folded.overflow
        assert self.history.add(folded.frame)
        gauges = folded.frame.gauges
        registry.set_levels(gauges.series, gauges.last, gauges.last_time)

    def raw(self, start: int = 0, end: int = 1 << 40, series=None) -> np.ndarray:
        """Values in ``[start, end)`` seconds after START, repeated by their weight."""
        chosen = [
            s for s in self.samples
            if start <= s.time < end and (series is None or s.series in series)
        ]  # fmt: skip
        return np.repeat([s.value for s in chosen], [int(s.weight) for s in chosen])
