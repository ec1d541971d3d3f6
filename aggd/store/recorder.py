"""Columns and points to frames: where samples get their series.

A column holds rows numbered by a lane, and lines that the lane set aside, each
with its place among the rows.  Here rows become series (once for every new
spelling), the lines are read by the slow lane and put back in their place, and
the whole becomes a partial frame of the history.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Literal, NamedTuple

import numpy as np

from aggd.errors import ProtocolError
from aggd.ingest.column import Column, sender_text
from aggd.protocol.lines import Check, Event, LineParser, Parsed, Refusal, Sample
from aggd.protocol.names import identity
from aggd.sketch.distinct import hash_member
from aggd.store.fold import Samples, fold
from aggd.store.rollup import History
from aggd.store.series import KINDS, Kind, Registry

GaugeSign = Literal["delta", "absolute", "auto"]
Spellings = Callable[[int, int], list[bytes]]

BAD_LINES = 100  # refused lines kept for a person to look at
REFUSED = -1  # series of a row that was refused


class BadLine(NamedTuple):
    """A refused line; time in seconds since the epoch."""

    time: float
    sender: str
    reason: str
    line: bytes


class Figures:
    """What has been counted since the start."""

    def __init__(self) -> None:
        self.lines: Counter[str] = Counter()  # by lane
        self.samples: Counter[Kind] = Counter()
        self.bad: Counter[str] = Counter()  # refused lines and samples, by reason
        self.warnings: Counter[str] = Counter()  # samples kept all the same, by reason
        self.datagrams = 0
        self.bytes = 0
        self.events = 0
        self.checks = 0
        self.bad_lines: deque[BadLine] = deque(maxlen=BAD_LINES)


class Recorded(NamedTuple):
    """What became of a column: samples taken, and lines refused."""

    accepted: int
    refused: list[Refusal]


class Policy(NamedTuple):
    """What the protocol leaves to the configuration."""

    gauge_sign: GaugeSign = "delta"
    monotonic: bool = False  # type C carries totals, not increments
    future: float = 60.0  # seconds a timestamp may be ahead
    sanitize_names: bool = True
    netdata_defaults: bool = False


class _Rows:
    """Samples gathered one by one."""

    def __init__(self) -> None:
        self.at: list[int] = []
        self.series: list[int] = []
        self.value: list[float] = []
        self.weight: list[float] = []
        self.time: list[float] = []
        self.members: list[tuple[int, int]] = []  # row and hash of a set's member

    def samples(self, time: float | None) -> Samples:
        """As columns; with `time` for all, or the time of each."""
        value = np.array(self.value, np.float64)
        if self.members:
            rows, hashes = zip(*self.members, strict=True)
            value.view(np.uint64)[list(rows)] = np.array(hashes, np.uint64)
        series, weight = np.array(self.series, np.int32), np.array(self.weight, np.float64)
        return Samples(series, value, weight, np.array(self.time) if time is None else time)


class Recorder:
    """Names samples and folds them into a history; safe to call from several threads.

    Parameters
    ----------
    spellings : sequence of callables
        For each lane, ``(first, last) -> list of bytes``: the keys it has numbered.
    """

    def __init__(
        self,
        registry: Registry,
        history: History,
        policy: Policy,
        spellings: Sequence[Spellings] = (),
    ) -> None:
        self.registry = registry
        self.history = history
        self.policy = policy
        self.figures = Figures()
        self._parser = LineParser(policy.sanitize_names, policy.netdata_defaults)
        self._spellings = spellings
        self._same = [np.empty(0, np.int32) for _ in spellings]
        self._absolute = [np.empty(0, np.bool_) for _ in spellings]
        self._refused: list[dict[int, str]] = [{} for _ in spellings]
        self._totals: dict[int, float] = {}  # last total of monotonic counters
        self._lock = Lock()

    def column(self, column: Column) -> Recorded:
        """Record all that a column holds."""
        with self._lock:
            rows, late = _Rows(), _Rows()
            refused: list[Refusal] = []
            for at, line, sender in column.odd_lines():
                parsed = Parsed()
                if column.whole:
                    parsed = self._parser.parse(line)
                else:
                    self._parser.line(line, parsed)
                self._take(parsed, at, column.start, sender, rows, late)
                refused += parsed.bad
            self._count(column)
            samples = self._named(column)
            if rows.at:
                samples = _spliced(samples, rows.at, rows.samples(column.start))
            self._fold(samples, column.start)
            stale = self._fold_late(late)
        return Recorded(samples.series.size + len(late.series) - len(stale), refused)

    def _count(self, column: Column) -> None:
        figures = self.figures
        figures.datagrams += column.datagrams
        figures.bytes += column.bytes
        figures.lines["compiled"] += column.lines
        if column.too_long:
            figures.bad["line_too_long"] += column.too_long

    def record(self, samples: Iterable[Sample], now: float) -> list[tuple[int, str]]:
        """Record samples that were parsed elsewhere, to be seen by the next query.

        Returns
        -------
        list of (int, str)
            Place and reason of each that was refused.
        """
        with self._lock:
            rows, late = _Rows(), _Rows()
            refused = []
            for at, sample in enumerate(samples):
                reason = self._sample(sample, at, now, rows, late)
                if reason:
                    refused.append((at, reason))
            self._fold(rows.samples(now), now)
            refused += [(at, "stale_timestamp") for at in self._fold_late(late)]
        return sorted(refused)

    def _named(self, column: Column) -> Samples:
        """Rows of a lane as series; refused rows are counted and left out."""
        used = len(column)
        row, value, weight = column.row[:used], column.value[:used], column.weight[:used]
        if not used:
            return Samples(row, value, weight, column.start)
        lane = column.lane
        if column.keys > self._same[lane].size:
            self._name(lane, column.keys, column.start)
        series = self._same[lane][row]
        if self.policy.gauge_sign != "delta":
            weight = np.where((weight == 0) & self._absolute[lane][row], 1.0, weight)
        if self._refused[lane]:
            kept = series != REFUSED
            self.figures.bad.update(self._refused[lane][r] for r in row[~kept].tolist())
            series, value, weight = series[kept], value[kept], weight[kept]
        return Samples(series, value, weight, column.start)

    def _name(self, lane: int, last: int, now: float) -> None:
        """Give a series to every new spelling: kind letter, name, LF and tags if any."""
        first = self._same[lane].size
        same, absolute = [], []
        for i, spelling in enumerate(self._spellings[lane](first, last), first):
            head, _, tags = spelling[1:].partition(b"\n")
            tagged = len(spelling) > 1 + len(head)
            try:
                kind = KINDS["ms" if spelling[:1] == b"m" else chr(spelling[0])]
                name = identity(head, tags if tagged else None, self.policy.sanitize_names)
                same.append(self.registry.resolve(kind, name.name, name.tags, now))
            except ProtocolError as refusal:
                self._refused[lane][i] = refusal.reason
                same.append(REFUSED)
            absolute.append(self.policy.gauge_sign == "absolute" or tagged)
        self._same[lane] = np.append(self._same[lane], np.array(same, np.int32))
        self._absolute[lane] = np.append(self._absolute[lane], np.array(absolute, np.bool_))

    def _take(
        self, parsed: Parsed, at: int, now: float, sender: bytes, rows: _Rows, late: _Rows
    ) -> None:
        figures = self.figures
        figures.lines["python"] += parsed.lines
        figures.warnings.update(parsed.warnings)
        for reason, line in parsed.bad:
            figures.bad[reason] += 1
            figures.bad_lines.append(BadLine(now, sender_text(sender), reason, line))
        for record in parsed.records:
            if isinstance(record, Sample):
                self._sample(record, at, now, rows, late)
            elif isinstance(record, Event):
                figures.events += 1
            elif isinstance(record, Check):
                figures.checks += 1

    def _sample(self, sample: Sample, at: int, now: float, rows: _Rows, late: _Rows) -> str | None:
        """Take the values of one sample; the reason where it is refused."""
        kind = KINDS[sample.kind]
        time = sample.timestamp
        if time is not None and time > now + self.policy.future:
            self.figures.bad["future_timestamp"] += len(sample.values)
            return "future_timestamp"
        try:
            series = self.registry.resolve(kind, sample.name, sample.tags, now)
        except ProtocolError as refusal:
            self.figures.bad[refusal.reason] += len(sample.values)
            return refusal.reason
        if time is not None:
            rows = late
        weight = 1.0 / sample.rate if kind in (Kind.COUNTER, Kind.TIMER) else 1.0
        for value, sign in zip(sample.values, sample.signs, strict=True):
            if isinstance(value, bytes):
                rows.members.append((len(rows.value), hash_member(value)))
                rows.value.append(0.0)
            else:
                monotonic = sample.kind == "C" and self.policy.monotonic
                rows.value.append(self._increase(series, value) if monotonic else value)
            changed = kind is Kind.GAUGE and sign != " " and self._is_change(sample)
            rows.weight.append(0.0 if changed else weight)
            rows.at.append(at)
            rows.series.append(series)
            if time is not None:
                rows.time.append(time)
        return None

    def _is_change(self, sample: Sample) -> bool:
        sign = self.policy.gauge_sign
        return sign == "delta" or (sign == "auto" and not sample.extended)

    def _increase(self, series: int, total: float) -> float:
        """By how much a running total grew; one that fell has started again at 0."""
        before = self._totals.get(series, total)
        self._totals[series] = total
        return total - before if total >= before else total

    def _fold(self, samples: Samples, time: float) -> bool:
        """Fold samples into the slot that holds `time`; False where nobody keeps it."""
        if not samples.series.size:
            return True
        registry, width = self.registry, self.history.width
        start = int(time // width) * width
        frame, overflow = fold(samples, registry.kinds, registry.levels, start, width)
        gauges = frame.gauges
        registry.set_levels(gauges.series, gauges.last, gauges.last_time)
        for section in frame.sections():
            registry.seen(section.series, time)
        if not self.history.add(frame):
            return False
        counts = np.bincount(registry.kinds[samples.series], minlength=len(Kind))
        for kind in Kind:
            self.figures.samples[kind] += int(counts[kind])
        self.figures.bad["overflow"] += overflow
        timers = registry.kinds[samples.series] == Kind.TIMER
        self.figures.warnings["negative_timer"] += int(
            np.count_nonzero(timers & (samples.value < 0))
        )
        return True

    def _fold_late(self, late: _Rows) -> list[int]:
        """Fold samples with a time of their own, slot by slot; places of the refused."""
        if not late.series:
            return []
        time = np.array(late.time)
        order = np.argsort(time, kind="stable")
        samples, time = late.samples(None).take(order), time[order]
        first = np.flatnonzero(np.diff(time // self.history.width, prepend=-1.0))
        refused: list[int] = []
        for a, b in zip(first, [*first[1:], time.size], strict=True):
            if not self._fold(samples.take(np.arange(a, b)), float(time[a])):
                self.figures.bad["stale_timestamp"] += int(b - a)
                refused += [late.at[i] for i in order[a:b]]
        return refused


def _spliced(samples: Samples, at: Sequence[int], more: Samples) -> Samples:
    """Put samples read from set-aside lines back in their place."""
    return Samples(
        np.insert(samples.series, at, more.series),
        np.insert(samples.value, at, more.value),
        np.insert(samples.weight, at, more.weight),
        samples.time,
    )
