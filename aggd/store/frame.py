"""What all series did in one slot of time, as columns: the one representation of the past.

    frame
      start, width   seconds since the epoch; start is a multiple of width
      counters       series, count, sum
      gauges         series, count, sum, low, high, last, last_time
      timers         series, samples, moments, digests, points
      sets           series, count, members

Closing an interval makes a frame, merging frames makes a frame, a query merges
the frames that tile its window.  `series` are ids of the registry, ascending
and unique in a section; row i of every column belongs to `series[i]`.  Frames
are never changed, so any thread may read one.

`points` are the samples themselves, sorted, and stand only where the digest
had to give some up: a digest of atoms alone *is* its samples.  A frame that
has let its samples go has `points` None.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aggd.sketch import digest, distinct
from aggd.sketch.digest import Digests
from aggd.sketch.distinct import Members
from aggd.sketch.moments import Moments, concatenate

Ids = NDArray[np.int32]
Floats = NDArray[np.float64]
Index = NDArray[np.intp]

NO_IDS: Ids = np.empty(0, np.int32)
NO_FLOATS: Floats = np.empty(0)


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters of a slot; all columns have shape (n,)."""

    series: Ids
    count: Floats  # lines, each weighing 1/rate
    sum: Floats  # of value/rate

    def select(self, rows: Index) -> "Counters":
        """Keep `rows`, in that order."""
        return Counters(self.series[rows], self.count[rows], self.sum[rows])


@dataclass(frozen=True, slots=True)
class Gauges:
    """Gauges of a slot; all columns have shape (n,)."""

    series: Ids
    count: Floats  # times set or changed
    sum: Floats  # of the levels after each line
    low: Floats
    high: Floats
    last: Floats  # level after the last line, by time
    last_time: Floats  # seconds since the epoch

    def select(self, rows: Index) -> "Gauges":
        """Keep `rows`, in that order."""
        return Gauges(*(getattr(self, column.name)[rows] for column in fields(self)))


@dataclass(frozen=True, slots=True)
class Timers:
    """Timers of a slot; all columns have n rows."""

    series: Ids
    samples: Floats  # lines received, whatever their rate
    moments: Moments  # weighted by 1/rate
    digests: Digests
    points: Digests | None  # samples of the rows whose digest is no longer exact

    def select(self, rows: Index) -> "Timers":
        """Keep `rows`, in that order."""
        points = None if self.points is None else digest.select(self.points, rows)
        moments = Moments(*(column[rows] for column in self.moments))
        digests = digest.select(self.digests, rows)
        return Timers(self.series[rows], self.samples[rows], moments, digests, points)

    def exact(self) -> NDArray[np.bool_]:
        """Tell which rows still have every sample, as atoms or as points; shape (n,)."""
        known = digest.exact(self.digests)
        if self.points is not None:
            known |= np.diff(self.points.offset) > 0
        return known


@dataclass(frozen=True, slots=True)
class Sets:
    """Sets of a slot; all columns have n rows."""

    series: Ids
    count: Floats  # members offered
    members: Members

    def select(self, rows: Index) -> "Sets":
        """Keep `rows`, in that order."""
        return Sets(self.series[rows], self.count[rows], distinct.select(self.members, rows))


Section = Counters | Gauges | Timers | Sets

NO_MOMENTS = Moments(*(NO_FLOATS,) * 5)
NO_COUNTERS = Counters(NO_IDS, NO_FLOATS, NO_FLOATS)
NO_GAUGES = Gauges(NO_IDS, *(NO_FLOATS,) * 6)
NO_TIMERS = Timers(NO_IDS, NO_FLOATS, NO_MOMENTS, Digests.empty(0), Digests.empty(0))
NO_SETS = Sets(NO_IDS, NO_FLOATS, Members.empty(0))


@dataclass(frozen=True, slots=True)
class Frame:
    """All series in one slot of time, ``[start, start + width)`` in seconds."""

    start: int
    width: int
    counters: Counters = NO_COUNTERS
    gauges: Gauges = NO_GAUGES
    timers: Timers = NO_TIMERS
    sets: Sets = NO_SETS

    @property
    def end(self) -> int:
        """First second after the slot."""
        return self.start + self.width

    def __len__(self) -> int:
        return sum(section.series.size for section in self.sections())

    def sections(self) -> Sequence[Counters | Gauges | Timers | Sets]:
        """Counters, gauges, timers, sets."""
        return self.counters, self.gauges, self.timers, self.sets

    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(column.nbytes for column in columns(self))

    def points_nbytes(self) -> int:
        """Bytes of the samples kept beside the digests."""
        points = self.timers.points
        return 0 if points is None else sum(column.nbytes for column in columns(points))

    def without_points(self) -> "Frame":
        """Let the samples go; digests and moments stay."""
        return replace(self, timers=replace(self.timers, points=None))

    def moved(self, width: int) -> "Frame":
        """The same rows as part of the slot of `width` seconds that holds this one."""
        return replace(self, start=self.start - self.start % width, width=width)

    def _check(self) -> None:
        assert self.width > 0
        assert self.start % self.width == 0, (self.start, self.width)
        for section in self.sections():
            assert section.series.dtype == np.int32
            assert (np.diff(section.series) > 0).all(), section.series
        for column in columns(self):
            assert not column.flags.writeable
        for section in self.sections():
            lengths = {field.name: _rows(getattr(section, field.name)) for field in fields(section)}
            assert set(lengths.values()) <= {section.series.size, None}, lengths
        self.timers.digests._check()
        assert (self.timers.moments.count > 0).all()


