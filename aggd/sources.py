"""Where rows come from: NDJSON, Parquet, state directories and single files of them."""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from aggd import ndjson, parquet
from aggd.backup import CATALOGUE, Asked, Source
from aggd.config import Config
from aggd.errors import StorageError
from aggd.protocol.times import format_time
from aggd.restore import Restoration
from aggd.store.archive import Row

OFTEN = 1000  # rows between two looks at how far a file is read
SQLITE = b"SQLite format 3\0"  # the first bytes of every file of a tier


class Refusal(NamedTuple):
    """A row, or a slot of another directory, that was not taken: where it stands, and why."""

    place: str
    reason: str


def take(
    restoration: Restoration, path: Path, config: Config, done: Callable[[float], None]
) -> Iterator[Refusal]:
    """Take all of a file or of a state directory, and tell the fraction that is done.

    Parameters
    ----------
    path : Path
        NDJSON, Parquet, one file of a tier, or a whole directory; - for NDJSON from
        standard input.

    Raises
    ------
    StorageError, OSError
        Where it can't be read.
    """
    if str(path) == "-":
        yield from _rows(restoration, ndjson.read(sys.stdin.buffer), lambda: None)
    elif path.is_dir():
        yield from _sections(restoration, Source(path, config), done)
    else:
        with path.open("rb") as file:
            if file.peek().startswith(SQLITE):
                yield from _sections(restoration, _source_of(path.resolve(), config), done)
            else:
                read = parquet.read if file.peek().startswith(parquet.MAGIC) else ndjson.read
                size = max(1, path.stat().st_size)
                yield from _rows(restoration, read(file), lambda: done(file.tell() / size))
    restoration.end()


def _source_of(path: Path, config: Config) -> Source:
    """A directory of which one file is wanted."""
    source = Source(path.parents[1], config, path)
    if path.parent not in [shelf.directory for shelf in source.shelves]:
        raise StorageError(
            f"{path} must stand in the folder of its tier, such as minute, beside {CATALOGUE}"
        )
    return source


def _sections(
    restoration: Restoration, source: Source, done: Callable[[float], None]
) -> Iterator[Refusal]:
    if not (source.directory / CATALOGUE).exists():
        raise StorageError(
            f"{source.directory} has no {CATALOGUE} to say what its series are called"
        )
    for trouble in source.troubles:
        yield Refusal(str(trouble.path), trouble.message)
    steps = source.plan(Asked())
    for number, step in enumerate(steps, 1):
        for start, section in source.read(step):
            try:
                restoration.add_section(source, step, start, section)
            except ValueError as error:
                place = f"{step.shelf.directory.name} {format_time(start)}"
                yield Refusal(place, f"{error}; {section.series.size} rows")
        done(number / len(steps))
    if source.damaged:
        yield Refusal(str(source.directory), f"{source.damaged} rows can't be read")


def _rows(
    restoration: Restoration, rows: Iterable[tuple[int, Row | ValueError]], look: Callable[[], None]
) -> Iterator[Refusal]:
    for number, found in rows:
        try:
            if isinstance(found, ValueError):
                raise found
            restoration.add(found)
        except ValueError as error:
            yield Refusal(str(number), str(error))
        if number % OFTEN == 0:
            look()
