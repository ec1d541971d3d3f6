"""Which series there are, page by page."""

import base64
import json
from collections.abc import Iterable, Sequence
from heapq import nsmallest
from typing import Any

from aggd.errors import RequestError
from aggd.protocol.times import format_time
from aggd.query.selection import tag_map
from aggd.store.series import Kind, Registry, Series


def page(
    registry: Registry,
    match: str,
    tags: Sequence[str],
    kind: Kind | None,
    limit: int,
    cursor: str | None,
) -> dict[str, Any]:
    """Names, kinds and tags, in that order, from a cursor on."""
    after = _after(cursor)
    every: Iterable[Series] = registry.find(match, tags, kind)
    if after is not None:
        every = (series for series in every if _key(series) > after)
    found = nsmallest(limit + 1, every, key=_key)
    more = len(found) > limit
    return {
        "series": [
            {
                "name": series.name,
                "kind": series.kind.word,
                "tags": tag_map(series.tags),
                "first_seen": format_time(series.first_seen),
                "last_seen": format_time(series.last_seen),
            }
            for series in found[:limit]
        ],
        "cursor": _cursor(_key(found[limit - 1])) if more else None,
    }


def _key(series: Series) -> tuple[str, int, list[str]]:
    return series.name, int(series.kind), list(series.tags)


def _cursor(key: tuple[str, int, list[str]]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _after(cursor: str | None) -> tuple[str, int, list[str]] | None:
    if cursor is None:
        return None
    try:
        name, kind, tags = json.loads(base64.urlsafe_b64decode(cursor))
        return str(name), int(kind), [str(tag) for tag in tags]
    except (ValueError, TypeError, RecursionError):
        raise RequestError(
            "bad_cursor", "cursor must be the cursor of the answer before", "cursor"
        ) from None
