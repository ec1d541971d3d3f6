"""The real command: packets in, right statistics out."""

import json
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.daemon import Daemon, eventually

SEED = {"data": [{"name": "api.latency", "value": 23.5, "timestamp": "2024-01-01T00:00:00Z"}]}


def test_a_packet_is_answered_with_its_percentile(daemon):
    daemon.send(b"api.latency:23.5|ms|#env:prod")
    answer = daemon.stats("api.latency", 1, last="15m", percentiles="50,99.9")
    assert answer["p50"] == answer["p99.9"] == answer["mean"] == 23.5
    assert answer["tags"] == {"env": "prod"}
    assert answer["exact"] is True


def test_a_point_of_2024_is_put_where_it_belongs(daemon):
    recorded = daemon.ask("/api/v1/record", SEED)
    assert recorded == {"accepted": 1, "rejected": []}
    stats = daemon.ask("/api/v1/stats/api.latency")
    assert [stats[k] for k in ("mean", "p50", "p99", "min", "max")] == [23.5] * 5
    asked = {"metric_name": "api.latency", "interval": "5min", "aggregation": "mean"}
    buckets = daemon.ask("/api/v1/aggregate", asked)["buckets"]
    assert buckets == [{"timestamp": "2024-01-01T00:00:00Z", "count": 1, "mean": 23.5}]


def test_every_kind_is_summarised_as_it_should_be(daemon):
    daemon.send(b"c:1|c\nc:2|c|@0.1\ng:10|g\ng:+5|g\ng:-3|g\nt:100|ms\nt:300:200|h\n")
    daemon.send(b"s:joe|s\ns:joe|s\ns:bob|s")
    timer = daemon.stats("t", 3)
    assert (timer["mean"], timer["median"], timer["min"], timer["max"]) == (200, 200, 100, 300)
    assert timer["std"] == pytest.approx(81.64965809277261)
    counter = daemon.stats("c", 11)
    assert counter["sum"] == 21
    gauge = daemon.stats("g", 3)
    assert (gauge["last"], gauge["min"], gauge["max"]) == (12, 10, 15)
    assert daemon.stats("s", 3)["unique"] == 2


def test_numbers_agree_with_numpy_on_a_hundred_thousand_samples(daemon):
    rng = np.random.default_rng(3)
    x = np.round(rng.lognormal(3, 0.8, 100_000), 3)
    for at in range(0, x.size, 40):
        daemon.send(b"\n".join(b"t:%a|ms" % v for v in x[at : at + 40].tolist()))
        if at % 4000 == 0:
            eventually(lambda at=at: daemon.figure("aggd_lines_total") >= at)
    answer = daemon.stats("t", x.size, percentiles="50,90,99,99.9")
    assert answer["mean"] == pytest.approx(x.mean())
    assert answer["std"] == pytest.approx(x.std())
    assert answer["exact"] is True
    for p in (50, 90, 99, 99.9):
        assert answer[f"p{p}"] == np.percentile(x, p)


def test_every_malformed_line_costs_only_itself(daemon):
    rng = random.Random(1)
    daemon.send(b"")
    daemon.send(b"\0" * 100)
    daemon.send(rng.randbytes(65507))
    daemon.send(b"name" * 16000 + b"\nafter:1|c")
    daemon.send(b"a:1|c\nbroken\na:x|c\na:1|zz\na:1|c|@z\na:2|c")
    answer = daemon.stats("a", 2)
    assert answer["sum"] == 3
    assert daemon.stats("after", 1)["sum"] == 1
    for reason in ("no_colon", "bad_value", "unknown_type", "bad_rate"):
        assert daemon.figure("aggd_lines_bad_total", reason=reason) >= 1, reason
    bad = daemon.ask("/api/v1/badlines")
    assert bad
    assert "a:x|c" in json.dumps(bad)


def test_junk_names_fill_the_limit_and_not_the_memory():
    daemon = Daemon(AGGD_LIMITS__SERIES="1000")
    for at in range(0, 100_000, 50):
        daemon.send(b"\n".join(b"junk%d:1|c" % (at + i) for i in range(50)))
        if at % 5000 == 0:
            eventually(lambda at=at: daemon.figure("aggd_lines_total") >= at)
    eventually(lambda: daemon.figure("aggd_lines_total") == 100_000)
    answer = daemon.stats("aggd.overflow", 99_000)
    assert answer["sum"] == 99_000
    assert daemon.figure("aggd_series") <= 1004
    assert daemon.stop()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_takes_what_is_in_flight_and_exits_with_zero(daemon, number):
    for _ in range(500):
        daemon.send(b"c:1|c\nc:1|c")
    code, logged = daemon.stop(number)
    assert code == 0
    assert "stopped after 1000 samples" in logged


def test_intervals_close_while_it_runs():
    daemon = Daemon("--interval", "1s")
    daemon.send(b"c:1|c")
    eventually(lambda: daemon.figure("aggd_close_seconds_count") >= 2)
    daemon.send(b"c:1|c")
    assert daemon.stats("c", 2)["sum"] == 2
    assert daemon.stop()[0] == 0


def test_several_workers_share_an_address():
    daemon = Daemon(AGGD_LISTEN__WORKERS="2")
    others = [type(daemon.socket)(daemon.socket.family, daemon.socket.type) for _ in range(8)]
    for sock in others:
        with sock:
            sock.sendto(b"c:1|c\ng:3|g", daemon.udp)
    assert daemon.stats("c", 8)["sum"] == 8
    assert daemon.stop()[0] == 0


def test_it_listens_on_ipv6():
    daemon = Daemon(udp="[::1]:0")
    daemon.send(b"c:1|c\nbad")
    daemon.stats("c", 1)
    assert daemon.ask("/api/v1/badlines")["lines"][0]["sender"].startswith("[::1]:")
    assert daemon.stop()[0] == 0


def test_a_taken_address_stops_the_start_with_what_to_do():
    daemon = Daemon()
    host, port = daemon.udp
    second = subprocess.run(
        [sys.executable, "-m", "aggd", "run", "--udp", f"{host}:{port}", "--http", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert second.returncode == 2
    assert f"{host}:{port}" in second.stderr
    assert "choose another address" in second.stderr
    assert "Traceback" not in second.stderr
    assert daemon.stop()[0] == 0


def test_its_threads_are_known_to_the_kernel_by_name(daemon):
    names = set()
    for thread in Path(f"/proc/{daemon.process.pid}/task").iterdir():
        with suppress(OSError):  # it may end while we look
            names.add((thread / "comm").read_text().strip())
    assert "aggd-fold" in names
    if "compiled" in daemon.summary:
        assert "aggd-receive-0" in names
