"""Rows a line: exact, and whatever a line holds costs that line alone."""

import io
import json

import pytest

from aggd import ndjson
from aggd.store.archive import Row
from aggd.store.series import Kind, Limits, Registry
from tests.formats import back, sections, written
from tests.store.test_frame import same


def test_every_section_comes_back_to_the_last_bit():
    for kind, whole in sections():
        same(back(kind, ndjson.read(io.BytesIO(written(ndjson, kind, whole)))), whole)


def test_a_line_is_an_object_that_names_its_series():
    registry = Registry(Limits())
    registry.resolve(Kind.TIMER, "t", ("bare", "env:prod", "z:1", "z:2"), 0.0)
    ((_, timers),) = [found for found in sections() if found[0] is Kind.TIMER]
    out = io.BytesIO()
    rows = timers.timers.select(timers.timers.series[:1] * 0)
    ndjson.Writer(out).write([registry[0]], 1_700_006_400, 60, rows)
    found = json.loads(out.getvalue())
    assert out.getvalue().endswith(b"}\n")
    assert found["start"] == "2023-11-15T00:00:00Z"
    assert found["tags"] == {"bare": "", "env": "prod", "z": ["1", "2"]}
    assert [*found] == [
        "name", "kind", "tags", "start", "width", "count", "mean", "m2", "min", "max", "samples",
        "sum", "means", "weights", "atoms",
    ]  # fmt: skip
    assert found["sum"] == found["mean"] * found["count"]


@pytest.mark.parametrize(
    "line",
    [b"{", b"[]", b"\xff", b'{"name":"x"}', b"null", b'{"name": NaN}', b"[" * 5000, b'"' * 9],
)
def test_a_line_that_is_no_row_is_told_and_its_neighbours_are_read(line):
    good = written(ndjson, *next(iter(sections())))
    found = list(ndjson.read(io.BytesIO(good + line + b"\n\n  \n" + good)))
    lines = good.count(b"\n")
    after = range(lines + 4, 2 * lines + 4)
    assert [number for number, _ in found] == [*range(1, lines + 2), *after]
    assert isinstance(found[lines][1], ValueError)
    assert sum(isinstance(one, Row) for _, one in found) == 2 * lines


@pytest.mark.parametrize("size", [ndjson.LONGEST, 3 * ndjson.LONGEST + 5])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_without_end_costs_no_memory(size, end):
    good = written(ndjson, *next(iter(sections())))
    data = b" " * size + b"x" + end + (good if end else b"")
    (first, wrong), *others = ndjson.read(io.BytesIO(data))
    assert first == 1
    assert "longer than" in str(wrong)
    assert [number for number, _ in others] == [*range(2, 2 + good.count(b"\n") * bool(end))]


def test_numbers_over_the_largest_float_are_refused():
    ((_, found),) = ndjson.read(
        io.BytesIO(b'{"name":"c","kind":"counter","start":60,"width":60,"count":1e999,"sum":0}')
    )
    assert isinstance(found, ValueError)
