"""An export beside a daemon that writes: slots are whole, none is lost or there twice."""

import json
import subprocess
import sys
from collections import defaultdict

from tests.daemon import Daemon, eventually
from tests.integration.traffic import Sender

EXPORTS = 2


def slots(directory: str) -> dict[str, list[float]]:
    """Counts of all four kinds in each second, as the real command exports them."""
    command = [sys.executable, "-m", "aggd", "export", "--resolution", "interval"]
    done = subprocess.run([*command, "--state-dir", directory], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, list[float]] = defaultdict(list)
    for row in map(json.loads, done.stdout.splitlines()):
        if row["name"] in "ctgs":
            found[row["start"]].append(row["count"])
    return found


def test_an_export_takes_whole_slots_while_a_daemon_writes(tmp_path):
    daemon = Daemon("--interval", "1s", "--state-dir", str(tmp_path))
    sender = Sender(daemon.udp, 1)
    sender.start()
    eventually(lambda: len(slots(str(tmp_path))) > 2)
    before: dict[str, list[float]] = {}
    for _ in range(EXPORTS):
        found = slots(str(tmp_path))
        *over, _, _ = sorted(found)  # the last ones are still being written
        for start in over:
            assert found[start] == [found[start][0]] * 4, start
            assert before.get(start, found[start]) == found[start]
        before = {start: found[start] for start in over}
    sent = sender.stop()
    daemon.stats("c", sent)
    assert daemon.stop()[0] == 0
    every = slots(str(tmp_path)).values()
    assert [sum(kind) for kind in zip(*every, strict=True)] == [sent] * 4
