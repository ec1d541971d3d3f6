"""Reading: from typed questions to answers."""

from typing import Any

from msgspec import UNSET

from aggd.errors import RequestError
from aggd.http.questions import (
    Aggregate,
    Compare,
    Distribution,
    Forget,
    Grouped,
    Live,
    Matching,
    Ranged,
    Rolling,
    Scoped,
    SeriesList,
    Slo,
    Stats,
    TagValues,
    Top,
)
from aggd.http.service import Service
from aggd.protocol.times import format_time
from aggd.query import answer, catalogue, compare, distribution, listing, slo, top
from aggd.query import rolling as moving
from aggd.query.answer import Aggregated, Judged, More
from aggd.query.listing import Listing
from aggd.query.scope import Scope, Window
from aggd.store.series import Kind

Answer = dict[str, Any]


def scope(question: Scoped, now: float) -> Scope:
    """The window and the series a question is about."""
    by = question.by if isinstance(question, Grouped) else ()
    return Scope(_window(question, now), now, question.tags, by, kind(question.kind))


def kind(word: str | None) -> Kind | None:
    """The kind a question names."""
    return None if word is None else Kind[word.upper()]


def _window(question: Ranged, now: float) -> Window:
    last, start, end = question.last, question.start, question.end
    if last is not None:
        if start is not None or end is not None:
            raise RequestError("bad_last", "give last, or from and to, not both", "last")
        return Window(max(0.0, now - last), now)
    if start is not None and start >= (now if end is None else end):
        until = "now" if end is None else "to"
        raise RequestError("bad_from", f"from must be before {until}", "from")
    return Window(start, end)


def stats(service: Service, question: Stats) -> Answer:
    """Answer ``GET /api/v1/stats/{name}``."""
    about = scope(question, service.now())
    found = answer.stats(
        service.registry,
        service.history,
        question.name,
        question.percentiles,
        about,
        More(question.statistics, service.thresholds),
    )
    return _formatted(question, found)


def matching(service: Service, question: Matching) -> Answer:
    """Answer ``GET /api/v1/stats``."""
    found = listing.matching(
        service.registry,
        service.history,
        question.match,
        question.percentiles,
        scope(question, service.now()),
        Listing(question.sort, question.limit),
        More(question.statistics, service.thresholds),
    )
    return _formatted(question, found)


def live(service: Service, question: Live) -> Answer:
    """Answer ``GET /api/v1/live``, once; the window reaches back from now."""
    now = service.now()
    window = Window(max(0.0, now - question.last), now)
    found = listing.matching(
        service.registry,
        service.history,
        question.match,
        question.percentiles,
        Scope(window, now, question.tags, kind=kind(question.kind)),
        Listing(limit=question.limit),
        More(thresholds=service.thresholds),
    )
    return {"timestamp": format_time(int(now)), **found}


def _formatted(question: Grouped, found: Answer) -> Answer:
    """The series of an answer as objects or, if that was asked for, as columns."""
    if question.format == "columns" and "series" in found:
        return {**found, "series": answer.parallel(found["series"])}
    return found


def aggregate(service: Service, question: Aggregate) -> Answer:
    """Answer ``/api/v1/aggregate``."""
    fill = None if question.fill is UNSET else question.fill or "null"
    judged = question.anomaly or question.anomaly_window
    found = answer.aggregate(
        service.registry,
        service.history,
        question.metric_name,
        question.aggregation,
        question.interval,
        fill,
        scope(question, service.now()),
        Judged(question.anomaly_window) if judged else None,
    )
    head = {"metric_name": question.metric_name, "interval": question.interval.text}
    return {**head, **found.covers(), **_written(question, found, "buckets")}


def rolling(service: Service, question: Rolling) -> Answer:
    """Answer ``/api/v1/rolling``."""
    found = moving.rolling(
        service.registry,
        service.history,
        question.metric_name,
        question.aggregation,
        question.window,
        question.step,
        scope(question, service.now()),
    )
    head = {
        "metric_name": question.metric_name,
        "window": question.window.text,
        "step": question.step.text,
    }
    return {**head, **found.covers(), **_written(question, found, "points")}


def _written(question: Grouped, found: Aggregated, key: str) -> Answer:
    """Buckets of all groups, as rows or as columns."""
    written = answer.as_columns if question.format == "columns" else answer.as_rows
    if not question.by:
        return {key: written(found.buckets[0])}
    pairs = zip(found.groups, found.buckets, strict=True)
    return {"series": [{"tags": g.tags, key: written(of)} for g, of in pairs]}


def series(service: Service, question: SeriesList) -> Answer:
    """Answer ``GET /api/v1/series``."""
    return catalogue.page(
        service.registry,
        question.match,
        question.tags,
        kind(question.kind),
        question.limit,
        question.cursor,
    )


def forget(service: Service, question: Forget) -> Answer:
    """Answer ``DELETE /api/v1/series``."""
    of = kind(question.kind)
    return {"forgotten": service.recorder.forget(question.match, question.tags, of)}


def tag_values(service: Service, question: TagValues) -> Answer:
    """Answer ``GET /api/v1/tags/{key}``."""
    return catalogue.values(service.registry, question.key, question.match, question.limit)


def heavy(service: Service, question: Top) -> Answer:
    """Answer ``GET /api/v1/top``."""
    now = service.now()
    window = _window(question, now)
    return top.top(service.registry, service.history, question.by, window, now, question.limit)


def describe_distribution(service: Service, question: Distribution) -> Answer:
    """Answer ``GET /api/v1/distribution/{name}``."""
    shape = distribution.Shape(question.bins, question.scale, question.at, question.fit)
    about = scope(question, service.now())
    return distribution.describe(service.registry, service.history, question.name, shape, about)


def assess_slo(service: Service, question: Slo) -> Answer:
    """Answer ``GET /api/v1/slo/{name}``."""
    objective = slo.Objective(float(question.threshold), float(question.objective))
    about = scope(question, service.now())
    return slo.assess(service.registry, service.history, question.name, objective, about)


def compare_windows(service: Service, question: Compare) -> Answer:
    """Answer ``GET /api/v1/compare/{name}``."""
    sides = compare.Sides(question.offset, question.percentiles, float(question.alpha))
    about = scope(question, service.now())
    return compare.compare(service.registry, service.history, question.name, sides, about)
