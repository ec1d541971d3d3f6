"""Statistics of every series that fits a glob: which are shown, and in which order.

A hundred thousand may fit where a thousand are shown, so an order is found on arrays, and
only what is shown is given its name.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aggd.errors import RequestError
from aggd.query.answer import NO_MORE, Answer, More, level, named, summaries
from aggd.query.scope import Past, Scope, groups, reach
from aggd.query.selection import Group, Selection, select, single
from aggd.query.stats import check, exists, has, summarise
from aggd.store.frame import Floats, Ids, Index
from aggd.store.rollup import History
from aggd.store.series import Kind, Registry, Series


class Listing(NamedTuple):
    """Which of many answers are given first, and how many."""

    sort: str = "name"
    limit: int = 1000

    @property
    def word(self) -> str:
        """What they are ordered by."""
        return self.sort.removeprefix("-")

    @property
    def descending(self) -> bool:
        """The largest first."""
        return self.sort.startswith("-")


def matching(
    registry: Registry,
    history: History,
    match: str,
    asked: Sequence[float],
    scope: Scope,
    listing: Listing,
    more: More = NO_MORE,
) -> Answer:
    """Statistics of every series that matches, each alone or by tags."""
    for word in more.statistics:
        if not exists(word):
            check(word, Kind.TIMER, "statistics")  # refuses it, naming those of a timer
    if listing.word != "name" and not exists(listing.word):
        raise RequestError(
            "bad_sort",
            f"sort must be name or a statistic, such as -p99, got {listing.sort!r}",
            "sort",
        )
    past = reach(history, scope.window, scope.now)
    if scope.by:
        every = _by_tags(registry, past, match, scope, listing)
        shown, truncated = every[: listing.limit], len(every) > listing.limit
    else:
        ids = _alone(registry, past, match, scope, listing)
        shown = [single(series) for series in registry.series(ids[: listing.limit])]
        truncated = ids.size > listing.limit
    words = [*map(named, asked), *more.statistics]
    rows = summaries(registry, past, shown, words, scope.now, more.thresholds)
    return {"series": rows, "truncated": truncated}


def _alone(registry: Registry, past: Past, match: str, scope: Scope, listing: Listing) -> Ids:
    """Series in the order asked for; by name only so many that more of them can be seen."""
    parts: list[Ids] = [np.empty(0, np.int32)]
    for some in registry.walk(match, scope.tags, scope.kind):
        parts.append(some)
        if listing.sort == "name" and sum(map(len, parts)) > listing.limit:
            break
    ids = np.concatenate(parts)
    if listing.word == "name":
        return ids[::-1] if listing.descending else ids
    value = np.full(ids.size, np.nan)
    kinds = registry.kinds[ids]
    for kind in Kind:
        rows = np.flatnonzero(kinds == kind)
        if rows.size and has(kind, listing.word):
            labels = np.arange(rows.size, dtype=np.int32)
            selection = Selection(kind, [], ids[rows], labels)
            value[rows] = _values(past, selection, listing.word)
    if listing.word == "last" and past.end >= scope.now:
        value = np.where(np.isnan(value), _levels(registry, ids), value)
    return ids[_order(value, listing.descending)]


def _values(past: Past, selection: Selection, word: str) -> Floats:
    """One statistic of every label; NaN where there is none, but a count of 0."""
    found = summarise(past.frames, past.fine, selection, [word], past.seconds)
    value = np.full(int(selection.labels[-1]) + 1, 0.0 if word == "count" else np.nan)
    value[found.labels] = found.columns[word].values
    return value


def _levels(registry: Registry, ids: Ids) -> Floats:
    """Levels that gauges still have; NaN for what was never set."""
    known = (registry.kinds[ids] == Kind.GAUGE) & np.isfinite(registry.level_time[ids])
    return np.where(known, registry.levels[ids], np.nan)


def _order(value: Floats, descending: bool) -> Index:
    """The permutation that sorts, what is missing last."""
    return np.argsort(-value if descending else value, kind="stable")


def _by_tags(
    registry: Registry, past: Past, match: str, scope: Scope, listing: Listing
) -> list[Group]:
    """Groups of each name in the order asked for."""
    by_name: dict[tuple[str, Kind], list[Series]] = {}
    for series in registry.find(match, scope.tags, scope.kind):
        by_name.setdefault((series.name, series.kind), []).append(series)
    every = [group for key in sorted(by_name) for group in groups(*key, by_name[key], scope)]
    if listing.word == "name":
        return every[::-1] if listing.descending else every
    value = np.full(len(every), np.nan)
    for kind in Kind:
        places = [i for i, group in enumerate(every) if group.kind is kind]
        if places and has(kind, listing.word):
            selection = select(kind, [every[i] for i in places])
            value[places] = _values(past, selection, listing.word)
    if listing.word == "last" and past.end >= scope.now:
        for i in np.flatnonzero(np.isnan(value)).tolist():
            if every[i].kind is Kind.GAUGE:
                value[i] = level(registry, every[i])
    return [every[i] for i in _order(value, listing.descending).tolist()]