_Shared = TypeVar("_Shared", bound=Frame | Section)


def _rows(column: object) -> int | None:
    """How many rows a column or a sketch of a section has."""
    if isinstance(column, Moments):
        lengths = {part.size for part in column}
        return lengths.pop() if len(lengths) == 1 else -1
    if isinstance(column, Digests | Members | np.ndarray):
        return len(column)
    return None


def columns(value: object) -> Iterator[NDArray[np.generic]]:
    """Every array in a frame, a section or a sketch, depth first."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from columns(item)
    elif isinstance(value, Frame | Counters | Gauges | Timers | Sets | Digests | Members):
        for field in fields(value):
            yield from columns(getattr(value, field.name))


def only(start: int, width: int, section: Section) -> Frame:
    """A frame of one section."""
    if isinstance(section, Counters):
        return Frame(start, width, counters=section)
    if isinstance(section, Gauges):
        return Frame(start, width, gauges=section)
    if isinstance(section, Timers):
        return Frame(start, width, timers=section)
    return Frame(start, width, sets=section)


def slice_rows(section: Section, first: int, last: int) -> Section:
    """Rows ``[first, last)`` of a section, sharing its arrays; samples beside digests stay out."""
    rows = slice(first, last)
    if isinstance(section, Timers):
        moments = Moments(*(column[rows] for column in section.moments))
        digests = digest.slice_rows(section.digests, first, last)
        return Timers(section.series[rows], section.samples[rows], moments, digests, None)
    if isinstance(section, Sets):
        members = distinct.slice_rows(section.members, first, last)
        return Sets(section.series[rows], section.count[rows], members)
    return type(section)(*(getattr(section, column.name)[rows] for column in fields(section)))


def stack(sections: Sequence[Section]) -> Section:
    """The rows of sections of one kind, one behind the other; at least one section."""
    first = sections[0]
    if isinstance(first, Timers):
        timers = [section for section in sections if isinstance(section, Timers)]
        return Timers(
            np.concatenate([t.series for t in timers]),
            np.concatenate([t.samples for t in timers]),
            concatenate([t.moments for t in timers]),
            digest.stack([t.digests for t in timers]),
            None,
        )
    if isinstance(first, Sets):
        sets = [section for section in sections if isinstance(section, Sets)]
        return Sets(
            np.concatenate([s.series for s in sets]),
            np.concatenate([s.count for s in sets]),
            distinct.stack([s.members for s in sets]),
        )
    columns_of = ([getattr(s, column.name) for s in sections] for column in fields(first))
    return type(first)(*map(np.concatenate, columns_of))


def packed(frame: Frame) -> Frame:
    """The same frame in less memory: counts, weights and offsets as narrow as they are exact.

    A frame is packed when its slot closes, and widened where it is merged or read: of
    100k timers with some six samples each, 17.5 MB become 11.
    """
    timers = frame.timers
    thin = replace(
        timers,
        samples=_narrow(timers.samples),
        moments=timers.moments._replace(count=_narrow(timers.moments.count)),
        digests=_packed(timers.digests),
        points=None if timers.points is None else _packed(timers.points),
    )
    return replace(frame, timers=thin)


def _packed(digests: Digests) -> Digests:
    offset = digests.offset
    if not digests.mean.size:
        offset = np.broadcast_to(np.int64(0), offset.size)  # one number, however many rows
    elif digests.mean.size < np.iinfo(np.int32).max:
        offset = offset.astype(np.int32)
    return replace(digests, offset=offset, weight=_narrow(digests.weight))


def _narrow(values: Floats) -> Floats:
    """The narrowest floats that hold all of these exactly."""
    for narrower in (np.float16, np.float32):
        with np.errstate(over="ignore"):
            found = values.astype(narrower)
        if (found == values).all():
            return found  # type: ignore[return-value]
    return values


def frozen(found: _Shared) -> _Shared:
    """Close all columns of a frame or a section to writing: what makes them safe to share."""
    for column in columns(found):
        column.flags.writeable = False
    return found


for _empty in (NO_COUNTERS, NO_GAUGES, NO_TIMERS, NO_SETS):
    frozen(_empty)
