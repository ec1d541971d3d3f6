"""Rows as Parquet, through pyarrow, which the extra aggd[parquet] brings.

Columns are those of NDJSON, but for what Parquet has types of its own for: `tags` is a map,
`start` a timestamp in UTC, members are numbers of 64 bits.  A row group holds up to
ROWS rows and some POINTS entries of lists, which bounds the memory of writers and readers.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import numpy as np

from aggd.errors import StorageError
from aggd.store.archive import LISTS, NUMBERS, Row, lists, numbers
from aggd.store.frame import Section
from aggd.store.series import Series
from aggd.units import GIB

if TYPE_CHECKING:
    import pyarrow

MAGIC = b"PAR1"  # the first bytes of every file
ROWS = 1 << 16
POINTS = 1 << 20
BATCH = 1024  # rows that are read at a time
LARGEST_GROUP = GIB  # bytes of a row group, unpacked
MISSING = (
    "Parquet needs pyarrow, which isn't installed: pip install 'aggd[parquet]', "
    "or take --format ndjson"
)


def schema() -> "pyarrow.Schema":
    """Names and types of the columns.

    Raises
    ------
    StorageError
        Where pyarrow isn't installed.
    """
    pa = require()
    text, real = pa.string(), pa.float64()
    values = {"atoms": pa.bool_(), "members": pa.uint64()}
    return pa.schema(
        [
            ("name", text),
            ("kind", text),
            ("tags", pa.map_(text, text)),
            ("start", pa.timestamp("ms", tz="UTC")),
            ("width", pa.int64()),
            *((name, real) for name in NUMBERS),
            *((name, pa.list_(values.get(name, real))) for name in LISTS),
        ]
    )


def require() -> Any:
    """The module pyarrow.

    Raises
    ------
    StorageError
        Where it isn't installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise StorageError(MISSING) from None
    return pyarrow


class Writer:
    """Writes sections to an open file.

    Raises
    ------
    StorageError
        Where pyarrow isn't installed.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._pa = require()
        self._schema = schema()
        self._file = self._pa.parquet.ParquetWriter(out, self._schema)
        self._waiting: list[pyarrow.RecordBatch] = []
        self._points = 0

    def write(self, series: Sequence[Series], start: int, width: int, section: Section) -> None:
        """Write one slot of some series: what its rows are of, in their order."""
        self._waiting.append(self._batch(series, start, width, section))
        self._points += max((column.value.size for column in lists(section).values()), default=0)
        if self._points >= POINTS or sum(map(len, self._waiting)) >= ROWS:
            self._flush()

    def _batch(
        self, series: Sequence[Series], start: int, width: int, section: Section
    ) -> "pyarrow.RecordBatch":
        pa, n = self._pa, len(series)
        found: dict[str, Any] = {
            "name": [one.name for one in series],
            "kind": [one.kind.word for one in series],
            "tags": [[tag.partition(":")[::2] for tag in one.tags] for one in series],
            "start": np.full(n, 1000 * start).view("datetime64[ms]"),
            "width": np.full(n, width),
            **numbers(section),
        }
        ragged = lists(section)
        columns = []
        for field in self._schema:
            if field.name in ragged:
                offset = pa.array(ragged[field.name].offset, pa.int32())
                value = pa.array(ragged[field.name].value)
                columns.append(pa.ListArray.from_arrays(offset, value))
            elif field.name in found:
                columns.append(pa.array(found[field.name], field.type))
            else:
                columns.append(pa.nulls(n, field.type))
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _flush(self) -> None:
        table = self._pa.Table.from_batches(self._waiting, self._schema)
        self._file.write_table(table, row_group_size=ROWS)
        self._waiting, self._points = [], 0

    def close(self) -> None:
        """Write what is left."""
        if self._waiting:
            self._flush()
        self._file.close()


def read(file: BinaryIO) -> Iterator[tuple[int, Row | ValueError]]:
    """Rows of an open file: the number of each, from 1, and the row or why it is none.

    Raises
    ------
    StorageError
        Where pyarrow isn't installed, or the file isn't Parquet.
    """
    pa = require()
    number = 0
    try:
        parquet = pa.parquet.ParquetFile(file)
        _check_groups(parquet.metadata)
        for batch in parquet.iter_batches(BATCH):
            for found in batch.to_pylist():
                number += 1
                yield number, _row(found)
    except (pa.ArrowException, OSError) as error:
        raise StorageError(f"not a Parquet file that can be read: {error}") from None


def _check_groups(metadata: Any) -> None:
    sizes = (metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if (largest := max(sizes, default=0)) > LARGEST_GROUP:
        raise StorageError(f"a row group has {largest} bytes, {LARGEST_GROUP} are allowed")


def _row(found: dict[str, Any]) -> Row | ValueError:
    try:
        found = {name: value for name, value in found.items() if value is not None}
        tags: dict[str, list[str]] = {}
        for key, value in found.get("tags", ()):
            tags.setdefault(key, []).append(value or "")
        start = found.get("start")
        if not isinstance(start, datetime):
            raise ValueError(f"start must be a timestamp, got {start!r:.40}")
        return msgspec.convert({**found, "tags": tags, "start": start.timestamp()}, Row)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        return ValueError(str(error))
