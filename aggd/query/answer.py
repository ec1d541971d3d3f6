"""Answers as users read them: plain values and columns, absent is None.

Every answer says which window it is about, how fine the frames were, and
whether its percentiles are exact.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from aggd.errors import RequestError
from aggd.protocol.times import format_time
from aggd.query import aggregate as buckets
from aggd.query import anomaly, statsd
from aggd.query.aggregate import Buckets, Fill, Span
from aggd.query.scope import Past, Scope, groups, pick, reach, wanted, whole
from aggd.query.selection import Group, plain, plain_column, select
from aggd.query.stats import check, estimates, has, summarise
from aggd.store.rollup import History
from aggd.store.series import Kind, Registry

Answer = dict[str, Any]

PERCENTILES = ("p50", "p90", "p95", "p99")  # of every answer about timers
KEYS = ("count", "sum", "rate", "mean", "median", "std", "min", "max", "last")
MAX_BUCKETS = 100_000  # of one answer, filled ones counted
MAX_LOOKED = 1_000_000  # of all groups that may hold something: a few s, where each does


class More(NamedTuple):
    """What answers about statistics show beside percentiles and what all of them have."""

    statistics: Sequence[str] = ()
    thresholds: Sequence[float] = ()  # statsd's percentiles, of timers


NO_MORE = More()


def named(p: float) -> str:
    """The name of a percentile: ``p99.9``, ``p50``."""
    return f"p{p:.20g}" if p == int(p) else f"p{p!r}"


def stats(
    registry: Registry,
    history: History,
    name: str,
    asked: Sequence[float],
    scope: Scope,
    more: More = NO_MORE,
) -> Answer:
    """Statistics of all series of one name, merged or by tags."""
    kind, series = pick(registry, name, scope.tags, scope.kind)
    words = [named(p) for p in asked]
    for word in words:
        check(word, kind, "percentiles")
    for word in more.statistics:
        check(word, kind, "statistics")
    words += more.statistics
    past = reach(history, scope.window, scope.now, wanted=wanted(kind, series))
    found = groups(name, kind, series, scope)
    rows = summaries(registry, past, found, words, scope.now, more.thresholds)
    return {"name": name, "series": rows} if scope.by else rows[0]


class Row(NamedTuple):
    """Statistics of one group."""

    values: Mapping[str, float | None]
    exact: bool
    rank_error: dict[str, float]
    searched: bool


def rows_of(
    registry: Registry, past: Past, every: Sequence[Group], asked: Sequence[str], now: float
) -> list[Row]:
    """Those of the statistics `asked` that each group's kind has."""
    rows: list[Row] = [Row({}, True, {}, False)] * len(every)
    for kind in Kind:
        places = [i for i, group in enumerate(every) if group.kind is kind]
        names = [w for w in asked if has(kind, w)]
        if not places:
            continue
        selection = select(kind, [every[i] for i in places])
        labels, columns, searched = summarise(
            past.frames, past.fine, selection, ["count", *names], past.seconds
        )
        values = zip(*(plain_column(column.values) for column in columns.values()), strict=True)
        exact = np.logical_and.reduce([column.exact for column in columns.values()]).tolist()
        estimated = estimates(names)
        errors = np.array([columns[name].rank_error for name in estimated]).T.tolist()
        for row, label in enumerate(labels.tolist()):
            rows[places[label]] = Row(
                dict(zip(columns, next(values), strict=True)),
                exact[row],
                dict(zip(estimated, errors[row], strict=True)) if estimated else {},
                bool(searched[row]),
            )
    if "last" in asked and any(group.kind is Kind.GAUGE for group in every):
        return [_held(registry, past, *pair, now) for pair in zip(every, rows, strict=True)]
    return rows


def _held(registry: Registry, past: Past, group: Group, row: Row, now: float) -> Row:
    """The level that gauges still have, where nobody set them in a window that reaches now."""
    if group.kind is not Kind.GAUGE or row.values.get("count") or past.end < now:
        return row
    return row._replace(values={**row.values, "last": plain(level(registry, group))})


def level(registry: Registry, group: Group) -> float:
    """What gauges were set to last, in any window; NaN where they never were."""
    ids = np.array(group.series, np.intp)
    times = registry.level_time[ids]
    return float(registry.levels[ids[times.argmax()]]) if np.isfinite(times).any() else np.nan


