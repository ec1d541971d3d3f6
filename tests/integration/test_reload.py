"""The real command, told to read its configuration again."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.daemon import DEADLINE, eventually

RELOAD = "/api/v1/admin/reload"


@pytest.fixture
def file(tmp_path):
    found = tmp_path / "aggd.toml"
    found.write_text("[flush]\ninterval = '1s'\n")
    return found


def post(daemon):
    """Status and answer of a reload."""
    status, body = daemon.request(RELOAD, b"")
    return status, json.loads(body)


def closed(daemon):
    """Wait until an interval that is open now has closed."""
    count = daemon.figure("aggd_close_seconds_count")
    eventually(lambda: daemon.figure("aggd_close_seconds_count") > count)


def test_what_can_change_does_when_the_interval_closes(file, start):
    daemon = start("--config", str(file))
    daemon.send(b"t:1|ms\ng:5|g\ng:+2|g\nc:1|c")
    assert "upper_90" not in daemon.stats("t", 1).get("statsd", {})
    assert daemon.stats("g", 2)["last"] == 7
    file.write_text(
        "[flush]\ninterval = '1s'\n[limits]\nseries = 4\n[timers]\npercentiles = [90]\n"
        "[http]\nmax_body = '1KiB'\n[protocol]\ngauge_sign = 'absolute'\n[log]\nlevel = 'error'\n"
    )
    status, answer = post(daemon)
    assert status == 200
    assert sorted(answer.pop("changed")) == [
        "http.max_body",
        "limits.series",
        "log.level",
        "protocol.gauge_sign",
        "timers.percentiles",
    ]
    assert answer == {"needs_restart": []}
    eventually(lambda: daemon.figure("aggd_series_limit") == 4)
    daemon.send(b"g:+3|g\nmore:1|c\neven.more:1|c")
    assert daemon.stats("g", 3)["last"] == 3  # set, not added
    assert daemon.stats("t", 1)["statsd"]["upper_90"] == 1
    assert daemon.stats("c", 1)["sum"] == 1
    assert daemon.request("/api/v1/record", b'{"data": [' + b" " * 2000)[0] == 413
    assert daemon.figure("aggd_series_overflow_total") == 1
    code, logged = daemon.stop()
    assert code == 0
    assert "reloaded" in logged
    assert "INFO stopped" not in logged  # only errors from then on


def test_nothing_changes_before_the_interval_closes(file, start):
    file.write_text("[flush]\ninterval = '60s'\n")
    daemon = start("--config", str(file))
    if time.time() % 60 > 50:  # what follows has to happen within one interval
        eventually(lambda: time.time() % 60 < 50)
    file.write_text("[flush]\ninterval = '60s'\n[limits]\nseries = 4\n")
    assert post(daemon)[0] == 200
    assert daemon.figure("aggd_series_limit") == 1_000_000
    assert daemon.stop()[0] == 0


def test_a_hangup_reads_the_file_again(file, start):
    daemon = start("--config", str(file))
    file.write_text("[flush]\ninterval = '1s'\n[limits]\nseries = 7\n")
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: daemon.figure("aggd_series_limit") == 7)
    code, logged = daemon.stop()
    assert code == 0
    assert "INFO reloaded: limits.series\n" in logged


def test_what_cannot_change_is_named(file, start):
    daemon = start("--config", str(file))
    file.write_text("[flush]\ninterval = '10s'\n[listen]\nworkers = 2\n[limits]\nseries = 9\n")
    status, answer = post(daemon)
    assert (status, answer["changed"]) == (200, ["limits.series"])
    assert sorted(answer["needs_restart"]) == ["flush.interval", "listen.workers"]
    eventually(lambda: daemon.figure("aggd_series_limit") == 9)
    closed(daemon)  # a second is still the interval
    code, logged = daemon.stop()
    assert code == 0
    assert "flush.interval has changed, which takes effect at the next start only" in logged


def test_a_wrong_file_changes_nothing(file, start):
    daemon = start("--config", str(file))
    file.write_text("[limits]\nseries = 5\n\n[http]\nmax_body = 'much'\n")
    status, answer = post(daemon)
    assert status == 422
    assert answer["error"]["code"] == "bad_config"
    assert f'{file}:5: http.max_body is "much"; it must be ' in answer["error"]["message"]
    daemon.process.send_signal(signal.SIGHUP)
    closed(daemon)
    closed(daemon)
    assert daemon.figure("aggd_series_limit") == 1_000_000
    file.unlink()
    assert post(daemon)[0] == 422
    code, logged = daemon.stop()
    assert code == 0
    assert f"ERROR not reloaded, all is as it was: {file}:5: http.max_body is" in logged


def test_the_later_of_two_reloads_counts(file, start):
    daemon = start("--config", str(file))
    for series in (5, 6):
        file.write_text(f"[flush]\ninterval = '1s'\n[limits]\nseries = {series}\n")
        assert post(daemon)[0] == 200
    eventually(lambda: daemon.figure("aggd_series_limit") == 6)
    file.write_text("[flush]\ninterval = '1s'\n[limits]\nseries = 5\n")
    assert post(daemon)[0] == 200
    file.write_text("[flush]\ninterval = '1s'\n[limits]\nseries = 6\n")
    assert post(daemon)[1] == {"changed": [], "needs_restart": []}
    closed(daemon)
    assert daemon.figure("aggd_series_limit") == 6
    assert daemon.stop()[0] == 0


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5])
def test_a_hangup_while_it_starts_does_not_end_it(tmp_path, delay):
    command = [sys.executable, "-m", "aggd", "run", "--udp", "127.0.0.1:0"]
    command += ["--http", "127.0.0.1:0", "--state-dir", str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    eventually(lambda: ignores_hangups(process.pid))  # the first thing it does
    time.sleep(delay)
    process.send_signal(signal.SIGHUP)
    assert process.stderr
    summary = process.stderr.readline()
    assert summary.startswith("INFO aggd ")
    process.terminate()
    _, logged = process.communicate(timeout=DEADLINE)
    assert (process.returncode, "ERROR" in logged) == (0, False)


def ignores_hangups(pid: int) -> bool:
    """Tell whether the kernel drops SIGHUP to a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = re.search(r"^SigIgn:\s+([0-9a-f]+)$", status, re.M)
    return bool(mask and int(mask[1], 16) & 1 << signal.SIGHUP - 1)
