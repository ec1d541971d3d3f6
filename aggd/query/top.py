"""Heavy hitters: which names and prefixes make the samples, the series and the bytes.

    names in order   api.a   api.b.x   api.b.y   db.q      weight of each, summed up
    running weight  0      5         7         9      20
    api.                   [--------- 9 --------]          a prefix is a range of names,
    api.b.                            [--- 4 ---]          its weight a difference

Prefixes are found heaviest first.  A range is cut at its middle name: into the
prefix that name has, what lies before, and what lies after; of all ranges the
heaviest is cut next.  So the light ones are never looked at, however many names
there are.
"""

from bisect import bisect_left
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggd.query.scope import Window, reach
from aggd.query.selection import plain
from aggd.store.frame import Floats, Frame, Ids, Section, Sets, Timers, columns
from aggd.store.rollup import History
from aggd.store.rows import counts
from aggd.store.series import Kind, Registry

By = Literal["count", "series", "memory"]
COLUMN = {"count": 0, "series": 1, "memory": 2}  # of a Weights
CUTS = 10_000  # of ranges of names: 100 ms


_Heavy = tuple[float, str, Kind, dict[str, Any]]


class Weights(NamedTuple):
    """What many series or names weigh; columns of one length."""

    samples: Floats  # each weighing 1/rate
    series: Floats
    nbytes: Floats

    def shown(self, row: int) -> dict[str, Any]:
        """One row as answers show it."""
        samples, series, nbytes = (float(column[row]) for column in self)
        return {"count": plain(samples), "series": int(series), "bytes": int(nbytes)}


def top(
    registry: Registry, history: History, by: By, window: Window, now: float, limit: int
) -> dict[str, Any]:
    """The heaviest names, by kind, and the heaviest dotted prefixes, of all kinds.

    `series` are those with samples in the window.  `bytes` are what their rows take in
    the frames that answer it: their columns, the centroids of timers and the samples
    kept beside them, the members of sets.  Frames that finer or coarser ones stand for
    are not counted.  `exact` is False where so many prefixes are alike that the search
    for the heaviest ended early, with fewer than `limit`: those that are shown are right.
    """
    past = reach(history, window, now)
    of_series = weigh(past.frames, registry.name_of.size)
    names = registry.name_of[: of_series.samples.size].copy()  # others may forget meanwhile
    kinds = registry.kinds[: names.size]
    known = np.flatnonzero((names >= 0) & (of_series.series > 0))
    every = _by_name(names, of_series, known)
    prefixes, exact = _prefixes(_in_order(registry, every), by, limit)
    heavy: list[_Heavy] = []
    for kind in Kind:
        weights = _by_name(names, of_series, known[kinds[known] == kind])
        heavy += _names(registry, kind, weights, by, limit)
    heavy.sort(key=lambda of: of[:3])
    return {
        "by": by,
        **past.covers(False),
        "exact": exact,
        "count": plain(float(of_series.samples[known].sum())),
        "names": [
            {"name": name, "kind": kind.word, **shown} for _, name, kind, shown in heavy[:limit]
        ],
        "prefixes": prefixes,
    }


def weigh(frames: list[Frame], size: int) -> Weights:
    """What every series weighs in some frames, by id; ids are under `size`."""
    top_id = max((int(ids[-1]) + 1 for ids in _sections(frames)), default=0)
    size = max(size, top_id)  # others may name series meanwhile
    samples, nbytes, here = np.zeros(size), np.zeros(size), np.zeros(size, np.bool_)
    for frame in frames:
        for section in frame.sections():
            ids = section.series
            samples[ids] += counts(section)
            nbytes[ids] += row_nbytes(section)
            here[ids] = True
    return Weights(samples, here.astype(np.float64), nbytes)


def _sections(frames: list[Frame]) -> Iterator[Ids]:
    every = (section.series for frame in frames for section in frame.sections())
    return (ids for ids in every if ids.size)


def row_nbytes(section: Section) -> Floats:
    """Bytes of every row: of the columns of a section, and of its ragged ones."""
    size = section.series.size
    ragged: list[Any] = []
    if isinstance(section, Timers):
        ragged = [section.digests, *([] if section.points is None else [section.points])]
    elif isinstance(section, Sets):
        ragged = [section.members]
    found = np.zeros(size)
    inside = set()
    for part in ragged:
        entries = [column for column in columns(part) if column is not part.offset]
        inside |= {id(column) for column in columns(part)}
        found += np.diff(part.offset) * sum(column.itemsize for column in entries)
        found += part.offset.itemsize
    alone = (column for column in columns(section) if id(column) not in inside)
    found += sum(column.itemsize for column in alone)
    return found


