"""Rows of some series, out of many frames."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.sketch import digest
from aggd.store import rows as module
from aggd.store.frame import (
    NO_TIMERS,
    Counters,
    Frame,
    Gauges,
    Sets,
    Timers,
    columns,
    frozen,
    packed,
)
from aggd.store.merge import gather
from aggd.store.rows import collect, holding, stacked
from aggd.store.series import Kind
from tests.store.frames import frame
from tests.store.test_fold import rows

SECTIONS = {
    Kind.COUNTER: Counters, Kind.GAUGE: Gauges, Kind.TIMER: Timers, Kind.SET: Sets,
}  # fmt: skip
series = st.sets(st.integers(0, 12))
frames = st.lists(rows.map(frame).map(lambda f: frozen(packed(f))), max_size=6)


def both_ways(ask):
    """What a function answers with rows read one by one, and frame by frame."""
    found = []
    for few in (1000, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "FEW", few)
            found.append(ask())
    return found


def fields_of(section):
    """Columns but the ids, which labels stand for, and samples, however narrow they are."""
    if isinstance(section, Timers):
        section = replace(section, points=None)
    return [column.astype(float) for column in list(columns(section))[1:]]


@given(frames, series, st.sampled_from(list(Kind)))
def test_a_few_series_read_row_by_row_are_those_read_by_column(some, chosen, kind):
    ids = np.array(sorted(chosen), np.int32)
    labels = np.arange(ids.size, dtype=np.int32) // 2
    parts = [(of, k * 20) for k, of in enumerate(some)]
    section = SECTIONS[kind]
    empty = getattr(Frame(0, 10), section.__name__.lower())
    found = both_ways(lambda: stacked(collect(parts, section, ids, labels), empty))
    assert found[0][0].tolist() == found[1][0].tolist()
    for mine, other in zip(fields_of(found[0][1]), fields_of(found[1][1]), strict=True):
        assert np.array_equal(mine, other)


@given(frames, series, st.sampled_from(list(Kind)), st.integers(0, 1))
def test_both_ways_gather_the_same(some, chosen, kind, spread):
    ids = np.array(sorted(chosen), np.int32)
    labels = np.arange(ids.size, dtype=np.int32) // 2
    parts = [(of, k * spread * 20) for k, of in enumerate(some)]
    first, second = both_ways(lambda: gather(parts, kind, ids, labels))
    assert first.series.tolist() == second.series.tolist()
    for mine, other in zip(columns(first), columns(second), strict=True):
        if mine.dtype.kind == "f":
            assert np.asarray(mine, float) == pytest.approx(
                np.asarray(other, float), rel=1e-9, abs=1e-6
            )
        else:
            assert np.array_equal(mine, other)


def test_rows_are_found_where_they_moved_and_missed_where_they_are_gone():
    def counters(*series):
        ids = np.array(series, np.int32)
        return Frame(0, 10, counters=Counters(ids, ids * 10.0, ids * 100.0))

    some = [counters(1, 4, 9), counters(4), counters(), counters(0, 1, 2, 3, 4), counters(7)]
    ids = np.array([4, 9], np.int32)
    parts = [(of, 10 * k) for k, of in enumerate(some)]
    ((label, found),) = collect(parts, Counters, ids, np.array([0, 1], np.int32))
    assert label.tolist() == [0, 1, 10, 30]
    assert found.sum.tolist() == [400, 900, 400, 400]
    assert holding(some, Counters, ids) == [some[0], some[1], some[3]]
    assert collect(parts[2:3], Counters, ids, np.array([0, 1], np.int32)) == []


@pytest.mark.parametrize("few", [0, 8])
def test_samples_beside_digests_stay_where_they_are(monkeypatch, few):
    of = frame([(2, float(v), 1.0) for v in range(400)])
    assert of.timers.points is not None
    monkeypatch.setattr(module, "FEW", few)
    ids, labels = np.array([2], np.int32), np.zeros(1, np.int32)
    ((_, found),) = collect([(of, 0)], Timers, ids, labels)
    assert found.points is None
    assert gather([(of, 0)], Kind.TIMER, ids, labels).points is None


def test_an_open_digest_that_is_alone_is_compressed_all_the_same():
    of = frame([(2, float(v), 1.0) for v in range(4000)])
    assert of.timers.digests.mean.size > digest.K
    found = gather([(of, 5)], Kind.TIMER, np.array([2], np.int32), np.zeros(1, np.int32))
    assert found.series.tolist() == [5]
    assert found.digests.mean.size <= digest.K


def test_no_row_is_the_empty_section():
    label, none = stacked([], NO_TIMERS)
    assert (label.size, none) == (0, NO_TIMERS)
