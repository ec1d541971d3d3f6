"""A clock that tests turn, and a daemon on free ports of the loopback."""

import asyncio
import heapq

import pytest
from hypothesis import settings

from tests.daemon import Daemon
from tests.store.conftest import directory, new_directory  # noqa: F401, for tests beside store

# Machines that run tests are shared: how long one example takes says nothing.
settings.register_profile("aggd", deadline=None)
# For a second Python, where what is looked for is what Python does otherwise.
settings.register_profile("brief", deadline=None, max_examples=20)
settings.load_profile("aggd")


class FakeClock:
    """Time stands still until ``advance``; sleepers wake in order."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.time = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        self._count += 1
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time + seconds, self._count, woken))
        await woken

    async def sleeping(self, count: int = 1) -> None:
        """Return when so many sleep."""
        while sum(not woken.done() for _, _, woken in self._sleepers) < count:
            await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """Let time pass; wake those who waited for it."""
        self.time += seconds
        while self._sleepers and self._sleepers[0][0] <= self.time:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["compiled", "python"])
def daemon(request):
    """A running daemon, once with each lane."""
    running = Daemon(AGGD_LISTEN__COMPILED=str(request.param == "compiled").lower())
    assert f"{request.param} lane" in running.summary
    yield running
    assert running.stop()[0] == 0
