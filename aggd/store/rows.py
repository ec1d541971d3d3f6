"""Rows of some series, taken out of many frames.

    frame 08:00   series  2  4  7        ids 4, 9, labels 0, 1, offset 0 ---> 0
    frame 08:01   series  4  7  9                              offset 2 ---> 2 3

A week of minutes is 10,080 frames.  For a few series each row is looked for where
it stood in the frame before and read number by number, 3 us a row; one call of
numpy for every column of every frame takes 30.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from aggd.sketch import ragged
from aggd.sketch.digest import Digests
from aggd.sketch.distinct import Members
from aggd.sketch.moments import Moments
from aggd.store.frame import Counters, Floats, Frame, Gauges, Ids, Section, Sets, Timers, stack

S = TypeVar("S", Counters, Gauges, Timers, Sets)
Part = tuple[Ids, S]  # label of every row, and the rows

FEW = 8  # series that are read row by row; from 12 on, columns of a frame are the faster way


def collect(
    frames: Iterable[tuple[Frame, int]], section: type[S], ids: Ids, labels: Ids
) -> list[Part[S]]:
    """Take the rows of some series out of many frames, without the samples beside digests.

    Parameters
    ----------
    frames : iterable of (Frame, int)
        Each with an offset that is added to the labels of its rows.
    section : type
        Counters, Gauges, Timers or Sets: where the series stand.
    ids : ndarray of int32, shape (n,)
        Series asked for.
    labels : ndarray of int32, shape (n,)
        Label of each series, ascending.

    Returns
    -------
    list of (ndarray of int32, Counters, Gauges, Timers or Sets)
        Labels, ascending in each part, and the rows they are of.
    """
    name = section.__name__.lower()
    sections, offsets = [], []
    for frame, offset in frames:
        sections.append(getattr(frame, name))
        offsets.append(offset)
    if ids.size > FEW:
        return [_pick(of, ids, labels, k) for of, k in zip(sections, offsets, strict=True)]
    label, places = _find(sections, offsets, ids, labels)
    return [_ascending(label, _read(section, label, places))] if label.size else []


def holding(frames: Iterable[Frame], section: type[Section], ids: Ids) -> list[Frame]:
    """Those of some frames that have a row of any of some series."""
    name = section.__name__.lower()
    pairs = [(frame, getattr(frame, name).series) for frame in frames]
    return [
        frame for frame, series in pairs
        if series.size and (series.take(series.searchsorted(ids), mode="clip") == ids).any()
    ]  # fmt: skip


def stacked(parts: Sequence[Part[S]], empty: S) -> Part[S]:
    """Put the rows of all parts behind each other, by label; `empty` where there is none."""
    parts = [part for part in parts if part[0].size] or [(empty.series, empty)]
    if len(parts) == 1:
        return parts[0]
    label = np.concatenate([label for label, _ in parts])
    return _ascending(label, cast(S, stack([rows for _, rows in parts])))


def _pick(section: S, ids: Ids, labels: Ids, offset: int) -> Part[S]:
    series = section.series
    if not series.size:
        return series, section
    at = series.searchsorted(ids)
    hit = series.take(at, mode="clip") == ids
    if isinstance(section, Timers) and section.points is not None:
        section = replace(section, points=None)
    if hit.all():
        return labels + np.int32(offset), section.select(at)
    return labels[hit] + np.int32(offset), section.select(at[hit])


def _ascending(label: Ids, section: S) -> Part[S]:
    if (label[1:] >= label[:-1]).all():
        return label, section
    order = np.argsort(label, kind="stable")
    return label[order], section.select(order)


def counts(section: Section) -> Floats:
    """Samples of every row, each weighing 1/rate."""
    return section.moments.count if isinstance(section, Timers) else section.count


class Places(NamedTuple):
    """Where rows stand.

    Two lists, as ten thousand tuples set the garbage collector off over all frames: 40 ms.
    """

    sections: list[Any]
    rows: list[int]


def _find(
    sections: Sequence[S], offsets: Sequence[int], ids: Ids, labels: Ids
) -> tuple[Ids, Places]:
    """Where each series stands, and its label, series after series."""
    found, places = [], Places([], [])
    for wanted, label in zip(ids, labels.tolist(), strict=True):
        series, row = int(wanted), 0
        for section, offset in zip(sections, offsets, strict=True):
            column = section.series
            if row >= column.size or column.item(row) != series:
                row = int(column.searchsorted(wanted))
                if row >= column.size or column.item(row) != series:
                    continue
            found.append(label + offset)
            places.sections.append(section)
            places.rows.append(row)
    return np.array(found, np.int32), places


def _read(section: type[S], label: Ids, places: Places) -> S:
    """Copy rows from their places, column by column."""

    def flat(path: str) -> Floats:
        found = map(attrgetter(path), places.sections)
        items = [column.item(row) for column, row in zip(found, places.rows, strict=True)]
        return np.array(items, np.float64)

    if issubclass(section, Timers):
        moments = Moments(*(flat(f"moments.{name}") for name in Moments._fields))
        digests = Digests(*_ragged(places, "digests", "mean weight atom"))
        return section(label, flat("samples"), moments, digests, None)
    if issubclass(section, Sets):
        return section(label, flat("count"), Members(*_ragged(places, "members", "member")))
    return section(label, *(flat(column.name) for column in fields(section)[1:]))


def _ragged(places: Places, path: str, names: str) -> Iterator[NDArray[Any]]:
    """The offset and some columns of rows of sketches."""
    sketches = list(map(attrgetter(path), places.sections))
    offsets = [sketch.offset for sketch in sketches]
    start = [offset.item(row) for offset, row in zip(offsets, places.rows, strict=True)]
    end = [offset.item(row + 1) for offset, row in zip(offsets, places.rows, strict=True)]
    yield ragged.offsets(np.array(end, np.int64) - np.array(start, np.int64))
    for name in names.split():
        found = map(attrgetter(name), sketches)
        parts = [column[a:b] for column, a, b in zip(found, start, end, strict=True)]
        # Weights are as narrow as each frame could have them.
        yield np.concatenate(parts, dtype=np.float64 if name == "weight" else None)
