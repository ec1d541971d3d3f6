"""Typed questions: what a parameter may be, said once for checks, messages and OpenAPI.

A type reads its own text; its title completes the sentence "interval must be ...".
"""

import difflib
import re
import reprlib
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Meta, Struct

from aggd.errors import RequestError
from aggd.http import body
from aggd.http.service import Asked
from aggd.protocol.times import LATEST, parse_time
from aggd.units import MINUTE, parse_duration

MAX_ITEMS = 100  # of a list of percentiles, tags or statistics
MAX_LISTED = 10_000  # series in one answer
MAX_LIVE = 1000  # series in one event: half a megabyte
MAX_BINS = 1000  # of a histogram

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+", re.ASCII)
_DECIMAL = re.compile(rf"[+-]?(?:{_NUMBER.pattern})(?:[eE][+-]?[0-9]+)?", re.ASCII)
_BLANK_ZONE = re.compile(r"(T.*) ([0-9:]+)$")  # a + that a URL made a blank


class Duration(float):
    """A positive number of seconds, and how it was written."""

    text: str

    @classmethod
    def parse(cls, found: object) -> Self:
        """Read ``5min`` or a number of seconds."""
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            raise ValueError
        seconds = cls(parse_duration(found) if isinstance(found, str) else found)
        if not 0 < seconds < LATEST:
            raise ValueError
        seconds.text = str(found)
        return seconds


class Every(Duration):
    """Whole seconds between events, up to a minute."""

    @classmethod
    def parse(cls, found: object) -> Self:
        """Read ``5s`` or a number of seconds."""
        every = super().parse(found)
        if every % 1 or every > MINUTE:
            raise ValueError
        return every


class Number(float):
    """Any finite number."""

    @classmethod
    def parse(cls, found: object) -> Self:
        """Read ``250``, ``-1.5e3`` or a number."""
        if isinstance(found, str) and not _DECIMAL.fullmatch(found.strip()):
            raise ValueError
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            raise ValueError
        number = cls(found)
        if not isfinite(number):
            raise ValueError
        return number


class Fraction(Number):
    """A number between 0 and 1, neither of them."""

    @classmethod
    def parse(cls, found: object) -> Self:
        """Read ``0.99`` or a number."""
        fraction = super().parse(found)
        if not 0 < fraction < 1:
            raise ValueError
        return fraction


class Numbers(tuple[float, ...]):
    """Finite numbers, each once."""

    @classmethod
    def parse(cls, found: object) -> Self:
        """Read ``100,2.5e3``, a number, or a list of numbers."""
        items = found.split(",") if isinstance(found, str) else found
        items = items if isinstance(items, list) else [items]
        numbers = cls(dict.fromkeys(map(cls._item, items)))
        if not 0 < len(numbers) <= MAX_ITEMS:
            raise ValueError
        return numbers

    @staticmethod
    def _item(found: object) -> float:
        return Number.parse(found)


class Percentiles(Numbers):
    """Numbers in [0, 100], each once."""

    @staticmethod
    def _item(found: object) -> float:
        if isinstance(found, str) and not _NUMBER.fullmatch(found.strip()):
            raise ValueError
        p = Number.parse(found)
        if not 0 <= p <= 100:
            raise ValueError
        return abs(float(p))  # no -0


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


A_DURATION = Annotated[Duration, Meta(title="a positive duration such as 30s or 5min")]
EVERY = Annotated[
    Every,
    Meta(title="whole seconds from 1s to 60s", description="Between events; 1s without it."),
]
TRAILING = Annotated[
    Duration,
    Meta(
        title="a positive duration such as 30s or 5min",
        description="How far each window reaches back; 10s without it.",
    ),
]
A_TIME = Annotated[
    Time, Meta(title="a time such as 2026-11-24T02:10:00Z or seconds since the epoch")
]
TAGS = Annotated[Tags, Meta(title="tags such as env:prod,region:eu")]
KEYS = Annotated[Words, Meta(title="names of tags such as host,region")]
PERCENTILES = Annotated[
    Percentiles,
    Meta(
        title="numbers from 0 to 100 such as 50,99.9 (statsd's 90 and -10 are statistics=upper_90 "
        "and lower_top10)"
    ),
]
STATISTICS = Annotated[
    Words,
    Meta(
        title="statistics such as mean or count,p99.9",
        description="Timers also have statsd's upper_90, lower_top10 and mean_, sum_, "
        "sum_squares_, count_ of both, and means without the ends: trimmed_5.",
    ),
]
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
ANOMALY = Annotated[
    Literal["robust"] | None,
    Meta(
        title="robust",
        description="Adds a column anomaly: how far the first statistic is from the median of "
        "the buckets before, in their scaled median absolute deviations.",
    ),
]
LIMIT = Annotated[int, Meta(title=f"a whole number from 1 to {MAX_LISTED}", ge=1, le=MAX_LISTED)]
LIVE_LIMIT = Annotated[int, Meta(title=f"a whole number from 1 to {MAX_LIVE}", ge=1, le=MAX_LIVE)]
BINS = Annotated[int, Meta(title=f"a whole number from 1 to {MAX_BINS}", ge=1, le=MAX_BINS)]
SCALE = Annotated[
    Literal["linear", "log"],
    Meta(title="linear or log", description="How the bins of a histogram are spaced."),
]
AT = Annotated[
    Numbers,
    Meta(
        title="numbers such as 100,250",
        description="Where the distribution function is given; at the edges of the bins without.",
    ),
]
FIT = Annotated[bool, Meta(title="true or false", description="Whether families are fitted.")]
THRESHOLD = Annotated[
    Number, Meta(title="a finite number such as 300", description="Samples up to this are good.")
]
OBJECTIVE = Annotated[
    Fraction,
    Meta(
        title="a number over 0 and under 1 such as 0.99",
        description="Fraction of the samples that should be good.",
    ),
]
OFFSET = Annotated[
    Duration,
    Meta(
        title="a positive duration such as 1d or 1w",
        description="How long before the window the other one lies; a day without it.",
    ),
]
ALPHA = Annotated[
    Fraction,
    Meta(
        title="a number over 0 and under 1 such as 0.01",
        description="How often two windows of one distribution may be found to differ; 0.01 "
        "without it.",
    ),
]
KEY = Annotated[str, Meta(title="the name of a tag")]
MEASURE = Annotated[
    Literal["count", "series", "memory"],
    Meta(
        title="count, series or memory",
        description="What is heavy: samples, series that had some, or bytes of their frames.",
    ),
]
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
