"""Every path there is, what it is asked with and who answers."""

from collections.abc import Callable
from typing import Any, NamedTuple

from aggd.http import ask, digests, health, openapi, params, record
from aggd.http.body import decode
from aggd.http.params import Question
from aggd.http.questions import (
    Aggregate,
    Compare,
    Digest,
    Distribution,
    Forget,
    Live,
    Matching,
    Merge,
    Nothing,
    Rolling,
    SeriesList,
    Slo,
    Stats,
    TagValues,
    Top,
)
from aggd.http.service import JSON, NDJSON, TEXT, Asked, Reply, Service


class Route(NamedTuple):
    """One method of one path.

    `answer` runs in a thread; a route with `media` has a body of one of these
    types, the first where the request doesn't say; one with an `event` is
    answered again and again, as server-sent events of that name.  With a `body` the
    question stands in path and query, and `answer` gets it with the decoded body.
    """

    method: str
    path: str
    question: type[Question] | None  # None: the answer reads the body itself
    answer: Callable[[Service, Any], Reply | dict[str, Any]]
    summary: str
    media: tuple[str, ...] = ()
    event: str = ""
    body: openapi.Schema | None = None

    def read(self, asked: Asked) -> Any:
        """The typed question in a request."""
        if self.question is None:
            params.from_query(Nothing, asked)
            return asked
        if self.body is not None:
            return params.from_query(self.question, asked), decode(asked.body)
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
    Route("GET", "/api/v1/rolling", Rolling, ask.rolling, "Windows that move"),
    Route("POST", "/api/v1/rolling", Rolling, ask.rolling, "Windows that move", (JSON,)),
    Route("GET", "/api/v1/live", Live, ask.live, "Statistics as they change", event="stats"),
    Route("GET", "/api/v1/distribution/{name}", Distribution, ask.describe_distribution,
          "Histogram, distribution function and fitted families of one timer"),
    Route("GET", "/api/v1/slo/{name}", Slo, ask.assess_slo,
          "Good samples, error budget, burn rates and alerts of one timer"),
    Route("GET", "/api/v1/compare/{name}", Compare, ask.compare_windows,
          "Two windows of one name and whether they differ"),
    Route("GET", "/api/v1/digest/{name}", Digest, digests.send, "A digest, for other programs"),
    Route(
        "POST",
        "/api/v1/digest/{name}",
        Merge,
        digests.receive,
        "Merge a digest of another program",
        (JSON,),
        body=openapi.DIGEST,
    ),
    Route("GET", "/api/v1/series", SeriesList, ask.series, "Names, kinds and tags"),
    Route("DELETE", "/api/v1/series", Forget, ask.forget, "Forget series and their past"),
    Route("GET", "/api/v1/tags/{key}", TagValues, ask.tag_values, "Values of a tag"),
    Route("GET", "/api/v1/top", Top, ask.heavy, "The heaviest names and prefixes"),
    Route("GET", "/api/v1/badlines", Nothing, health.badlines, "The last refused lines"),
    Route("GET", "/api/v1/openapi.json", Nothing, describe, "This description"),
    Route("GET", "/metrics", Nothing, health.metrics, "Figures of the daemon"),
    Route("POST", "/api/v1/admin/reload", None, health.reload, "Read the configuration again"),
    Route("GET", "/healthz", Nothing, health.healthz, "Whether the daemon is alive"),
    Route("GET", "/readyz", Nothing, health.readyz, "Whether its answers can be trusted"),
)  # fmt: skip
