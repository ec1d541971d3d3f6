"""Which series an answer is about, and which of them are merged.

    series                     by=host        ids     labels
    api.latency #host:a,env:x  host:a         4, 9    0, 0
    api.latency #host:b,env:x  host:b         5       1
    api.latency #host:a,env:y  host:a

Series with one label are merged: digests, counts and sums add up.
"""

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np

from aggd.store.frame import Floats, Ids
from aggd.store.series import Kind, Series, Tags

TagMap = dict[str, str | list[str] | None]


class Group(NamedTuple):
    """Series that are merged, and what they are called together."""

    name: str
    kind: Kind
    tags: TagMap
    series: tuple[int, ...]


class Selection(NamedTuple):
    """Groups of one kind; group i has label i, `labels` ascend."""

    kind: Kind
    groups: list[Group]
    ids: Ids
    labels: Ids


def select(kind: Kind, groups: list[Group]) -> Selection:
    """Number groups of one kind."""
    ids = [i for group in groups for i in group.series]
    labels = [label for label, group in enumerate(groups) for _ in group.series]
    return Selection(kind, groups, np.array(ids, np.int32), np.array(labels, np.int32))


def merged(series: Sequence[Series]) -> Group:
    """All of `series`, of one kind, as one group; it has the tags they share."""
    shared = set(series[0].tags).intersection(*(s.tags for s in series))
    ids = tuple(s.id for s in series)
    return Group(series[0].name, series[0].kind, tag_map(tuple(sorted(shared))), ids)


def split(series: Sequence[Series], by: Sequence[str]) -> list[Group]:
    """One group for each combination of the values of some tags, in their order."""
    found: dict[tuple[tuple[str, ...], ...], list[Series]] = {}
    for one in series:
        found.setdefault(tuple(_values(one.tags, key) for key in by), []).append(one)
    return [
        Group(
            group[0].name,
            group[0].kind,
            {key: _joined(value) for key, value in zip(by, values, strict=True)},
            tuple(s.id for s in group),
        )
        for values, group in sorted(found.items())
    ]


def single(series: Series) -> Group:
    """One series as a group."""
    return Group(series.name, series.kind, tag_map(series.tags), (series.id,))


def tag_map(tags: Tags) -> TagMap:
    """Tags as answers show them: ``{"env": "prod", "bare": "", "zone": ["a", "b"]}``."""
    found: TagMap = {}
    for tag in tags:
        key, _, value = tag.partition(":")
        before = found.get(key)
        if before is None:
            found[key] = value
        else:
            found[key] = [*before, value] if isinstance(before, list) else [before, value]
    return found


def _values(tags: Tags, key: str) -> tuple[str, ...]:
    parts = (tag.partition(":") for tag in tags)
    return tuple(value for found, _, value in parts if found == key)


def _joined(values: tuple[str, ...]) -> str | list[str] | None:
    if len(values) > 1:
        return list(values)
    return values[0] if values else None


def plain(value: float) -> float | None:
    """A number as answers show it: None for NaN and infinity, whole where it is."""
    if not isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 1 << 53 else value


def plain_column(values: Floats) -> list[float | None]:
    """Numbers as `plain` has them, all at once."""
    found = values.astype(object)
    with np.errstate(invalid="ignore"):
        whole = (values == np.rint(values)) & (np.abs(values) < 1 << 53)
    found[whole] = values[whole].astype(np.int64)
    found[~np.isfinite(values)] = None
    return found.tolist()  # type: ignore[no-any-return]
