import asyncio
import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from secrets import token_hex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd import systemd
from aggd.errors import ConfigError
from aggd.systemd import (
    LISTEN,
    READY,
    WATCHDOG,
    activated,
    alive,
    feed_forever,
    notify,
    purpose,
    reloading,
    status,
    watchdog_interval,
)
from tests.activation import Named, names, numbers, passing

INTERVAL = 15.0
ACTIVATED = """
import json, os, subprocess, sys
from aggd.errors import ConfigError
from aggd.systemd import activated
try:
    found = activated()
except ConfigError as error:
    sys.exit(f"{error}")
again = activated()
listing = "import os; print(*sorted(os.listdir('/proc/self/fd')))"
theirs = subprocess.run([sys.executable, "-c", listing], close_fds=False, capture_output=True)
print(json.dumps({
    "found": [(name, sock.fileno(), list(sock.getsockname())) for name, sock in found],
    "blocking": [sock.getblocking() for _, sock in found],
    "again": again,
    "left": [name for name in os.environ if name.startswith("LISTEN_")],
    "theirs": theirs.stdout.decode().split(),
}))
"""


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """The socket on which systemd is told of states."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield sock


def told(manager: socket.socket) -> list[bytes]:
    """All states since the last time, in order."""
    found = []
    with suppress(BlockingIOError):
        while True:
            found.append(manager.recv(4096))
    return found


@contextmanager
def opened(*kinds):
    """Bound sockets of these (family, type), listening where they can."""
    found = [socket.socket(*kind) for kind in kinds]
    try:
        for sock in found:
            if sock.family != socket.AF_UNIX:
                sock.bind(("::1" if sock.family == socket.AF_INET6 else "127.0.0.1", 0))
            if sock.type == socket.SOCK_STREAM and sock.family != socket.AF_UNIX:
                sock.listen()
        yield found
    finally:
        for sock in found:
            sock.close()


UDP, UDP6 = (socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_INET6, socket.SOCK_DGRAM)
TCP, TCP6 = (socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET6, socket.SOCK_STREAM)
UNIX, LOCAL = (socket.AF_UNIX, socket.SOCK_STREAM), (socket.AF_UNIX, socket.SOCK_DGRAM)


def run(given: Named = (), **variables: str) -> subprocess.CompletedProcess:
    """What a program tells of the sockets it was given."""
    return subprocess.run(
        [*passing(given), sys.executable, "-c", ACTIVATED],
        env={**os.environ, **variables, **names(given)},
        pass_fds=numbers(given),
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_states_reach_a_socket_that_has_a_path(manager):
    notify(READY)
    notify(status("two\nlines"))
    notify(reloading(12.3456789))
    assert told(manager) == [
        b"READY=1",
        b"STATUS=two lines",
        b"RELOADING=1\nMONOTONIC_USEC=12345679",
    ]


def test_states_reach_an_abstract_socket(monkeypatch):
    name = f"aggd-{token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notify(READY)
        assert sock.recv(100, socket.MSG_DONTWAIT) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/nobody/there", "@nobody", "/" + "x" * 300, "vsock:2:1"])
def test_telling_a_state_to_nobody_is_no_error(monkeypatch, address):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify(READY)


def test_without_systemd_nothing_is_told_and_nothing_is_asked(monkeypatch):
    for variable in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", *LISTEN):
        monkeypatch.delenv(variable, raising=False)
    notify(READY)
    assert watchdog_interval() is None
    assert activated() == []


def test_a_systemd_that_does_not_read_cannot_hold_us_up(manager, monkeypatch):
    monkeypatch.setattr(systemd, "PATIENCE", 0.001)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                sock.sendto(b"", os.environ["NOTIFY_SOCKET"])
    notify(READY)
    assert READY.encode() not in told(manager)


def test_a_text_that_is_no_unicode_is_told_all_the_same(manager):
    notify(status("caf\udce9"))
    assert told(manager) == [b"STATUS=caf?"]


@pytest.mark.parametrize(
    ("usec", "pid", "interval"),
    [
        ("30000000", None, 15.0),
        ("30000000", "ours", 15.0),
        ("1000", "ours", 0.0005),
        ("30000000", "1", None),
        ("0", None, None),
        (None, "ours", None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_asks(monkeypatch, usec, pid, interval):
    pid = str(os.getpid()) if pid == "ours" else pid
    for variable, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(variable, raising=False)
        if value is not None:
            monkeypatch.setenv(variable, value)
    assert watchdog_interval() == interval


@pytest.mark.parametrize("variable", ["WATCHDOG_USEC", "WATCHDOG_PID"])
def test_a_watchdog_that_is_no_number_is_refused(monkeypatch, variable):
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv(variable, "-3")
    with pytest.raises(ConfigError, match=f"^{variable} is '-3'; it must be a number"):
        watchdog_interval()


@given(st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(0, 3))))
def test_all_are_alive_unless_one_stands_still(turns):
    before = [at for at, _ in turns]
    now = [at + more for at, more in turns]
    assert alive(now, before) == (0 not in [more for _, more in turns])


async def feeding(clock, progress):
    """A task that feeds, asleep for the first time."""
    task = asyncio.create_task(feed_forever(progress, clock, INTERVAL))
    await clock.sleeping()
    return task


async def pass_interval(clock, seconds=INTERVAL):
    clock.advance(seconds)
    await clock.sleeping()


async def test_the_watchdog_is_fed_while_all_threads_turn(manager, clock):
    turns = [0, 100]
    task = await feeding(clock, lambda: tuple(turns))
    assert told(manager) == []
    for _ in range(3):
        turns[:] = [n + 1 for n in turns]
        await pass_interval(clock)
        assert told(manager) == [WATCHDOG.encode()]
    task.cancel()


async def test_the_watchdog_is_not_fed_before_its_time(manager, clock):
    turns = iter(range(10))
    task = await feeding(clock, lambda: (next(turns),))
    clock.advance(INTERVAL - 0.1)
    await asyncio.sleep(0)
    assert told(manager) == []
    await pass_interval(clock, 0.2)
    assert told(manager) == [WATCHDOG.encode()]
    task.cancel()


async def test_one_thread_that_stands_still_starves_the_watchdog(manager, clock, caplog):
    turns = [0, 7]
    task = await feeding(clock, lambda: tuple(turns))
    turns[0] += 1
    await pass_interval(clock)
    assert told(manager) == []
    assert "a receiving thread has stood still for 15 s: turns [1, 7]" in caplog.text
    turns[:] = [2, 8]
    await pass_interval(clock)
    assert told(manager) == [WATCHDOG.encode()]
    task.cancel()


async def test_a_daemon_without_receiving_threads_is_alive_while_its_loop_is(manager, clock):
    task = await feeding(clock, tuple)
    await pass_interval(clock)
    assert told(manager) == [WATCHDOG.encode()]
    task.cancel()


def test_sockets_come_in_order_with_their_purpose_and_only_once():
    with opened(UDP, TCP, UDP6) as (udp, http, udp6):
        sockets = [("udp", udp), ("http", http), ("udp", udp6)]
        done = run(sockets)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["found"] == [
            ["udp", 3, list(udp.getsockname())],
            ["http", 4, list(http.getsockname())],
            ["udp", 5, list(udp6.getsockname())],
        ]
    assert found["blocking"] == [False] * 3
    assert found["again"] == []


def test_what_we_start_inherits_neither_sockets_nor_variables():
    with opened(UDP) as (udp,):
        sockets = [("udp", udp)]
        found = json.loads(run(sockets).stdout)
    assert found["left"] == []
    assert found["theirs"] == ["0", "1", "2", "3"]  # 3 is the listing of the directory


@pytest.mark.parametrize("pid", ["1", None])
def test_sockets_of_another_process_are_not_ours(pid):
    variables = {"LISTEN_FDS": "1", **({"LISTEN_PID": pid} if pid else {})}
    found = json.loads(run(**variables).stdout)
    assert (found["found"], found["left"]) == ([], [])


@pytest.mark.parametrize(
    ("name", "kind", "right"),
    [
        ("udp", UDP, "udp"),
        ("udp", UDP6, "udp"),
        ("http", TCP, "http"),
        ("http", TCP6, "http"),
        ("unknown", UDP, "udp"),
        ("aggd.socket", UDP6, "udp"),
        ("aggd-http.socket", TCP, "http"),
    ],
)
def test_a_socket_is_for_what_its_name_or_else_its_kind_says(name, kind, right):
    with opened(kind) as (sock,):
        assert purpose(name, sock) == right


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("http", UDP, "a SOCK_DGRAM socket of AF_INET"),
        ("udp", TCP6, "a SOCK_STREAM socket of AF_INET6"),
        ("udp", LOCAL, "a SOCK_DGRAM socket of AF_UNIX"),
        ("aggd.socket", UNIX, "a SOCK_STREAM socket of AF_UNIX"),
    ],
)
def test_a_socket_of_an_unexpected_kind_is_refused_by_name(name, kind, found):
    right = "udp (SOCK_DGRAM over IP) or http (SOCK_STREAM over IP)"
    with opened(kind) as (sock,), pytest.raises(ConfigError) as refused:
        purpose(name, sock)
    assert str(refused.value) == f"systemd passed {name!r}, {found}; it must be {right}"


def test_a_socket_of_an_unexpected_kind_stops_the_start():
    with opened(TCP) as (sock,):
        sockets = [("udp", sock)]
        done = run(sockets)
    assert done.returncode == 1
    assert done.stderr.startswith("systemd passed 'udp', a SOCK_STREAM socket of AF_INET; it must")


def test_a_descriptor_that_is_no_socket_is_refused(tmp_path):
    with (tmp_path / "file").open("w") as file:
        sockets = [("udp", file)]
        done = run(sockets)
    assert done.stderr.startswith("systemd passed 'udp' as descriptor 3, which is no socket: ")


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"LISTEN_FDS": "two"}, "LISTEN_FDS is 'two'; it must be a number"),
        ({"LISTEN_PID": ""}, "LISTEN_PID is ''; it must be a number"),
        (
            {"LISTEN_FDS": "3", "LISTEN_FDNAMES": "udp:http"},
            "LISTEN_FDNAMES is 'udp:http'; it must have 3 names",
        ),
    ],
)
def test_variables_that_systemd_would_not_set_are_refused(monkeypatch, variables, complaint):
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=f"^{complaint}"):
        activated()
    assert not set(LISTEN) & set(os.environ)
