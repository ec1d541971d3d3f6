"""Numbered datagrams, and what a daemon has of them.

    c:1|c  t:7|ms  g:+1|g  s:7|s  late:1|c|T1700000000        the seventh

All lines of a datagram are recorded at once, so every kind tells the same count.
"""

import socket
import time
from threading import Event, Thread
from typing import NamedTuple

from tests.daemon import Daemon

MEMBERS = 100  # different ones that the set is offered
LATE = 3 * 86400  # seconds: every tier but the finest has closed its slot


class Kept(NamedTuple):
    """What a daemon has: samples, the sum of the timer's values, the gauge, late samples."""

    count: int
    sum: int
    level: int
    late: int


class Sender(Thread):
    """Sends numbers from `first` on, some each millisecond, until it is stopped."""

    def __init__(self, address: tuple[str, int], first: int, burst: int = 3) -> None:
        super().__init__()
        self.first = self.next = first
        self._address = address
        self._burst = burst
        self._late = int(time.time()) - LATE
        self._over = Event()

    def run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(self._address)
            while not self._over.wait(0.001):
                try:
                    for _ in range(self._burst):
                        sock.send(datagram(self.next, self._late))
                        self.next += 1
                except ConnectionRefusedError:
                    return  # killed

    def stop(self) -> int:
        """How many numbers were sent."""
        self._over.set()
        self.join()
        return self.next - self.first


def datagram(number: int, late: int) -> bytes:
    """One sample of every kind, and one that belongs to long ago."""
    return b"c:1|c\nt:%d|ms\ng:+1|g\ns:%d|s\nlate:1|c|T%d" % (
        number,
        number % MEMBERS,
        late + number % MEMBERS,
    )


def kept(daemon: Daemon) -> Kept:
    """What a daemon has while nothing is sent to it, which every kind must agree on."""
    found = {name: stats(daemon, name) for name in ("c", "t", "g", "s", "late")}
    count = found["c"]["count"]
    assert [found[name]["count"] for name in "ctgs"] == 4 * [count]
    assert (found["c"]["sum"] or 0) == count
    if count >= 10 * MEMBERS:
        assert found["s"]["unique"] == MEMBERS
    total, level = round(found["t"]["sum"] or 0), round(found["g"]["last"] or 0)
    return Kept(count, total, level, found["late"]["count"])


NOTHING = {"count": 0, "sum": 0, "last": 0}


def stats(daemon: Daemon, name: str) -> dict:
    """Statistics of a series over all that is kept; of one that isn't known, none."""
    status, _ = daemon.request(f"/api/v1/stats/{name}")
    return daemon.ask(f"/api/v1/stats/{name}") if status == 200 else NOTHING


def by_slot(daemon: Daemon, name: str, interval: str, last: str) -> dict[str, int]:
    """Samples of a series in every slot that has any, by its time."""
    asked = {"metric_name": name, "interval": interval, "aggregation": "count", "last": last}
    status, _ = daemon.request(f"/api/v1/stats/{name}")
    buckets = daemon.ask("/api/v1/aggregate", asked)["buckets"] if status == 200 else []
    return {bucket["timestamp"]: bucket["count"] for bucket in buckets if bucket["count"]}
