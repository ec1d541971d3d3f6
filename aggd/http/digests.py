"""Digests out, to other programs, and in, from them."""

from typing import Any

from aggd.errors import ProtocolError, RequestError
from aggd.http import ask
from aggd.http.questions import Digest, Merge
from aggd.http.service import Service
from aggd.protocol.names import clean, normal, split_tag
from aggd.protocol.times import format_time
from aggd.query import exchange
from aggd.query.scope import timers_of
from aggd.query.selection import plain, tag_map
from aggd.sketch import digest
from aggd.store.series import Tags
from aggd.units import format_duration

FIELDS = {"future_timestamp": "timestamp", "stale_timestamp": "timestamp"}  # else the name


def send(service: Service, question: Digest) -> dict[str, Any]:
    """Answer ``GET /api/v1/digest/{name}``."""
    about = ask.scope(question, service.now())
    return exchange.write(timers_of(service.registry, service.history, question.name, about))


def receive(service: Service, given: tuple[Merge, object]) -> dict[str, Any]:
    """Answer ``POST /api/v1/digest/{name}``: what was merged, and into which slot."""
    question, body = given
    sketch, now = exchange.read(body), service.now()
    time = now if question.timestamp is None else question.timestamp
    try:
        name, tags = _identity(question, service.recorder.policy.sanitize_names)
        series, frame = service.recorder.merge(name, tags, *sketch, time, now)
    except ProtocolError as refusal:
        field = FIELDS.get(refusal.reason, "name")
        raise RequestError(refusal.reason, refusal.message, field) from None
    return {
        "name": series.name,
        "kind": series.kind.word,
        "tags": tag_map(series.tags),
        "from": format_time(frame.start),
        "to": format_time(frame.end),
        "resolution": format_duration(frame.width),
        "exact": bool(digest.exact(sketch.digests).all()),
        "count": plain(float(sketch.moments.count[0])),
    }


def _identity(question: Merge, sanitize: bool) -> tuple[str, Tags]:
    """Name and tags as a line's would be cleaned."""
    name = clean(question.name.encode("utf-8", "replace"), sanitize)
    if not name:
        raise ProtocolError("empty_name", f"no name is left of {question.name[:100]!r}")
    return name, normal(split_tag(tag) for tag in question.tags)
