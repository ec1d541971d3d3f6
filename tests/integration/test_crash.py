"""The real command, killed at any moment: what was on disk is there, and nothing twice.

base ---- sent, and at some moment known to be on disk ---- kill
  |              floor                                      ceiling
  +-- after the restart the count is between the two, and becomes the next base
"""

import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests.daemon import Daemon, eventually
from tests.integration.traffic import Kept, Sender, by_slot, kept, stats

DIRECTORIES = 2  # at once: while one daemon starts the other is sent to
KILLS = 20  # on each directory
STOPS = 10
OPTIONS = "--interval", "1s", "--state-dir"


class Witness:
    """Knows how much a daemon has on disk for sure: what was there two writes ago."""

    def __init__(self, daemon: Daemon) -> None:
        self.floor = 0
        self.whole: dict[str, int] = {}  # seconds that were over
        self._daemon = daemon
        self._seen: list[tuple[float, dict[str, int]]] = []

    def look(self) -> None:
        """Ask what there is, and whether what was there before has been written."""
        found = by_slot(self._daemon, "c", "1s", "5m")
        writes = self._daemon.figure("aggd_write_seconds_count")
        # One write may have begun before we asked.
        while self._seen and self._seen[0][0] + 2 <= writes:
            seconds = self._seen.pop(0)[1]
            self.floor = sum(seconds.values())
            self.whole = {at: n for at, n in seconds.items() if at < max(seconds)}
        self._seen.append((writes, found))


class Crashes:
    """Daemons killed one after another on one directory."""

    def __init__(self, start: type[Daemon], directory: str, seed: int) -> None:
        self._start = start
        self.directory = directory
        self.kept = Kept(0, 0, 0, 0)
        self._random = random.Random(seed)
        self._first = 1

    def kill_while_it_starts(self) -> None:
        """Kill a daemon that hasn't said anything yet."""
        command = [sys.executable, "-m", "aggd", "run", "--udp", "127.0.0.1:0"]
        command += ["--http", "127.0.0.1:0", *OPTIONS, self.directory]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(self._random.uniform(0.2, 0.8))
        process.kill()
        process.wait()

    def kill_under_traffic(self, daemon: Daemon, seconds: float, proven: bool) -> Daemon:
        """Send to a daemon, kill it, and see what the next one has.

        If it is to be `proven`, some of what is sent is known to be on disk by then.
        """
        witness, sender = Witness(daemon), Sender(daemon.udp, self._first)
        sender.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end or (proven and witness.floor <= self.kept.count):
            witness.look()
            time.sleep(0.05)
        logged = daemon.stop(signal.SIGKILL)[1]
        sent = sender.stop()
        assert logged == ""
        again = self._start(*OPTIONS, self.directory)
        self.check(again, witness, sent)
        self._first += sent
        return again

    def check(self, daemon: Daemon, witness: Witness, sent: int) -> None:
        """See that a daemon has all that was on disk, and no more than was sent."""
        before, self.kept = self.kept, kept(daemon)
        more = self.kept.count - before.count
        assert 0 <= more <= sent
        assert self.kept.count >= witness.floor
        # What is there is what came first.
        assert self.kept.sum - before.sum == sum(range(self._first, self._first + more))
        # The gauge may know of changes whose samples are lost: its level is written apart.
        assert self.kept.count <= self.kept.level <= self._first + sent - 1
        assert before.late <= self.kept.late <= before.late + sent
        after = by_slot(daemon, "c", "1s", "5m")
        assert sum(after.values()) == self.kept.count
        assert {at: after[at] for at in witness.whole} == witness.whole
        assert daemon.early == ""
        assert daemon.figure("aggd_disk_damaged_total") == 0

    def run(self) -> None:
        """All of it, at moments drawn by the seed."""
        daemon = self._start(*OPTIONS, self.directory)
        for number in range(KILLS):
            daemon = self.kill_under_traffic(daemon, self._random.uniform(0, 0.8), number % 6 == 0)
            if number % 5 == 0:
                daemon.stop(signal.SIGKILL)
                self.kill_while_it_starts()
                daemon = self._start(*OPTIONS, self.directory)
        assert daemon.stop()[0] == 0


def test_what_was_written_outlives_a_kill_and_nothing_counts_twice(tmp_path, start):
    every = [Crashes(start, str(tmp_path / str(seed)), seed) for seed in range(DIRECTORIES)]
    with ThreadPoolExecutor(DIRECTORIES) as pool:
        list(pool.map(Crashes.run, every))
    assert all(crashes.kept.count > 1000 for crashes in every)


def test_restarts_keep_every_sample_exactly(tmp_path, start):
    first = 1
    for _ in range(STOPS):
        daemon = start(*OPTIONS, str(tmp_path))
        assert kept(daemon) == (first - 1, sum(range(first)), first - 1, first - 1)
        sender = Sender(daemon.udp, first)
        sender.start()
        eventually(lambda sender=sender, first=first: sender.next > first + 200)
        first += sender.stop()
        code, logged = daemon.stop()
        assert (code, "WARNING" in logged, "ERROR" in logged) == (0, False, False)
    daemon = start(*OPTIONS, str(tmp_path))
    count = first - 1
    assert kept(daemon) == (count, sum(range(first)), count, count)
    for interval, last in (("1s", "5m"), ("1m", "6h"), ("1h", "4d"), ("1d", "9d")):
        assert sum(by_slot(daemon, "c", interval, last).values()) == count
    for interval, last in (("1m", "73h"), ("1h", "4d"), ("1d", "9d")):
        assert sum(by_slot(daemon, "late", interval, last).values()) == count
    assert stats(daemon, "t")["max"] == count
    assert daemon.stop()[0] == 0
