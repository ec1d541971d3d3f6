"""The statsd line protocol, without I/O: the slow lane, which knows all of it.

    page.load:320|ms|@0.1|#env:prod
    ^^^^^^^^^ head: the name, and tags in some dialects
              ^^^ value, or several: 320:310:290
                  ^^ type
                     ^^^^ sample rate, in (0, 1]
                          ^^^^^^^^^ tags (DogStatsD)

    packet   = [BOM] line *( LF line )
    line     = *( SP / HTAB / CR ) [ event / check / metric ] *( SP / HTAB / CR / NUL )
    metric   = head ":" sample *( next-sample )
    sample   = value "|" type *( "|" field )
    next-sample = ":" sample            ; inside a type segment or an "@" segment
    field    = "@" rate / "#" tags / "c:" container / "e:" external / "card:" cardinality / "T" seconds

Whatever is refused is refused for one reason and costs only itself, whatever is
let pass in spite of something is a warning.
"""

import re
from typing import NamedTuple

from aggd.errors import ProtocolError
from aggd.protocol.events import Check, Event, event, service_check
from aggd.protocol.names import BLANKS, Identity, identity

BOM = b"\xef\xbb\xbf"
LEFT = b" \t\r"
RIGHT = b" \t\r\0"
TYPES = {t: t.decode() for t in (b"c", b"C", b"m", b"g", b"ms", b"h", b"d", b"s", b"kv")}
NUMBER = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
SIGNS = b"+-"
SECONDS = re.compile(rb"[0-9]{1,18}")
LARGEST = 1e300  # a thousand million of them still add up to a number
SMALLEST_RATE = 1e-6  # one sample may stand for a million, not for the whole series
KNOWN = 1 << 16  # identities a parser remembers


class Sample(NamedTuple):
    """The values of one sample of a line, all of one series.

    `kind` is the type as sent; `signs` has ``+``, ``-`` or a blank for each value;
    `timestamp` is in seconds since the epoch; `extended` tells that the line
    carried a DogStatsD field.
    """

    name: str
    tags: tuple[str, ...]
    kind: str
    values: tuple[float, ...] | tuple[bytes, ...]
    signs: str
    rate: float = 1.0
    timestamp: float | None = None
    container: str | None = None
    external: str | None = None
    cardinality: str | None = None
    extended: bool = False


class Refusal(NamedTuple):
    """A line, or a sample of it, that was refused."""

    reason: str
    line: bytes


class Parsed:
    """What some lines held; `lines` counts those that weren't empty."""

    __slots__ = ("bad", "lines", "records", "warnings")

    def __init__(self) -> None:
        self.records: list[Sample | Event | Check] = []
        self.bad: list[Refusal] = []
        self.warnings: list[str] = []
        self.lines = 0


class _Fields:
    """Fields that belong to all samples of a line, as they are met."""

    __slots__ = (
        "cardinality",
        "container",
        "extended",
        "external",
        "sections",
        "timestamp",
        "unknown",
    )

    def __init__(self) -> None:
        self.sections: list[bytes] = []
        self.container: str | None = None
        self.external: str | None = None
        self.cardinality: str | None = None
        self.timestamp: float | None = None
        self.extended = False
        self.unknown = False

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
            self.unknown = self.unknown or bool(field)
            return
        self.extended = True


def _seconds(text: bytes) -> float:
    if not SECONDS.fullmatch(text) or int(text) < 1:
        raise ProtocolError("bad_timestamp", f"not seconds since the epoch: {text[:40]!r}")
    return float(int(text))


