"""Every path there is, what it is asked with and who answers."""

from collections.abc import Callable
from typing import Any, NamedTuple

from aggd.http import ask, health, openapi, params, record
from aggd.http.params import Question
from aggd.http.questions import Aggregate, Matching, Nothing, SeriesList, Stats
from aggd.http.service import JSON, NDJSON, TEXT, Asked, Reply, Service


class Route(NamedTuple):
    """One method of one path.

    `answer` runs in a thread; a route with `media` has a body of one of these
    types, the first where the request doesn't say.
    """

    method: str
    path: str
    question: type[Question] | None  # None: the answer reads the body itself
    answer: Callable[[Service, Any], Reply | dict[str, Any]]
    summary: str
    media: tuple[str, ...] = ()

    def read(self, asked: Asked) -> Any:
        """The typed question in a request."""
        if self.question is None:
            params.from_query(Nothing, asked)
            return asked
        read = params.from_body if self.media else params.from_query
        return read(self.question, asked)


def describe(service: Service, question: Nothing) -> dict[str, Any]:
    """Answer ``GET /api/v1/openapi.json``."""
    return openapi.describe(ROUTES)


ROUTES = (
    Route(
        "POST",
        "/api/v1/record",
        None,
        record.record,
        "Record points or statsd lines",
        (JSON, NDJSON, TEXT),
    ),
    Route("GET", "/api/v1/stats/{name}", Stats, ask.stats, "Statistics of one name"),
    Route("GET", "/api/v1/stats", Matching, ask.matching, "Statistics of many series"),
    Route("GET", "/api/v1/aggregate", Aggregate, ask.aggregate, "Buckets of time"),
    Route("POST", "/api/v1/aggregate", Aggregate, ask.aggregate, "Buckets of time", (JSON,)),
    Route("GET", "/api/v1/series", SeriesList, ask.series, "Names, kinds and tags"),
    Route("GET", "/api/v1/badlines", Nothing, health.badlines, "The last refused lines"),
    Route("GET", "/api/v1/openapi.json", Nothing, describe, "This description"),
    Route("GET", "/metrics", Nothing, health.metrics, "Figures of the daemon"),
    Route("GET", "/healthz", Nothing, health.healthz, "Whether the daemon is alive"),
    Route("GET", "/readyz", Nothing, health.readyz, "Whether its answers can be trusted"),
)  # fmt: skip