def summaries(
    registry: Registry,
    past: Past,
    every: Sequence[Group],
    asked: Sequence[str],
    now: float,
    thresholds: Sequence[float],
) -> list[Answer]:
    """One object a group, with the keys of the contract."""
    shown = list(dict.fromkeys((*KEYS, *PERCENTILES, *asked)))
    family = [word for p in thresholds for word in statsd.family(p)]
    words = dict.fromkeys((*shown, *family, "unique"))
    rows = rows_of(registry, past, every, list(words), now)
    covers = {searched: past.covers(searched) for searched in (False, True)}
    return [
        {
            "name": group.name,
            "kind": group.kind.word,
            "tags": group.tags,
            **covers[row.searched],
            "exact": row.exact,
            "rank_error": row.rank_error,
            **{word: row.values.get(word) for word in shown},
            "count": row.values.get("count") or 0,
            **({"unique": row.values.get("unique")} if group.kind is Kind.SET else {}),
            **({"statsd": _picked(row, family)} if family and group.kind is Kind.TIMER else {}),
        }
        for group, row in zip(every, rows, strict=True)
    ]


def _picked(row: Row, words: Sequence[str]) -> Answer:
    return {word: row.values.get(word) for word in words}


class Judged(NamedTuple):
    """Buckets are judged by those before them, in a window of so many seconds."""

    window: float | None = None


def aggregate(
    registry: Registry,
    history: History,
    name: str,
    names: Sequence[str],
    step: float,
    fill: Fill | None,
    scope: Scope,
    judged: Judged | None = None,
) -> "Aggregated":
    """Statistics of one name in buckets of `step` seconds, the first one judged if asked for."""
    interval = whole(history, "interval", step)
    trail = judged and anomaly.trail(interval, judged.window)
    kind, series = pick(registry, name, scope.tags, scope.kind)
    for word in names:
        check(word, kind, "aggregation")
    past = reach(history, scope.window, scope.now, interval, wanted(kind, series))
    span = Span(past.start, past.end, interval, past.until)
    found = groups(name, kind, series, scope)
    if fill is None:
        _bound(len(found) * len({frame.start // interval for frame in past.frames}), MAX_LOOKED)
    else:
        _bound(len(found) * (-(-past.end // interval) - past.start // interval), MAX_BUCKETS)
    words = list(dict.fromkeys(["count", *names]))
    columns = buckets.aggregate(past.frames, past.fine, select(kind, found), words, span)
    _bound(sum(of.start.size for of in columns), MAX_BUCKETS)
    if fill is not None:
        columns = [buckets.filled(of, span, fill) for of in columns]
    if trail:
        columns = anomaly.scored(columns, names[0], trail, zeros=fill == "zero")
    count = sum((float(of.columns["count"].sum()) for of in columns), 0.0)
    return Aggregated(found, columns, past, count)


def _bound(many: int, most: int) -> None:
    if many > most:
        raise RequestError(
            "too_many_buckets",
            f"interval makes {many} buckets in all groups, up to {most} are answered; ask for a "
            "longer one, a shorter range or fewer groups",
            "interval",
            422,
        )


class Aggregated(NamedTuple):
    """Buckets of every group."""

    groups: list[Group]
    buckets: list[Buckets]
    past: Past
    samples: float  # each once

    def covers(self) -> Answer:
        """What the answer is about, and how far it may be off."""
        return {
            **self.past.covers(any(of.searched for of in self.buckets)),
            "exact": all(of.exact for of in self.buckets),
            "rank_error": buckets.worst(self.buckets),
            "count": plain(self.samples),
        }


def as_rows(of: Buckets) -> list[Answer]:
    """Buckets as objects."""
    keys = ["timestamp", *of.columns]
    times = [format_time(start) for start in of.start.tolist()]
    values = [plain_column(column) for column in of.columns.values()]
    return [dict(zip(keys, row, strict=True)) for row in zip(times, *values, strict=True)]


def as_columns(of: Buckets) -> Answer:
    """Buckets as parallel arrays; the times are ``datetime64``."""
    return {"timestamp": of.start.astype("datetime64[s]"), **of.columns}


def parallel(rows: Sequence[Answer]) -> Answer:
    """Objects as parallel lists; None where one lacks a key."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: [row.get(key) for row in rows] for key in keys}
