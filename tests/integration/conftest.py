"""Daemons of one test."""

import signal

import pytest

from tests.daemon import Daemon


@pytest.fixture
def start():
    """Start daemons as `Daemon` does; those that still run when the test ends are killed."""
    running = []

    def one_more(*options: str, **environment: str) -> Daemon:
        running.append(Daemon(*options, **environment))
        return running[-1]

    yield one_more
    for daemon in running:
        if daemon.process.poll() is None:
            daemon.stop(signal.SIGKILL)
