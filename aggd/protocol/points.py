"""Points as JSON writes them, to the same samples as lines.

    {"name": "api.latency", "value": 23.5, "timestamp": "2024-01-01T00:00:00Z",
     "type": "timer", "tags": {"env": "prod"}, "sample_rate": 1.0}

Only name and value are required.  A point that is wrong is refused alone, with a
reason and a message that quotes what was found.
"""

from collections.abc import Sequence
from typing import NamedTuple

from aggd.errors import ProtocolError
from aggd.protocol.lines import LARGEST, SMALLEST_RATE, TYPES, Sample
from aggd.protocol.names import clean, normal_tags
from aggd.protocol.times import parse_time

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
REMEMBERED = 1 << 12  # names, and times, remembered within one body


class Rejected(NamedTuple):
    """A point that was refused; `index` is its place in the body."""

    index: int
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
    reader = _Reader(sanitize_names)
    samples: list[Sample] = []
    rejected: list[Rejected] = []
    for index, point in enumerate(data):
        try:
            samples.append(reader.point(point))
        except ProtocolError as refusal:
            rejected.append(Rejected(index, refusal.reason, refusal.message))
    return samples, rejected


class _Reader:
    """Reads points; remembers names, times and tags that repeat."""

    def __init__(self, sanitize_names: bool) -> None:
        self._sanitize = sanitize_names
        self._names: dict[str, str] = {}
        self._times: dict[object, float] = {}
        self._tags: dict[tuple[tuple[str, object], ...], tuple[str, ...]] = {}

    def point(self, point: object) -> Sample:
        """Read one point, or raise ProtocolError."""
        if not isinstance(point, dict):
            raise ProtocolError("bad_point", f"a point is an object, got {_shown(point)}")
        if not point.keys() <= KNOWN:
            unknown = min(str(key) for key in point.keys() - KNOWN)
            raise ProtocolError(
                "unknown_field", f"unknown field {unknown[:60]!r}; a point has {', '.join(KEYS)}"
            )
        kind = KINDS.get(point.get("type", "timer")) if _hashable(point.get("type")) else None
        if kind is None:
            raise ProtocolError(
                "bad_type", f"type must be one of {', '.join(WORDS)}, got {_shown(point['type'])}"
            )
        time = point.get("timestamp")
        rate = point.get("sample_rate", 1.0)
        return Sample(
            self._name(point.get("name")),
            self._tags_of(point["tags"]) if point.get("tags") else (),
            kind,
            (_member(point.get("value")) if kind == "s" else _number(point.get("value")),),  # type: ignore[arg-type]
            " ",
            1.0 if rate == 1.0 and rate is not True else _rate(rate),
            None if time is None else self._time(time),
        )

    def _name(self, name: object) -> str:
        if not isinstance(name, str):
            raise ProtocolError("bad_name", f"name must be text, got {_shown(name)}")
        cleaned = self._names.get(name)
        if cleaned is None:
            cleaned = clean(name.encode("utf-8", "replace"), self._sanitize)
            if not cleaned:
                raise ProtocolError("empty_name", f"no name is left of {_shown(name)}")
            _remember(self._names, name, cleaned)
        return cleaned

    def _time(self, value: object) -> float:
        if not isinstance(value, str | int | float):
            raise ProtocolError("bad_timestamp", f"timestamp is {_shown(value)}, not a time")
        found = self._times.get(value) if value is not True else None
        if found is None:
            try:
                found = parse_time(value)
            except ValueError as error:
                raise ProtocolError("bad_timestamp", f"timestamp: {error}") from None
            _remember(self._times, value, found)
        return found

    def _tags_of(self, tags: object) -> tuple[str, ...]:
        if isinstance(tags, list):
            pairs: tuple[tuple[str, object], ...] = tuple((str(tag), None) for tag in tags)
            good = all(isinstance(tag, str) for tag in tags)
        else:
            good = isinstance(tags, dict)
            pairs = tuple(tags.items()) if isinstance(tags, dict) else ()
        if not good or not all(_hashable(value) for _, value in pairs):
            raise ProtocolError(
                "bad_tags", f'tags must be like {{"env": "prod"}}, got {_shown(tags)}'
            )
        found = self._tags.get(pairs)
        if found is None:
            found = _normal(pairs)
            _remember(self._tags, pairs, found)
        return found


def _remember(memory: dict, key: object, value: object) -> None:  # type: ignore[type-arg]
    if len(memory) >= REMEMBERED:
        memory.clear()
    memory[key] = value


def _hashable(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _normal(pairs: Sequence[tuple[str, object]]) -> tuple[str, ...]:
    """Tags in normal form; a bare tag has no value, true and numbers are written out."""
    found: set[str] = set()
    for key, value in pairs:
        if isinstance(value, bool):
            value = str(value).lower()
        if value is None:
            found.update(normal_tags(key.encode("utf-8", "replace").replace(b",", b"_")))
        elif key and not {",", ":"} & set(key):
            found.add(f"{key}:{value}" if value != "" else key)
        else:
            raise ProtocolError("bad_tags", f"a tag's key must be text without , or :, got {key!r}")
    return tuple(sorted(found))


def _number(value: object) -> float:
    # json's NaN and 1e400 come as floats; every comparison with NaN is false.
    if isinstance(value, float) and -LARGEST <= value <= LARGEST:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST:
        return float(value)
    raise ProtocolError("bad_value", f"value must be a finite number, got {_shown(value)}")


def _member(value: object) -> bytes:
    if isinstance(value, str) and value:
        return value.encode("utf-8", "replace")
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        return str(value).encode()
    raise ProtocolError("bad_value", f"a set's value must be text or a number, got {_shown(value)}")


def _rate(rate: object) -> float:
    if isinstance(rate, int | float) and not isinstance(rate, bool) and SMALLEST_RATE <= rate <= 1:
        return float(rate)
    raise ProtocolError(
        "bad_sample_rate", f"sample_rate must be in [{SMALLEST_RATE:g}, 1], got {_shown(rate)}"
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
