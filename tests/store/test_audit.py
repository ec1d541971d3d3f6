"""Whatever is wrong in a file is found, and what is right is not complained of."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.errors import StorageError
from aggd.store import audit
from aggd.store.cache import Cache
from aggd.store.catalogue import Catalogue
from aggd.store.codec import encode
from aggd.store.files import VERSION, connect
from aggd.store.frame import Counters, Timers
from aggd.store.series import Kind, Limits, Registry
from aggd.store.shelf import Shelf
from aggd.units import HOUR, MINUTE
from tests.store.frames import frame, registry
from tests.store.test_shelf import END, START, at, compact, save

SERIES = 11  # ids below it


@pytest.fixture
def shelf(directory) -> Shelf:
    """Two hours of minutes, the first in blocks."""
    shelf = Shelf(directory, MINUTE, 7 * 1440, Cache(0))
    shelf.open()
    save(shelf, *(at(minute) for minute in (0, 1, 2, 60, 61)))
    compact(shelf, START + HOUR)
    return shelf


def faults(shelf: Shelf, series: int = SERIES) -> list[audit.Fault]:
    (path,) = shelf.files()
    return [fault for one in audit.frames(shelf, path, series) for fault in one.faults]


def change(path: Path, *statements: str, **values) -> None:
    with closing(sqlite3.connect(path)) as base, base:
        for statement in statements:
            assert base.execute(statement, values).rowcount != 0


def test_all_is_good_and_every_byte_of_rows_was_read(shelf):
    (path,) = shelf.files()
    readings = list(audit.frames(shelf, path, SERIES))
    assert [one.faults for one in readings] == [[]] * len(readings)
    with closing(connect(path)) as base:
        (frames,) = base.execute("SELECT sum(length(data)) FROM frames").fetchone()
        (blocks,) = base.execute("SELECT sum(length(data)) FROM blocks").fetchone()
    assert min(frames, blocks) > 0
    assert sum(one.nbytes for one in readings) == frames + blocks


@pytest.mark.parametrize("table", ["frames", "blocks"])
@settings(max_examples=30)
@given(st.data())
def test_a_flipped_byte_is_found_wherever_it_is(new_directory, table, data):
    shelf = Shelf(new_directory(), MINUTE, 7 * 1440, Cache(0))
    shelf.open()
    save(shelf, at(0), at(60))
    compact(shelf, START + HOUR)
    (path,) = shelf.files()
    with closing(sqlite3.connect(path)) as base, base:
        rows = base.execute(f"SELECT id, data FROM {table}").fetchall()
        row, found = data.draw(st.sampled_from(rows))
        place = data.draw(st.integers(0, len(found) - 1))
        broken = bytearray(found)
        broken[place] ^= data.draw(st.integers(1, 255))
        base.execute(f"UPDATE {table} SET data = ? WHERE id = ?", (bytes(broken), row))
    (fault,) = faults(shelf)
    assert fault.path == path
    assert fault.slot == (START + HOUR if table == "frames" else START)


def test_a_flipped_byte_in_the_file_is_found(shelf):
    (path,) = shelf.files()
    with closing(sqlite3.connect(path)) as base:
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = base.execute("PRAGMA page_size").fetchone()
    whole = path.read_bytes()
    found = 0
    for page in range(len(whole) // size):
        broken = bytearray(whole)
        broken[page * size + (100 if page == 0 else 0)] ^= 0xFF  # kind of the page
        path.write_bytes(broken)
        found += bool(faults(shelf))
    assert found >= len(whole) // size - 1  # a free page may hold anything
    path.write_bytes(whole)
    assert faults(shelf) == []


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE parts SET start = start + 60 WHERE part = 1", "list of parts is damaged"),
        ("UPDATE meta SET value = value + 1 WHERE key = 'closed'", "the mark closed is damaged"),
        ("UPDATE frames SET start = start + 60 WHERE kind = 0 AND part = 4", "of another slot"),
        ("UPDATE frames SET part = 9 WHERE kind = 0 AND part = 4", "of another slot or part"),
        ("UPDATE frames SET kind = 1 WHERE kind = 0 AND part = 4", "not of the kind 1"),
        ("UPDATE frames SET first = 4096 WHERE kind = 0 AND part = 4", "stand under 4096"),
        ("UPDATE blocks SET unit = unit + 3600 WHERE kind = 0", "rows of another unit"),
        ("UPDATE blocks SET first = 64 WHERE kind = 0", "stand under 64"),
        ("UPDATE frames SET start = 'x' WHERE kind = 0 AND part = 4", ""),
    ],
)
def test_rows_that_stand_in_the_wrong_place_are_found(shelf, statement, message):
    (path,) = shelf.files()
    change(path, statement)
    assert message in "\n".join(fault.message for fault in faults(shelf))
    assert faults(shelf)


def test_a_part_of_a_slot_of_another_file_is_found(shelf):
    (path,) = shelf.files()
    other = path.with_name("2023-11-20.db")
    path.rename(other)
    assert {fault.slot for fault in faults(shelf)} >= {START}


def test_series_that_the_catalogue_does_not_know_are_found(shelf):
    found = faults(shelf, SERIES - 1)
    assert {fault.message for fault in found} == {"series 10 is not in the catalogue"}
    assert len(found) == 5  # in each minute, as it is a timer in each


def test_what_was_written_wrong_is_found_though_its_checksum_is_right(shelf):
    (path,) = shelf.files()
    beside = {"slot": np.array([START + HOUR]), "part": np.array([4])}
    ids = np.array([3, 2], np.int32)
    twisted = encode(Counters(ids, np.ones(2), np.ones(2)), beside)
    t = at(60).timers
    heavy = t.moments._replace(count=t.moments.count + 1)
    wrong = encode(Timers(t.series, t.samples, heavy, t.digests, None), beside)
    change(path, "UPDATE frames SET data = :data WHERE kind = 0 AND part = 4", data=twisted)
    change(path, "UPDATE frames SET data = :data WHERE kind = 2 AND part = 4", data=wrong)
    invariant, weights = faults(shelf)
    assert invariant.message.startswith("an invariant of frames")
    assert weights == (path, START + HOUR, "weights don't add up to the count of series 2, 10")


def test_a_file_that_is_forgotten_meanwhile_is_no_fault(shelf):
    assert list(audit.frames(shelf, shelf.path(END), SERIES)) == []


def test_a_file_of_a_newer_version_is_not_looked_at(shelf):
    (path,) = shelf.files()
    change(path, f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StorageError, match="newer"):
        faults(shelf)


def test_faults_of_the_catalogue_are_found(directory):
    path = directory / "catalogue.db"
    catalogue, known = Catalogue(path), registry("a", "b")
    catalogue.save_names(known)
    catalogue.save_columns(known, 5)
    assert [one.faults for one in audit.catalogue(path) if one.faults] == []
    change(
        path,
        "UPDATE names SET data = x'00'",
        "UPDATE columns SET data = x'01' WHERE name = 'levels'",
    )
    found = [fault.message for one in audit.catalogue(path) for fault in one.faults]
    assert found[0].startswith("names of series from 0 on")
    assert found[1].startswith("column levels")
    assert len(found) == 2
    path.write_bytes(b"x" * 5000)
    ((fault,),) = [one.faults for one in audit.catalogue(path)]
    assert "not a database" in fault.message


def test_a_catalogue_is_looked_at_without_a_change(directory):
    path = directory / "catalogue.db"
    catalogue = Catalogue(path)
    known = Registry(Limits())
    for number in range(70):  # rows, which a start would make one
        known.resolve(Kind.TIMER, f"x{number}", (), 0.0)
        catalogue.save_names(known)
    before = path.read_bytes()
    found = Registry(Limits())
    assert Catalogue(path).look(found, 72) == []
    assert found.entries(0) == [*known.entries(0), None, None]
    assert path.read_bytes() == before
    path.write_bytes(b"x" * 5000)
    (trouble,) = Catalogue(path).look(Registry(Limits()), 72)
    assert trouble.path == path
    assert path.read_bytes() == b"x" * 5000
    assert not path.with_suffix(".damaged").exists()
    assert Catalogue(directory / "none.db").look(found := Registry(Limits()), 2) == []
    assert found.entries(0) == [None, None]


def test_a_shelf_is_looked_at_without_a_change(shelf):
    (path,) = shelf.files()
    small = Shelf(shelf.directory, MINUTE, 2, Cache(0))
    assert small.look() == []
    assert len(small) == 5
    (number,) = save(shelf, at(62))
    save(shelf, frame([(0, 5.0, 1.0)], START, MINUTE), instead=shelf.parts(START))
    assert small.listed(START, START + MINUTE) != set(small.parts(START))
    assert small.listed(START + MINUTE, START + 2 * MINUTE) == set(small.parts(START + MINUTE))
    small.look_again(START)
    assert small.parts(START + 62 * MINUTE) == (number,)
    assert small.parts(START) == shelf.parts(START)
    path.write_bytes(b"x" * 5000)
    (trouble,) = Shelf(shelf.directory, MINUTE, 2, Cache(0)).look()
    assert trouble.path == path
    assert [one.name for one in shelf.files()] == [path.name]
    path.unlink()
    small.look_again(START)
    assert (len(small), small.listed(START, END)) == (0, set())
