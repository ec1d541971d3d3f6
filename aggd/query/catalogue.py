"""Which series there are, page by page, and which values their tags have."""

import base64
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from aggd.errors import RequestError
from aggd.protocol.times import format_time
from aggd.query.selection import tag_map
from aggd.store.series import Kind, Registry, Series

LAST = (1 << 31) - 1  # no id is larger
AT_ONCE = 10_000  # series made from the registry in one piece: 10 ms


def page(
    registry: Registry,
    match: str,
    tags: Sequence[str],
    kind: Kind | None,
    limit: int,
    cursor: str | None,
) -> dict[str, Any]:
    """Series in the order of their names, those of one name as they came, from a cursor on."""
    found: list[Series] = []
    for ids in registry.walk(match, tags, kind, _after(cursor)):
        found += registry.series(ids[: limit + 1 - len(found)])
        if len(found) > limit:
            break
    more = len(found) > limit
    return {
        "series": [_shown(series) for series in found[:limit]],
        "cursor": _cursor(found[limit - 1]) if more else None,
    }


def _shown(series: Series) -> dict[str, Any]:
    return {
        "name": series.name,
        "kind": series.kind.word,
        "tags": tag_map(series.tags),
        "first_seen": format_time(series.first_seen),
        "last_seen": format_time(series.last_seen),
    }


def _cursor(series: Series) -> str:
    return base64.urlsafe_b64encode(json.dumps([series.name, series.id]).encode()).decode()


def _after(cursor: str | None) -> tuple[str, int]:
    if cursor is None:
        return "", -1
    try:
        name, series = json.loads(base64.urlsafe_b64decode(cursor))
        return str(name), max(-1, min(int(series), LAST))
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise RequestError(
            "bad_cursor", "cursor must be the cursor of the answer before", "cursor"
        ) from None


def values(registry: Registry, key: str, match: str, limit: int) -> dict[str, Any]:
    """Values of a tag in their order, and how many series have each.

    Raises
    ------
    RequestError
        404 where no series that matches has the tag.
    """
    every = match == "*" and ":" not in key
    counts = _all_counts(registry, key) if every else _counts(registry, key, match)
    found = list(islice(counts, limit + 1))
    if not found:
        of = "no series has" if match == "*" else f"no series that matches {match[:200]!r} has"
        raise RequestError("unknown_tag", f"{of} a tag {key[:200]!r}", "key", 404)
    return {
        "key": key,
        "values": [{"value": value, "series": count} for value, count in found[:limit]],
        "truncated": len(found) > limit,
    }


def _all_counts(registry: Registry, key: str) -> Iterator[tuple[str, int]]:
    """Values of a tag and their series, straight from the index."""
    index = registry.tag_index
    empty = index.of(key).size + index.of(f"{key}:").size
    if empty:
        yield "", empty
    for part in index.walk(f"{key}:"):
        values = ((tag.removeprefix(f"{key}:"), index.of(tag).size) for tag in part.words)
        yield from (found for found in values if found[0] and found[1])


def _counts(registry: Registry, key: str, match: str) -> Iterator[tuple[str, int]]:
    """The same of some series: a microsecond for each of those."""
    ids = registry.select(match)
    counts: Counter[str] = Counter()
    for first in range(0, ids.size, AT_ONCE):
        every = registry.series(ids[first : first + AT_ONCE])
        tags = (tag.partition(":") for series in every for tag in series.tags)
        counts.update(value for found, _, value in tags if found == key)
    return iter(sorted(counts.items()))
