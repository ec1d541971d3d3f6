"""Samples to a partial frame.

A sample is a row of three columns in order of arrival: series, value, weight
(1/rate).  Counters add up, gauges are followed line by line, timers are sorted
into moments and digests, members of sets are united.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggd.sketch import digest, distinct, ragged
from aggd.store.frame import (
    NO_COUNTERS,
    NO_GAUGES,
    NO_SETS,
    NO_TIMERS,
    Counters,
    Floats,
    Frame,
    Gauges,
    Ids,
    Index,
    Sets,
    Timers,
    frozen,
)
from aggd.store.merge import LARGEST, number
from aggd.store.series import Kind

OPEN_SIZE = 2 * digest.K  # centroids of a digest that will be merged again


class Samples(NamedTuple):
    """Samples in order of arrival; all columns have shape (n,).

    `value` holds a number, or the 64 bits of a set's member as they are.
    `weight` is 1/rate; 0 marks a gauge's change.  `time` is one time for all,
    or one for each, ascending, in seconds since the epoch.
    """

    series: Ids
    value: Floats
    weight: Floats
    time: float | Floats

    def take(self, rows: Index) -> "Samples":
        """Keep `rows`, in that order."""
        time = self.time if isinstance(self.time, float) else self.time[rows]
        return Samples(self.series[rows], self.value[rows], self.weight[rows], time)


class Folded(NamedTuple):
    """A partial frame, and how many samples were refused for its sums' sake."""

    frame: Frame
    overflow: int


def fold(
    samples: Samples, kinds: NDArray[np.uint8], levels: Floats, start: int, width: int
) -> Folded:
    """Fold samples into the frame of a slot.

    Parameters
    ----------
    samples : Samples
        In order of arrival.
    kinds : ndarray of uint8
        Kind of every series, by id.
    levels : ndarray of float64
        Level of every gauge before the first sample, by id; read only.
    start, width : int
        The slot, in seconds.
    """
    kind = kinds[samples.series]
    counts = np.bincount(kind, minlength=len(Kind))
    whole = int(counts.max()) == kind.size
    of: dict[Kind, Samples] = {
        k: samples if whole else samples.take(np.flatnonzero(kind == k)) for k in Kind if counts[k]
    }
    counters, refused = fold_counters(of[Kind.COUNTER]) if Kind.COUNTER in of else (NO_COUNTERS, 0)
    gauges, out = fold_gauges(of[Kind.GAUGE], levels) if Kind.GAUGE in of else (NO_GAUGES, 0)
    timers = fold_timers(of[Kind.TIMER]) if Kind.TIMER in of else NO_TIMERS
    sets = fold_sets(of[Kind.SET]) if Kind.SET in of else NO_SETS
    return Folded(frozen(Frame(start, width, counters, gauges, timers, sets)), refused + out)


def fold_counters(samples: Samples) -> tuple[Counters, int]:
    """Add up value/rate; a series whose sum would pass LARGEST is refused."""
    series, (row,) = number([samples.series])
    count = ragged.sums(row, samples.weight, series.size)
    total = ragged.sums(row, samples.value * samples.weight, series.size)
    good = np.abs(total) <= LARGEST
    if good.all():
        return Counters(series, count, total), 0
    kept = np.flatnonzero(good)
    return Counters(series, count, total).select(kept), int(np.count_nonzero(~good[row]))


def fold_gauges(samples: Samples, levels: Floats) -> tuple[Gauges, int]:
    """Follow every gauge from line to line, its level before the first in `levels`."""
    series, (row,) = number([samples.series])
    order = np.argsort(row, kind="stable")
    row, value = row[order], samples.value[order]
    first = np.flatnonzero(np.diff(row, prepend=-1))
    changes = samples.weight[order] == 0
    refused = 0
    if changes.any():
        refused = _follow(value, changes, first, levels[series])
    count = np.diff(first, append=row.size)
    last = first + count - 1
    if isinstance(samples.time, float):
        time = np.full(series.size, samples.time)
    else:
        time = samples.time[order][last]
    total = np.clip(np.add.reduceat(value, first), -LARGEST, LARGEST)
    low, high = np.minimum.reduceat(value, first), np.maximum.reduceat(value, first)
    gauges = Gauges(series, count.astype(np.float64), total, low, high, value[last], time)
    return gauges, refused


def _follow(value: Floats, changes: NDArray[np.bool_], first: Index, before: Floats) -> int:
    """Turn changes into levels, in place; count those that would pass LARGEST.

    A running sum over all series would round one gauge by the size of another,
    so the few lines with a sign are followed one by one.
    """
    refused = 0
    level_before = dict(zip(first.tolist(), before.tolist(), strict=True))
    for i in np.flatnonzero(changes).tolist():
        level = level_before[i] if i in level_before else float(value[i - 1])
        if abs(level + value[i]) <= LARGEST:
            value[i] += level
        else:
            value[i] = level
            refused += 1
    return refused


def fold_timers(samples: Samples) -> Timers:
    """Sort once; moments, digests and, where those gave some up, the samples."""
    series, (row,) = number([samples.series])
    weight = None if (samples.weight == 1.0).all() else samples.weight
    received = np.bincount(row, minlength=series.size).astype(np.float64)
    moments, digests, points = digest.summarise(
        row.astype(np.int32), samples.value, weight, series.size, OPEN_SIZE, True
    )
    return Timers(series, received, moments, digests, points)


def fold_sets(samples: Samples) -> Sets:
    """Unite the members of every set."""
    series, (row,) = number([samples.series])
    members = distinct.build(row.astype(np.int32), samples.value.view(np.uint64), series.size)
    return Sets(series, np.bincount(row, minlength=series.size).astype(np.float64), members)
