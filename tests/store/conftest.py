"""Directories in memory: what a test writes need not outlive a power cut."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def new_directory() -> Iterator[Callable[[], Path]]:
    """Make a directory; SQLite waits for a disk at every write, 10 ms and more."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as every:
        yield lambda: Path(mkdtemp(dir=every))


@pytest.fixture
def directory(new_directory) -> Path:
    return new_directory()
