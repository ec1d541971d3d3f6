"""A recorder with a compiled lane in front of it, and what came of it."""

from aggd.ingest.column import Column
from aggd.ingest.fastlane import FastLane
from aggd.store.frame import Frame
from aggd.store.merge import merge
from aggd.store.naming import Policy
from aggd.store.recorder import Recorded, Recorder
from aggd.store.rollup import History, Tier
from aggd.store.series import Limits, Registry

NOW = 1_700_000_000.0
GENEROUS = Limits()
TIERS = (Tier("interval", 10, 7200), Tier("day", 86400, 1 << 40))


class Intake:
    """One lane, one recorder, no threads."""

    def __init__(self, limits: Limits = GENEROUS, tiers=TIERS, rows: int = 1000, **policy) -> None:
        self.asked: list[tuple[int, int]] = []  # keys that were named
        self.lane = FastLane(1, 1000, 1 << 16)
        self.registry = Registry(limits)
        self.history = History(tiers, 1 << 30, 1 << 30, NOW)
        self.recorder = Recorder(self.registry, self.history, Policy(**policy), [self.spellings])
        self.figures = self.recorder.figures
        self.rows = rows

    def spellings(self, first: int, last: int) -> list[bytes]:
        self.asked.append((first, last))
        return self.lane.spellings(first, last)

    def take(self, *lines: bytes, now: float = NOW) -> Recorded:
        """Record lines as one datagram; through several columns where one is too small."""
        accepted, refused, data, done = 0, [], b"\n".join(lines), 0
        while done < len(data):
            column = Column(self.rows, 1 << 16)
            column.start = now
            done = self.lane.feed(data, column, done)
            recorded = self.recorder.column(column)
            accepted += recorded.accepted
            refused += recorded.refused
        return Recorded(accepted, refused)

    def frame(self) -> Frame:
        """All that was recorded, as one frame."""
        found = merge(self.history.tile(0, 1 << 40).frames, 0, 1 << 40)
        found._check()
        self.registry._check()
        return found

    def total(self) -> float:
        """Of all counters."""
        return float(self.frame().counters.sum.sum())

    def level(self, name: str = "g") -> float:
        """Of the one gauge of this name."""
        (series,) = self.registry.named(name)
        gauges = self.frame().gauges
        assert self.registry.levels[series.id] == gauges.last[gauges.series == series.id][0]
        return float(self.registry.levels[series.id])

    def bad(self) -> dict[str, int]:
        """Refused lines and samples, by reason."""
        return {reason: n for reason, n in self.figures.bad.items() if n}
