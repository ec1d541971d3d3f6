"""A full disk makes saving fail and loses nothing; with room again everything is written."""

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from aggd.store.files import connect, forget, writing
from aggd.store.segment import SCHEMA, listing, mark
from tests.store.frames import frame
from tests.store.test_history_disk import LONG, START, Kept

ROOT = Path(__file__).parents[2]
SYS_ADMIN = 1 << 21  # what a mount takes


def may_mount() -> bool:
    status = Path("/proc/self/status")
    if not status.exists():
        return False
    found = next(line for line in status.read_text().splitlines() if line.startswith("CapEff"))
    return bool(int(found.split()[1], 16) & SYS_ADMIN)


class Limited:
    """No file may grow past some size."""

    def __init__(self, directory: Path) -> None:
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self, room: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, self.before[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


class Ballast:
    """A file system with room for some bytes more."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "ballast"
        self.directory = directory

    def fill(self, room: int) -> None:
        free = os.statvfs(self.directory)
        with self.path.open("wb") as ballast:
            ballast.write(bytes(max(0, free.f_bavail * free.f_frsize - room)))

    def free(self) -> None:
        self.path.unlink()


def fill(kept: Kept, minutes: int, size: int) -> None:
    """Samples of two days, so that every save writes to several files."""
    for minute in range(minutes):
        for ago in (0, 86400):
            kept.add(ago, [(i % 32, float(i * minute % 97 + 1)) for i in range(size)])
        kept.now += 60
        kept.close()


def fails(kept: Kept) -> bool:
    """Whether a save fails; if so, all is as it was."""
    try:
        kept.save()
    except (sqlite3.Error, OSError):
        kept.check(0, kept.now + 86400)
        return True
    return False


def walk(directory: Path, disk: Limited | Ballast) -> None:
    """Fill the disk at every place where a save may stop, and go on."""
    kept = Kept(directory / "state", LONG)
    failed = 0
    for room in range(0, 90_000, 9_000):
        fill(kept, 2, 60)
        before = list(kept.saved)
        disk.fill(room)
        try:
            failed += fails(kept)
            failed += fails(kept)
        finally:
            disk.free()
        if kept.saved == before:
            kept.check(0, kept.now + 86400)
        fill(kept, 1, 10)
        kept.save()
        kept.check(0, kept.now + 86400)
        kept.crash()
        kept.check(0, kept.now + 86400)
    assert failed > 4, failed
    print("nothing was lost")


@contextmanager
def mounted(directory: Path) -> Iterator[Path]:
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "aggd", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def run(directory: Path, disk: str) -> None:
    script = (
        f"import tests.store.test_full_disk as t, pathlib; d = pathlib.Path({str(directory)!r}); "
    )
    done = subprocess.run(
        [sys.executable, "-c", script + f"t.walk(d, t.{disk}(d))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "nothing was lost\n", done.stderr


def test_a_file_that_may_not_grow_costs_nothing(directory):
    run(directory, "Limited")


if may_mount():

    def test_a_full_disk_costs_nothing(directory):
        with mounted(directory / "small") as small:
            run(small, "Ballast")

    def test_a_disk_that_fills_while_a_file_is_made_leaves_none_or_a_whole_one(directory):
        with mounted(directory / "small") as small:
            ballast, path = Ballast(small), small / "some.db"
            for room in range(0, 160_000, 4096):
                ballast.fill(room)
                with suppress(sqlite3.Error), writing(path, SCHEMA) as base:
                    mark(base, {"closed": room})
                ballast.free()
                with writing(path, SCHEMA) as base:
                    mark(base, {"next": 1})
                assert listing(path)[1].keys() >= {"next"}
                forget(path)


def test_what_one_of_two_files_took_is_not_counted_twice(directory):
    kept = Kept(directory)
    fill(kept, 2, 20)
    shelf = kept.shelves[0]
    newest = shelf.path(kept.now)
    newest.mkdir(parents=True)  # where a file can't be made
    with pytest.raises(sqlite3.OperationalError):
        kept.save()
    with_one = [path for path in shelf.directory.glob("*.db") if path.is_file()]
    assert with_one
    kept.check(0, kept.now + 86400)
    newest.rmdir()
    kept.save()
    kept.check(0, kept.now + 86400)
    kept.crash()
    kept.check(0, kept.now + 86400)
    for path in with_one:
        connect(path).close()


def test_a_reader_between_write_and_mark_finds_each_sample_once(directory, monkeypatch):
    kept = Kept(directory)
    fill(kept, 2, 20)
    kept.history.add(frame([(0, 5.0, 1.0)], kept.now))
    kept.known.append(kept.known[0]._replace(at=kept.now, series=0, value=5.0))
    for shelf in kept.shelves:
        save = shelf.save

        def looked_at(closed, changes, save=save):
            kept.check(0, kept.now + 86400)
            save(closed, changes)
            kept.check(0, kept.now + 86400)

        monkeypatch.setattr(shelf, "save", looked_at)
    kept.save()
    kept.check(0, kept.now + 86400)


def test_the_days_stand_where_they_should(directory):
    kept = Kept(directory)
    fill(kept, 2, 20)
    kept.save()
    assert {path.stem[:10] for path in kept.shelves[0].directory.glob("*.db")} == {
        "2023-11-14",
        "2023-11-15",
    }
    assert START % 86400 == 0
