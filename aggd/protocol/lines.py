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
    field    = "@" rate / "#" tags / "T" seconds
             / "c:" container / "e:" external / "card:" cardinality

Whatever is refused is refused for one reason and costs only itself, whatever is
let pass in spite of something is a warning.
"""

from typing import NamedTuple

from aggd.errors import ProtocolError
from aggd.protocol.events import Check, Event, event, service_check
from aggd.protocol.names import Identity, identity
from aggd.protocol.samples import (
    LARGEST,
    NUMBER,
    SIGNS,
    SMALLEST_RATE,
    TYPES,
    Fields,
    Sample,
    sample,
    split,
)

__all__ = ["Check", "Event", "LineParser", "Parsed", "Refusal", "Sample"]

BOM = b"\xef\xbb\xbf"
LEFT = b" \t\r"
RIGHT = b" \t\r\0"
KNOWN = 1 << 16  # identities a parser remembers,
KNOWN_BYTES = 1 << 24  # and of how many bytes: a line's tags alone may have 64 KiB


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
        self._known_bytes = 0

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
        try:
            if line.startswith(b"_e{"):
                into.records.append(event(raw, into.warnings))
            elif line.startswith(b"_sc|"):
                into.records.append(service_check(line, into.warnings))
            else:
                self._metric(line, into)
        except ProtocolError as refusal:
            into.bad.append(Refusal(refusal.reason, line))

    def _metric(self, line: bytes, into: Parsed) -> None:
        head, colon, rest = line.partition(b":")
        if not colon or b"|" in head:
            head, rest = self._valueless(line, colon)
        segments = rest.split(b"|")
        if len(segments) == 1 and self._netdata:
            segments.append(b"m")
        if not self._plain(head, segments, into):
            self._samples(line, head, segments, into)

    def _valueless(self, line: bytes, colon: bytes) -> tuple[bytes, bytes]:
        """Read netdata's ``name`` and ``name|c``, which stand for 1; refuse them otherwise."""
        head, _, rest = line.partition(b"|")
        if self._netdata and b":" not in rest.partition(b"|")[0]:
            return head, b"1|" + (rest or b"c")
        if colon:
            raise ProtocolError("pipe_in_name", f"a | stands before the colon: {line[:40]!r}")
        raise ProtocolError("no_colon", f"no colon: {line[:40]!r}")

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
            if len(self._known) >= KNOWN or self._known_bytes > KNOWN_BYTES:
                self._known.clear()
                self._known_bytes = 0
            self._known[head, tags] = found
            self._known_bytes += len(head) + len(tags or b"")
        return found

    def _samples(self, line: bytes, head: bytes, segments: list[bytes], into: Parsed) -> None:
        """Take all samples of a line; see the module for the grammar."""
        fields = Fields()
        found, stopped = split(segments, fields)
        name = self._identity(head, fields.tags)  # an empty name comes before all other faults
        if stopped and stopped.reason == "bad_timestamp":
            raise stopped  # a value at the wrong time is worse than none
        before = len(into.records)
        for value, kind, rate in found:
            try:
                into.records.append(sample(name, value, kind, rate, fields))
            except ProtocolError as refusal:
                into.bad.append(Refusal(refusal.reason, line))
        if len(into.records) > before:
            into.warnings += (*name.warnings, *sorted(fields.warnings))
        if stopped:
            raise stopped
