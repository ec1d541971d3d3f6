"""Writing: points as JSON, points a line, statsd lines."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import orjson

from aggd.errors import RequestError
from aggd.http import body
from aggd.http.service import NDJSON, TEXT, Asked, Reply, Service
from aggd.protocol import batch
from aggd.protocol.points import points

AT_ONCE = 50_000  # points recorded together; others wait for the recorder meanwhile
MAX_LISTED = 1000  # refused points an answer lists
KEYS = ("index", "reason", "message")
MAX_QUOTED = 200  # bytes of a refused line in a message


class Refused(NamedTuple):
    """A point or a line that was not recorded; its place is None where it isn't known."""

    place: int | None
    reason: str
    message: str


class Outcome:
    """What became of a body: counts, and the first refused points."""

    def __init__(self) -> None:
        self.accepted = 0
        self.refused = 0
        self.listed: list[Refused] = []

    def refuse(self, refused: Sequence[Refused]) -> None:
        """Count points that were refused."""
        self.refused += len(refused)
        self.listed += refused[: MAX_LISTED - len(self.listed)]

    def reply(self) -> Reply:
        """200, or 400 where everything was refused."""
        listed = sorted(self.listed, key=lambda refused: refused.place or 0)
        answer: dict[str, Any] = {
            "accepted": self.accepted,
            "rejected": [dict(zip(KEYS, refused, strict=True)) for refused in listed],
        }
        if self.refused > len(listed):
            answer["rejected_not_listed"] = self.refused - len(listed)
        if self.accepted or not self.refused:
            return Reply(orjson.dumps(answer))
        first = listed[0]
        error = {
            "code": first.reason,
            "message": f"every point was refused; the first: {first.message}",
            "field": "data",
        }
        return Reply(orjson.dumps({"error": error, **answer}), status=400)


def record(service: Service, asked: Asked) -> Reply:
    """Record a body, to be seen by the next question."""
    outcome = Outcome()
    if asked.media == TEXT:
        _lines(service, asked.body, outcome)
    elif not _batches(service, asked, outcome):
        lines = asked.media == NDJSON
        numbered = _point_a_line(asked.body, outcome) if lines else enumerate(_data(asked.body))
        _points(service, numbered, outcome)
    return outcome.reply()


def _batches(service: Service, asked: Asked, outcome: Outcome) -> bool:
    """Record a body of plain points as columns; False where it isn't one, and nothing happened."""
    found = batch.decode(asked.body, asked.media == NDJSON)
    sanitize = service.recorder.policy.sanitize_names
    batches = None if found is None else batch.batches(found, AT_ONCE, sanitize)
    if batches is None:
        return False
    now, first = service.now(), 0
    for some in batches:
        refused = service.recorder.record_batch(some, now)
        outcome.accepted += some.value.size - len(refused)
        outcome.refuse([Refused(first + i, reason, REASONS[reason]) for i, reason in refused])
        first += some.value.size
    if asked.media == NDJSON and outcome.listed:
        places = [i for i, line in enumerate(asked.body.split(b"\n")) if line.strip()]
        outcome.listed = [r._replace(place=places[r.place or 0]) for r in outcome.listed]
    return True


def _data(text: bytes) -> list[Any]:
    found = body.decode(text)
    if not isinstance(found, dict) or not isinstance(found.get("data"), list):
        example = '{"data": [{"name": "api.latency", "value": 23.5}]}'
        raise RequestError("bad_body", f"the body must be an object such as {example}", "data")
    unknown = next((key for key in found if key != "data"), None)
    if unknown is not None:
        raise RequestError("unknown_key", f"unknown key {unknown[:100]!r}; known: data", unknown)
    data: list[Any] = found["data"]
    return data


def _point_a_line(text: bytes, outcome: Outcome) -> Iterator[tuple[int, Any]]:
    """Points with their line, from 0; a line that is no JSON is refused alone."""
    decoder = msgspec.json.Decoder()
    for index, line in enumerate(text.split(b"\n")):
        if not line.strip():
            continue
        try:
            yield index, decoder.decode(line)
        except (ValueError, RecursionError):
            try:
                yield index, body.decode(line)
            except RequestError as error:
                outcome.refuse([Refused(index, error.code, error.message)])


def _points(service: Service, numbered: Iterator[tuple[int, Any]], outcome: Outcome) -> None:
    now = service.now()
    while batch := list(islice(numbered, AT_ONCE)):
        samples, rejected = points(
            [point for _, point in batch], service.recorder.policy.sanitize_names
        )
        bad = {r.index for r in rejected}
        places = [place for i, (place, _) in enumerate(batch) if i not in bad]
        refused = service.recorder.record(samples, now)
        outcome.accepted += len(samples) - len(refused)
        outcome.refuse([Refused(batch[r.index][0], r.reason, r.message) for r in rejected])
        outcome.refuse(
            [Refused(places[i], reason, REASONS.get(reason, reason)) for i, reason in refused]
        )


REASONS = {
    "stale_timestamp": "timestamp is older than all that is kept",
    "future_timestamp": "timestamp is further ahead of our clock than limits.future",
    "name_too_long": "name is longer than limits.name_bytes",
}


def _lines(service: Service, text: bytes, outcome: Outcome) -> None:
    accepted, rejected = service.lines(text, service.now())
    outcome.accepted = accepted
    outcome.refused = len(rejected)
    outcome.listed = [
        Refused(number, reason, f"{reason}: {quoted(line)}")
        for number, reason, line in rejected[:MAX_LISTED]
    ]


def quoted(line: bytes) -> str:
    """A line as people can read it, cut."""
    text = line[:MAX_QUOTED].decode("utf-8", "backslashreplace")
    return f"{text}..." if len(line) > MAX_QUOTED else text