def _by_name(names: Ids, weights: Weights, ids: NDArray[np.intp]) -> Weights:
    """Weights of series added up by name, by number of the name."""
    of = names[ids]
    added = (np.bincount(of, column[ids], names.size) for column in weights)
    return Weights(*(column.astype(np.float64, copy=False) for column in added))


def _names(
    registry: Registry, kind: Kind, weights: Weights, by: By, limit: int
) -> Iterator[_Heavy]:
    """The heaviest names of one kind."""
    for row in _heaviest(weights[COLUMN[by]], limit).tolist():
        for series in registry.series(np.array([row], np.int32)):
            weight = float(weights[COLUMN[by]][row])
            yield -weight, series.name, kind, weights.shown(row)


def _heaviest(weight: Floats, limit: int) -> NDArray[np.intp]:
    """Places of the largest positive numbers, descending."""
    if weight.size > limit:
        least = np.partition(weight, weight.size - limit)[weight.size - limit]
        places = np.flatnonzero(weight >= max(least, np.nextafter(0, 1)))
    else:
        places = np.flatnonzero(weight > 0)
    return places[np.argsort(-weight[places], kind="stable")][:limit]


class _Names(NamedTuple):
    """Names in order, and the running weight, and number of dots, before each."""

    names: list[str]
    before: Weights
    dots: NDArray[np.int64]

    def weights(self, first: int, last: int) -> Weights:
        """Of the names in ``[first, last)``, as one row."""
        return Weights(*(column[last : last + 1] - column[first] for column in self.before))

    def weight(self, part: "_Range", column: int) -> float:
        """How much a range weighs that may hold prefixes, else 0."""
        _, first, last, stem = part
        deeper = self.dots.item(last) - self.dots.item(first) > (last - first) * stem.count(".")
        series = self.before.series
        if not (part.whole or deeper) or series.item(last) == series.item(first):
            return 0.0
        running = self.before[column]
        return running.item(last) - running.item(first)


def _in_order(registry: Registry, weights: Weights) -> _Names:
    names: list[str] = []
    numbers, dots = [np.empty(0, np.int32)], [np.zeros(1, np.int64)]
    for part in registry.index.walk():
        names += part.words
        numbers.append(part.numbers())
        dots.append(np.array([word.count(".") for word in part.words], np.int64))
    number = np.concatenate(numbers)
    known = number < weights.samples.size  # others come meanwhile
    number = np.where(known, number, 0)
    columns = (np.cumsum(np.where(known, column[number], 0.0)) for column in weights)
    before = Weights(*(np.concatenate([[0.0], column]) for column in columns))
    return _Names(names, before, np.cumsum(np.concatenate(dots)))


class _Range(NamedTuple):
    """Names in ``[first, last)`` that begin with `stem`: all those or, if not `whole`, some."""

    whole: bool
    first: int
    last: int
    stem: str


def _prefixes(names: _Names, by: By, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """The heaviest prefixes, and whether that is sure."""
    found: list[tuple[float, str, dict[str, Any]]] = []
    ranges: list[tuple[float, bool, _Range]] = []
    parts, cuts = [_Range(False, 0, len(names.names), "")], 0
    while True:
        for part in parts:
            weight = names.weight(part, COLUMN[by])
            if weight > 0:
                # A prefix goes before a range of the same weight, which may hold none.
                heappush(ranges, (-weight, not part.whole, part))
        if not ranges or len(found) == limit or cuts == CUTS:
            break
        weight, _, heaviest = heappop(ranges)
        if heaviest.whole:
            shown = names.weights(heaviest.first, heaviest.last).shown(0)
            found.append((weight, heaviest.stem, {"prefix": heaviest.stem, **shown}))
            parts = [heaviest._replace(whole=False)]
        else:
            parts, cuts = _cut(names.names, heaviest), cuts + 1
    found.sort(key=lambda of: of[:2])
    return [shown for _, _, shown in found], not ranges or len(found) == limit


def _cut(names: list[str], part: _Range) -> list[_Range]:
    """Cut a range at its middle name: the prefix of that, what lies before, what after."""
    _, first, last, stem = part
    middle = (first + last) // 2
    head, dot, _ = names[middle][len(stem) :].partition(".")
    if not dot:
        return [part._replace(last=middle), part._replace(first=middle + 1)]
    a = bisect_left(names, f"{stem}{head}.", first, middle)
    b = bisect_left(names, f"{stem}{head}/", middle, last)  # / comes next after .
    prefix = _Range(True, a, b, f"{stem}{head}.")
    return [prefix, part._replace(last=a), part._replace(first=b)]
