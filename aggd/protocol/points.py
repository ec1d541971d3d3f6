"""Points as JSON writes them, to the same samples as lines.

    {"name": "api.latency", "value": 23.5, "timestamp": "2024-01-01T00:00:00Z",
     "type": "timer", "tags": {"env": "prod"}, "sample_rate": 1.0}

Only name and value are required.  A point that is wrong is refused alone, with a
reason and a message that quotes what was found.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from aggd.errors import ProtocolError
from aggd.protocol.names import clean, normal, split_tag
from aggd.protocol.samples import LARGEST, SMALLEST_RATE, TYPES, Sample
from aggd.protocol.times import TIMES, parse_time

WORDS = {
    "counter": "c",
    "gauge": "g",
    "timer": "ms",
    "histogram": "h",
    "distribution": "d",
    "set": "s",
}
KINDS = {**WORDS, **{letters: letters for letters in TYPES.values()}}
KEYS = ("name", "value", "timestamp", "type", "tags", "sample_rate")
KNOWN = frozenset(KEYS)
REMEMBERED = 1 << 12  # names, and sets of tags, remembered within one body
EXACT = 1 << 53  # below it a float that is whole is one integer only
QUOTED = 60  # characters of a wrong value in a message

_K = TypeVar("_K")
_V = TypeVar("_V")


class Rejected(NamedTuple):
    """A point that was refused; `index` is its place in the body."""

    index: int  # type: ignore[assignment]
    reason: str
    message: str


def points(
    data: Sequence[object], sanitize_names: bool = True
) -> tuple[list[Sample], list[Rejected]]:
    """Read decoded points: the samples of those that are good, and the others.

    Parameters
    ----------
    data : sequence of objects
        As a JSON decoder returns them.
    sanitize_names : bool
        Clean names as statsd does.
    """
    reader = Reader(sanitize_names)
    samples: list[Sample] = []
    rejected: list[Rejected] = []
    for index, point in enumerate(data):
        try:
            samples.append(reader.point(point))
        except ProtocolError as refusal:
            rejected.append(Rejected(index, refusal.reason, refusal.message))
    return samples, rejected


class Reader:
    """Reads points; remembers names and tags, which repeat."""

    def __init__(self, sanitize_names: bool) -> None:
        self._sanitize = sanitize_names
        self._names: dict[str, str] = {}
        self._tags: dict[tuple[tuple[object, object], ...], tuple[str, ...]] = {}

    def point(self, point: object) -> Sample:
        """Read one point, or raise ProtocolError; null is as good as absent."""
        if not isinstance(point, dict):
            raise ProtocolError("bad_point", f"a point is an object, got {_shown(point)}")
        if not point.keys() <= KNOWN:
            raise _unknown(next(key for key in point if key not in KNOWN))
        get = point.get
        time, rate = get("timestamp"), get("sample_rate")
        kind = self.kind(get("type"))
        return Sample(
            self.name(get("name")),
            self.tags(get("tags")),
            kind,
            (_member(get("value")) if kind == "s" else _number(get("value")),),
            " ",
            1.0 if rate is None else _rate(rate),
            None if time is None else _seconds(time),
        )

    def kind(self, name: object) -> str:
        """The letters of a type; a timer's where none is given."""
        name = "timer" if name is None else name
        kind = KINDS.get(name) if isinstance(name, str) else None
        if kind is None:
            raise ProtocolError(
                "bad_type", f"type must be one of {', '.join(WORDS)}, got {_shown(name)}"
            )
        return kind

    def name(self, name: object) -> str:
        """The name as its series has it."""
        if not isinstance(name, str):
            raise ProtocolError("bad_name", f"name must be text, got {_shown(name)}")
        cleaned = self._names.get(name)
        if cleaned is None:
            cleaned = clean(name.encode("utf-8", "replace"), self._sanitize)
            if not cleaned:
                raise ProtocolError("empty_name", f"no name is left of {_shown(name)}")
            _remember(self._names, name, cleaned)
        return cleaned

    def tags(self, tags: object) -> tuple[str, ...]:
        """Tags in their normal form."""
        if tags is None:
            return ()
        if not isinstance(tags, dict):
            return normal(_listed(tags))
        given = tuple(tags.items())
        try:
            found = self._tags.get(given)
        except TypeError:
            raise _bad_tags(tags) from None
        if found is None:
            found = normal(_pair(key, value) for key, value in given)
            if all(isinstance(value, str) for _, value in given):  # 1, 1.0 and True are one key
                _remember(self._tags, given, found)
        return found


def _remember(memory: dict[_K, _V], key: _K, value: _V) -> None:
    if len(memory) >= REMEMBERED:
        memory.clear()
    memory[key] = value


def _number(value: object) -> float:
    # json's NaN and 1e400 come as floats; every comparison with NaN is false.
    if isinstance(value, float) and -LARGEST <= value <= LARGEST:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST:
        return float(value)
    raise ProtocolError(
        "bad_value", f"value must be a finite number, up to {LARGEST:g}, got {_shown(value)}"
    )


def _member(value: object) -> bytes:
    text = _text(value)
    if not text:
        raise ProtocolError(
            "bad_value", f"a set's value must be text or a number, got {_shown(value)}"
        )
    return text.encode("utf-8", "replace")


def _rate(rate: object) -> float:
    if isinstance(rate, int | float) and not isinstance(rate, bool) and SMALLEST_RATE <= rate <= 1:
        return float(rate)
    raise ProtocolError(
        "bad_sample_rate", f"sample_rate must be in [{SMALLEST_RATE:g}, 1], got {_shown(rate)}"
    )


def _seconds(value: object) -> float:
    try:
        return parse_time(value if isinstance(value, str | int | float) else "")
    except ValueError:
        message = f"timestamp must be {TIMES}, got {_shown(value)}"
        raise ProtocolError("bad_timestamp", message) from None


def _listed(tags: object) -> list[tuple[str, str]]:
    """Read tags given as ``["env:prod", "canary"]``."""
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise _bad_tags(tags)
    return [_pair(*split_tag(tag.strip(" \t"))) for tag in tags]


def _pair(key: object, value: object) -> tuple[str, str]:
    """Key and value as a line would write them; null makes a bare tag."""
    if value is None or isinstance(value, bool):
        text: str | None = "" if value is None else str(value).lower()
    else:
        text = _text(value)
    if not isinstance(key, str) or text is None:
        raise ProtocolError("bad_tags", f"a tag's value must be text, got {_shown(value)}")
    if not key.strip(" \t") or "," in key or ":" in key:
        raise ProtocolError("bad_tags", f"a tag's key is text without , and :, got {_shown(key)}")
    return split_tag(f"{key}:{text}".strip(" \t").encode("utf-8", "replace").decode())


def _text(value: object) -> str | None:
    """Text, or a number as text; 1 and 1.0 are one number in JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not -LARGEST <= value <= LARGEST:
        return None
    return str(int(value) if value % 1 == 0 and abs(value) < EXACT else value)


def _unknown(key: object) -> ProtocolError:
    message = f"unknown field {_shown(key)}; a point has {', '.join(KEYS)}"
    return ProtocolError("unknown_field", message)


def _bad_tags(tags: object) -> ProtocolError:
    return ProtocolError("bad_tags", f'tags must be like {{"env": "prod"}}, got {_shown(tags)}')


def _shown(value: object) -> str:
    """Quote a value as JSON; a list or an object may be deep, so not what is in it."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        return f"an integer beyond {LARGEST:g}"  # Python refuses to write one of 4,301 digits
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = repr(value)
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."
