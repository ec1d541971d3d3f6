"""What was taken out goes in: the same in every tier, once, and only where it is sound."""

import io
import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from aggd import backup, ndjson, parquet
from aggd.backup import Asked, Source
from aggd.errors import StorageError
from aggd.restore import restoring
from aggd.sources import take
from aggd.store.disk import Disk
from aggd.store.rollup import History
from aggd.store.series import Kind, Registry
from aggd.units import DAY, HOUR, MINUTE
from tests.state import END, MINUTES, NAMES, START, config, content, fill

NOW = START + 3 * DAY
FORMS = {"ndjson": ndjson, "parquet": parquet}
ROW = {
    "name": "new.one", "kind": "counter", "tags": {"env": "prod"}, "start": "2023-11-15T00:05:00Z",
    "width": 60, "count": 2.0, "sum": 5.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def state(new_directory):
    return fill(new_directory())


@pytest.fixture
def copy(state, directory):
    """The same state, to be changed."""
    return Path(shutil.copytree(state, directory / "copy"))


def exported(state: Path, form: str, asked: Asked, to: Path) -> Path:
    with to.open("wb") as out:
        source = Source(state, config(state))
        backup.export(source, asked, FORMS[form].Writer(out), lambda _: None)
    return to


def lines(to: Path, *rows: dict | str) -> Path:
    to.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return to


@contextmanager
def held(directory: Path, merging: bool = False):
    with restoring(directory, config(directory), NOW, merging) as restoration:
        yield restoration
    assert restoration.troubles == []


def taken(directory: Path, *files: Path, merging: bool = False):
    """What became of some files, and what of them was refused."""
    with held(directory, merging) as restoration:
        refused = [r for file in files for r in take(restoration, file, config(directory), print)]
    return restoration.counts, refused


@pytest.fixture(scope="module")
def kept(state) -> dict[int, dict]:
    """What the state holds, by width."""
    return {width: content(state, width) for width in (10, MINUTE, HOUR)}


@pytest.mark.parametrize("form", FORMS)
def test_an_export_of_everything_gives_the_same_directory(state, kept, directory, form):
    file = exported(state, form, Asked(), directory / "rows")
    counts, refused = taken(directory / "b", file)
    assert refused == []
    assert (counts.held, counts.late) == (0, 0)
    for width in (10, MINUTE):
        assert content(directory / "b", width) == kept[width]
    hours = content(directory / "b", HOUR)  # the last one wasn't over there
    assert {key: hours[key] for key in kept[HOUR]} == kept[HOUR]
    assert {key[0] for key in hours.keys() - kept[HOUR].keys()} == {START + HOUR}


def test_a_whole_directory_and_one_file_of_it_give_the_same_rows(state, kept, directory):
    (minutes,) = (state / "minute").glob("*.db")
    assert taken(directory / "b", state)[1] == []
    assert taken(directory / "c", minutes)[1] == []
    for other in "bc":
        assert content(directory / other, MINUTE) == kept[MINUTE]
    assert content(directory / "c", 10) == {}


def test_coarser_slots_that_a_file_lacks_are_rolled_up(state, kept, directory):
    minutes = exported(state, "ndjson", Asked(resolution="minute"), directory / "rows")
    taken(directory / "b", minutes)
    hours = content(directory / "b", HOUR)
    assert {key[0] for key in hours} == {START, START + HOUR}
    for key, rows in kept[HOUR].items():
        assert hours[key][0] == pytest.approx(rows[0], rel=1e-12)
    days = content(directory / "b", DAY)
    assert len(days) == len(NAMES) * len(Kind)
    for name in NAMES:
        key = (Kind.COUNTER, name, ("bare", f"of:{name}", "z:1", "z:2"))
        every = sum(rows[0] for k, rows in kept[MINUTE].items() if k[1:] == key)
        assert days[(START, *key)][0] == pytest.approx(every, rel=1e-12)


def answer(directory: Path, start: int, end: int) -> dict:
    """Counts of all counters in a window, as a daemon that starts on the directory sees them."""
    settings = config(directory)
    registry = Registry(backup.limits(settings))
    disk = Disk(directory, backup.tiers(settings), 1 << 40, 1 << 20)
    disk.hold("a test")
    saved, troubles = disk.open(registry)
    assert troubles == []
    history = History(backup.tiers(settings), 1 << 29, 1 << 26, NOW + HOUR, disk.shelves)
    history.close(NOW + HOUR)
    found: dict[str, float] = {}
    for frame in history.tile(start, end).frames:
        counters = frame.counters
        for one, total in zip(
            registry.series(counters.series), counters.count.tolist(), strict=True
        ):
            found[one.name] = found.get(one.name, 0.0) + total
    disk.release()
    assert saved
    return found


@pytest.mark.parametrize("resolution", [None, "interval", "minute"])
def test_a_daemon_counts_every_sample_once(state, kept, directory, resolution):
    asked = Asked(resolution=resolution)
    taken(directory / "b", exported(state, "ndjson", asked, directory / "rows"))
    finest = kept[10 if resolution == "interval" else MINUTE]
    for start, end in (START, END), (START, START + DAY), (START + HOUR, END):
        wanted: dict[str, float] = {}
        for (slot, kind, name, _), rows in finest.items():
            if kind is Kind.COUNTER and start <= slot < end:
                wanted[name] = wanted.get(name, 0.0) + rows[0]
        assert answer(directory / "b", start, end) == pytest.approx(wanted)


def test_what_is_there_is_passed_over_and_changes_nothing(kept, copy, directory):
    file = exported(copy, "ndjson", Asked(end=START + HOUR), directory / "rows")
    counts, refused = taken(copy, file)
    assert (counts.taken, refused) == (0, [])
    assert counts.held > 60 * len(NAMES) * len(Kind)
    for width in (MINUTE, HOUR):
        now = content(copy, width)
        assert {key: now[key] for key in kept[width]} == kept[width]


def test_merging_adds_to_what_is_there(kept, copy, directory):
    before = kept[HOUR]
    file = exported(copy, "ndjson", Asked(resolution="hour"), directory / "rows")
    counts, _ = taken(copy, file, file, merging=True)
    assert (counts.taken, counts.held) == (2 * len(before), 0)
    for key, rows in content(copy, HOUR).items():
        if key in before:
            assert rows[0] == pytest.approx(3 * before[key][0], rel=1e-12)


def test_a_series_that_a_slot_lacks_joins_it(copy, directory):
    file = lines(directory / "rows", ROW)
    counts, refused = taken(copy, file, file)
    assert (counts.taken, counts.held, refused) == (1, 1, [])
    key = (START + 5 * MINUTE, Kind.COUNTER, "new.one", ("env:prod",))
    assert content(copy, MINUTE)[key] == [2.0, 5.0]
    assert content(copy, HOUR)[(START, *key[1:])] == [2.0, 5.0]
    assert len(content(copy, MINUTE)) == MINUTES * len(NAMES) * len(Kind) + 1


def test_what_the_last_daemon_left_is_rolled_up_once(kept, copy, directory):
    row = {**ROW, "start": START + HOUR, "width": HOUR}
    assert taken(copy, lines(directory / "rows", row))[0].taken == 1
    hours = [key for key in content(copy, HOUR) if key[0] == START + HOUR]
    assert len(hours) == len(NAMES) * len(Kind) + 1
    wanted = {"new.one": 2.0}
    for (_, kind, name, _), rows in kept[MINUTE].items():
        if kind is Kind.COUNTER:
            wanted[name] = wanted.get(name, 0.0) + rows[0]
    assert answer(copy, START, START + DAY) == pytest.approx(wanted)


def test_a_row_that_is_there_twice_is_taken_once_unless_merged(directory):
    file = lines(directory / "rows", ROW, {**ROW, "sum": 7.0})
    counts, _ = taken(directory / "b", file)
    assert (counts.taken, counts.held) == (1, 1)
    ((found),) = content(directory / "b", MINUTE).values()
    assert found == [2.0, 5.0]
    taken(directory / "c", file, merging=True)
    ((found),) = content(directory / "c", MINUTE).values()
    assert found == [4.0, 12.0]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**ROW, "width": 30}, "width must be one that this directory keeps, 10, 60, 3600, 86400"),
        ({**ROW, "start": "2023-11-15T00:05:01Z"}, "start must be a multiple of width 60"),
        ({**ROW, "start": "soon"}, "time must be RFC 3339"),
        ({**ROW, "start": 1e12}, "time must be"),
        ({**ROW, "start": NOW}, "isn't over yet"),
        ({**ROW, "start": NOW + 10, "width": 10}, "isn't over yet"),
        ({**ROW, "name": "x\n# HELP y"}, "without control characters"),
        ({**ROW, "name": "x" * 600}, "name"),
        ({**ROW, "count": -1.0}, "count must be"),
        ({**ROW, "width": 0}, "width must be"),
        ("{", "truncated"),
    ],
)
def test_a_bad_row_is_refused_with_its_number_and_its_neighbours_are_taken(directory, row, reason):
    file = lines(directory / "rows", ROW, row, {**ROW, "name": "other"})
    counts, (refusal,) = taken(directory / "b", file)
    assert refusal.place == "2"
    assert reason in refusal.reason
    assert counts.taken == 2


