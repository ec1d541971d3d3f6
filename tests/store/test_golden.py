"""State directories of every version that was ever written: each must be read for good.

    golden/version-1.tar.gz     minute/ and hour/, made by `make` below

A version's file is made once, with the code of that version, and never again:

    .venv/bin/python -c "from tests.store.test_golden import make; make()"
"""

import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from aggd.sketch import quantiles
from aggd.store.cache import Cache
from aggd.store.files import VERSION, connect
from aggd.store.frame import Frame
from aggd.store.merge import merge
from aggd.store.rollup import History, Tier
from aggd.store.shelf import Shelf
from tests.store.frames import frame

GOLDEN = Path(__file__).parent / "golden"
START = 1_700_006_400  # a midnight
TIERS = (Tier("minute", 60, 7 * 86400), Tier("hour", 3600, 90 * 86400))
MINUTES = range(0, 125, 5)  # two hours that are over, and a third that isn't
TIMES = np.arange(300) * 37 % 300 / 7  # more than a digest holds


def samples(minute: int) -> list[tuple[int, float, float]]:
    """What came in a minute: counters, gauges, timers exact and blurred, sets."""
    return [
        (0, minute + 0.5, 1.0),
        (4, 1e300, 1.0),
        (1, minute - 60.0, 1.0),
        (5, -0.0, 1.0),
        (2, minute / 3, 1.0),
        (2, 1e9 + minute, 2.0),
        *((6, minute + float(value), 1.0) for value in TIMES),
        (3, float(minute), 1.0),
        (3, 1.0, 1.0),
    ]


def make() -> None:
    """Write the state directory of the version that this code writes."""
    with TemporaryDirectory() as name:
        shelves, history = opened(Path(name))
        for minute in MINUTES:
            start = START + 60 * minute
            history.add(frame(samples(minute), start, 60))
            history.close(start + 60)
        history.save()
        for shelf in shelves:
            for _ in shelf.compact(START + 7200):
                pass
        with tarfile.open(GOLDEN / f"version-{VERSION}.tar.gz", "x:gz") as archive:
            for path in sorted(Path(name).glob("*/*.db")):
                archive.add(path, path.relative_to(name))


def opened(directory: Path) -> tuple[list[Shelf], History]:
    shelves = [Shelf(directory / t.name, t.width, t.slots, Cache(1 << 20)) for t in TIERS]
    assert [shelf.open() for shelf in shelves] == [[], []]
    return shelves, History(TIERS, 1 << 30, 0, START, shelves)


@pytest.fixture(params=[path.name for path in sorted(GOLDEN.glob("*.tar.gz"))])
def state(request, directory) -> Path:
    with tarfile.open(GOLDEN / request.param) as archive:
        archive.extractall(directory, filter="data")
    return directory


def parts(shelf: Shelf) -> set[int]:
    return {part for slot in shelf.starts(0, 1 << 40) for part in shelf.parts(slot)}


def test_there_is_one_of_every_version():
    found = {path.name for path in GOLDEN.iterdir()}
    assert found == {f"version-{version}.tar.gz" for version in range(1, VERSION + 1)}


def test_it_holds_rows_of_both_shapes(state):
    for path in state.glob("minute/*.db"):
        base = connect(path)
        for table in ("frames", "blocks"):
            assert base.execute(f"SELECT count(*) FROM {table}").fetchone()[0] > 0
        base.close()


def test_every_minute_is_what_it_was(state):
    (minutes, _), _ = opened(state)
    starts = minutes.starts(0, 1 << 40)
    assert starts == [START + 60 * minute for minute in MINUTES]
    assert minutes.closed == START + 7260
    assert minutes.series == 7
    for start, minute in zip(starts, MINUTES, strict=True):
        pieces = minutes.read(start, start + 60, set(minutes.parts(start)))
        is_of(merge(pieces, start, 60, keep=False), [minute])


def test_every_hour_is_what_it_was(state):
    (_, hours), _ = opened(state)
    assert hours.starts(0, 1 << 40) == [START, START + 3600]
    assert hours.closed == START + 7200
    for start in (START, START + 3600):
        pieces = hours.read(start, start + 3600, parts(hours))
        inside = [m for m in MINUTES if start <= START + 60 * m < start + 3600]
        is_of(merge(pieces, start, 3600, keep=False), inside)


def test_a_history_goes_on_with_it(state):
    shelves, history = opened(state)
    history.add(frame(samples(130), START + 7800, 60))
    history.close(START + 10800)
    history.save()
    found = history.tile(START, START + 10800)
    assert {f.width for f in found.frames} == {3600}
    is_of(merge(found.frames, START, 86400, keep=False), [*MINUTES, 130])
    for shelf in shelves:
        assert shelf.damaged == 0
        shelf._check()


def is_of(got: Frame, minutes: list[int]) -> None:
    """A frame is of all samples of these minutes."""
    n, m = len(minutes), np.array(minutes, float)
    assert got.counters.series.tolist() == [0, 4]
    assert got.counters.count.tolist() == [n, n]
    assert got.counters.sum.tolist() == [(m + 0.5).sum(), 1e300]  # no more than that
    assert got.gauges.series.tolist() == [1, 5]
    assert got.gauges.last[0] == m[-1] - 60
    assert got.gauges.sum.tolist() == [(m - 60).sum(), 0.0]
    assert got.gauges.low[0] == m[0] - 60
    assert got.gauges.last_time.tolist() == [START + 60 * minutes[-1]] * 2
    assert got.sets.series.tolist() == [3]
    assert np.diff(got.sets.members.offset).tolist() == [len({*minutes, 1})]
    assert got.sets.count.tolist() == [2 * n]
    timers_are_of(got, m)


def timers_are_of(got: Frame, m: np.ndarray) -> None:
    timers, moments = got.timers, got.timers.moments
    assert timers.series.tolist() == [2, 6]
    assert timers.samples.tolist() == [2 * m.size, 300 * m.size]
    assert moments.count.tolist() == [3 * m.size, 300 * m.size]
    every = (m[:, None] + TIMES).ravel()
    assert moments.high.tolist() == [1e9 + m[-1], every.max()]
    assert moments.low.tolist() == [m[0] / 3, every.min()]
    np.testing.assert_allclose(moments.mean[1], every.mean(), rtol=1e-12)
    np.testing.assert_allclose(moments.m2[1], every.var() * every.size, rtol=1e-9)
    assert timers.exact().tolist() == [True, False]
    q = np.array([0.0, 0.1, 0.5, 0.9, 0.99, 1.0])
    answers = quantiles.quantile(timers.digests, moments.low, moments.high, q)
    few = np.sort(np.concatenate((m / 3, np.repeat(1e9 + m, 2))))
    np.testing.assert_allclose(answers[0], np.quantile(few, q), rtol=1e-12)
    ranks = np.searchsorted(np.sort(every), answers[1]) / every.size
    assert (np.abs(ranks - q) <= quantiles.rank_error(q) + 2 / every.size).all()
