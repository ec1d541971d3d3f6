"""Points as most senders write them, as columns: no object a point but the decoder's own.

    {"data": [{"name": "a", "value": 1}, {"name": "b", "value": 2}, {"name": "a", "value": 3}]}

    identities   a, b              cleaned and looked up once each
    identity     0  1  0           of every point
    value        1. 2. 3.

A body with anything else in it, a set's member or a point that is wrong, is none of these:
`points` reads all of it, point by point, and says what is wrong with which.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import Raw, Struct
from numpy.typing import NDArray

from aggd.errors import ProtocolError
from aggd.protocol.points import Reader
from aggd.protocol.samples import LARGEST, SMALLEST_RATE
from aggd.protocol.times import parse_time

UNUSUAL = ("s", "C")  # members are hashed, totals are compared with those before

Floats = NDArray[np.float64]


class Point(Struct, gc=False, forbid_unknown_fields=True):
    """One point; tags as they stand, so that equal ones are read once."""

    name: str
    value: float
    type: str | None = None
    tags: Raw = Raw(b"null")
    timestamp: str | float | None = None
    sample_rate: float | None = None


class Body(Struct, gc=False, forbid_unknown_fields=True):
    """What ``POST /api/v1/record`` takes."""

    data: list[Point]


class Identity(NamedTuple):
    """What a series is called: type letters, cleaned name, tags in their order."""

    kind: str
    name: str
    tags: tuple[str, ...]


class Batch(NamedTuple):
    """Points as columns of shape (n,)."""

    identities: list[Identity]
    identity: NDArray[np.intp]  # place of each point's among them
    value: Floats
    rate: Floats
    time: Floats  # seconds since the epoch; NaN for now


_BODY = msgspec.json.Decoder(Body)
_LINE = msgspec.json.Decoder(Point)


def decode(text: bytes, lines: bool) -> list[Point] | None:
    """Decode a body, or one point a line; None where it isn't made of such points alone."""
    try:
        return _LINE.decode_lines(text) if lines else _BODY.decode(text).data
    except (ValueError, RecursionError):
        return None


def batches(points: Sequence[Point], size: int, sanitize_names: bool) -> list[Batch] | None:
    """Turn points into columns, `size` at a time; None where one of them is wrong."""
    reader = Reader(sanitize_names)
    try:
        return [
            _batch(points[first : first + size], reader) for first in range(0, len(points), size)
        ]
    except (ProtocolError, ValueError):
        return None


def _batch(points: Sequence[Point], reader: Reader) -> Batch:
    keys = [(point.name, point.type, bytes(point.tags)) for point in points]
    place = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    identities = [_identity(*key, reader) for key in place]
    value = np.array([point.value for point in points], np.float64)
    rate = np.array(
        [1.0 if point.sample_rate is None else point.sample_rate for point in points], np.float64
    )
    good = (np.abs(value) <= LARGEST) & (rate >= SMALLEST_RATE) & (rate <= 1)
    if not good.all():
        raise ValueError("a value or a rate is out of bounds")
    identity = np.array([place[key] for key in keys], np.intp)
    return Batch(identities, identity, value, rate, np.array(list(_times(points)), np.float64))


def _identity(name: str, kind: str | None, tags: bytes, reader: Reader) -> Identity:
    letters = reader.kind(kind)
    if letters in UNUSUAL:
        raise ValueError(f"{letters} is read point by point")
    return Identity(letters, reader.name(name), reader.tags(msgspec.json.decode(tags)))


def _times(points: Sequence[Point]) -> Iterator[float]:
    for point in points:
        yield np.nan if point.timestamp is None else parse_time(point.timestamp)