def test_the_open_interval_is_taken_as_it_is(directory):
    file = lines(directory / "rows", {**ROW, "start": NOW, "width": 10})
    assert taken(directory / "b", file)[0].taken == 1
    assert answer(directory / "b", NOW, NOW + MINUTE) == {"new.one": 2.0}
    assert answer(directory / "b", NOW - HOUR, NOW + HOUR) == {"new.one": 2.0}


def test_what_is_older_than_its_tier_keeps_is_counted(directory, monkeypatch):
    monkeypatch.setenv("AGGD_RETENTION__INTERVAL", "2m")
    slots = [{**ROW, "start": NOW - 10 * k, "width": 10} for k in range(1, 14)]
    counts, refused = taken(directory / "b", lines(directory / "rows", *slots))
    assert (counts.taken + counts.late, refused) == (13, [])


def test_gauges_go_on_from_the_latest_level(state, directory):
    with held(directory / "b") as restoration:
        assert list(take(restoration, state, config(state), print)) == []
        registry, source = restoration.registry, Source(state, config(state)).registry
        for one in source.find("*", kind=Kind.GAUGE):
            (found,) = registry.named(one.name, one.tags, Kind.GAUGE)
            assert registry.levels[found.id] == source.levels[one.id]
            assert found.first_seen == START
            assert found.last_seen >= one.last_seen
    again = Source(directory / "b", config(state)).registry
    assert {one.name for one in again.find("*")} == set(NAMES)
    (found,) = again.named("a.one", kind=Kind.GAUGE)
    assert again.levels[found.id] == registry.levels[registry.named("a.one", kind=Kind.GAUGE)[0].id]


