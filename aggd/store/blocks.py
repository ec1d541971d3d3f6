"""The two shapes that rows have on disk: a slot of many series, many slots of a few.

    frames   as they closed      SLICE series of one slot in a row: quick to write
    blocks   once a unit is over BLOCK series in all slots of the unit: quick to read

Both begin at multiples of their number of series, so a series is found without an index
of its own.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggd.store.codec import Column, encode
from aggd.store.frame import Frame, Ids, Section, frozen, slice_rows, stack
from aggd.store.series import Kind

SLICE = 4096  # one costs a fifth of a millisecond to code, and to read alone
BLOCK = {Kind.COUNTER: 64, Kind.GAUGE: 64, Kind.TIMER: 8, Kind.SET: 8}


class Asked(NamedTuple):
    """What is wanted of a block: slots from `start` to `last`; parts, ascending; series or all."""

    start: int
    last: int
    parts: NDArray[np.int64]
    ids: Ids | None


class Stored(NamedTuple):
    """The rows of one part, as they were read: start of their slot, number of the part."""

    start: int
    part: int
    section: Section


def slices(frame: Frame, part: int) -> Iterator[tuple[Kind, int, bytes]]:
    """Code a frame, SLICE series at a time: kind, first series, data.

    Slot and part stand in the data too, under its checksum: `belongs` reads them there.
    """
    beside = {"slot": np.array([frame.start]), "part": np.array([part])}
    for kind, section in zip(Kind, frame.sections(), strict=True):
        if not section.series.size:
            continue
        last = int(section.series[-1])
        firsts = np.arange(int(section.series[0]) // SLICE * SLICE, last + 1, SLICE)
        ends = [*section.series.searchsorted(firsts).tolist(), section.series.size]
        for first, (a, b) in zip(firsts.tolist(), pairwise(ends), strict=True):
            if a < b:
                yield kind, first, encode(slice_rows(section, a, b), beside)


def belongs(columns: dict[str, Column], start: int, part: int) -> bool:
    """Tell whether these columns of a slice are of that slot and part."""
    found = [columns[name].tolist() for name in ("slot", "part")]
    return found == [[start], [part]]


def blocks(stored: Sequence[Stored], kind: Kind, unit: int) -> list[tuple[int, int, int, bytes]]:
    """Code rows of many slots, BLOCK series at a time: kind, first series, unit, data."""
    length = [rows.section.series.size for rows in stored]
    whole = stack([rows.section for rows in stored])
    slot = np.repeat(np.array([rows.start for rows in stored], np.int64), length)
    part = np.repeat(np.array([rows.part for rows in stored], np.int64), length)
    first = whole.series // BLOCK[kind] * BLOCK[kind]
    order = np.lexsort((part, slot, first))
    found = []
    for rows in _runs(order, first[order]):
        beside = {"slot": slot[rows], "part": part[rows]}
        at = int(first[rows[0]])
        found.append((int(kind), at, unit, encode(whole.select(rows), beside)))
    return found


def unstacked(
    section: Section, columns: dict[str, Column], asked: Asked
) -> Iterator[tuple[int, int, Section]]:
    """Rows of a block that are wanted, slot by slot and part by part: start, part, rows."""
    slot, part = columns["slot"], columns["part"]
    good = (slot >= asked.start) & (slot <= asked.last)
    good &= asked.parts.take(asked.parts.searchsorted(part), mode="clip") == part
    if asked.ids is not None:
        good &= np.isin(section.series, asked.ids)
    rows = np.flatnonzero(good)
    if not rows.size:
        return
    chosen, slot, part = frozen(section.select(rows)), slot[rows], part[rows]
    edges = np.flatnonzero((np.diff(slot) != 0) | (np.diff(part) != 0)) + 1
    for a, b in pairwise([0, *edges.tolist(), rows.size]):
        yield int(slot[a]), int(part[a]), slice_rows(chosen, a, b)


def _runs(order: NDArray[np.intp], label: NDArray[np.int32]) -> list[NDArray[np.intp]]:
    """Cut an order where its label changes."""
    return np.split(order, np.flatnonzero(np.diff(label)) + 1)


def among(ids: Ids | None, size: int) -> str:
    """Say in SQL that a row may hold some of these series."""
    if ids is None:
        return ""
    firsts = np.unique(ids // size * size).tolist()
    return f"AND first IN ({','.join(map(str, firsts))})"
