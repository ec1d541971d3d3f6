"""Rows in Parquet: exact, typed as other tools expect, bounded in memory."""

import io
import subprocess
import sys
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aggd import parquet
from aggd.errors import StorageError
from aggd.store.archive import Row
from aggd.store.series import Kind
from tests.formats import REGISTRY, back, sections, written
from tests.store.test_frame import same


def test_every_section_comes_back_to_the_last_bit():
    for kind, whole in sections():
        same(back(kind, parquet.read(io.BytesIO(written(parquet, kind, whole)))), whole)


def test_other_tools_see_times_maps_and_lists():
    ((_, whole),) = [found for found in sections() if found[0] is Kind.SET]
    table = pq.read_table(io.BytesIO(written(parquet, Kind.SET, whole)))
    assert table.schema.equals(parquet.schema())
    (first, *_) = table.to_pylist()
    assert first["start"] == datetime(2023, 11, 15, tzinfo=UTC)
    assert first["tags"] == [("bare", ""), ("z", "1"), ("z", "2")]
    assert first["members"] == whole.sets.members.member[: whole.sets.members.offset[1]].tolist()
    assert first["sum"] is None
    assert first["means"] is None


def test_row_groups_are_bounded_by_points_and_rows(monkeypatch):
    monkeypatch.setattr(parquet, "POINTS", 100)
    ((_, whole),) = [found for found in sections() if found[0] is Kind.TIMER]
    out = io.BytesIO()
    writer = parquet.Writer(out)
    for _ in range(3):
        series = REGISTRY.series(whole.timers.series)
        writer.write(series, whole.start, whole.width, whole.timers)
    writer.close()
    assert pq.ParquetFile(out).metadata.num_row_groups == 3
    assert sum(isinstance(row, Row) for _, row in parquet.read(out)) == 3 * len(whole)


def test_a_file_without_rows_is_a_file():
    out = io.BytesIO()
    parquet.Writer(out).close()
    assert list(parquet.read(out)) == []


def as_file(**columns) -> io.BytesIO:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"name": ["c"]}, "start must be a timestamp, got None"),
        ({"name": ["c"], "start": [5]}, "start must be a timestamp, got 5"),
        ({"name": [5], "start": [datetime(2023, 1, 1, tzinfo=UTC)]}, "Expected `str`"),
        ({"tags": [5], "start": [datetime(2023, 1, 1, tzinfo=UTC)]}, "not iterable"),
    ],
)
def test_rows_of_another_shape_are_told_with_their_number(columns, message):
    ((number, found),) = parquet.read(as_file(**columns))
    assert number == 1
    assert message in str(found)


@pytest.mark.parametrize("data", [b"PAR1", b"PAR1" * 100, b""])
def test_a_file_that_is_no_parquet_is_refused(data):
    with pytest.raises(StorageError, match="not a Parquet file"):
        list(parquet.read(io.BytesIO(data)))


def test_a_row_group_that_would_fill_memory_is_refused(monkeypatch):
    monkeypatch.setattr(parquet, "LARGEST_GROUP", 10)
    with pytest.raises(StorageError, match="10 are allowed"):
        list(parquet.read(as_file(name=["c"])))


def test_where_pyarrow_is_missing_the_message_says_how_to_get_it():
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from aggd.cli import main\n"
        "main(['export', '--state-dir', '/', '--format', 'parquet'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'aggd[parquet]'" in done.stderr
