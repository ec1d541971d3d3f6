"""hot-shots, the client for node, over real sockets: all it can send, and the right numbers."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.daemon import eventually

VERSION = "17.1.1"
SCRIPT = Path(__file__).with_name("hot_shots.js")
LINES = 25 + 4 + 4 + 200 + 12  # of the functions of the script, in their order


@pytest.fixture(scope="session")
def modules(tmp_path_factory):
    """A directory of node's with hot-shots in it, without the sockets that need a compiler."""
    home = tmp_path_factory.mktemp("hot-shots")
    install = ["npm", "install", "--no-save", "--omit=optional", "--no-audit", "--no-fund"]
    subprocess.run([*install, f"--prefix={home}", f"hot-shots@{VERSION}"], check=True, timeout=100)
    return home / "node_modules"


@pytest.fixture
def told(daemon, modules):
    """A daemon that was told all that the script sends."""
    host, port = daemon.udp
    environment = {**os.environ, "NODE_PATH": str(modules)}
    subprocess.run(["node", SCRIPT, host, str(port)], env=environment, check=True, timeout=30)
    eventually(lambda: daemon.figure("aggd_lines_total") >= LINES)
    return daemon


def test_hot_shots_sends_all_it_can_and_is_answered_with_the_right_numbers(told):
    counter = told.stats("app.c", 4)
    assert (counter["kind"], counter["sum"], counter["tags"]) == ("counter", 14, {"env": "prod"})
    assert told.stats("app.c", 1, tags="host:a,env:prod")["sum"] == 5
    assert told.stats("app.c", 1, tags="host:b")["sum"] == -2
    assert told.stats("app.other", 1)["sum"] == 10
    assert told.stats("app.c.child", 1)["tags"] == {"env": "prod", "host": "a"}
    gauge = told.stats("app.g", 3)
    assert [gauge[key] for key in ("kind", "last", "min", "max")] == ["gauge", 60, 60, 75]
    for name in ("app.t", "app.h", "app.d"):
        timer = told.stats(name, 3)
        assert [timer[key] for key in ("kind", "min", "median", "max")] == ["timer", 1, 2, 6]
        assert timer["sum"] == pytest.approx(9)
    assert told.stats("app.d", 3)["tags"] == {"env": "prod", "host": "a"}
    unique = told.stats("app.s", 4)
    assert (unique["kind"], unique["unique"]) == ("set", 3)
    assert told.stats("app.block", 1)["kind"] == told.stats("app.task", 2)["kind"] == "timer"
    batch = told.stats("batch", 200)
    assert (batch["sum"], batch["median"]) == (pytest.approx(19900), 99.5)


def test_hot_shots_puts_values_at_the_time_they_carry(told):
    assert told.stats("late", 2)["sum"] == 125
    assert told.stats("late", 1, last="1h")["sum"] == 1
    assert told.stats("late", 1, tags="host:a")["sum"] == 124


def test_what_hot_shots_sampled_stands_for_what_it_left_out(told):
    chosen = 12  # of 20, as its chances were given to it
    assert told.stats("sampled", chosen / 0.25)["sum"] == 3 * chosen / 0.25


def test_nothing_of_hot_shots_is_refused_or_doubted(told):
    assert told.figure("aggd_lines_total") == LINES
    assert told.ask("/api/v1/badlines")["lines"] == []
    assert told.figure("aggd_lines_bad_total") == told.figure("aggd_warnings_total") == 0
    assert told.figure("aggd_events_total") == 3
    assert told.figure("aggd_checks_total") == 3
    alone = LINES - 200  # the batch takes few datagrams, all else one a line
    assert alone < told.figure("aggd_datagrams_total") < alone + 10
