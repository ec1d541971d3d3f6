"""Typed questions: what a parameter may be, said once for checks, messages and OpenAPI.

A type reads its own text; its title completes the sentence "interval must be ...".
"""

import difflib
import re
import reprlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Meta, Struct

from aggd.errors import RequestError
from aggd.http import body
from aggd.http.service import Asked
from aggd.protocol.times import parse_time
from aggd.units import parse_duration

LATEST = 253_402_300_800.0  # seconds to the year 10000, which RFC 3339 can't write
MAX_ITEMS = 100  # of a list of percentiles, tags or statistics
MAX_LISTED = 10_000  # series in one answer

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+", re.ASCII)
_BLANK_ZONE = re.compile(r"(T.*) ([0-9:]+)$")  # a + that a URL made a blank


class Duration(float):
    """A positive number of seconds, and how it was written."""

    text: str

    @classmethod
    def parse(cls, found: object) -> "Duration":
        """Read ``5min`` or a number of seconds."""
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            raise ValueError
        seconds = cls(parse_duration(found) if isinstance(found, str) else found)
        if not 0 < seconds < LATEST:
            raise ValueError
        seconds.text = str(found)
        return seconds


class Time(float):
    """Seconds since the epoch."""

    @classmethod
    def parse(cls, found: object) -> "Time":
        """Read RFC 3339 or a number of seconds."""
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            raise ValueError
        if isinstance(found, str):
            text = found.strip()
            number = _NUMBER.fullmatch(text)
            time = cls(text) if number else cls(parse_time(_BLANK_ZONE.sub(r"\1+\2", text)))
        else:
            time = cls(found)
        if not 0 <= time < LATEST:
            raise ValueError
        return time


class Words(tuple[str, ...]):
    """Strings, as a list or separated by commas; each once."""

    @classmethod
    def parse(cls, found: object) -> "Words":
        """Read ``a,b`` or ``["a", "b"]``."""
        words = found.split(",") if isinstance(found, str) else found
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError
        words = cls(dict.fromkeys(stripped for word in words if (stripped := word.strip())))
        if not 0 < len(words) <= MAX_ITEMS:
            raise ValueError
        return words


class Tags(Words):
    """Tags, as ``key:value``."""

    @classmethod
    def parse(cls, found: object) -> "Tags":
        """Read ``env:prod,region:eu``, a list of such, or an object."""
        if isinstance(found, dict):
            found = [f"{key}:{value}" for key, value in found.items()]
        return cls(super().parse(found))


class Percentiles(tuple[float, ...]):
    """Numbers in [0, 100], each once."""

    @classmethod
    def parse(cls, found: object) -> "Percentiles":
        """Read ``50,99.9``, a number, or a list of numbers."""
        items = found.split(",") if isinstance(found, str) else found
        items = items if isinstance(items, list) else [items]
        found_ = cls(dict.fromkeys(_percentile(item) for item in items))
        if not 0 < len(found_) <= MAX_ITEMS:
            raise ValueError
        return found_


def _percentile(item: object) -> float:
    if isinstance(item, str) and _NUMBER.fullmatch(item.strip()):
        item = float(item)
    if isinstance(item, bool) or not isinstance(item, int | float) or not 0 <= item <= 100:
        raise ValueError
    return abs(float(item))


A_DURATION = Annotated[Duration, Meta(title="a positive duration such as 30s or 5min")]
A_TIME = Annotated[
    Time, Meta(title="a time such as 2026-11-24T02:10:00Z or seconds since the epoch")
]
TAGS = Annotated[Tags, Meta(title="tags such as env:prod,region:eu")]
KEYS = Annotated[Words, Meta(title="names of tags such as host,region")]
PERCENTILES = Annotated[Percentiles, Meta(title="numbers from 0 to 100 such as 50,99.9")]
STATISTICS = Annotated[Words, Meta(title="statistics such as mean or count,p99.9")]
NAME = Annotated[str, Meta(title="a name")]
GLOB = Annotated[str, Meta(title="a name or a glob such as api.*", max_length=1024)]
SORT = Annotated[str, Meta(title="name or a statistic, - before it for descending, such as -p99")]
KIND = Annotated[
    Literal["timer", "gauge", "counter", "set"],
    Meta(
        title="timer, gauge, counter or set",
        description="Which of the kinds that share a name; without it the first there is of "
        "timer, gauge, counter, set.",
    ),
]
FORMAT = Annotated[
    Literal["rows", "columns"],
    Meta(title="rows or columns", description="columns gives parallel arrays, not objects."),
]
FILL = Annotated[
    Literal["null", "zero", "previous"] | None,
    Meta(
        title="null, zero or previous",
        description="What empty buckets hold; they are left out without it.",
    ),
]
LIMIT = Annotated[int, Meta(title=f"a whole number from 1 to {MAX_LISTED}", ge=1, le=MAX_LISTED)]
CURSOR = Annotated[str, Meta(title="the cursor of the answer before")]


class Question(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked, read and checked."""


Q = TypeVar("Q", bound=Question)


def from_query(question: type[Q], asked: Asked) -> Q:
    """Read a question from the path and the query string."""
    for name in asked.path.keys() & asked.query.keys():
        raise RequestError("unknown_parameter", f"{name} is given by the path already", name)
    return _read(question, {**asked.query, **asked.path}, "parameter", strict=False)


def from_body(question: type[Q], asked: Asked) -> Q:
    """Read a question from a JSON body."""
    found = body.decode(asked.body)
    if not isinstance(found, dict):
        raise RequestError("bad_body", f"the body must be an object, got {shown(found)}")
    _refuse_unknown(asked.query, [], "parameter")
    return _read(question, found, "key", strict=True)


def _read(question: type[Q], found: Mapping[str, Any], what: str, *, strict: bool) -> Q:
    titles = {f.encode_name: f.name for f in msgspec.structs.fields(question)}
    _refuse_unknown(found, list(titles), what)
    try:
        return msgspec.convert(found, question, strict=strict, dec_hook=_parse)
    except msgspec.ValidationError as error:
        missing = re.search(r"required field `(\w+)`", str(error))
        if missing:
            message = f"{what} {missing[1]} is missing; it must be {_title(question, missing[1])}"
            raise RequestError(f"missing_{what}", message, missing[1]) from None
        place = re.search(r"`\$\.(\w+)", str(error))
        name = place[1] if place else ""
        message = f"{name} must be {_title(question, name)}, got {shown(found.get(name))}"
        raise RequestError(f"bad_{name}", message, name) from None


def _parse(type_: Any, found: object) -> object:
    try:
        return type_.parse(found)
    except OverflowError:
        raise ValueError from None


def _refuse_unknown(found: Mapping[str, Any], known: list[str], what: str) -> None:
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name[:100], known, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'none'}"
            raise RequestError(f"unknown_{what}", f"unknown {what} {shown(name)}; {hint}", name)


def _title(question: type[Question], name: str) -> str:
    of = {f.encode_name: f.name for f in msgspec.structs.fields(question)}
    return next(_titles(get_type_hints(question, include_extras=True)[of[name]]))


def _titles(hint: Any) -> Iterator[str]:
    for item in getattr(hint, "__metadata__", ()):
        if isinstance(item, Meta) and item.title:
            yield item.title
    for arg in get_args(hint):
        yield from _titles(arg)


def shown(found: object) -> str:
    """A value as messages quote it, cut to a line."""
    return _short.repr(found)


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 120
