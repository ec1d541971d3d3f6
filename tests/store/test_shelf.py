"""A shelf is a dict that forgets, on disk: whatever shape its rows have just now."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.errors import StorageError
from aggd.store.blocks import SLICE
from aggd.store.cache import Cache
from aggd.store.files import VERSION, connect, writing
from aggd.store.frame import Frame
from aggd.store.merge import merge
from aggd.store.segment import SCHEMA, Change, over
from aggd.store.series import Kind
from aggd.store.shelf import Shelf, Wanted
from aggd.units import DAY, HOUR, MINUTE
from tests.store.frames import counted, frame
from tests.store.test_blocks import as_lists, sparse

START = 1_700_006_400  # a midnight
END = START + 10 * DAY
ALL = [(0, 1.0, 1.0), (1, 2.0, 1.0), (2, 1 / 3, 1.0), (3, 4.0, 1.0), (4, 5.0, 1.0), (10, 7.0, 1.0)]


def opened(directory: Path, width: int = MINUTE, capacity: int = 7 * 1440) -> Shelf:
    shelf = Shelf(directory, width, capacity, Cache(1 << 20))
    assert shelf.open() == []
    shelf._check()
    return shelf


@pytest.fixture
def shelf(directory) -> Shelf:
    return opened(directory)


def save(shelf: Shelf, *frames: Frame, instead: tuple[int, ...] = (), closed: int = 0) -> list[int]:
    changes = [Change(shelf.number(), frame, instead) for frame in frames]
    shelf.save(closed, changes)
    shelf._check()
    return [change.number for change in changes]


def parts(shelf: Shelf, start: int = START, end: int = END) -> set[int]:
    return {part for slot in shelf.starts(start, end) for part in shelf.parts(slot)}


def total(frames: list[Frame]) -> float:
    return sum(float(f.counters.sum.sum()) for f in frames)


def content(shelf: Shelf, start: int = START, end: int = END, wanted=None) -> dict:
    """Rows by slot, part, kind and series, each there once; those of the series wanted."""
    found = {}
    for part, piece in shelf.read_parts(start, end, parts(shelf, start, end), wanted):
        assert piece.width == shelf.width
        for kind, section in zip(Kind, piece.sections(), strict=True):
            for series, row in zip(section.series.tolist(), as_lists(section), strict=True):
                if wanted is None or series in wanted.ids:
                    key = piece.start, part, kind, series
                    assert key not in found
                    found[key] = row
    assert shelf.damaged == 0
    return found


def at(minute: int, lines=ALL) -> Frame:
    """A frame that no other minute has."""
    own = [(series, value + minute, weight) for series, value, weight in lines]
    return frame(own, START + MINUTE * minute, MINUTE)


def compact(shelf: Shelf, before: int = END) -> int:
    return sum(1 for _ in shelf.compact(before))


def test_what_was_saved_is_read_and_nothing_else(shelf):
    first, second = save(shelf, at(0), at(1))
    assert shelf.parts(START) == (first,)
    assert shelf.parts(START + MINUTE) == (second,)
    assert shelf.parts(START + 2 * MINUTE) == ()
    assert len(shelf) == 2
    assert shelf.oldest() == START
    ((got,),) = [[merge(shelf.read(START, START + MINUTE, {first}), START, MINUTE)]]
    for kind in Kind:
        assert as_lists(got.sections()[kind]) == as_lists(at(0).sections()[kind])
    assert shelf.read(START, END, set()) == []
    assert shelf.read(START, START, {first}) == []
    assert shelf.read(START + MINUTE, END, {first}) == []


def test_an_empty_shelf_answers_too(shelf):
    assert (len(shelf), shelf.oldest(), shelf.closed, shelf.series) == (0, None, 0, 0)
    assert shelf.starts(0, END) == []
    assert shelf.read(0, END, {1}) == []
    assert shelf.nbytes() == 0
    assert shelf.drop_file() is None
    assert compact(shelf) == 0
    assert shelf.takes(START)


def test_a_frame_without_rows_is_a_slot_without_rows(shelf):
    (part,) = save(shelf, Frame(START, MINUTE))
    assert shelf.parts(START) == (part,)
    assert content(shelf) == {}
    assert shelf.series == 0


def test_a_part_takes_the_place_of_others_and_has_a_number_of_its_own(shelf):
    old = save(shelf, counted(START, 1.0, width=MINUTE), counted(START, 2.0, width=MINUTE))
    assert shelf.parts(START) == tuple(old)
    assert shelf.has(old)
    (new,) = save(shelf, counted(START, 40.0, width=MINUTE), instead=tuple(old))
    assert shelf.parts(START) == (new,)
    assert new not in old
    assert not shelf.has(old[:1])
    assert shelf.has([new])
    assert shelf.has([])
    assert total(shelf.read(START, END, {*old, new})) == 40.0


def test_what_was_read_before_does_not_stand_for_what_took_its_place(shelf):
    part = save(shelf, counted(START, 1.0, width=MINUTE))
    for value in (2.0, 3.0, 4.0):
        assert total(shelf.read(START, END, set(part))) == value - 1
        part = save(shelf, counted(START, value, width=MINUTE), instead=tuple(part))
    assert total(shelf.read(START, END, set(part))) == 4.0


def test_a_number_is_never_given_twice_not_even_by_another_process(directory):
    given_: list[int] = []
    for _ in range(4):
        shelf = opened(directory)
        for minute in (0, 1, 0, 2):
            given_ += save(shelf, at(minute), instead=shelf.parts(at(minute).start))
        given_ += save(opened(directory, capacity=2), at(3))  # drops the slot of the last one
    assert len(set(given_)) == len(given_)


def test_reopening_changes_nothing(directory):
    shelf = opened(directory)
    shelf.refuse(START - HOUR)
    save(shelf, *map(at, range(200)), closed=START + 200 * MINUTE)
    compact(shelf, START + HOUR)
    save(shelf, at(3), at(2000))
    again = opened(directory)
    for name in ("closed", "horizon", "series", "_parts", "_starts", "_live"):
        assert getattr(again, name) == getattr(shelf, name)
    assert again.closed == START + 200 * MINUTE
    assert again.horizon == START - HOUR + MINUTE
    assert again.series == 11
    assert content(again) == content(shelf)


few = st.sets(st.sampled_from([0, 1, 2, 3, 4, 10, 12, 30, 5000]), min_size=1, max_size=3)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 130), st.sampled_from(["save", "late", "replace"]))),
    few,
    st.sampled_from(Kind),
    st.integers(0, 3),
)
def test_few_series_read_the_same_before_amid_and_after_compaction(
    new_directory, steps, series, kind, some
):
    shelf = opened(new_directory())
    lines = [*ALL, (12, 8.0, 1.0), (30, 9.0, 1.0)]
    for minute, act in steps:
        slot = START + MINUTE * minute
        instead = shelf.parts(slot) if act == "replace" else ()
        save(shelf, at(minute, lines[minute % 3 :]), instead=instead)
    wanted = Wanted(kind, np.array(sorted(series), np.int32))
    before, known = content(shelf), content(shelf, wanted=wanted)
    assert known == {key: row for key, row in before.items() if key[2] == kind and key[3] in series}
    for _, _ in zip(range(some), shelf.compact(END), strict=False):
        assert content(shelf) == before
        assert content(shelf, wanted=wanted) == known
    for minute, act in steps[:5]:
        late = at(minute, [(0, 0.5, 1.0), (2, 0.5, 1.0)])
        slot = START + MINUTE * minute
        instead = shelf.parts(slot) if act == "replace" else ()
        save(shelf, late, instead=instead)
    before, known = content(shelf), content(shelf, wanted=wanted)
    compact(shelf)
    assert compact(shelf) == 0
    shelf._check()
    assert content(shelf) == before
    assert content(shelf, wanted=wanted) == known
    assert content(opened(shelf.directory), wanted=wanted) == known
    half = START + HOUR
    assert content(shelf, half) == {key: row for key, row in before.items() if key[0] >= half}


def rows(shelf: Shelf, table: str) -> int:
    found = 0
    for path in shelf.directory.glob("*.db"):
        with closing(connect(path)) as base:
            found += base.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return found


def test_compaction_leaves_few_rows_for_a_series_and_none_for_a_unit_that_is_not_over(shelf):
    save(shelf, *map(at, range(90)))
    assert (rows(shelf, "frames"), rows(shelf, "blocks")) == (360, 0)
    assert compact(shelf, START + HOUR - 1) == 0
    assert compact(shelf, START + HOUR) == len(Kind)
    assert (rows(shelf, "frames"), rows(shelf, "blocks")) == (120, 5)  # timers 2 and 10 apart
    assert total(shelf.read(START, END, parts(shelf))) == sum(6 + 2 * m for m in range(90))


def test_a_late_part_stands_beside_a_compacted_slot(shelf):
    first = save(shelf, *map(at, range(60)))
    compact(shelf)
    (late,) = save(shelf, at(5))
    assert shelf.parts(START + 5 * MINUTE) == (first[5], late)
    assert total(shelf.read(START + 5 * MINUTE, START + 6 * MINUTE, {first[5], late})) == 32
    assert compact(shelf) == len(Kind)
    assert total(shelf.read(START + 5 * MINUTE, START + 6 * MINUTE, {first[5], late})) == 32
    assert total(shelf.read(START, END, {late})) == 16


def test_what_took_the_place_of_a_compacted_part_is_alone(shelf):
    first = save(shelf, *map(at, range(60)))
    compact(shelf)
    save(shelf, at(7), instead=(first[7],))
    assert total(shelf.read(START, END, parts(shelf))) == sum(6 + 2 * m for m in range(60))
    compact(shelf)
    assert total(shelf.read(START, END, parts(shelf))) == sum(6 + 2 * m for m in range(60))


def test_a_reader_in_the_middle_of_a_compaction_reads_no_row_twice(shelf, monkeypatch):
    save(shelf, *map(at, range(60)))
    expected, load, once = content(shelf), shelf._reader._load, []

    def compacted_meanwhile(base, blob):
        if not once:
            once.append(True)
            compact(shelf)
        return load(base, blob)

    monkeypatch.setattr(shelf._reader, "_load", compacted_meanwhile)
    assert content(shelf) == expected
    assert rows(shelf, "frames") == 0


def test_what_is_replaced_while_it_is_compacted_is_not_lost(shelf):
    first = save(shelf, *map(at, range(60)))
    steps = shelf.compact(END)
    next(steps)
    save(shelf, at(7, [(0, 100.0, 1.0), (1, 3.0, 1.0)]), instead=(first[7],))
    for _ in steps:
        pass
    frames = shelf.read(START + 7 * MINUTE, START + 8 * MINUTE, shelf.parts(START + 7 * MINUTE))
    assert total(frames) == 107


def test_where_slots_are_soon_forgotten_compaction_is_no_use(directory):
    shelf = opened(directory, MINUTE, 119)
    save(shelf, *map(at, range(60)))
    assert compact(shelf) == 0


def test_no_more_slots_than_the_capacity_are_kept(directory):
    shelf = opened(directory, MINUTE, 3)
    for minute in (5, 1, 3):
        assert shelf.takes(at(minute).start)
        save(shelf, at(minute))
    assert shelf.horizon == 0
    assert not shelf.takes(at(0).start)
    assert shelf.takes(at(2).start)
    save(shelf, at(4))
    assert shelf.starts(START, END) == [at(m).start for m in (3, 4, 5)]
    assert shelf.horizon == at(2).start
    assert not shelf.takes(at(1).start)
    assert shelf.takes(at(3).start)
    again = opened(directory, MINUTE, 3)
    assert content(again) == content(shelf)
    assert again.horizon == shelf.horizon


def test_a_smaller_capacity_forgets_at_the_next_start(directory):
    save(opened(directory), *map(at, range(9)))
    shelf = opened(directory, MINUTE, 4)
    assert shelf.starts(START, END) == [at(m).start for m in range(5, 9)]
    assert shelf.horizon == at(5).start


def test_a_refused_slot_moves_the_horizon_and_never_back(shelf):
    shelf.refuse(START)
    shelf.refuse(START - HOUR)
    assert shelf.horizon == START + MINUTE
    assert not shelf.takes(START)
    assert shelf.takes(START + MINUTE)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 12), max_size=25), st.integers(1, 5), st.booleans())
def test_a_shelf_is_a_dict_that_forgets(new_directory, minutes, capacity, reopen):
    shelf = opened(new_directory(), MINUTE, capacity)
    model: dict[int, int] = {}
    for minute in minutes:
        start = at(minute * 200).start  # every few in another file
        if shelf.takes(start):
            save(shelf, counted(start, 1.0, width=MINUTE))
            model[start] = model.get(start, 0) + 1
            while len(model) > capacity:
                del model[min(model)]
        else:
            shelf.refuse(start)
        if reopen:
            shelf = opened(shelf.directory, MINUTE, capacity)
        assert shelf.starts(0, END) == sorted(model)
        found = {f.start: 0.0 for f in shelf.read(0, END, parts(shelf))}
        for f in shelf.read(0, END, parts(shelf)):
            found[f.start] += total([f])
        assert found == model
        assert shelf.horizon <= min(model, default=END)
        kept = {shelf.path(start).name for start in model}
        assert {path.name for path in shelf.directory.glob("*.db")} == kept


def test_the_oldest_file_goes_with_all_its_slots_but_never_the_only_one(directory):
    shelf = opened(directory)
    save(shelf, at(0), at(1), at(1440), at(1500))
    assert shelf.drop_file() == directory / "2023-11-15.db"
    shelf._check()
    assert shelf.starts(START, END) == [at(1440).start, at(1500).start]
    assert shelf.horizon == at(2).start
    assert shelf.drop_file() is None
    assert [path.name for path in directory.glob("*.db")] == ["2023-11-16.db"]
    assert total(shelf.read(START, END, parts(shelf))) == 2 * 6 + 2 * (1440 + 1500)


def test_where_a_file_went_is_known_after_a_crash(directory):
    shelf = opened(directory)
    save(shelf, at(0), at(1440))
    shelf.drop_file()
    assert opened(directory).horizon == at(1).start


def test_a_file_that_is_made_again_is_not_taken_for_the_one_that_went(directory):
    shelf = opened(directory)
    save(shelf, at(0), at(1440))
    assert total(shelf.read(START, END, parts(shelf))) == 6 + 6 + 2 * 1440
    shelf.drop_file()
    shelf.horizon = 0
    save(shelf, counted(START, 50.0, width=MINUTE))
    assert total(shelf.read(START, START + MINUTE, parts(shelf))) == 50


def test_a_file_that_goes_while_it_is_read_is_no_error(shelf, monkeypatch):
    save(shelf, at(0), at(1440))
    known = parts(shelf)
    load, once = shelf._reader._load, []

    def gone_meanwhile(base, blob):
        if not once:
            once.append(shelf.drop_file())
        return load(base, blob)

    monkeypatch.setattr(shelf._reader, "_load", gone_meanwhile)
    found = shelf.read(START, END, known)
    assert once
    assert total([f for f in found if f.start > START]) == 6 + 2 * 1440
    assert not shelf.has(known)
    assert shelf.damaged == 0


def test_a_file_that_is_gone_before_it_is_read_is_left_out(shelf):
    save(shelf, at(0), at(1440))
    shelf.path(START).unlink()
    assert total(shelf.read(START, END, parts(shelf))) == 6 + 2 * 1440
    with pytest.raises(FileNotFoundError):
        connect(shelf.path(START))
    assert shelf.damaged == 0


def test_compaction_makes_no_file_that_was_forgotten(shelf, monkeypatch):
    save(shelf, *map(at, range(60)), at(1440))

    def gone_meanwhile(*asked):
        found = over(*asked)
        shelf.drop_file()
        return found

    monkeypatch.setattr("aggd.store.shelf.over", gone_meanwhile)
    compact(shelf)
    assert [path.name for path in shelf.directory.glob("*.db")] == ["2023-11-16.db"]


@pytest.mark.parametrize(
    ("width", "name", "unit"),
    [
        (1, "2023-11-15T05", HOUR),
        (10, "2023-11-15T05", HOUR),
        (MINUTE, "2023-11-15", HOUR),
        (HOUR, "2023-10-20", DAY),
        (DAY, "2023-03-24", 30 * DAY),
    ],
)
def test_files_are_named_after_their_first_day_or_hour(directory, width, name, unit):
    shelf = opened(directory, width)
    start = START + 5 * HOUR + 600
    path = shelf.path(start - start % width)
    assert path.name == f"{name}.db"
    first = datetime.fromisoformat(name).replace(tzinfo=UTC).timestamp()
    assert first % shelf.period == 0
    assert first <= start - start % width < first + shelf.period
    assert (shelf.unit, shelf.period % shelf.unit, shelf.unit % width) == (unit, 0, 0)


def test_a_newer_file_stops_the_start_and_is_left_alone(directory):
    shelf = opened(directory)
    save(shelf, at(0))
    with closing(sqlite3.connect(shelf.path(START))) as base:
        base.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = shelf.path(START).read_bytes()
    with pytest.raises(StorageError, match="newer aggd"):
        Shelf(directory, MINUTE, 100, Cache(0)).open()
    assert shelf.path(START).read_bytes() == before


def test_series_far_apart_stand_in_slices_of_their_own(shelf):
    ids = [0, SLICE - 1, SLICE, 10 * SLICE + 3]
    known = sparse(ids, START)
    save(shelf, Frame(START, MINUTE, counters=known.counters))
    assert rows(shelf, "frames") == 3
    for wanted in ids:
        only = np.array([wanted], np.int32)
        found = shelf.read(START, END, parts(shelf), Wanted(Kind.COUNTER, only))
        assert len(found) == 1
        assert wanted in found[0].counters.series
    assert shelf.series == 10 * SLICE + 4


def test_bytes_are_those_of_all_files(shelf):
    save(shelf, at(0), at(1440))
    sizes = sum(path.stat().st_size for path in shelf.directory.iterdir())
    assert shelf.nbytes() == sizes > 0


def test_what_is_kept_in_memory_was_read_once(directory):
    cache = Cache(1 << 20)
    shelf = Shelf(directory, MINUTE, 100, cache)
    shelf.open()
    save(shelf, at(0))
    first = content(shelf)
    assert cache.misses == len(Kind)
    assert content(shelf) == first
    assert cache.misses == len(Kind)
    assert cache.hits == len(Kind)


def test_rows_of_a_file_made_anew_are_not_taken_for_those_it_had(directory):
    shelf = opened(directory)
    last = save(shelf, at(0), at(1))[1]
    content(shelf)
    with writing(shelf.path(START), SCHEMA) as base:  # as where damage took them
        for table in ("frames", "parts"):
            base.execute(f"DELETE FROM {table} WHERE part = ?", (last,))
    shelf._salvage(shelf.path(START), sqlite3.DatabaseError("a test"))
    expected = as_lists(at(2).counters)
    save(shelf, at(2))
    found = shelf.read(START + 2 * MINUTE, START + 3 * MINUTE, parts(shelf))
    assert [row for f in found for row in as_lists(f.counters)] == expected
    assert shelf.damaged == 0