def test_ids_of_another_directory_are_those_of_the_same_names_here(state, kept, directory):
    file = lines(directory / "rows", ROW)  # takes the first id
    taken(directory / "b", file, state)
    found = content(directory / "b", MINUTE)
    assert {key: found[key] for key in kept[MINUTE]} == kept[MINUTE]


def test_tiers_that_this_directory_does_not_keep_are_told(directory):
    other = fill(directory / "a", minutes=1)
    (intervals,) = (other / "interval-10s").glob("*.db")
    (other / "interval-30s").mkdir()
    intervals.rename(other / "interval-30s" / "2023-11-15.db")
    _, refused = taken(directory / "b", other)
    assert refused
    assert all("width must be one" in refusal.reason for refusal in refused)


def test_a_directory_that_is_in_use_is_refused(directory):
    with held(directory), pytest.raises(StorageError, match="in use by aggd import"):
        taken(directory)


def test_a_file_out_of_its_folder_is_refused(state, directory):
    (minutes,) = (state / "minute").glob("*.db")
    lost = Path(shutil.copy(minutes, directory / "lost.db"))
    with pytest.raises(StorageError, match="folder of its tier"):
        taken(directory / "b", lost)
    (directory / "minute").mkdir()
    shutil.copy(minutes, directory / "minute")
    with pytest.raises(StorageError, match="no catalogue"):
        taken(directory / "b", directory / "minute" / minutes.name)


def test_what_was_taken_before_an_end_by_force_is_kept_and_rolled_up(directory):
    file = lines(directory / "rows", ROW)

    def interrupted() -> None:
        with held(directory / "b") as restoration:
            restoration.add(next(row for _, row in ndjson.read(io.BytesIO(file.read_bytes()))))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(content(directory / "b", MINUTE)) == len(content(directory / "b", DAY)) == 1


def test_small_batches_give_what_large_ones_give(state, directory, monkeypatch):
    file = exported(state, "ndjson", Asked(resolution="minute"), directory / "rows")
    taken(directory / "b", file)
    monkeypatch.setattr("aggd.restore.ROWS", 7)
    monkeypatch.setattr("aggd.restore.WRITTEN", 1000)
    taken(directory / "c", file)
    for width in (MINUTE, HOUR, DAY):
        assert content(directory / "b", width) == content(directory / "c", width)
