"""Rows as NDJSON: a JSON object a line, written and read as a stream.

    {"name": "api.latency", "kind": "timer", "tags": {"env": "prod"},
     "start": "2026-11-24T02:10:00Z", "width": 60, "count": 2.0, "min": 20.0, ..., "samples": 2.0,
     "means": [20.0, 31.5], "weights": [1.0, 1.0], "atoms": [true, true]}

Members of sets are hashes of 64 bits, more than JSON's numbers hold everywhere: they are
16 hexadecimal digits.
"""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import msgspec
import orjson

from aggd.protocol.times import format_time
from aggd.query.selection import tag_map
from aggd.store.archive import Row, lists, numbers
from aggd.store.frame import Section
from aggd.store.series import Series
from aggd.units import MIB

LONGEST = MIB  # bytes of a line: 10,000 centroids of 17 digits take half of it
OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE

_decode = msgspec.json.Decoder(Row).decode


class Writer:
    """Writes sections to an open file."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, series: Sequence[Series], start: int, width: int, section: Section) -> None:
        """Write one slot of some series: what its rows are of, in their order."""
        slot = {"start": format_time(start), "width": width}
        columns = {name: column.tolist() for name, column in numbers(section).items()}
        ragged = {name: (column.offset.tolist(), column) for name, column in lists(section).items()}
        lines = []
        for row, one in enumerate(series):
            line: dict[str, Any] = {
                "name": one.name,
                "kind": one.kind.word,
                "tags": tag_map(one.tags),
            }
            line |= slot
            line |= {name: column[row] for name, column in columns.items()}
            for name, (offset, column) in ragged.items():
                found = column.value[offset[row] : offset[row + 1]]
                line[name] = [f"{m:016x}" for m in found.tolist()] if name == "members" else found
            lines.append(orjson.dumps(line, option=OPTIONS))
        self._out.write(b"".join(lines))

    def close(self) -> None:
        """Write what is left."""
        self._out.flush()


def read(file: BinaryIO) -> Iterator[tuple[int, Row | ValueError]]:
    """Lines of an open file: the number of each, and its row or why it is none."""
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            while not line.endswith(b"\n") and (line := file.readline(LONGEST)):
                pass
            yield number, ValueError(f"the line is longer than {LONGEST} bytes")
        elif not line.isspace():
            yield number, _row(line)


def _row(line: bytes) -> Row | ValueError:
    try:
        return _decode(line)
    except (msgspec.MsgspecError, ValueError) as error:  # ValueError: text that is no UTF-8
        return ValueError(str(error))
