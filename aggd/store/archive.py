"""Frames as rows that other programs read, and such rows as frames.

    name kind tags  start width  count sum min max mean m2 last last_time samples
                                 means weights atoms | members

A row is one series in one slot.  Each kind has the columns that its frames have; `sum`
of a timer is mean times count, for readers: it isn't read back.  Nothing is rounded on
the way, so what was written and read again is the same to the last bit.

Whoever wrote a row, `checked` holds it to what frames promise before it becomes one.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from aggd.protocol.names import normal
from aggd.protocol.times import LATEST
from aggd.sketch import digest, distinct, ragged
from aggd.sketch.digest import Digests
from aggd.sketch.distinct import Members
from aggd.sketch.moments import Moments
from aggd.store.fold import OPEN_SIZE
from aggd.store.frame import (
    Counters,
    Floats,
    Frame,
    Gauges,
    Ids,
    Section,
    Sets,
    Timers,
    frozen,
    only,
    stack,
)
from aggd.store.merge import LARGEST, merge
from aggd.store.series import Kind, Tags

MAX_CENTROIDS = 10_000  # of one digest; tdigest keeps 2,500 at most, unless told otherwise
ROUNDING = 1e-9  # of sums of weights, which others added up in an order of their own
NUMBERS = ("count", "sum", "min", "max", "mean", "m2", "last", "last_time", "samples")
LISTS = ("means", "weights", "atoms", "members")
MEMBER = re.compile("[0-9a-f]{16}")

Numbers = Annotated[list[float], Meta(max_length=MAX_CENTROIDS)]


class Row(msgspec.Struct, kw_only=True, frozen=True):
    """A row as it was found; absent numbers are None, times seconds since the epoch."""

    name: Annotated[str, Meta(min_length=1)]
    kind: Literal["counter", "gauge", "timer", "set"]
    start: str | float  # or RFC 3339
    width: int
    count: float
    tags: dict[str, str | list[str]] = {}
    sum: float | None = None
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    m2: float | None = None  # of a timer: infinite, which JSON can't say
    last: float | None = None
    last_time: float | None = None
    samples: float | None = None
    means: Numbers = []
    weights: Numbers = []
    atoms: Annotated[list[bool], Meta(max_length=MAX_CENTROIDS)] = []
    members: Annotated[list[str | int], Meta(max_length=distinct.K)] = []


class Ragged(NamedTuple):
    """A column of lists: where each starts, and what they hold."""

    offset: NDArray[np.int64]
    value: NDArray[Any]


def numbers(section: Section) -> dict[str, Floats]:
    """Columns of numbers that a section has, by their name in a row."""
    if isinstance(section, Timers):
        m = section.moments
        wide = {"count": m.count, "mean": m.mean, "m2": m.m2, "min": m.low, "max": m.high}
        wide["samples"] = section.samples
        with np.errstate(over="ignore"):
            wide["sum"] = m.mean.astype(np.float64) * m.count
    elif isinstance(section, Gauges):
        wide = {"count": section.count, "sum": section.sum, "min": section.low}
        wide |= {"max": section.high, "last": section.last, "last_time": section.last_time}
    elif isinstance(section, Counters):
        wide = {"count": section.count, "sum": section.sum}
    else:
        wide = {"count": section.count}
    return {name: column.astype(np.float64, copy=False) for name, column in wide.items()}


def lists(section: Section) -> dict[str, Ragged]:
    """Columns of lists that a section has, by their name in a row."""
    if isinstance(section, Sets):
        return {"members": Ragged(section.members.offset, section.members.member)}
    if not isinstance(section, Timers):
        return {}
    d = section.digests
    weight = d.weight.astype(np.float64, copy=False)
    columns = {"means": d.mean, "weights": weight, "atoms": d.atom}
    return {name: Ragged(d.offset, column) for name, column in columns.items()}


def joined(frames: Sequence[Frame], kind: Kind, ids: Ids | None = None) -> Section | None:
    """Rows of a kind in the frames of one slot, a series once; None where there are none.

    Series that only one of the frames has stay as they are, to the last bit, unless
    others have to be merged.

    Parameters
    ----------
    ids : ndarray of int32, optional
        Series to keep.
    """
    sections = [frame.sections()[kind] for frame in frames]
    sections = [section for section in sections if section.series.size]
    if not sections:
        return None
    whole = stack(sections)
    order = np.argsort(whole.series, kind="stable")
    if ids is not None:
        order = order[np.isin(whole.series[order], ids)]
    rows = whole.select(order)
    return _merged(kind, rows) if order.size else None


def _merged(kind: Kind, rows: Section) -> Section:
    """Rows in the order of their series, those of one series merged."""
    if (np.diff(rows.series) > 0).all():
        return rows
    return merge([only(0, 1, rows)], 0, 1, keep=False).sections()[kind]


def normal_tags(found: dict[str, str | list[str]]) -> Tags:
    """Tags of a row as the registry has them."""
    every = ((key, [of] if isinstance(of, str) else of) for key, of in found.items())
    return normal((key, value) for key, values in every for value in values if key)


def checked(row: Row) -> Row:
    """Give back a row that can become one of a frame.

    Raises
    ------
    ValueError
        That says what is wrong with it.
    """
    _within(row.count, "count", 0.0, LARGEST)
    if not row.count:
        raise ValueError("count must be over 0, got 0")
    if row.kind == "timer":
        _check_timer(row)
    elif row.kind == "set":
        _check_members(row.members)
    else:
        _within(row.sum, "sum", -LARGEST, LARGEST)
    if row.kind == "gauge":
        low = _within(row.min, "min", -LARGEST, LARGEST)
        high = _within(row.max, "max", low, LARGEST)
        _within(row.last, "last", low, high)
        _within(row.last_time, "last_time", 0.0, LATEST)
    return row


def _within(value: float | None, name: str, low: float, high: float) -> float:
    if value is None or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}, got {value}")
    return value


def _check_timer(row: Row) -> None:
    low = _within(row.min, "min", -LARGEST, LARGEST)
    high = _within(row.max, "max", low, LARGEST)
    _within(row.mean, "mean", low, high)
    _within(row.samples, "samples", 0.0, LARGEST)
    if row.m2 is not None and not row.m2 >= 0:
        raise ValueError(f"m2 must be at least 0, got {row.m2}")
    k = len(row.means)
    if not 0 < k == len(row.weights) == len(row.atoms):
        found = f"{k}, {len(row.weights)} and {len(row.atoms)}"
        raise ValueError(f"means, weights and atoms must be 1 or more and as many, got {found}")
    mean, weight, atom = np.array(row.means), np.array(row.weights), np.array(row.atoms)
    if not (np.diff(mean) >= 0).all() or not low <= mean[0] <= mean[-1] <= high:
        raise ValueError("means must ascend from min to max")
    if (np.diff(mean) == 0)[atom[1:] & atom[:-1]].any():
        raise ValueError("atoms of one mean must be one atom")
    if not ((weight > 0) & (weight <= LARGEST)).all():
        raise ValueError(f"weights must be over 0, up to {LARGEST:g}")
    total = float(weight.sum())
    if not abs(total - row.count) <= ROUNDING * row.count:
        raise ValueError(f"count is {row.count}, but the weights add up to {total}")


def _check_members(found: Sequence[str | int]) -> None:
    hashes = [_hash(member) for member in found]
    if not hashes or any(b <= a for a, b in pairwise(hashes)):
        raise ValueError("members must be one or more that ascend")


def _hash(member: str | int) -> int:
    if isinstance(member, str) and MEMBER.fullmatch(member):
        return int(member, 16)
    if isinstance(member, int) and 0 <= member < 1 << 64:
        return member
    raise ValueError(f"members must be of 16 hexadecimal digits, got {member!r:.40}")


def frame_of(rows: Sequence[Row], ids: Ids, start: int, width: int) -> Frame:
    """Make a frame of checked rows of one kind and slot; those of one series are merged.

    Parameters
    ----------
    ids : ndarray of int32, shape (n,)
        The series of every row.
    """
    kind = Kind[rows[0].kind.upper()]
    return frozen(only(start, width, renumbered(kind, _section(kind, rows, ids), ids)))


def renumbered(kind: Kind, section: Section, ids: Ids) -> Section:
    """The same rows under other ids, in their order; those that got one id are merged."""
    order = np.argsort(ids, kind="stable")
    return _merged(kind, replace(section.select(order), series=ids[order]))


def _section(kind: Kind, rows: Sequence[Row], ids: Ids) -> Section:
    def column(name: str) -> Floats:
        return np.array([getattr(row, name) for row in rows], np.float64)

    if kind is Kind.COUNTER:
        return Counters(ids, column("count"), column("sum"))
    if kind is Kind.GAUGE:
        names = ("count", "sum", "min", "max", "last", "last_time")
        return Gauges(ids, *map(column, names))
    if kind is Kind.SET:
        length = np.array([len(row.members) for row in rows])
        member = np.array([_hash(m) for row in rows for m in row.members], np.uint64)
        return Sets(ids, column("count"), Members(ragged.offsets(length), member))
    m2 = np.nan_to_num(column("m2"), nan=np.inf, posinf=np.inf)
    moments = Moments(column("count"), column("mean"), m2, column("min"), column("max"))
    return Timers(ids, column("samples"), moments, _digests(rows), None)


def _digests(rows: Sequence[Row]) -> Digests:
    length = np.array([len(row.means) for row in rows])
    mean = np.array([x for row in rows for x in row.means], np.float64)
    weight = np.array([x for row in rows for x in row.weights], np.float64)
    atom = np.array([x for row in rows for x in row.atoms], np.bool_)
    digests = Digests(ragged.offsets(length), mean, weight, atom)
    if length.max() <= OPEN_SIZE:
        return digests
    return digest.merge([(np.arange(length.size, dtype=np.int32), digests)], length.size, OPEN_SIZE)
