"""The real command: what it says when it starts, and when it can't."""

import os
import re
import socket
import subprocess
import sys

import pytest

from aggd import __version__
from aggd.units import parse_size
from tests.daemon import Daemon

SIZE = r"\d+(?:[KMGT]i)?B"


def aggd(*words, **environment):
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "aggd", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_the_module_tells_its_version():
    done = aggd("--version")
    assert (done.returncode, done.stdout) == (0, f"aggd, version {__version__}\n")
    assert done.stderr == ""


def test_a_start_is_one_line_with_the_settings_in_force(daemon):
    lane = "compiled" if "compiled" in daemon.summary else "python"
    address = r"127\.0\.0\.1:[1-9]\d*"
    assert re.fullmatch(
        rf"INFO aggd {re.escape(__version__)}: udp {address}, http {address}, {lane} lane, "
        rf"receive buffer {SIZE} of 32MiB, interval 10s, keeps 1h/7d/90d/5y, "
        r"state in memory only\n",
        daemon.summary,
    )
    daemon.send(b"c:1|c")
    daemon.stats("c", 1)
    _, logged = daemon.stop()
    assert [line.split(":")[0] for line in logged.splitlines()] == [
        "INFO stopping",
        "INFO stopped after 1 samples",
    ]


def test_a_start_tells_settings_wherever_they_were_written(tmp_path):
    file, state = tmp_path / "aggd.toml", tmp_path / "state"
    state.mkdir()
    file.write_text("retention = {interval = '30m', minute = '1d', hour = '30d', day = '1y'}\n")
    daemon = Daemon(
        *("--config", str(file), "--state-dir", str(state), "--udp", "[::1]:0"),
        AGGD_FLUSH__INTERVAL="5s",
    )
    assert re.search(r": udp 127\.0\.0\.1:[1-9]\d* \[::1\]:[1-9]\d*, http ", daemon.summary)
    assert f", interval 5s, keeps 30m/1d/30d/1y, state {state}\n" in daemon.summary
    assert daemon.stop()[0] == 0


@pytest.mark.parametrize("compiled", ["true", "false"])
def test_a_start_tells_the_receive_buffer_it_got_beside_the_one_it_asked_for(compiled):
    # No kernel grants a whole GiB: it doubles the number, in an int of 32 bits.
    daemon = Daemon(AGGD_LISTEN__RECEIVE_BUFFER="1GiB", AGGD_LISTEN__COMPILED=compiled)
    found = re.search(rf", receive buffer ({SIZE}) of ({SIZE}), ", daemon.summary)
    assert found
    assert found[2] == "1GiB"
    assert 4096 <= parse_size(found[1]) < parse_size("1GiB")
    assert parse_size(found[1]) == daemon.figure("aggd_receive_buffer_bytes")
    assert daemon.stop()[0] == 0


def test_a_wrong_file_stops_the_start_with_file_and_line_and_nothing_else(tmp_path):
    file = tmp_path / "aggd.toml"
    file.write_text("[flush]\n\ninterval = '7s'\n")
    done = aggd("run", "--config", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f'{file}:3: flush.interval is "7s"; it must be ')
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("compiled", ["true", "false"])
def test_a_taken_http_address_stops_the_start_with_what_to_do(compiled):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        words = ["--udp", "127.0.0.1:0", "--http", taken]
        done = aggd("run", *words, AGGD_LISTEN__COMPILED=compiled)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"http.listen: can't listen on {taken}: ")
    assert "choose another address, or stop the program that holds it\n" in done.stderr
    assert done.stderr.count("\n") == 1