class LineParser:
    """Parses datagrams and lines; remembers the identities it has seen.

    Parameters
    ----------
    sanitize_names : bool
        Clean names as statsd does.
    netdata_defaults : bool
        Take ``name`` and ``name|c`` for an increment by 1, ``name:5`` for a counter.
    """

    def __init__(self, sanitize_names: bool = True, netdata_defaults: bool = False) -> None:
        self._sanitize = sanitize_names
        self._netdata = netdata_defaults
        self._known: dict[tuple[bytes, bytes | None], Identity] = {}

    def parse(self, datagram: bytes) -> Parsed:
        """Parse all lines of a datagram.  Never raises."""
        parsed = Parsed()
        for line in datagram.removeprefix(BOM).split(b"\n"):
            self.line(line, parsed)
        return parsed

    def line(self, line: bytes, into: Parsed) -> None:
        """Parse one line.  Never raises."""
        raw = line.lstrip(LEFT)
        line = raw.rstrip(RIGHT)
        if not line:
            return
        into.lines += 1
        done = len(into.records)
        try:
            if line.startswith(b"_e{"):
                into.records.append(event(raw, into.warnings))
            elif line.startswith(b"_sc|"):
                into.records.append(service_check(line, into.warnings))
            else:
                self._metric(line, into)
        except ProtocolError as refusal:
            if refusal.reason == "bad_timestamp":
                del into.records[done:]
            into.bad.append(Refusal(refusal.reason, line))

    def _metric(self, line: bytes, into: Parsed) -> None:
        head, colon, rest = line.partition(b":")
        if not colon or b"|" in head:
            if colon or not self._netdata:
                raise _misnamed(head, colon)
            head, _, kind = head.partition(b"|")
            rest = b"1|" + (kind or b"c")
        segments = rest.split(b"|")
        if len(segments) == 1 and self._netdata:
            segments.append(b"m")
        if not self._plain(head, segments, into):
            self._samples(line, head, segments, into)

    def _plain(self, head: bytes, segments: list[bytes], into: Parsed) -> bool:
        """Take the common line by a short way: one number, a rate, tags.  Half the time."""
        kind = TYPES.get(segments[1]) if len(segments) > 1 else None
        value = segments[0]
        if kind is None or kind == "s" or not NUMBER.fullmatch(value):
            return False
        tags, rate = None, 1.0
        for field in segments[2:]:
            if field[:1] == b"#" and tags is None:
                tags = field[1:]
            elif field[:1] == b"@" and rate == 1.0 and NUMBER.fullmatch(field, 1):
                rate = float(field[1:])
            else:
                return False
        number = float(value)
        if not (SMALLEST_RATE <= rate <= 1.0 and -LARGEST <= number <= LARGEST):
            return False
        found = self._identity(head, tags)
        sign = value[:1].decode() if value[0] in SIGNS else " "
        extended = tags is not None
        into.records.append(
            Sample(found.name, found.tags, kind, (number,), sign, rate, extended=extended)
        )
        if found.warnings:
            into.warnings += found.warnings
        return True

    def _identity(self, head: bytes, tags: bytes | None) -> Identity:
        found = self._known.get((head, tags))
        if found is None:
            found = identity(head, tags, self._sanitize)
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[head, tags] = found
        return found

    def _samples(self, line: bytes, head: bytes, segments: list[bytes], into: Parsed) -> None:
        """Read value, type and fields, again and again; see the module for the grammar."""
        self._identity(head, None)  # an empty name comes before all other faults
        fields, warnings = _Fields(), set()
        found: list[tuple[bytes, bytes, float]] = []
        stopped: ProtocolError | None = None
        value: bytes | None = segments[0]
        at = 1
        while value is not None and not stopped:
            try:
                kind, more, at = _type(segments, at)
                rate, clamped, more, at = _fields(segments, at, more, fields)
            except ProtocolError as refusal:
                if refusal.reason == "bad_timestamp":
                    raise
                stopped = refusal
                break
            if clamped:
                warnings.add("rate_clamped")
            found.append((value, kind, rate))
            value = more
        self._append(line, self._identity(head, fields.tags), found, fields, into)
        warnings |= {"unknown_field"} if fields.unknown else set()
        into.warnings += sorted(warnings)
        if stopped:
            raise stopped

    def _append(
        self,
        line: bytes,
        name: Identity,
        found: list[tuple[bytes, bytes, float]],
        fields: _Fields,
        into: Parsed,
    ) -> None:
        """Read the values; a bad one costs only its sample."""
        for value, kind, rate in found:
            try:
                into.records.append(_sample(name, value, kind, rate, fields))
            except ProtocolError as refusal:
                into.bad.append(Refusal(refusal.reason, line))
        into.warnings += name.warnings


def _misnamed(head: bytes, colon: bytes) -> ProtocolError:
    if colon:
        return ProtocolError("pipe_in_name", f"a | stands before the colon: {head[:40]!r}")
    return ProtocolError("no_colon", f"no colon: {head[:40]!r}")


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
    segments: list[bytes], at: int, more: bytes | None, fields: _Fields
) -> tuple[float, bool, bytes | None, int]:
    """Fields of a sample: rate, whether it was clamped, next value, next segment."""
    rate, clamped = 1.0, False
    while more is None and at < len(segments):
        field = segments[at].strip(BLANKS)
        at += 1
        if field[:1] == b"@":
            text, colon, value = field[1:].partition(b":")
            rate, clamped = _rate(text)
            more = value if colon else None
        elif field[:1] == b":" and _is_type(segments, at):
            more = field[1:]
        else:
            fields.take(field)
    return rate, clamped, more, at


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


def _sample(name: Identity, value: bytes, kind: bytes, rate: float, fields: _Fields) -> Sample:
    values: tuple[float, ...] | tuple[bytes, ...]
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
    items = [item for item in (item.strip(BLANKS) for item in text.split(b":")) if item]
    if not items:
        raise ProtocolError("empty_value", "no value stands before the type")
    for item in items:
        if not NUMBER.fullmatch(item):
            raise ProtocolError("bad_value", f"not a number: {item[:40]!r}")
    values = tuple(map(float, items))
    if max(values) > LARGEST or min(values) < -LARGEST:
        raise ProtocolError("overflow", f"beyond 1e300: {text[:40]!r}")
    return values, "".join(chr(item[0]) if item[0] in SIGNS else " " for item in items)
