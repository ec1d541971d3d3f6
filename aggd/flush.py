"""Closing the interval on time.

    08:00:00      08:00:10      08:00:20
        |-------------|-------------|
                       ^ close(08:00:10), a moment later

Boundaries are multiples of the interval on the wall clock, computed from the
clock each time: nothing drifts, a late wake-up closes the boundary that was
due, and a clock that jumps shifts no boundary.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol

GRACE = 0.05  # seconds that columns get to arrive; a later one is a late part of its slot


class Clock(Protocol):
    """Seconds since the epoch, and a way to wait."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long; at once when it is not positive."""
        ...


class WallClock:
    """The clock on the wall."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait that long; at once when it is not positive."""
        await asyncio.sleep(max(0.0, seconds))


def next_boundary(now: float, interval: int) -> int:
    """First multiple of `interval` after `now`, in seconds."""
    return int(now // interval + 1) * interval


async def boundary_due(clock: Clock, interval: int, grace: float = 0.0) -> int:
    """Wait for the next boundary and `grace` seconds; the latest that has passed then."""
    while True:
        boundary = next_boundary(clock.now(), interval)
        await clock.sleep(boundary + grace - clock.now())
        due = int(clock.now() // interval) * interval
        if due >= boundary:
            return due  # else woken early, or the clock was set back


async def flush_forever(
    close: Callable[[int], object], clock: Clock, interval: int, thread: Executor
) -> None:
    """Call ``close(boundary)`` in a thread at every boundary, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = await boundary_due(clock, interval, GRACE)
        await loop.run_in_executor(thread, close, due)
