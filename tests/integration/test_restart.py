"""Restarts under a systemd that holds the sockets."""

import signal
import socket
import time
from threading import Thread

import pytest

from aggd import sockets
from tests.daemon import Daemon, eventually

DATAGRAMS = 20_000
PER_SECOND = 5_000
RESTARTS = 3
BUFFER = 32 << 20  # bytes, as aggd.socket asks for
RECEIVED, CAPACITY = 0, 1  # indices of SK_MEMINFO_RMEM_ALLOC and SK_MEMINFO_RCVBUF


class Sender(Thread):
    """Sends numbered datagrams at a steady pace, each with the next value of one timer.

    It waits while the kernel holds half of what it may: where that is the stock 208 KiB and
    not 32 MiB, a restart takes longer than the buffer lasts and the loss would be the kernel's.
    """

    def __init__(self, held: socket.socket) -> None:
        super().__init__()
        self.sent = 0
        self._held = held

    def run(self) -> None:
        begun = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(self._held.getsockname())
            for number in range(DATAGRAMS):
                time.sleep(max(0.0, begun + number / PER_SECOND - time.monotonic()))
                eventually(self._has_room)
                sock.send(b"restart.n:%d|ms" % number)
                self.sent += 1

    def _has_room(self) -> bool:
        info = self._held.getsockopt(socket.SOL_SOCKET, sockets.SO_MEMINFO, sockets.MEMINFO.size)
        fields = sockets.MEMINFO.unpack(info)
        return fields[RECEIVED] < fields[CAPACITY] / 2


@pytest.fixture
def held():
    """The socket that outlives every daemon."""
    with sockets.open_socket("127.0.0.1", 0, BUFFER, share=False) as sock:
        yield sock


@pytest.fixture(params=["compiled", "python"])
def start(request, held, tmp_path):
    """Start a daemon on the socket and the state of the one before."""
    running = []

    def one_more() -> Daemon:
        compiled = str(request.param == "compiled").lower()
        state = ("--state-dir", str(tmp_path))
        daemon = Daemon(*state, given=[("udp", held)], AGGD_LISTEN__COMPILED=compiled)
        running.append(daemon)
        return daemon

    yield one_more
    for daemon in running:
        if daemon.process.poll() is None:
            daemon.stop(signal.SIGKILL)


def test_restarts_lose_no_datagram(start, held):
    daemon, sender = start(), Sender(held)
    assert daemon.udp == held.getsockname()
    sender.start()
    for number in range(1, RESTARTS + 1):
        share = number * DATAGRAMS // (RESTARTS + 1)
        eventually(lambda share=share: sender.sent >= share)
        assert daemon.stop()[0] == 0
        daemon = start()
    sender.join()
    answer = daemon.stats("restart.n", DATAGRAMS, last="1h")
    assert round(answer["sum"]) == DATAGRAMS * (DATAGRAMS - 1) // 2  # none twice, none lost
    assert (answer["min"], answer["max"]) == (0, DATAGRAMS - 1)
    assert sockets.kernel_drops(held) == 0
    assert daemon.stop()[0] == 0
