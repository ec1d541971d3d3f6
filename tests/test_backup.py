"""A directory as rows: all of it, only what is asked for, and while somebody writes."""

import io
from collections import Counter

import pytest

from aggd import backup, ndjson
from aggd.backup import Asked, Source
from aggd.errors import StorageError
from aggd.store.archive import Row
from aggd.store.cache import Cache
from aggd.store.catalogue import Catalogue
from aggd.store.segment import Change
from aggd.store.series import Kind, Limits, Registry
from aggd.store.shelf import Shelf
from aggd.units import HOUR, MINUTE
from tests.state import END, MINUTES, NAMES, START, config, content, fill
from tests.store.frames import counted

TAGS = ("bare", "of:a.one", "z:1", "z:2")


@pytest.fixture(scope="module")
def state(new_directory):
    return fill(new_directory())


def exported(state, asked: Asked = Asked()) -> list[Row]:  # noqa: B008, it is frozen
    out = io.BytesIO()
    rows = backup.export(Source(state, config(state)), asked, ndjson.Writer(out), lambda _: None)
    out.seek(0)
    found = [row for _, row in ndjson.read(out)]
    assert rows == len(found)
    return found


def keys(rows: list[Row]) -> list[tuple]:
    return [(row.start, row.kind, row.name) for row in rows]


def test_every_series_of_every_slot_of_every_tier_is_one_row(state):
    rows = exported(state)
    by_width = Counter(row.width for row in rows)
    assert {10, MINUTE, HOUR} == set(by_width)
    assert by_width[MINUTE] == MINUTES * len(NAMES) * len(Kind)
    assert by_width[HOUR] == len(NAMES) * len(Kind)
    every = [(row.width, *key) for row, key in zip(rows, keys(rows), strict=True)]
    assert len(set(every)) == len(every)
    assert {row.kind for row in rows} == {kind.word for kind in Kind}


def test_counts_are_those_of_what_is_kept(state):
    kept = content(state, MINUTE)
    rows = exported(state, Asked(resolution="minute", kind=Kind.COUNTER))
    assert {row.width for row in rows} == {MINUTE}
    assert sorted(row.count for row in rows) == sorted(
        found[0] for (_, kind, *_), found in kept.items() if kind is Kind.COUNTER
    )


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (Asked(match="a.*"), {"a.one", "a.two"}),
        (Asked(match="b.three"), {"b.three"}),
        (Asked(match="none"), set()),
        (Asked(tags=("of:a.two", "bare")), {"a.two"}),
        (Asked(tags=("of:a.two", "of:a.one")), set()),
    ],
)
def test_only_the_series_that_are_asked_for_are_written(state, asked, names):
    rows = exported(state, asked._replace(resolution="minute"))
    assert {row.name for row in rows} == names
    assert len(rows) == MINUTES * len(Kind) * len(names)


@pytest.mark.parametrize(
    ("start", "end", "minutes"),
    [
        (START, START + MINUTE, range(1)),
        (START + 30, START + 90, range(2)),
        (START + 60, START + 61, range(1, 2)),
        (START + 58 * MINUTE, START + 62 * MINUTE, range(58, 62)),
        (END, END + HOUR, range(0)),
        (START + 5, START + 5, range(0)),
    ],
)
def test_a_window_takes_the_slots_that_overlap_it(state, start, end, minutes):
    asked = Asked(start, end, "a.one", kind=Kind.GAUGE, resolution="minute")
    plan = Source(state, config(state)).plan(asked)
    source = Source(state, config(state))
    found = [slot for step in plan for slot, _ in source.read(step)]
    assert found == [START + MINUTE * minute for minute in minutes]


def test_a_step_is_small_whatever_there_is(state, monkeypatch):
    source = Source(state, config(state))
    whole = exported(state, Asked(resolution="minute"))
    monkeypatch.setattr(backup, "GROUP", dict.fromkeys(Kind, 4))
    monkeypatch.setattr(backup, "SLOTS", 7)
    steps = source.plan(Asked(resolution="minute"))
    for step in steps:
        assert step.end - step.start <= 7 * MINUTE
        assert len(set((step.ids // 4).tolist())) == 1
    assert sorted(keys(exported(state, Asked(resolution="minute")))) == sorted(keys(whole))


def test_intervals_of_any_length_are_found(directory):
    (directory / "interval-30s").mkdir(parents=True)
    (directory / "interval-soon").mkdir()
    tiers = backup.tiers_in(directory, config(directory))
    assert [(tier.name, tier.width) for tier in tiers] == [
        ("interval", 10), ("interval", 30), ("minute", 60), ("hour", 3600), ("day", 86400),
    ]  # fmt: skip


def test_a_directory_that_is_not_there_is_refused(directory):
    with pytest.raises(StorageError, match="is no directory"):
        Source(directory / "none", config(directory))


class Writing(Shelf):
    """A shelf beside whose reads somebody replaces a part, some times."""

    def __init__(self, other: Shelf, times: int) -> None:
        super().__init__(other.directory, other.width, other.capacity, Cache(0))
        self.other, self.times = other, times

    def read_parts(self, *asked, **more):
        if self.times:
            self.times -= 1
            value = float(100 + self.times)
            change = Change(self.other.number(), counted(START, value, width=MINUTE), ())
            self.other.save(0, [change._replace(parts=self.other.parts(START))])
        return super().read_parts(*asked, **more)


@pytest.fixture
def written(directory):
    """A minute of one counter, and the shelf of who writes it."""
    registry = Registry(Limits())
    registry.resolve(Kind.COUNTER, "c", TAGS, START)
    Catalogue(directory / "catalogue.db").save_names(registry)
    shelf = Shelf(directory / "minute", MINUTE, 100, Cache(0))
    shelf.open()
    shelf.save(0, [Change(shelf.number(), counted(START, 1.0, width=MINUTE), ())])
    return directory, shelf


@pytest.mark.parametrize("times", [0, 1, 3])
def test_what_is_replaced_while_it_is_read_is_read_again(written, times):
    directory, shelf = written
    source = Source(directory, config(directory))
    reader = Writing(shelf, times)
    assert reader.look() == []
    (step,) = source.plan(Asked(resolution="minute"))
    ((slot, rows),) = source.read(step._replace(shelf=reader))
    assert slot == START
    assert rows.sum.tolist() == [100.0 if times else 1.0]  # what the last one wrote


def test_slots_that_never_stand_still_are_an_error(written):
    directory, shelf = written
    (step,) = Source(directory, config(directory)).plan(Asked(resolution="minute"))
    reader = Writing(shelf, 1 << 20)
    reader.look()
    with pytest.raises(StorageError, match="changes faster"):
        next(Source(directory, config(directory)).read(step._replace(shelf=reader)))


def test_parts_of_one_slot_are_one_row(written):
    directory, shelf = written
    shelf.save(0, [Change(shelf.number(), counted(START, 5.0, width=MINUTE), ())])
    ((row),) = exported(directory)
    assert (row.count, row.sum) == (2.0, 6.0)


def test_nothing_in_a_directory_changes(state):
    before = {path: path.read_bytes() for path in state.rglob("*.db")}
    exported(state)
    assert {path: path.read_bytes() for path in state.rglob("*.db")} == before
    assert {path.suffix for path in state.rglob("*")} <= {".db", ".db-wal", ".db-shm", ""}
