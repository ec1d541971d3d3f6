"""Sections of frames to bytes and back: what stands in a row on disk.

    zstd, level 1, with a checksum
      length of the head, u32
      head      JSON: kind, rows, and of each column its coding, type, size and bytes
      columns   one behind the other, each shuffled: all first bytes, all second bytes, ...

A column takes the first coding that loses nothing: whole numbers in the narrowest type
that holds them (ids and lengths are small, ascending ones are kept as steps), decimals
as whole numbers of a power of ten (what senders write has few digits), floats as they
are.  Only the means of centroids that blur several samples are cut, to 20 bits of their
distance from the row's smallest sample: a millionth of it, where the sketch itself is off
by far more.  Cut against zero they would lose 1e9 + N(0, 1), against the row's range the
middle of a heavy tail.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggd.errors import StorageError
from aggd.sketch import ragged
from aggd.sketch.digest import Digests
from aggd.sketch.distinct import Members
from aggd.sketch.moments import Moments
from aggd.store.frame import Counters, Floats, Gauges, Sets, Timers
from aggd.store.series import Kind

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Section = Counters | Gauges | Timers | Sets
Column = NDArray[Any]

LEVEL: dict[int, int] = {
    zstd.CompressionParameter.compression_level: 1,
    zstd.CompressionParameter.checksum_flag: 1,
}
TENS = (1.0, 10.0, 100.0, 1e3, 1e6)
WHOLE = float(1 << 53)
SAMPLE = 64  # values tried before a whole column is
LARGEST = 1 << 30  # bytes a row may become: 8 sets of 3,600 full slots need half of it
LOOSE = frozenset(("weight", "atom", "atoms", "blurred", "member", "slot", "part"))  # not by row
UNSIGNED, SIGNED = (
    [(np.dtype(t), np.iinfo(t).min, np.iinfo(t).max) for t in types]
    for types in (("u1", "u2", "u4", "u8"), ("i1", "i2", "i4", "i8"))
)
TYPES = frozenset(("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f8"))
DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Head(msgspec.Struct, array_like=True):
    """What stands before the columns: kind, and a row for each column."""

    kind: int
    columns: list[tuple[str, str, str, int, int]]  # name, coding, type, values, bytes


class Packed(NamedTuple):
    """One column: how it was coded, its type, and its bytes."""

    coding: str
    dtype: str
    data: bytes


def encode(section: Section, beside: Mapping[str, Column] = MappingProxyType({})) -> bytes:
    """Write a section.

    Parameters
    ----------
    section : Counters, Gauges, Timers or Sets
        Samples beside digests are left out.
    beside : mapping of str to ndarray
        Further columns, by name: what tells rows of several frames apart.
    """
    columns = {**_columns(section), **beside}
    packed = {name: pack(column) for name, column in columns.items()}
    head = Head(
        _kind(section),
        [(name, p.coding, p.dtype, columns[name].size, len(p.data)) for name, p in packed.items()],
    )
    text = msgspec.json.encode(head)
    parts = [len(text).to_bytes(4, "little"), text, *(p.data for p in packed.values())]
    return zstd.compress(b"".join(parts), options=LEVEL)


def decode(data: bytes) -> tuple[Section, dict[str, Column]]:
    """Read what `encode` wrote: the section, and all columns by name.

    Raises
    ------
    StorageError
        If it is damaged.
    """
    try:
        whole = _decompressed(data)
        start = 4 + int.from_bytes(whole[:4], "little")
        head = msgspec.json.decode(whole[4:start], type=Head)
        columns: dict[str, Column] = {}
        for name, coding, dtype, size, nbytes in head.columns:
            packed = Packed(coding, dtype, whole[start : start + nbytes])
            columns[name] = unpack(packed, size)
            start += nbytes
        return _section(Kind(head.kind), columns), columns
    except (zstd.ZstdError, msgspec.MsgspecError, *DAMAGED) as error:
        raise StorageError(f"a stored block is damaged: {error}") from error


def _kind(section: Section) -> Kind:
    kinds: dict[type[Section], Kind] = {
        Counters: Kind.COUNTER,
        Gauges: Kind.GAUGE,
        Timers: Kind.TIMER,
        Sets: Kind.SET,
    }
    return kinds[type(section)]


def _columns(section: Section) -> dict[str, Column]:
    """The arrays of a section by name."""
    if isinstance(section, Timers):
        digests, m = section.digests, section.moments
        blurred, low = ~digests.atom, np.repeat(m.low, np.diff(digests.offset))
        return {
            "series": section.series,
            "samples": section.samples,
            **dict(zip(Moments._fields, m, strict=True)),
            "length": np.diff(digests.offset),
            "weight": digests.weight,
            "atom": digests.atom,
            "atoms": digests.mean[digests.atom],
            "blurred": cut(digests.mean[blurred] - low[blurred]),
        }
    if isinstance(section, Sets):
        members = section.members
        length = np.diff(members.offset)
        return {"series": section.series, "count": section.count, "length": length,
                "member": members.member}  # fmt: skip
    return {name: getattr(section, name) for name in section.__dataclass_fields__}


def _section(kind: Kind, columns: dict[str, Column]) -> Section:
    _fit(kind, columns)
    series = columns["series"].astype(np.int32)
    if kind is Kind.COUNTER:
        return Counters(series, *(columns[name] for name in ("count", "sum")))
    if kind is Kind.GAUGE:
        names = ("count", "sum", "low", "high", "last", "last_time")
        return Gauges(series, *(columns[name] for name in names))
    offset = ragged.offsets(columns["length"])
    if kind is Kind.SET:
        return Sets(series, columns["count"], Members(offset, columns["member"]))
    moments = Moments(*(columns[name] for name in Moments._fields))
    atom, low = columns["atom"], np.repeat(moments.low, columns["length"])
    mean = np.empty(atom.size)
    mean[atom] = columns["atoms"]
    mean[~atom] = low[~atom] + uncut(columns["blurred"])
    digests = _ordered(Digests(offset, mean, columns["weight"], atom), moments.high)
    return Timers(series, columns["samples"], moments, digests, None)


def _fit(kind: Kind, columns: dict[str, Column]) -> None:
    """Refuse columns whose lengths can't belong together, before anything is made of them."""
    rows = {column.size for name, column in columns.items() if name not in LOOSE}
    if len(rows) != 1:
        raise ValueError(f"its columns have {sorted(rows)} rows")
    if kind in (Kind.TIMER, Kind.SET):
        length = columns["length"]
        points = {columns[name].size for name in ("atom", "weight", "member") if name in columns}
        sound = ((length >= 0) & (length <= max(points))).all()  # so their sum can't wrap
        if not sound or points != {int(length.sum())}:
            raise ValueError(f"its rows don't fill {sorted(points)} points")


