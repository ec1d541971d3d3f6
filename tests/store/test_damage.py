"""Damaged files: what is lost is said, what is not damaged is right, nothing is invented."""

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from aggd.store.cache import Cache
from aggd.store.rollup import History, Tier
from aggd.store.shelf import Shelf
from tests.store.frames import frame

START = 1_700_006_400  # a midnight
TIERS = (Tier("minute", 60, 7 * 86400), Tier("hour", 3600, 90 * 86400))
LAST = START + 3 * 86400
END = LAST + 86400
SUFFIXES = ("", "-wal", "-shm")


def lines(start: int) -> list[tuple[int, float, float]]:
    """Samples that belong to one minute only: a counter each, 200 timers, a gauge, a set."""
    rng = np.random.default_rng(start)
    own = float(start // 60 % 100_000)
    timers = [(2 + 4 * int(i), float(rng.integers(1, 500)), 1.0) for i in rng.integers(0, 7, 200)]
    return [(0, own, 1.0), (4, own * 3, 1.0), (1, own, 1.0), (3, own, 1.0), *timers]


STARTS = [START + day * 86400 + minute * 60 for day in range(3) for minute in range(0, 150, 3)]


def opened(directory: Path) -> tuple[History, list[Shelf], list]:
    shelves = [Shelf(directory / t.name, t.width, t.slots, Cache(1 << 20)) for t in TIERS]
    troubles = [trouble for shelf in shelves for trouble in shelf.open()]
    for shelf in shelves:
        shelf._check()
    return History(TIERS, 1 << 30, 0, LAST, shelves), shelves, troubles


def fill(directory: Path) -> None:
    """Three days, the older part of each in blocks, the rest in frames."""
    for shelf in (
        shelves := [Shelf(directory / t.name, t.width, t.slots, Cache(0)) for t in TIERS]
    ):
        shelf.open()
    history = History(TIERS, 1 << 30, 0, START, shelves)
    for start in STARTS:
        history.add(frame(lines(start), start, 60))
        history.close(start + 60)
        if start % 600 == 0:
            history.save()
    history.close(LAST)
    history.save()
    for shelf in shelves:
        for _ in shelf.compact(START + 2 * 86400 + 3600):
            pass


@cache
def template(directory: Path) -> Path:
    fill(directory)
    return directory


@pytest.fixture(scope="session")
def whole(new_directory) -> Path:
    return template(new_directory())


def counted(shelf: Shelf, start: int, end: int) -> Counter:
    """Sums of counters, and counts of timers, by slot and series."""
    parts = {part for slot in shelf.starts(start, end) for part in shelf.parts(slot)}
    found: Counter = Counter()
    for piece in shelf.read(start, end, parts):
        sums = zip(piece.counters.series.tolist(), piece.counters.sum.tolist(), strict=True)
        timers = piece.timers
        counts = zip(timers.series.tolist(), timers.moments.count.tolist(), strict=True)
        for series, value in [*sums, *counts]:
            found[piece.start, series] += value
        gauges, sets = piece.gauges, piece.sets
        for section, value in ((gauges, gauges.last), (sets, sets.count)):
            for series, number in zip(section.series.tolist(), value.tolist(), strict=True):
                found[piece.start, series] += number
    return found


@cache
def expected(directory: Path) -> tuple[Counter, ...]:
    return tuple(counted(shelf, START, END) for shelf in opened(directory)[1])


def cut(data: bytes, rng) -> bytes:
    return data[: rng.integers(len(data))]


def flipped(data: bytes, rng) -> bytes:
    """Bits turned anywhere but in the version, which has a meaning of its own."""
    found = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 60)):
        if not 60 <= place < 64:
            found[place] ^= 1 << int(rng.integers(8))
    return bytes(found)


def zeroed(data: bytes, rng) -> bytes:
    first = int(rng.integers(len(data)))
    last = min(len(data), first + int(rng.integers(1, 20_000)))
    return data[:first] + bytes(last - first) + data[last:]


def emptied(data: bytes, rng) -> bytes:
    return b""


def garbage(data: bytes, rng) -> bytes:
    return rng.bytes(len(data))


