"""Windows that move over slots: from rows of frames to points.

    slot       0   1   2   3   4          all rows of all slots are collected once,
    label      0   1   1   3              a group's slots behind those of the one before;
    window 3   [-------]                  windows are merged from slots (`moving`)
                   [-------]

A frame that is wider than a slot, where finer ones are gone, counts in the slot
where it ends: no point knows more than its time.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggd.query.aggregate import Buckets, buckets_of, worst
from aggd.query.selection import Selection, select
from aggd.query.stats import Column, columns, percentile, percentiles
from aggd.sketch import digest, distinct, moments, moving, quantiles, ragged
from aggd.sketch.digest import Digests
from aggd.sketch.distinct import Members
from aggd.sketch.moments import Moments
from aggd.store.frame import Counters, Floats, Frame, Gauges, Ids, Section, Sets, Timers
from aggd.store.merge import EMPTY, merge_gauges
from aggd.store.rows import collect, counts, stacked

AT_ONCE = 24_000  # slots that are worked on at a time: 170 MB, where each holds a full digest


class Grid(NamedTuple):
    """Where the windows are: window i is the slots ``[i * stride, i * stride + width)``."""

    origin: int  # start of slot 0, in seconds since the epoch
    slot: int  # seconds
    width: int  # slots
    stride: int  # slots
    windows: int
    since: int  # the samples looked at are those of [since, until)
    until: float

    @property
    def slots(self) -> int:
        """Slots from the first window's start to the last one's end."""
        return (self.windows - 1) * self.stride + self.width

    def ends(self) -> NDArray[np.int64]:
        """End of every window, in seconds since the epoch."""
        return self.origin + (np.arange(self.windows) * self.stride + self.width) * self.slot

    def seconds(self) -> Floats:
        """How much of each window there can be samples of, unless senders are ahead of us."""
        end = self.ends()
        start = np.maximum(end - self.width * self.slot, self.since)
        over = np.minimum(end, self.until) - start
        return np.where(over > 0, over, end - start).astype(np.float64)

    def part(self, first: int, last: int) -> "Grid":
        """Only some of the windows."""
        origin = self.origin + first * self.stride * self.slot
        return self._replace(origin=origin, windows=last - first)


def move(
    frames: Sequence[Frame], selection: Selection, names: Sequence[str], grid: Grid, start: int
) -> tuple[list[Buckets], float]:
    """Statistics of every group in every window that holds samples.

    Parameters
    ----------
    frames : sequence of Frame
        That hold the samples of all windows, in any order.
    selection : Selection
        Groups asked for.
    names : sequence of str
        Statistics that the kind has, ``count`` among them.
    grid : Grid
        Where the windows are.
    start : int
        Samples are counted from this second on.

    Returns
    -------
    list of Buckets
        One a group; `start` is the end of a window.
    float
        Samples from `start` on that any window holds, each once.
    """
    slot = _slots(frames, grid)
    found: list[list[Buckets]] = [[] for _ in selection.groups]
    total = 0.0
    for some, windows in _blocks(len(selection.groups), grid):
        first = windows.start * grid.stride
        part = grid.part(windows.start, windows.stop)
        inside = np.flatnonzero((slot >= first) & (slot < first + part.slots))
        pairs = zip(
            [frames[i] for i in inside.tolist()], (slot[inside] - first).tolist(), strict=True
        )
        chosen = select(selection.kind, [selection.groups[k] for k in some])
        points, count = _block(pairs, chosen, names, part, start)
        total += count
        for k, of in zip(some, points, strict=True):
            found[k].append(of)
    return [_joined(parts, names) for parts in found], total


def _slots(frames: Sequence[Frame], grid: Grid) -> NDArray[np.int64]:
    """The slot where each frame ends, or the last one; negative for those outside."""
    start = np.array([frame.start for frame in frames], np.int64) - grid.origin
    width = np.array([frame.width for frame in frames], np.int64)
    slot = np.minimum((start + width - 1) // grid.slot, grid.slots - 1)
    return np.where(start < grid.slots * grid.slot, slot, -1)


def _blocks(n: int, grid: Grid) -> Iterator[tuple[range, range]]:
    """Groups and windows that are worked on at a time."""
    windows = max(1, (AT_ONCE - grid.width) // grid.stride + 1)
    groups = max(1, AT_ONCE // grid.part(0, min(windows, max(1, grid.windows))).slots)
    for k in range(0, n, groups):
        for i in range(0, grid.windows, windows):
            yield range(k, min(k + groups, n)), range(i, min(i + windows, grid.windows))


def _joined(parts: Sequence[Buckets], names: Sequence[str]) -> Buckets:
    """Points of one group, block after block."""
    none: list[Floats] = [np.empty(0)]
    return Buckets(
        np.concatenate([np.empty(0, np.int64), *(part.start for part in parts)]),
        {name: np.concatenate(none + [part.columns[name] for part in parts]) for name in names},
        all(part.exact for part in parts),
        worst(parts),
    )


def _block(
    frames: Iterable[tuple[Frame, int]],
    selection: Selection,
    names: Sequence[str],
    grid: Grid,
    start: int,
) -> tuple[list[Buckets], float]:
    """Points of some groups, and how many samples none of the windows before holds."""
    n, slots = len(selection.groups), grid.slots
    empty: Any = EMPTY[selection.kind]
    labels = selection.labels * np.int32(slots)
    label, rows = stacked(collect(frames, type(empty), selection.ids, labels), empty)
    swept = Swept(label, rows, n, grid)
    slot = (label % slots).astype(np.int64)  # a stride may be longer than int32
    fresh = slot >= max(grid.width - grid.stride, (start - grid.origin) // grid.slot)
    fresh &= slot % grid.stride < grid.width  # no window holds those between
    total = float(counts(rows)[fresh].sum(dtype=np.float64))
    whole = swept.windows()
    kept = np.flatnonzero(counts(whole) > 0)
    plain = [name for name in names if percentile(name) is None and name != "unique"]
    found = columns(whole.select(kept), plain, np.tile(grid.seconds(), n)[kept])
    if isinstance(whole, Timers):
        found |= swept.percentiles(percentiles(names), whole, kept)
    if "unique" in names:
        found["unique"] = swept.unique(kept)
    found = {name: found[name] for name in names}
    edges = kept.searchsorted(np.arange(n + 1) * grid.windows).tolist()
    ends = np.tile(grid.ends(), n)[kept]
    return [buckets_of(np.arange(edges[k], edges[k + 1]), ends, found) for k in range(n)], total


class Swept(NamedTuple):
    """Rows of n groups in slots; row i is of slot ``label[i] % slots`` of a group."""

    label: Ids
    rows: Section
    n: int
    grid: Grid

    def windows(self) -> Section:
        """Every window of every group as a row, the empty ones too, without sketches."""
        series = np.arange(self.n * self.grid.windows, dtype=np.int32)
        rows = self.rows
        if isinstance(rows, Counters):
            return Counters(series, self.add(rows.count), self.add(rows.sum))
        if isinstance(rows, Gauges):
            return self.gauges(rows, series)
        if isinstance(rows, Timers):
            merged = moments.merge(self.label, rows.moments, self.n * self.grid.slots)
            slots = Moments(*(self.shaped(column) for column in merged))
            found = moving.merge_moments(slots, self.grid.width, self.grid.stride)
            flat = Moments(*(column.ravel() for column in found))
            none = Digests.empty(series.size)
            return Timers(series, self.add(rows.samples), flat, none, None)
        return Sets(series, self.add(rows.count), Members.empty(series.size))

    def shaped(self, column: Floats) -> Floats:
        """By group and slot."""
        return column.reshape(self.n, self.grid.slots)

    def add(self, column: Floats) -> Floats:
        """Sums of every window of every group."""
        slots = ragged.sums(self.label, column, self.n * self.grid.slots)
        return moving.add(self.shaped(slots), self.grid.width, self.grid.stride).ravel()

    def gauges(self, rows: Gauges, series: Ids) -> Gauges:
        """Levels of every window of every group."""
        merged = merge_gauges([(self.label, rows)])
        nothing = (0.0, 0.0, np.inf, -np.inf, np.nan, -np.inf)
        slots = []
        for value, empty in zip(_levels(merged), nothing, strict=True):
            column = np.full(self.n * self.grid.slots, empty)
            column[merged.series] = value
            slots.append(self.shaped(column))
        found = moving.merge(tuple(slots), self.grid.width, self.grid.stride, _later)
        return Gauges(series, *(column.ravel() for column in found))

    def percentiles(
        self, names: Sequence[str], windows: Timers, kept: NDArray[np.intp]
    ) -> dict[str, Column]:
        """Percentiles of the windows that are `kept`."""
        assert isinstance(self.rows, Timers)
        if not names:
            return {}
        q = np.array([percentile(name) for name in names], np.float64)
        low, high = windows.moments.low, windows.moments.high
        values = np.concatenate(
            [
                moving.quantiles(
                    digest.slice_rows(self.rows.digests, rows.start, rows.stop),
                    slot, self.grid.slots, (low[at], high[at]),
                    self.grid.width, self.grid.stride, q,
                )
                for rows, slot, at in self.by_group()
            ]
        )[kept]  # fmt: skip
        exact = self.add((~digest.exact(self.rows.digests)).astype(np.float64))[kept] == 0
        error = np.minimum(1.0, quantiles.rank_error(q)[:, None] + 1 / windows.samples[kept])
        errors = np.where(exact, 0.0, error)
        return {name: Column(values[:, i], exact, errors[i]) for i, name in enumerate(names)}

    def unique(self, kept: NDArray[np.intp]) -> Column:
        """Different members of the windows that are `kept`."""
        assert isinstance(self.rows, Sets)
        found = [
            moving.different(
                distinct.slice_rows(self.rows.members, rows.start, rows.stop),
                slot, self.grid.slots, self.grid.width, self.grid.stride,
            )
            for rows, slot, _ in self.by_group()
        ]  # fmt: skip
        values, exact = (np.concatenate(column)[kept] for column in zip(*found, strict=True))
        return Column(values, exact, np.zeros(kept.size))

    def by_group(self) -> Iterator[tuple[slice, Ids, slice]]:
        """Rows of each group, their slots, and the group's windows."""
        slots, windows = self.grid.slots, self.grid.windows
        edges = self.label.searchsorted(np.arange(self.n + 1) * slots).tolist()
        for k in range(self.n):
            rows = slice(edges[k], edges[k + 1])
            yield (
                rows,
                self.label[rows] - np.int32(k * slots),
                slice(k * windows, (k + 1) * windows),
            )


Levels = tuple[Floats, ...]  # count, sum, low, high, last, last_time


def _levels(gauges: Gauges) -> Levels:
    return gauges.count, gauges.sum, gauges.low, gauges.high, gauges.last, gauges.last_time


def _later(first: Levels, second: Levels) -> Levels:
    """Merge gauges of slots, the second ones later."""
    count, total, low, high, last, time = zip(first, second, strict=True)
    newer = time[1] >= time[0]
    return (
        count[0] + count[1],
        total[0] + total[1],
        np.minimum(*low),
        np.maximum(*high),
        np.where(newer, *last[::-1]),
        np.maximum(*time),
    )
