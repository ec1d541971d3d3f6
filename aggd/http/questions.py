"""Every question there is, typed: what is asked, and what each parameter may be."""

from functools import partial

from msgspec import UNSET, UnsetType, field

from aggd.http.params import (
    A_DURATION,
    A_TIME,
    ALPHA,
    ANOMALY,
    AT,
    BINS,
    CURSOR,
    EVERY,
    FILL,
    FIT,
    FORMAT,
    GLOB,
    KEY,
    KEYS,
    KIND,
    LIMIT,
    LIVE_LIMIT,
    MEASURE,
    NAME,
    OBJECTIVE,
    OFFSET,
    PERCENTILES,
    SCALE,
    SORT,
    STATISTICS,
    TAGS,
    THRESHOLD,
    TRAILING,
    Duration,
    Every,
    Fraction,
    Numbers,
    Percentiles,
    Question,
    Tags,
    Words,
)


class Nothing(Question, frozen=True, kw_only=True):
    """A question without parameters."""


class Ranged(Question, frozen=True, kw_only=True):
    """A question about a window; all that is retained where no edge is given."""

    last: A_DURATION | None = None
    start: A_TIME | None = field(name="from", default=None)
    end: A_TIME | None = field(name="to", default=None)


class Scoped(Ranged, frozen=True, kw_only=True):
    """A question about some series in a window."""

    tags: TAGS = Tags()
    kind: KIND | None = None


class Grouped(Scoped, frozen=True, kw_only=True):
    """A question about some series that may be answered for groups."""

    by: KEYS = Words()
    format: FORMAT = "rows"


class Stats(Grouped, frozen=True, kw_only=True):
    """Statistics of one name."""

    name: NAME
    percentiles: PERCENTILES = Percentiles()
    statistics: STATISTICS = Words()


class Matching(Grouped, frozen=True, kw_only=True):
    """Statistics of every series that matches."""

    match: GLOB = "*"
    percentiles: PERCENTILES = Percentiles()
    statistics: STATISTICS = Words()
    sort: SORT = "name"
    limit: LIMIT = 1000


class Live(Question, frozen=True, kw_only=True):
    """Statistics of every series that matches, over and over."""

    match: GLOB = "*"
    every: EVERY = field(default_factory=partial(Every.parse, "1s"))
    last: TRAILING = field(default_factory=partial(Duration.parse, "10s"))
    tags: TAGS = Tags()
    kind: KIND | None = None
    percentiles: PERCENTILES = Percentiles()
    limit: LIVE_LIMIT = 100


class Aggregate(Grouped, frozen=True, kw_only=True):
    """Statistics in buckets of time."""

    metric_name: NAME
    interval: A_DURATION
    aggregation: STATISTICS
    fill: FILL | UnsetType = UNSET
    anomaly: ANOMALY = None
    anomaly_window: A_DURATION | None = None  # asks for it, too


class Rolling(Grouped, frozen=True, kw_only=True):
    """Statistics of windows that move."""

    metric_name: NAME
    window: A_DURATION
    step: A_DURATION
    aggregation: STATISTICS


class Distribution(Scoped, frozen=True, kw_only=True):
    """Histogram, distribution function and fitted families of one timer."""

    name: NAME
    bins: BINS = 50
    scale: SCALE = "linear"
    at: AT = Numbers()
    fit: FIT = True


class Slo(Scoped, frozen=True, kw_only=True):
    """How one timer does by an objective."""

    name: NAME
    threshold: THRESHOLD
    objective: OBJECTIVE


class Compare(Scoped, frozen=True, kw_only=True):
    """One name in two windows; the later is an hour long where its start isn't given."""

    name: NAME
    offset: OFFSET = field(default_factory=partial(Duration.parse, "1d"))
    percentiles: PERCENTILES = Percentiles()
    alpha: ALPHA = field(default_factory=partial(Fraction, 0.01))


class Digest(Scoped, frozen=True, kw_only=True):
    """The merged digest of one name."""

    name: NAME


class Merge(Question, frozen=True, kw_only=True):
    """Where the digest in a body belongs; now where no time is given."""

    name: NAME
    timestamp: A_TIME | None = None
    tags: TAGS = Tags()


class Forget(Question, frozen=True, kw_only=True):
    """Series to forget, with their past."""

    match: GLOB
    tags: TAGS = Tags()
    kind: KIND | None = None


class TagValues(Question, frozen=True, kw_only=True):
    """Which values a tag has."""

    key: KEY
    match: GLOB = "*"
    limit: LIMIT = 1000


class Top(Ranged, frozen=True, kw_only=True):
    """What makes the most samples, series or bytes."""

    by: MEASURE = "count"
    limit: LIMIT = 20


class SeriesList(Question, frozen=True, kw_only=True):
    """Which series there are."""

    match: GLOB = "*"
    tags: TAGS = Tags()
    kind: KIND | None = None
    limit: LIMIT = 1000
    cursor: CURSOR | None = None
