"""Reading: from typed questions to answers."""

from typing import Any

from msgspec import UNSET

from aggd.errors import RequestError
from aggd.http.questions import Aggregate, Matching, Ranged, SeriesList, Stats, Windowed
from aggd.http.service import Service
from aggd.query import answer, catalogue
from aggd.query.answer import Listing
from aggd.query.scope import Scope, Window
from aggd.store.series import Kind

Answer = dict[str, Any]


def scope(question: Ranged, now: float) -> Scope:
    """The window and the series a question is about."""
    by = question.by if isinstance(question, Windowed) else ()
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
        service.registry, service.history, question.name, question.percentiles, about
    )
    return _columns(found) if question.format == "columns" else found


def matching(service: Service, question: Matching) -> Answer:
    """Answer ``GET /api/v1/stats``."""
    found = answer.matching(
        service.registry,
        service.history,
        question.match,
        question.percentiles,
        scope(question, service.now()),
        Listing(question.sort, question.limit),
    )
    return _columns(found) if question.format == "columns" else found


def _columns(found: Answer) -> Answer:
    if "series" in found:
        return {**found, "series": answer.parallel(found["series"])}
    return found


def aggregate(service: Service, question: Aggregate) -> Answer:
    """Answer ``/api/v1/aggregate``."""
    fill = None if question.fill is UNSET else question.fill or "null"
    found = answer.aggregate(
        service.registry,
        service.history,
        question.metric_name,
        question.aggregation,
        question.interval,
        fill,
        scope(question, service.now()),
    )
    written = answer.as_columns if question.format == "columns" else answer.as_rows
    head = {
        "metric_name": question.metric_name,
        "interval": question.interval.text,
        **found.covers(),
    }
    if not question.by:
        return {**head, "buckets": written(found.buckets[0])}
    pairs = zip(found.groups, found.buckets, strict=True)
    return {**head, "series": [{"tags": g.tags, "buckets": written(of)} for g, of in pairs]}


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
