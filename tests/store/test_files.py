"""Files of SQLite: one transaction or nothing, versions, what can be saved of a wreck."""

import sqlite3
from contextlib import closing

import pytest

from aggd.errors import StorageError
from aggd.store import files
from aggd.store.files import (
    APPLICATION,
    VERSION,
    check_version,
    connect,
    forget,
    is_damage,
    proof,
    salvage,
    writing,
)

SCHEMA = """
CREATE TABLE things (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE names (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
TABLES = {"things": 2, "names": 2}


@pytest.fixture(params=["plain.db", "odd ?#% \N{SNOWMAN}.db"])
def path(request, directory):
    return directory / "below" / request.param


def fill(path, count: int = 3, size: int = 10) -> None:
    with writing(path, SCHEMA) as base:
        rows = [(i, bytes([i % 256]) * size) for i in range(count)]
        base.executemany("INSERT INTO things VALUES (?, ?)", rows)
        base.executemany("INSERT INTO names VALUES (?, ?)", [(f"n{i}", i) for i in range(count)])


def things(path) -> dict[int, bytes]:
    with closing(connect(path)) as base:
        return dict(base.execute("SELECT id, data FROM things"))


def test_a_file_is_made_with_its_directory_its_schema_and_its_version(path):
    fill(path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # all of it in the one file
    with closing(connect(path)) as base:
        assert base.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert base.execute("PRAGMA application_id").fetchone() == (APPLICATION,)
        assert base.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        check_version(base, path)
    assert list(things(path)) == [0, 1, 2]


def test_an_error_leaves_the_file_as_it_was(path):
    fill(path)
    before = things(path)
    fails(path, KeyError, "DELETE FROM things", "INSERT INTO things VALUES (9, x'00')")
    assert things(path) == before
    fails(path, sqlite3.IntegrityError, "DELETE FROM things WHERE id = 0",
          "INSERT INTO things VALUES (1, x'00')")  # fmt: skip
    assert things(path) == before
    fill_again(path)


def fails(path, error: type[Exception], *statements: str) -> None:
    """Write until an error comes, at last one of another making."""

    def write() -> None:
        with writing(path, SCHEMA) as base:
            for statement in statements:
                base.execute(statement)
            raise KeyError

    with pytest.raises(error):
        write()


def fill_again(path) -> None:
    with writing(path, SCHEMA) as base:
        base.execute("INSERT INTO things VALUES (9, x'01')")
    assert things(path)[9] == b"\1"


def test_an_error_at_the_first_write_leaves_a_file_that_can_be_written(path):
    fails(path, KeyError)
    assert things(path) == {}
    fill_again(path)


def test_an_error_that_ended_the_transaction_is_the_one_that_is_raised(path):
    fill(path)
    fails(path, KeyError, "ROLLBACK")


def test_a_reader_sees_a_change_whole_or_not_at_all(path):
    fill(path)
    with writing(path, SCHEMA) as base:
        base.execute("DELETE FROM things")
        assert len(things(path)) == 3
    assert things(path) == {}


def test_readers_can_not_write(path):
    fill(path)
    with closing(connect(path)) as base, pytest.raises(sqlite3.OperationalError, match="readonly"):
        base.execute("DELETE FROM things")


def test_a_file_that_is_not_there_is_named(path):
    with pytest.raises(FileNotFoundError, match=path.name.split()[0]):
        connect(path)
    with pytest.raises(FileNotFoundError), writing(path, SCHEMA, made=False):
        pass
    assert not path.parent.exists()


def test_a_directory_in_the_place_of_a_file_is_an_error_of_the_database(path):
    path.mkdir(parents=True)
    with pytest.raises(sqlite3.OperationalError):
        connect(path).execute("SELECT 1 FROM things")
    with pytest.raises(sqlite3.OperationalError), writing(path, SCHEMA):
        pass


def set_version(path, version: int) -> None:
    with closing(sqlite3.connect(path)) as base:
        base.execute(f"PRAGMA user_version = {version}")


def test_a_newer_file_is_refused_with_what_to_do(path):
    fill(path)
    set_version(path, VERSION + 1)
    with closing(connect(path)) as base, pytest.raises(StorageError) as caught:
        check_version(base, path)
    message = str(caught.value)
    assert str(path) in message
    assert f"version {VERSION + 1}" in message
    assert f"reads {VERSION}" in message
    assert "start the newer aggd" in message
    assert "storage.state_dir" in message


@pytest.mark.parametrize("version", [0, -5])
def test_a_file_without_a_version_is_damaged(path, version):
    fill(path)
    set_version(path, version)
    with closing(connect(path)) as base, pytest.raises(sqlite3.DatabaseError, match="no file of"):
        check_version(base, path)


@pytest.mark.parametrize(
    ("code", "damage"),
    [
        (sqlite3.SQLITE_CORRUPT, True),
        (sqlite3.SQLITE_CORRUPT_INDEX, True),
        (sqlite3.SQLITE_NOTADB, True),
        (sqlite3.SQLITE_FULL, False),
        (sqlite3.SQLITE_BUSY, False),
        (sqlite3.SQLITE_IOERR_WRITE, False),
    ],
)
def test_a_full_disk_is_not_taken_for_a_damaged_file(code, damage):
    error = sqlite3.DatabaseError("what happened")
    assert not is_damage(error)
    error.sqlite_errorcode = code
    assert is_damage(error) is damage


def test_a_proof_knows_values_and_their_order():
    assert proof(1, 2) == proof(1, 2)
    assert len({proof(1, 2), proof(2, 1), proof(12), proof("1", 2), proof(1, 3)}) == 5
    assert 0 <= proof("closed", 1 << 62) < 1 << 32


def broken(path, place: int) -> None:
    """Destroy one page of a file."""
    data = bytearray(path.read_bytes())
    data[4096 * place : 4096 * (place + 1)] = b"\xa5" * 4096
    path.write_bytes(data)


def test_what_stands_before_and_behind_the_damage_is_kept(path):
    fill(path, 200, 1000)
    pages = path.stat().st_size // 4096
    broken(path, pages // 2)
    with pytest.raises(sqlite3.DatabaseError):
        things(path)
    aside, kept = salvage(path, SCHEMA, TABLES)
    found = things(path)
    assert 190 <= len(found) < 200
    assert {0, 199} <= set(found)
    assert all(data == bytes([i]) * 1000 for i, data in found.items())
    assert aside == path.with_suffix(".damaged")
    assert aside.exists()
    assert kept == len(found) + 200  # names
    with closing(connect(path)) as base:
        check_version(base, path)


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 9000])
def test_of_what_is_no_database_nothing_is_kept_but_the_file(path, content):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    aside, kept = salvage(path, SCHEMA, TABLES)
    assert kept == 0
    assert aside.read_bytes() == content
    fill_again(path)


def test_what_is_only_in_the_log_is_kept_too(path):
    fill(path)
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM things").fetchall()  # holds the log open
        with writing(path, SCHEMA) as base:
            base.execute("INSERT INTO things VALUES (9, x'09')")
        saved = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    forget(path)
    for name, data in saved.items():
        (path.parent / name).write_bytes(data)
    salvage(path, SCHEMA, TABLES)
    assert things(path)[9] == b"\t"


def test_salvaging_twice_keeps_the_later_wreck(path):
    fill(path)
    salvage(path, SCHEMA, TABLES)
    with writing(path, SCHEMA) as base:
        base.execute("DELETE FROM things WHERE id = 0")
    aside, kept = salvage(path, SCHEMA, TABLES)
    assert kept == 5
    assert list(things(aside)) == list(things(path)) == [1, 2]


def test_without_room_a_wreck_stays_where_it_is(path):
    fill(path)
    path.with_suffix(".new").mkdir()  # where a file can't be made
    with pytest.raises(OSError, match="new"):
        salvage(path, SCHEMA, TABLES)
    path.with_suffix(".new").rmdir()
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert salvage(path, SCHEMA, TABLES)[1] == 6
    assert list(things(path)) == [0, 1, 2]


def test_forgetting_leaves_nothing_and_asks_for_nothing(path):
    fill(path)
    for suffix in files.BESIDE:
        (path.parent / f"{path.name}{suffix}").touch()
    forget(path)
    assert list(path.parent.iterdir()) == []
    forget(path)
