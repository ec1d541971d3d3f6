"""DogStatsD events and service checks.

_e{10,9}:test title|test text|d:1656581400|h:web-1|p:low|t:warning|#env:prod
   ^^ ^ bytes of title and text, which may hold any other byte
_sc|agent.up|0|d:1656581400|h:web-1|#env:prod|m:all is well
"""

import re
from typing import NamedTuple

from aggd.errors import ProtocolError
from aggd.protocol.names import normal_tags

RIGHT = b" \t\r\0"
EVENT = re.compile(rb"_e\{([0-9]{1,9}),([0-9]{1,9})\}:")
DIGITS = re.compile(rb"[0-9]{1,18}")
PRIORITIES = (b"normal", b"low")
ALERT_TYPES = (b"error", b"warning", b"info", b"success")
STATUSES = {b"0": 0, b"1": 1, b"2": 2, b"3": 3}


class Event(NamedTuple):
    """Something that happened; `timestamp` in seconds since the epoch."""

    title: str
    text: str
    priority: str = "normal"
    alert_type: str = "info"
    tags: tuple[str, ...] = ()
    timestamp: int | None = None
    hostname: str | None = None
    aggregation_key: str | None = None
    source_type: str | None = None
    container: str | None = None
    external: str | None = None
    cardinality: str | None = None


class Check(NamedTuple):
    """The state of a service: 0 well, 1 warning, 2 critical, 3 unknown."""

    name: str
    status: int
    tags: tuple[str, ...] = ()
    timestamp: int | None = None
    hostname: str | None = None
    message: str | None = None
    container: str | None = None
    external: str | None = None
    cardinality: str | None = None


TEXTS = {b"h:": "hostname", b"c:": "container", b"e:": "external"}
EVENT_TEXTS = {**TEXTS, b"k:": "aggregation_key", b"s:": "source_type"}
CHECK_TEXTS = {**TEXTS, b"m:": "message"}
ESCAPED = (b"m:",)  # texts for people; in a key, say a path, \n is no newline


def event(line: bytes, warnings: list[str]) -> Event:
    """Read an event from a line that isn't stripped on the right: its text is counted.

    Raises
    ------
    ProtocolError
        With ``bad_event``.
    """
    found = EVENT.match(line)
    if not found:
        raise ProtocolError("bad_event", "an event begins with _e{title bytes,text bytes}:")
    middle = found.end() + int(found[1])
    end = middle + 1 + int(found[2])
    title, bar, text = line[found.end() : middle], line[middle : middle + 1], line[middle + 1 : end]
    rest = line[end:].rstrip(RIGHT)
    if not title or bar != b"|" or end > len(line) or rest[:1] not in (b"", b"|"):
        raise ProtocolError("bad_event", "title and text don't have the bytes they say")
    fields = _fields(rest.split(b"|")[1:], EVENT_TEXTS, warnings)
    return Event(_unescaped(title), _unescaped(text), **fields)  # type: ignore[arg-type]


def service_check(line: bytes, warnings: list[str]) -> Check:
    """Read a service check.

    Raises
    ------
    ProtocolError
        With ``bad_service_check``.
    """
    parts = line.split(b"|")
    if len(parts) < 3 or not parts[1] or parts[2] not in STATUSES:
        raise ProtocolError("bad_service_check", "a check is _sc|name|0, 1, 2 or 3")
    fields = _fields(parts[3:], CHECK_TEXTS, warnings)
    return Check(_text(parts[1]), STATUSES[parts[2]], **fields)  # type: ignore[arg-type]


def _fields(fields: list[bytes], texts: dict[bytes, str], warnings: list[str]) -> dict[str, object]:
    """Optional fields in any order, the last of each; one that is bad is only warned of."""
    found: dict[str, object] = {}
    faults: set[str] = set()
    for field in fields:
        start, rest = field[:2], field[2:]
        if field[:1] == b"#":
            found["tags"], good = normal_tags(field[1:])
            if not good:
                faults.add("bad_tag")
        elif start in texts:
            found[texts[start]] = _unescaped(rest) if start in ESCAPED else _text(rest)
        elif start == b"d:" and DIGITS.fullmatch(rest):
            found["timestamp"] = int(rest)
        elif field[:5] == b"card:":
            found["cardinality"] = _text(field[5:]).lower()
        elif texts is EVENT_TEXTS and start == b"p:" and rest in PRIORITIES:
            found["priority"] = rest.decode()
        elif texts is EVENT_TEXTS and start == b"t:" and rest in ALERT_TYPES:
            found["alert_type"] = rest.decode()
        elif field:
            faults.add("unknown_field")
    warnings += sorted(faults)
    return found


def _text(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _unescaped(text: bytes) -> str:
    return _text(text).replace("\\n", "\n")
