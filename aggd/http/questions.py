"""Every question there is, typed: what is asked, and what each parameter may be."""

from msgspec import UNSET, UnsetType, field

from aggd.http.params import (
    A_DURATION,
    A_TIME,
    CURSOR,
    FILL,
    FORMAT,
    GLOB,
    KEYS,
    KIND,
    LIMIT,
    NAME,
    PERCENTILES,
    SORT,
    STATISTICS,
    TAGS,
    Percentiles,
    Question,
    Tags,
    Words,
)


class Nothing(Question, frozen=True, kw_only=True):
    """A question without parameters."""


class Ranged(Question, frozen=True, kw_only=True):
    """A question about a window of some series; all that is retained where no edge is given."""

    last: A_DURATION | None = None
    start: A_TIME | None = field(name="from", default=None)
    end: A_TIME | None = field(name="to", default=None)
    tags: TAGS = Tags()
    kind: KIND | None = None


class Windowed(Ranged, frozen=True, kw_only=True):
    """A question about a window that may be answered for groups."""

    by: KEYS = Words()
    format: FORMAT = "rows"


class Stats(Windowed, frozen=True, kw_only=True):
    """Statistics of one name."""

    name: NAME
    percentiles: PERCENTILES = Percentiles()


class Matching(Windowed, frozen=True, kw_only=True):
    """Statistics of every series that matches."""

    match: GLOB = "*"
    percentiles: PERCENTILES = Percentiles()
    sort: SORT = "name"
    limit: LIMIT = 1000


class Aggregate(Windowed, frozen=True, kw_only=True):
    """Statistics in buckets of time."""

    metric_name: NAME
    interval: A_DURATION
    aggregation: STATISTICS
    fill: FILL | UnsetType = UNSET


class SeriesList(Question, frozen=True, kw_only=True):
    """Which series there are."""

    match: GLOB = "*"
    tags: TAGS = Tags()
    kind: KIND | None = None
    limit: LIMIT = 1000
    cursor: CURSOR | None = None