def _ordered(digests: Digests, high: Floats) -> Digests:
    """Bring means that rounding moved past an atom, or the largest sample, back to it."""
    offset, mean, atom = digests.offset, digests.mean, digests.atom
    edge = offset[1:][np.diff(offset) > 0]  # where rows end
    step = np.diff(mean)
    step[edge[:-1] - 1] = 0
    if not (step < 0).any() and not (mean[edge - 1] > high[np.diff(offset) > 0]).any():
        return digests
    length, place = np.diff(offset), np.arange(mean.size)
    before = np.maximum.accumulate(np.where(atom, place, -1))
    after = np.minimum.accumulate(np.where(atom, place, mean.size)[::-1])[::-1]
    floor = np.where(before < np.repeat(offset[:-1], length), -np.inf, mean[before])
    top = np.repeat(high, length)
    inside = after < np.repeat(offset[1:], length)
    top[inside] = mean[after[inside]]
    return replace(digests, mean=np.clip(mean, floor, top))


def cut(distance: Floats) -> NDArray[np.uint32]:
    """Keep the upper half of floats, rounded: sign, exponent and 20 bits."""
    bits = distance.astype(np.float64).view(np.uint64)
    return ((bits + (1 << 31)) >> 32).astype(np.uint32)


def uncut(halves: NDArray[np.uint32]) -> Floats:
    """Give back the floats, right to a relative 2^-21."""
    return (halves.astype(np.uint64) << 32).view(np.float64)