def page_lost(data: bytes, rng) -> bytes:
    """One page of another database in the place of one."""
    at = int(rng.integers(len(data) // 4096 or 1)) * 4096
    return data[:at] + rng.bytes(4096) + data[at + 4096 :]


FAULTS = (cut, flipped, zeroed, emptied, garbage, page_lost)


@pytest.mark.parametrize("seed", range(50))
def test_a_damaged_file_costs_what_it_held_at_most(whole, new_directory, seed):
    rng = np.random.default_rng(seed)
    directory = new_directory() / "state"
    shutil.copytree(whole, directory)
    paths = sorted(directory.glob("*/*.db"))
    path = paths[seed % len(paths)]
    path.write_bytes(FAULTS[seed // len(paths) % len(FAULTS)](path.read_bytes(), rng))
    damage_is_bounded(whole, directory, path)


def damage_is_bounded(whole: Path, directory: Path, path: Path) -> None:
    history, shelves, troubles = opened(directory)
    assert {trouble.path.with_suffix(".db") for trouble in troubles} <= {path}
    assert all(trouble.message for trouble in troubles)
    lost = 0
    for shelf, known in zip(shelves, expected(whole), strict=True):
        found = counted(shelf, START, END)
        for key, value in found.items():
            assert value == known[key], key  # nothing twice, nothing made up
        missing = [key for key in known if key not in found]
        assert all(shelf.path(slot) == path for slot, _ in missing)
        lost += len(missing)
    if lost:
        assert troubles or any(shelf.damaged for shelf in shelves)
    goes_on(history, shelves, directory)


def goes_on(history: History, shelves: list[Shelf], directory: Path) -> None:
    """Rolling up, answering, compacting and saving, into the damaged files as well."""
    before = [counted(shelf, START, END) for shelf in shelves]
    damaged = sum(shelf.damaged for shelf in shelves)
    for start in (*STARTS[::40], LAST):
        history.add(frame([(28, 1.0, 1.0)], start, 60))
    history.tile(START, END)
    history.close(LAST + 3600)
    history.save()
    for shelf in shelves:
        for _ in shelf.compact(LAST + 3600):
            pass
        shelf._check()
    again = opened(directory)[1]
    late = (*STARTS[::40], LAST)
    for shelf, was in zip(again, before, strict=True):
        found = counted(shelf, START, END)
        assert sum(v for (_, series), v in found.items() if series == 28) == len(late)
        for key, value in found.items():
            if key[1] != 28 and key in was:
                assert value == was[key]
    assert sum(shelf.damaged for shelf in shelves) >= damaged


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("suffix", ["-wal", "-shm", ""])
def test_a_damaged_log_costs_what_it_held_at_most(new_directory, whole, seed, suffix):
    """As a crash leaves it: the newest frames in the log alone."""
    rng = np.random.default_rng(seed)
    directory = crashed(whole, new_directory)
    path = sorted((directory / "minute").glob("*.db"))[-1]
    beside = Path(f"{path}{suffix}")
    data = beside.read_bytes()
    assert data
    beside.write_bytes(FAULTS[seed % len(FAULTS)](data, rng))
    shelf = Shelf(directory / "minute", 60, TIERS[0].slots, Cache(1 << 20))
    troubles = shelf.open()
    shelf._check()
    known = expected(whole)[0] + Counter({(LAST, 0): 7.0, (LAST + 60, 0): 7.0})
    found = counted(shelf, START, END)
    for key, value in found.items():
        assert value == known[key], key
    for slot, _ in known:
        if shelf.path(slot) != path:
            assert (slot, 0) in found
    if suffix == "-shm":  # made anew from the log
        assert not troubles
        assert found == known


def crashed(whole: Path, new_directory) -> Path:
    directory, copy = new_directory() / "running", new_directory() / "crashed"
    shutil.copytree(whole, directory)
    history, shelves, _ = opened(directory)
    history.add(frame([(0, 7.0, 1.0)], LAST, 60))
    history.save()
    with closing(sqlite3.connect(shelves[0].path(LAST))) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM parts").fetchall()
        history.add(frame([(0, 7.0, 1.0)], LAST + 60, 60))
        history.save()
        shutil.copytree(directory, copy)
    return copy


def test_what_only_a_read_finds_is_counted_and_answered_without(whole, new_directory):
    directory = new_directory() / "state"
    shutil.copytree(whole, directory)
    history, shelves, _ = opened(directory)
    path = shelves[0].path(START)
    data = bytearray(path.read_bytes())
    for at in range(4096 * 6, len(data) - 4096, 4096):
        data[at + 100 : at + 4000] = b"\xff" * 3900
    path.write_bytes(data)
    found = counted(shelves[0], START, END)
    assert shelves[0].damaged
    assert {key: v for key, v in expected(whole)[0].items() if key[0] > START + 86400} == {
        key: v for key, v in found.items() if key[0] > START + 86400
    }
    goes_on(history, shelves, directory)
