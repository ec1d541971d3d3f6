"""What the real command tells systemd, from its start to its end."""

import signal
import socket

import pytest

from tests.daemon import DEADLINE, Daemon

WATCHDOG_USEC = "1000000"  # half of it is twice the longest slice of a receiving thread


@pytest.fixture
def manager(tmp_path):
    """The socket on which systemd is told of states."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(DEADLINE)
        yield sock


@pytest.fixture
def told(manager):
    """The next state that isn't of the watchdog, as its lines by name."""

    def following() -> dict[str, str]:
        while (state := manager.recv(4096).decode()) == "WATCHDOG=1":
            pass
        return dict(line.split("=", 1) for line in state.splitlines())

    return following


@pytest.mark.parametrize("compiled", ["true", "false"])
def test_systemd_is_told_of_start_reload_and_end(manager, told, compiled):
    daemon = Daemon(NOTIFY_SOCKET=manager.getsockname(), AGGD_LISTEN__COMPILED=compiled)
    assert told() == {"READY": "1", "STATUS": daemon.summary.removeprefix("INFO ").rstrip()}
    daemon.process.send_signal(signal.SIGHUP)
    begun = told()
    assert begun["RELOADING"] == "1"
    assert int(begun["MONOTONIC_USEC"]) > 0
    assert told() == {"READY": "1"}
    assert daemon.stop()[0] == 0
    assert told() == {"STOPPING": "1"}


@pytest.mark.parametrize("compiled", ["true", "false"])
def test_the_watchdog_is_fed_while_it_runs(manager, compiled):
    daemon = Daemon(
        NOTIFY_SOCKET=manager.getsockname(),
        WATCHDOG_USEC=WATCHDOG_USEC,
        AGGD_LISTEN__COMPILED=compiled,
    )
    states = [manager.recv(4096) for _ in range(4)]
    assert states[0].startswith(b"READY=1\n")
    assert states[1:] == [b"WATCHDOG=1"] * 3
    assert daemon.stop()[0] == 0
