"""The real command and its state directory, when the disk is full, small, damaged or old."""

import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import numpy as np
import pytest

from aggd.store.disk import Disk
from aggd.store.frame import NO_GAUGES, NO_SETS, NO_TIMERS, Counters, Frame
from aggd.store.rollup import Tier
from aggd.store.series import Kind, Limits, Registry
from aggd.store.shelf import Change
from aggd.units import DAY, HOUR, MINUTE
from tests.daemon import DEADLINE, eventually
from tests.integration.traffic import by_slot, stats

SECONDS = "--interval", "1s"


def send(daemon, count, first=0):
    """So many datagrams, each with one sample of a counter and forty of timers."""
    for number in range(first, first + count):
        timers = b"\n".join(b"t%d:%d|ms" % (timer, number) for timer in range(40))
        daemon.send(b"c:1|c\n" + timers)


def written(daemon):
    """Wait until all that was sent before is on disk."""
    count = daemon.figure("aggd_write_seconds_count")
    eventually(lambda: daemon.figure("aggd_write_seconds_count") >= count + 2)


def room(daemon, nbytes):
    """Let no file of a daemon grow beyond so many bytes, as where a disk is full."""
    hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (nbytes, hard))


def refused(directory):
    """What a daemon says that can't start on a directory."""
    command = [sys.executable, "-m", "aggd", "run", "--udp", "127.0.0.1:0"]
    command += ["--http", "127.0.0.1:0", "--state-dir", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    return done.stderr


def test_a_full_disk_costs_nothing_while_memory_lasts(tmp_path, start):
    daemon = start(*SECONDS, "--state-dir", str(tmp_path))
    send(daemon, 50)
    daemon.stats("c", 50)
    written(daemon)
    assert daemon.request("/readyz")[0] == 200
    room(daemon, 0)
    send(daemon, 50, 50)
    eventually(lambda: daemon.request("/readyz")[0] == 503)
    assert f"storage: {tmp_path} can't be written: " in daemon.request("/readyz")[1].decode()
    failures = daemon.figure("aggd_disk_failures_total")
    assert failures >= 1
    eventually(lambda: daemon.figure("aggd_disk_failures_total") > failures)  # it tries again
    send(daemon, 50, 100)
    daemon.stats("c", 150)
    room(daemon, resource.RLIM_INFINITY)
    eventually(lambda: daemon.request("/readyz")[0] == 200)
    code, logged = daemon.stop()
    assert code == 0
    assert len(re.findall("ERROR storage: .* frames stay in memory", logged)) == 1
    assert f"INFO storage: {tmp_path} can be written again; nothing was lost\n" in logged
    daemon = start(*SECONDS, "--state-dir", str(tmp_path))
    assert daemon.early == ""
    assert stats(daemon, "c")["sum"] == 150
    assert stats(daemon, "t7")["sum"] == pytest.approx(sum(range(150)))
    assert daemon.stop()[0] == 0


def test_a_stop_on_a_full_disk_says_what_it_costs(tmp_path, start):
    daemon = start(*SECONDS, "--state-dir", str(tmp_path))
    send(daemon, 50)
    daemon.stats("c", 50)
    written(daemon)
    room(daemon, 0)
    send(daemon, 50, 50)
    eventually(lambda: daemon.request("/readyz")[0] == 503)
    code, logged = daemon.stop()
    assert code == 0
    assert f"ERROR storage: what is not in {tmp_path} by now is lost\n" in logged
    daemon = start(*SECONDS, "--state-dir", str(tmp_path))
    assert stats(daemon, "c")["sum"] == 50
    assert daemon.early == ""
    assert daemon.stop()[0] == 0


def test_a_directory_that_goes_away_and_comes_back_costs_nothing(tmp_path, start):
    state, aside = tmp_path / "state", tmp_path / "aside"
    daemon = start(*SECONDS, "--state-dir", str(state))
    send(daemon, 20)
    daemon.stats("c", 20)
    written(daemon)
    state.rename(aside)
    state.write_text("a file where the directory was")
    send(daemon, 20, 20)
    eventually(lambda: daemon.request("/readyz")[0] == 503)
    daemon.stats("c", 40)
    state.unlink()
    aside.rename(state)
    eventually(lambda: daemon.request("/readyz")[0] == 200)
    assert daemon.stop()[0] == 0
    daemon = start(*SECONDS, "--state-dir", str(state))
    assert stats(daemon, "c")["sum"] == 40
    assert daemon.stop()[0] == 0


def test_a_directory_that_cannot_be_written_is_refused(tmp_path):
    said = refused("/sys/aggd")  # nobody may make a directory there
    assert re.fullmatch(
        r"ERROR storage\.state_dir: /sys/aggd can't be used: [^;]+; "
        r"choose a directory that aggd may write to\n",
        said,
    )
    file = tmp_path / "file"
    file.touch()
    assert "can't be used: File exists; choose a directory" in refused(file)
    assert "can't be used: Not a directory; choose a directory" in refused(file / "state")


def test_frames_that_memory_has_no_room_for_come_back_from_disk(tmp_path, start):
    limits = {"AGGD_LIMITS__FRAMES_MEMORY": "1MiB", "AGGD_STORAGE__CACHE": "0B"}
    daemon = start(*SECONDS, "--state-dir", str(tmp_path), **limits)
    now = int(time.time())
    for ago in range(600, 0, -5):  # long enough ago that their minutes have closed
        daemon.send(b"\n".join(b"t%d:%d|ms|T%d" % (i, ago, now - ago) for i in range(200)))
        if ago % 100 == 5:  # what isn't written yet can't make room
            written(daemon)
    assert daemon.figure("aggd_lines_total") == 120 * 200
    sent = list(range(600, 0, -5))
    eventually(lambda: daemon.figure("aggd_frames_bytes") < 2 << 20)
    for name in ("t0", "t199"):
        found = daemon.stats(name, len(sent))
        assert (found["count"], found["min"], found["max"]) == (len(sent), 5, 600)
        assert found["sum"] == pytest.approx(sum(sent), rel=1e-12)  # mean x count
    assert sum(by_slot(daemon, "t7", "1s", "15m").values()) == len(sent)
    assert daemon.figure("aggd_process_resident_bytes") < 200 << 20
    assert daemon.figure("aggd_evicted_total") == 0
    assert daemon.request("/readyz")[0] == 200
    assert daemon.stop()[0] == 0
    daemon = start(*SECONDS, "--state-dir", str(tmp_path), **limits)
    assert stats(daemon, "t0")["sum"] == pytest.approx(sum(sent), rel=1e-12)
    assert daemon.stop()[0] == 0


def test_a_budget_takes_the_oldest_file_of_the_finest_tier(tmp_path, start):
    daemon = start(
        *(*SECONDS, "--state-dir", str(tmp_path)),
        AGGD_STORAGE__MAX_BYTES="1MiB",
        AGGD_RETENTION__INTERVAL="6h",
    )
    now = int(time.time())
    random = Random(1)
    for hours in (4, 3, 2, 1, 0):
        for second in range(40):
            at = now - 3600 * hours - second
            values = enumerate(random.choices(range(10**9), k=1500))
            daemon.send(b"\n".join(b"t%d:%d|ms|T%d" % (i, value, at) for i, value in values))
    # A third of a million lines with times of their own, one by one in Python.
    eventually(lambda: daemon.figure("aggd_lines_total") == 5 * 40 * 1500, 90)
    eventually(lambda: daemon.figure("aggd_disk_dropped_files_total", tier="interval-1s") >= 2)
    newest = tmp_path / "interval-1s" / time.strftime("%Y-%m-%dT%H.db", time.gmtime(now))
    eventually(newest.exists)
    kept = [path.stem for path in tmp_path.glob("interval-1s/*.db")]
    assert time.strftime("%Y-%m-%dT%H", time.gmtime(now - 4 * HOUR)) not in kept
    found = daemon.ask("/api/v1/stats/t3")  # minutes and hours still have all of it
    assert found["count"] == 200
    code, logged = daemon.stop()
    assert code == 0
    assert re.search(r"WARNING storage\.max_bytes is 1MiB: .*/interval-1s/.*\.db had to go", logged)


def test_a_directory_without_its_catalogue_goes_on_under_new_ids(tmp_path, start):
    daemon = start(*SECONDS, "--state-dir", str(tmp_path))
    daemon.send(b"c:1|c\ng:5|g")
    daemon.stats("c", 1)
    assert daemon.stop()[0] == 0
    (tmp_path / "catalogue.db").unlink()
    daemon = start(*SECONDS, "--state-dir", str(tmp_path))
    assert daemon.request("/api/v1/stats/c")[0] == 404  # nobody knows what it was called
    daemon.send(b"d:7|c\nc:2|c")
    assert daemon.stats("d", 1)["sum"] == 7
    assert daemon.stats("c", 1)["sum"] == 2
    assert daemon.stop()[0] == 0
    daemon = start(*SECONDS, "--state-dir", str(tmp_path))
    assert (stats(daemon, "d")["sum"], stats(daemon, "c")["sum"]) == (7, 2)
    assert daemon.stop()[0] == 0


def test_a_damaged_catalogue_is_set_aside_and_said(tmp_path, start):
    daemon = start(*SECONDS, "--state-dir", str(tmp_path))
    daemon.send(b"c:1|c")
    daemon.stats("c", 1)
    assert daemon.stop()[0] == 0
    (tmp_path / "catalogue.db").write_bytes(b"\xff" * 8192)
    daemon = start(*SECONDS, "--state-dir", str(tmp_path))
    assert daemon.early.startswith(f"ERROR storage: {tmp_path}/catalogue.damaged was damaged: ")
    daemon.send(b"c:2|c")
    assert daemon.stats("c", 1)["sum"] == 2
    assert daemon.stop()[0] == 0
    daemon = start(*SECONDS, "--state-dir", str(tmp_path))
    assert (daemon.early, stats(daemon, "c")["sum"]) == ("", 2)
    assert daemon.stop()[0] == 0


def test_when_a_series_was_first_seen_outlives_a_kill(tmp_path, start):
    begun = time.time()
    daemon = start(*SECONDS, "--state-dir", str(tmp_path))
    written(daemon)  # the catalogue's columns, too, for this minute
    daemon.send(b"c:1|c")
    daemon.stats("c", 1)
    written(daemon)
    daemon.stop(9)
    daemon = start(*SECONDS, "--state-dir", str(tmp_path))
    (series,) = daemon.ask("/api/v1/series?match=c")["series"]
    first = time.mktime(time.strptime(series["first_seen"][:19], "%Y-%m-%dT%H:%M:%S"))
    assert begun - 1 <= first - time.timezone <= time.time()
    assert series["first_seen"] <= series["last_seen"]
    assert daemon.stop()[0] == 0


@pytest.mark.parametrize("signal", [15, 9])
@pytest.mark.parametrize(
    "lengths", [("10s", "1s", "10s"), ("1s", "10s", "1s"), ("60s", "1s", "60s")]
)
def test_intervals_of_another_length_lose_nothing(tmp_path, start, lengths, signal):
    late = int(time.time()) - 600
    for number, length in enumerate(lengths):
        daemon = start("--interval", length, "--state-dir", str(tmp_path))
        assert (stats(daemon, "c")["sum"] or 0) == 10 * number, (number, length)
        assert (stats(daemon, "late")["sum"] or 0) == 10 * number
        for value in range(10):
            daemon.send(b"c:1|c\nt:%d|ms\ng:+1|g\nlate:1|c|T%d" % (value, late + value))
        daemon.stats("c", 10 * (number + 1))
        assert daemon.stats("t", 10 * (number + 1))["sum"] == pytest.approx(45 * (number + 1))
        assert stats(daemon, "g")["last"] == 10 * (number + 1)
        if signal == 9:
            written(daemon)
        assert (daemon.early, daemon.stop(signal)[0]) == ("", 0 if signal == 15 else -9)
    daemon = start("--interval", "5s", "--state-dir", str(tmp_path))
    assert stats(daemon, "c")["sum"] == 10 * (number + 1)
    for interval, last in (("1m", "30m"), ("1h", "2h")):
        assert sum(by_slot(daemon, "late", interval, last).values()) == 10 * (number + 1)
    now = int(time.time())
    window = f"from={late - late % 60}&to={now}"  # edges that only intervals would know
    assert daemon.ask(f"/api/v1/stats/late?{window}")["sum"] == 10 * (number + 1)
    assert daemon.stop()[0] == 0


def test_intervals_of_another_length_go_when_they_are_old(tmp_path, start):
    daemon = start(*SECONDS, "--state-dir", str(tmp_path))
    daemon.send(b"c:1|c|T%d" % (time.time() - 3 * 3600))
    daemon.stats("c", 1)
    assert daemon.stop()[0] == 0
    assert Path(tmp_path / "interval-1s").exists()
    daemon = start("--interval", "2s", "--state-dir", str(tmp_path))
    eventually(lambda: not Path(tmp_path / "interval-1s").exists())
    assert stats(daemon, "c")["sum"] == 1
    assert daemon.stop()[0] == 0


def month(directory, now):
    """Write a month of a hundred counters, each one a second; seconds before `now` it ends."""
    names = [(Kind.COUNTER, f"c{number}", ()) for number in range(100)]
    registry = Registry(Limits())
    ids = np.array([registry.resolve(*name, now) for name in names], np.int32)
    tiers = [
        Tier("interval", 10, HOUR),
        Tier("minute", MINUTE, 7 * DAY),
        Tier("hour", HOUR, 90 * DAY),
        Tier("day", DAY, 1825 * DAY),
    ]
    disk = Disk(directory, tiers, 1 << 40, 0)
    disk.catalogue.save_names(registry)
    for shelf, tier in zip(disk.shelves, tiers, strict=True):
        shelf.directory.mkdir(parents=True, exist_ok=True)
        end = now - now % tier.width
        first = max(now - now % DAY - 30 * DAY, end - tier.retention)
        each = np.full(ids.size, float(tier.width))
        changes = []
        for start in range(first + -first % tier.width, end, tier.width):
            counters = Counters(ids, each, each)
            frame = Frame(start, tier.width, counters, NO_GAUGES, NO_TIMERS, NO_SETS)
            changes.append(Change(shelf.number(), frame, ()))
        shelf.save(end, changes)
    disk.catalogue.save_columns(registry, now)
    return now - now % DAY - 30 * DAY, now - now % 10


def test_a_month_is_there_within_three_seconds(tmp_path, start):
    first, last = month(tmp_path, int(time.time()))
    begun = time.monotonic()
    daemon = start("--state-dir", str(tmp_path))
    assert time.monotonic() - begun < 3
    assert daemon.early == ""
    assert daemon.figure("aggd_process_resident_bytes") < 150 << 20
    found = stats(daemon, "c7")
    assert found["sum"] == last - first
    assert daemon.stop()[0] == 0
