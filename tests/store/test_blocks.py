"""Rows by slot, and the same rows by series."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.store.blocks import (
    BLOCK,
    SLICE,
    Asked,
    Stored,
    among,
    belongs,
    blocks,
    slices,
    unstacked,
)
from aggd.store.codec import decode
from aggd.store.frame import Counters, Frame, frozen, only, packed
from aggd.store.series import Kind
from tests.store.frames import frame

samples = st.lists(st.tuples(st.integers(0, 31), st.integers(0, 99).map(float), st.just(1.0)))
ids = st.sets(st.integers(0, 31), max_size=4).map(lambda s: np.array(sorted(s), np.int32))


def sparse(series: list[int], start: int = 0) -> Frame:
    """A frame of counters that are anywhere, each worth its id."""
    known = np.array(series, np.int32)
    return frozen(
        Frame(start, 10, counters=Counters(known, np.ones(known.size), known.astype(float)))
    )


@given(st.sets(st.integers(0, 5 * SLICE), min_size=1, max_size=40).map(sorted))
def test_slices_hold_every_series_once_and_begin_at_whole_slices(series):
    found = list(slices(sparse(series), 1))
    firsts = [first for _, first, _ in found]
    assert firsts == sorted({s // SLICE * SLICE for s in series})
    rows = [decode(data)[0] for _, _, data in found]
    assert [s for section in rows for s in section.series.tolist()] == series
    assert [s for section in rows for s in section.sum.tolist()] == series
    for first, section in zip(firsts, rows, strict=True):
        assert set(section.series // SLICE * SLICE) == {first}


@given(samples)
def test_slices_are_of_the_kinds_there_are(lines):
    found = list(slices(packed(frame(lines)), 7))
    assert [kind for kind, _, _ in found] == sorted({Kind(series % 4) for series, _, _ in lines})
    for kind, _, data in found:
        assert type(decode(data)[0]) is type(frame(lines).sections()[kind])


def test_a_slice_says_itself_of_which_slot_and_part_it_is():
    ((_, _, data),) = slices(sparse([1, 2, 3], 70), 5)
    columns = decode(data)[1]
    assert belongs(columns, 70, 5)
    assert not belongs(columns, 60, 5)
    assert not belongs(columns, 70, 4)


def stored(many: list[list[tuple[int, float, float]]], kind: Kind) -> list[Stored]:
    """Parts 10, 11 ... of slots 0, 0, 60, 60 ..., as packed frames have them."""
    found = (
        Stored(60 * (i // 2), 10 + i, packed(frame(lines)).sections()[kind])
        for i, lines in enumerate(many)
    )
    return [rows for rows in found if rows.section.series.size]


def as_lists(section) -> list[list[object]]:
    """Numbers of every row, each row for itself."""
    rows = range(section.series.size)
    return [list(map(repr, _flat(section.select(np.array([row]))))) for row in rows]


def _flat(value):
    if isinstance(value, np.ndarray):
        yield value.astype(object if value.dtype.kind == "u" else float).tolist()
    elif isinstance(value, tuple):
        for item in value:
            yield from _flat(item)
    elif value is not None:
        for name in value.__slots__:
            if name not in ("points", "offset"):
                yield from _flat(getattr(value, name))


@settings(max_examples=40)
@pytest.mark.parametrize("kind", Kind)
@given(
    many=st.lists(samples, min_size=1, max_size=6),
    window=st.tuples(st.integers(-1, 3), st.integers(-1, 3)),
    parts=st.sets(st.integers(9, 17), min_size=1),
    wanted=st.one_of(st.none(), ids),
)
def test_blocks_give_back_the_rows_that_are_asked_for_and_no_others(
    kind, many, window, parts, wanted
):
    rows = stored(many, kind)
    if not rows:
        return
    asked = Asked(60 * window[0], 60 * window[1], np.array(sorted(parts)), wanted)
    found = {}
    for of, first, unit, data in blocks(rows, kind, 0):
        section, columns = decode(data)
        assert (of, unit) == (kind, 0)
        assert set(section.series // BLOCK[kind] * BLOCK[kind]) == {first}
        for start, part, piece in unstacked(section, columns, asked):
            only(start, 60, piece)
            assert (np.diff(piece.series) > 0).all()
            for series, row in zip(piece.series.tolist(), as_lists(piece), strict=True):
                assert (start, part, series) not in found
                found[start, part, series] = row
    expected = {
        (start, part, series): row
        for start, part, section in rows
        for series, row in zip(section.series.tolist(), as_lists(section), strict=True)
        if asked.start <= start <= asked.last and part in parts
        if wanted is None or series in wanted
    }
    assert found == expected


def test_rows_are_named_by_the_blocks_that_may_hold_them():
    assert among(None, 64) == ""
    assert among(np.array([1, 63, 64, 200], np.int32), 64) == "AND first IN (0,64,192)"
    assert among(np.array([], np.int32), 64) == "AND first IN ()"
