"""The interval is closed on time, whatever the clock does."""

import asyncio
from concurrent.futures import Executor, Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.flush import GRACE, flush_forever, next_boundary


class AtOnce(Executor):
    """Runs what it is given before it returns."""

    def submit(self, fn, /, *args, **kwargs):
        done = Future()
        done.set_result(fn(*args, **kwargs))
        return done


@pytest.fixture
async def closed(clock):
    boundaries = []
    task = asyncio.create_task(flush_forever(boundaries.append, clock, 10, AtOnce()))
    await clock.sleeping()
    yield boundaries
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@given(st.floats(0, 4e9), st.sampled_from([1, 2, 5, 10, 30, 60]))
def test_the_next_boundary_is_the_first_multiple_after_now(now, interval):
    boundary = next_boundary(now, interval)
    assert boundary % interval == 0
    assert now < boundary <= now + interval


async def test_an_interval_is_closed_a_moment_after_its_end(clock, closed):
    clock.advance(10)
    await asyncio.sleep(0)
    assert closed == []
    clock.advance(GRACE)
    await clock.sleeping()
    assert closed == [1_700_000_010]


async def test_a_late_wake_up_closes_the_boundary_that_was_due(clock, closed):
    clock.advance(14)
    await clock.sleeping()
    assert closed == [1_700_000_010]
    clock.advance(6 + GRACE)
    await clock.sleeping()
    assert closed == [1_700_000_010, 1_700_000_020]


async def test_skipped_boundaries_are_closed_together(clock, closed):
    clock.advance(57)
    await clock.sleeping()
    assert closed == [1_700_000_050]


async def test_a_clock_set_back_closes_nothing_until_its_next_boundary(clock, closed):
    clock.time -= 100
    clock.advance(105)
    await clock.sleeping()
    assert closed == []
    clock.advance(5 + 2 * GRACE)
    await clock.sleeping()
    assert closed == [1_700_000_010]


async def test_boundaries_do_not_drift(clock, closed):
    clock.advance(GRACE)
    for _ in range(50):
        clock.advance(10.003)
        await clock.sleeping()
    assert closed == [1_700_000_010 + 10 * k for k in range(50)]
