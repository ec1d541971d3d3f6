"""Columns and points to frames: where samples get their series.

A column holds rows numbered by a lane, and lines that the lane set aside, each
with its place among the rows.  Here rows become series (once for every new
spelling), the lines are read by the slow lane and put back in their place, and
the whole becomes a partial frame of the history.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggd.errors import ProtocolError
from aggd.ingest.column import Column, sender_text
from aggd.protocol.batch import Batch
from aggd.protocol.lines import Check, Event, LineParser, Parsed, Refusal, Sample
from aggd.sketch.digest import Digests
from aggd.sketch.distinct import hash_member
from aggd.sketch.moments import Moments
from aggd.store.fold import Samples, fold
from aggd.store.frame import Frame, Ids, Index, Timers, frozen
from aggd.store.naming import REFUSED, Named, Naming, Policy, Spellings
from aggd.store.rollup import History
from aggd.store.series import KINDS, Kind, Registry, Series, Tags

BAD_LINES = 100  # refused lines kept for a person to look at
FORGOTTEN = 4096  # series forgotten while the fold thread waits: some 20 ms


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
        self._naming = [Naming(registry, of, self._refuse) for of in spellings]
        self._totals: dict[int, float] = {}  # last total of monotonic counters
        self._lock = Lock()

    def change_policy(self, policy: Policy) -> None:
        """Read lines and names by another policy; series that have a name keep it."""
        with self._lock:
            self.policy = policy
            self._parser = LineParser(policy.sanitize_names, policy.netdata_defaults)

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
            samples, places, unnamed = self._named(column)
            self.figures.bad.update(refusal.reason for refusal in unnamed)
            if rows.at:
                samples = _spliced(samples, places[rows.at], rows.samples(column.start))
            taken = samples.series.size
            if not self._fold(samples, column.start):
                self.figures.bad["stale_timestamp"] += taken
                taken = 0
            taken += len(late.series) - len(self._fold_late(late))
        return Recorded(taken, refused + unnamed)

    def _named(self, column: Column) -> Named:
        if self._naming:
            return self._naming[column.lane].samples(column, self.policy)
        none = column.row[:0], column.value[:0], column.weight[:0]
        return Named(Samples(*none, column.start), np.zeros(1, np.intp), [])

    def _refuse(self, now: float, refusal: Refusal) -> None:
        self.figures.bad_lines.append(BadLine(now, "", *refusal))

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

    def record_batch(self, batch: Batch, now: float) -> list[tuple[int, str]]:
        """Record points that came as columns, to be seen by the next query.

        Returns
        -------
        list of (int, str)
            Place and reason of each that was refused.
        """
        with self._lock:
            early = batch.time > now + self.policy.future
            series, reasons = self._resolved(batch, ~early, now)
            row = series[batch.identity]
            good = (row != REFUSED) & ~early
            refused = [(i, "future_timestamp") for i, _ in _at(batch.identity, early)]
            refused += [(i, reasons[k]) for i, k in _at(batch.identity, ~early & ~good)]
            self.figures.bad.update(reason for _, reason in refused)
            counted = np.isin(self.registry.kinds[row], (Kind.COUNTER, Kind.TIMER))
            every = Samples(row, batch.value, np.where(counted, 1 / batch.rate, 1.0), batch.time)
            current = every.take(np.flatnonzero(good & np.isnan(batch.time)))
            self._fold(current._replace(time=now), now)
            late = np.flatnonzero(good & ~np.isnan(batch.time))
            if late.size:
                stale = self._fold_by_slot(every.take(late))
                refused += [(int(late[i]), "stale_timestamp") for i in stale]
        return sorted(refused)

    def _resolved(
        self, batch: Batch, rows: NDArray[np.bool_], now: float
    ) -> tuple[Ids, dict[int, str]]:
        """The series of every identity that some of the rows have, or REFUSED and why."""
        series = np.full(len(batch.identities), REFUSED, np.int32)
        reasons: dict[int, str] = {}
        for i in dict.fromkeys(batch.identity[rows].tolist()):
            kind, name, tags = batch.identities[i]
            try:
                series[i] = self.registry.resolve(KINDS[kind], name, tags, now)
            except ProtocolError as refusal:
                reasons[i] = refusal.reason
        return series, reasons

    def merge(
        self, name: str, tags: Tags, moments: Moments, digests: Digests, time: float, now: float
    ) -> tuple[Series, Frame]:
        """Merge a timer's row from elsewhere into the slot that holds `time`.

        Its centroids count as samples received.

        Returns
        -------
        Series, Frame
            What it became, and what was added.

        Raises
        ------
        ProtocolError
            With ``future_timestamp``, ``stale_timestamp`` or ``name_too_long``.
        """
        with self._lock:
            try:
                frame = self._merge(name, tags, moments, digests, time, now)
            except ProtocolError as refusal:
                self.figures.bad[refusal.reason] += 1
                raise
            self.figures.samples[Kind.TIMER] += digests.mean.size
            return self.registry[int(frame.timers.series[0])], frame

    def _merge(
        self, name: str, tags: Tags, moments: Moments, digests: Digests, time: float, now: float
    ) -> Frame:
        if time > now + self.policy.future:
            message = f"timestamp is over {self.policy.future:g} s ahead of our clock"
            raise ProtocolError("future_timestamp", message)
        ids = np.array([self.registry.resolve(Kind.TIMER, name, tags, now)], np.int32)
        self.registry.seen(ids, time)
        width = self.history.width
        timers = Timers(ids, moments.count, moments, digests, Digests.empty(1))
        frame = frozen(Frame(int(time // width) * width, width, timers=timers))
        if not self.history.add(frame):
            raise ProtocolError("stale_timestamp", "timestamp is older than all that is kept")
        return frame

    def forget(self, match: str, tags: Sequence[str] = (), kind: Kind | None = None) -> int:
        """Forget the series that match and their past; how many there were.

        What comes for them later starts anew, gauges at 0.
        """
        ids = self.registry.select(match, tags, kind)
        forgotten = 0
        for first in range(0, ids.size, FORGOTTEN):
            with self._lock:
                forgotten += self._forget(ids[first : first + FORGOTTEN])
        return forgotten

    def _forget(self, ids: NDArray[np.int32]) -> int:
        forgotten = self.registry.forget(ids)
        for naming in self._naming:
            naming.forget()
        for series in ids.tolist():
            self._totals.pop(series, None)
        return forgotten

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
                if why := self._sample(record, at, now, rows, late):
                    name = record.name.encode()  # all that is left of the line
                    figures.bad_lines.append(BadLine(now, sender_text(sender), why, name))
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
        if not self.history.add(frame):
            return False
        gauges = frame.gauges
        registry.set_levels(gauges.series, gauges.last, gauges.last_time)
        for section in frame.sections():
            registry.seen(section.series, time)
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
        """Fold samples with a time of their own; places of the refused."""
        if not late.series:
            return []
        refused = self._fold_by_slot(late.samples(None))
        return [late.at[i] for i in refused]

    def _fold_by_slot(self, samples: Samples) -> list[int]:
        """Fold samples into the slots of their times; rows of those that nobody keeps."""
        time = np.asarray(samples.time)
        order = np.argsort(time, kind="stable")
        samples, time = samples.take(order), time[order]
        first = np.flatnonzero(np.diff(time // self.history.width, prepend=-1.0))
        refused: list[int] = []
        for a, b in pairwise([*first.tolist(), time.size]):
            if not self._fold(samples.take(np.arange(a, b)), float(time[a])):
                self.figures.bad["stale_timestamp"] += b - a
                refused += order[a:b].tolist()
        return refused


def _at(identity: Index, where: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Points of which something is true, and the identity of each."""
    at = np.flatnonzero(where)
    return list(zip(at.tolist(), identity[at].tolist(), strict=True))


def _spliced(samples: Samples, at: NDArray[np.intp], more: Samples) -> Samples:
    """Put samples read from set-aside lines back in their place."""
    return Samples(
        np.insert(samples.series, at, more.series),
        np.insert(samples.value, at, more.value),
        np.insert(samples.weight, at, more.weight),
        samples.time,
    )