def pack(column: Column) -> Packed:
    """Code a column without loss, as small as is cheap."""
    if column.dtype == np.bool_:
        return Packed("bits", "u1", np.packbits(column).tobytes())
    if column.dtype.kind == "f":
        return _pack_floats(column)
    if column.dtype.kind == "i" and column.size > 1 and (column[1:] >= column[:-1]).all():
        return _shuffled("steps", _narrow(np.diff(column, prepend=0)))
    return _shuffled("whole", column if column.dtype.kind == "u" else _narrow(column))


def _pack_floats(column: Column) -> Packed:
    if column.dtype == np.float16:  # as frames keep what counts little
        return _shuffled("half", column)
    values = column.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        for power, scale in enumerate(TENS):
            if _decimals(values[:SAMPLE], scale) is not None:
                whole = _decimals(values, scale)
                if whole is not None:
                    return _shuffled(f"tens{power}", _narrow(whole))
    return _shuffled("float", values)


def _decimals(values: Floats, scale: float) -> NDArray[np.int64] | None:
    """These as whole numbers of 1 / scale; None where they don't come back to the bit."""
    scaled = np.rint(values * scale)
    if not np.abs(scaled).max(initial=0.0) < WHOLE:  # nor where one is NaN
        return None
    whole = scaled.astype(np.int64)
    back = whole / scale  # -0.0 doesn't come back
    return whole if (back.view(np.uint64) == values.view(np.uint64)).all() else None


def _narrow(values: NDArray[np.integer]) -> Column:
    """The same whole numbers in the narrowest type that holds them."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    widths = UNSIGNED if low >= 0 else SIGNED
    return values.astype(next(dtype for dtype, a, b in widths if a <= low and high <= b))


def _shuffled(coding: str, values: Column) -> Packed:
    size = values.dtype.itemsize
    data = np.ascontiguousarray(values).view(np.uint8).reshape(-1, size).T.tobytes()
    return Packed(coding, values.dtype.str[1:], data)


def unpack(packed: Packed, size: int) -> Column:
    """Read a column of `size` values."""
    coding, dtype, data = packed
    if dtype not in TYPES:
        raise ValueError(f"no column is of {dtype!r}")
    raw = np.frombuffer(data, np.uint8)
    need = (size + 7) // 8 if coding == "bits" else size * np.dtype(dtype).itemsize
    if raw.size != need:
        raise ValueError(f"{size} values need {need} bytes, found {raw.size}")
    if coding == "bits":
        return np.unpackbits(raw, count=size).astype(np.bool_)
    of = np.dtype(f"<{dtype}")
    values = raw.reshape(of.itemsize, size).T.ravel().view(of)
    if coding == "steps":
        return np.cumsum(values, dtype=np.int64)
    if coding.startswith("tens"):
        return values / TENS[int(coding[4:])]
    return values if dtype[0] in "fu" else values.astype(np.int64)


def pack_bytes(data: bytes) -> bytes:
    """Compress what has no columns."""
    return zstd.compress(data, options=LEVEL)


def unpack_bytes(data: bytes) -> bytes:
    """Read what `pack_bytes` wrote.

    Raises
    ------
    StorageError
        If it is damaged.
    """
    try:
        return _decompressed(data)
    except (zstd.ZstdError, *DAMAGED) as error:
        raise StorageError(f"a stored row is damaged: {error}") from error


def _decompressed(data: bytes) -> bytes:
    """What was compressed; whatever its head claims, at most LARGEST bytes of it."""
    reader = zstd.ZstdDecompressor()
    whole = reader.decompress(data, LARGEST)
    if not reader.eof or reader.unused_data:
        raise ValueError("it ends too early or too late")
    return whole
