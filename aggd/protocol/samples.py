"""Samples of a line: what stands behind the name.

    page.load:320:310|ms|@0.1:5|c|#env:prod
              ^^^^^^^ values
                      ^^ type
                         ^^^^ rate of the first sample
                              ^ ^ value and type of the next
                                  ^^^^^^^^^ tags of both

All fields but the rate belong to every sample of the line.
"""

import re
from typing import NamedTuple

from aggd.errors import ProtocolError
from aggd.protocol.names import BLANKS, Identity

TYPES = {t: t.decode() for t in (b"c", b"C", b"m", b"g", b"ms", b"h", b"d", b"s", b"kv")}
NUMBER = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
SIGNS = b"+-"
SECONDS = re.compile(rb"[0-9]{1,18}")
LARGEST = 1e300  # a thousand million of them still add up to a number
SMALLEST_RATE = 1e-6  # one sample may stand for a million, not for the whole series


class Sample(NamedTuple):
    """The values of one sample of a line, all of one series.

    `kind` is the type as sent; `values` are numbers, or bytes where it is ``s``;
    `signs` has ``+``, ``-`` or a blank for each of them; `timestamp` is in seconds
    since the epoch; `extended` tells that the line carried a DogStatsD field.
    """

    name: str
    tags: tuple[str, ...]
    kind: str
    values: tuple[float | bytes, ...]
    signs: str
    rate: float = 1.0
    timestamp: float | None = None
    container: str | None = None
    external: str | None = None
    cardinality: str | None = None
    extended: bool = False


class Fields:
    """What belongs to all samples of a line, as it is met."""

    __slots__ = (
        "cardinality",
        "container",
        "extended",
        "external",
        "sections",
        "timestamp",
        "warnings",
    )

    def __init__(self) -> None:
        self.sections: list[bytes] = []
        self.container: str | None = None
        self.external: str | None = None
        self.cardinality: str | None = None
        self.timestamp: float | None = None
        self.extended = False
        self.warnings: set[str] = set()  # a line warns of each kind of fault once

    @property
    def tags(self) -> bytes | None:
        """All tag sections as one."""
        return b",".join(self.sections) if self.sections else None

    def take(self, field: bytes) -> None:
        """Read a field that isn't a rate; the last of its kind wins, tags are joined."""
        first = field[:1]
        if first == b"#":
            self.sections.append(field[1:])
        elif first == b"T":
            self.timestamp = _seconds(field[1:])
        elif field[:2] == b"c:" and field[2:]:
            self.container = field[2:].decode("utf-8", "replace")
        elif field[:2] == b"e:" and field[2:]:
            self.external = field[2:].decode("utf-8", "replace")
        elif field[:5] == b"card:" and field[5:]:
            self.cardinality = field[5:].decode("utf-8", "replace").lower()
        else:
            if field:
                self.warnings.add("unknown_field")
            return
        self.extended = True


def _seconds(text: bytes) -> float:
    if not SECONDS.fullmatch(text) or int(text) < 1:
        raise ProtocolError("bad_timestamp", f"not seconds since the epoch: {text[:40]!r}")
    return float(int(text))


def split(
    segments: list[bytes], fields: Fields
) -> tuple[list[tuple[bytes, bytes, float]], ProtocolError | None]:
    """Cut a line into value, type and rate of each sample, as far as types and rates are good."""
    found: list[tuple[bytes, bytes, float]] = []
    value: bytes | None = segments[0]
    at = 1
    try:
        while value is not None:
            kind, more, at = _type(segments, at)
            rate, more, at = _fields(segments, at, more, fields)
            found.append((value, kind, rate))
            value = more
    except ProtocolError as refusal:
        return found, refusal
    return found, None


def _type(segments: list[bytes], at: int) -> tuple[bytes, bytes | None, int]:
    """Type of a sample, the value of the next one if it stands there, the next segment."""
    segment = segments[at] if at < len(segments) else b""
    more = None
    if b":" in segment and segment[:1] != b"#":
        segment, _, more = segment.partition(b":")
    kind = segment.strip(BLANKS)
    if not kind and more is None:
        raise ProtocolError("no_type", "a type such as c, g or ms must follow the value")
    if kind not in TYPES:
        raise ProtocolError("unknown_type", f"not one of c, g, ms, h, d, s, m, kv: {kind[:40]!r}")
    return kind, more, at + 1


def _fields(
    segments: list[bytes], at: int, more: bytes | None, fields: Fields
) -> tuple[float, bytes | None, int]:
    """Fields of a sample: its rate, the value of the next one, the next segment."""
    rate = 1.0
    while more is None and at < len(segments):
        field = segments[at].lstrip(BLANKS)  # on the right a set's member may end in a blank
        at += 1
        if field[:1] == b"@":
            text, colon, value = field[1:].partition(b":")
            rate, clamped = _rate(text)
            if clamped:
                fields.warnings.add("rate_clamped")
            more = value if colon else None
        elif field[:1] == b":" and _is_type(segments, at):
            more = field[1:]
        else:
            fields.take(field.rstrip(BLANKS))
    return rate, more, at


def _is_type(segments: list[bytes], at: int) -> bool:
    return at < len(segments) and segments[at].partition(b":")[0].strip(BLANKS) in TYPES


def _rate(text: bytes) -> tuple[float, bool]:
    text = text.strip(BLANKS)
    rate = float(text) if NUMBER.fullmatch(text) else -1.0
    if rate < 0 or rate == float("inf"):
        raise ProtocolError("bad_rate", f"not a sample rate in (0, 1]: {text[:40]!r}")
    if (rate == 0 and text.strip(b"+-0.")[:1] in b"eE") or rate > 1:
        return 1.0, True
    return max(rate, SMALLEST_RATE), rate < SMALLEST_RATE


def sample(name: Identity, value: bytes, kind: bytes, rate: float, fields: Fields) -> Sample:
    """Read the value of a sample that `split` found; a bad one is a ProtocolError."""
    values: tuple[float | bytes, ...]
    if kind == b"s":
        if not value:
            raise ProtocolError("empty_value", "a set needs a member")
        values, signs = (value,), " "
    else:
        values, signs = _numbers(value)
    return Sample(
        name.name,
        name.tags,
        TYPES[kind],
        values,
        signs,
        rate,
        fields.timestamp,
        fields.container,
        fields.external,
        fields.cardinality,
        fields.extended,
    )


def _numbers(text: bytes) -> tuple[tuple[float, ...], str]:
    """Numbers of a list, all of which must be good, and the sign each was written with."""
    values: list[float] = []
    signs = ""
    for padded in text.split(b":"):
        item = padded.strip(BLANKS)
        if not item:
            continue
        if not NUMBER.fullmatch(item):
            raise ProtocolError("bad_value", f"not a number: {item[:40]!r}")
        value = float(item)
        if not -LARGEST <= value <= LARGEST:
            raise ProtocolError("overflow", f"beyond 1e300: {item[:40]!r}")
        values.append(value)
        signs += chr(item[0]) if item[0] in SIGNS else " "
    if not values:
        raise ProtocolError("empty_value", "no value stands before the type")
    return tuple(values), signs
