"""Sockets that somebody else holds, as systemd passes them."""

import os
import random
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.activation import names, numbers, passing
from tests.daemon import DEADLINE, Daemon, eventually

ACTIVATE = shutil.which("systemd-socket-activate")
RECEIVES = """
import select
from aggd.systemd import activated
(purpose, sock), = activated()
assert select.select([sock], [], [], 20)[0]
print(purpose, sock.fileno(), sock.recv(100).decode())
"""
PROGRAM = [sys.executable, "-c", RECEIVES]


class StandIn:
    """Our own: holds the socket itself, and starts the program without being asked."""

    def __init__(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            self.address = sock.getsockname()
            given = [("udp", sock)]
            self.process = subprocess.Popen(
                [*passing(given), *PROGRAM],
                env={**os.environ, **names(given)},
                pass_fds=numbers(given),
                stdout=subprocess.PIPE,
                text=True,
            )


class Real:
    """systemd's: binds the socket, and becomes the program when the first datagram comes."""

    def __init__(self) -> None:
        self.address = free_address()
        listen = "{}:{}".format(*self.address)
        self.process = subprocess.Popen(
            [ACTIVATE, "--datagram", "--fdname=udp", f"--listen={listen}", *PROGRAM],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )


def free_address() -> tuple[str, int]:
    """A port that nobody has, on an address that nobody uses: systemd takes no port 0."""
    host = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        return sock.getsockname()


def arrives(sender: socket.socket, address: tuple[str, int]) -> bool:
    """Send a datagram; whether somebody holds the address, which the kernel tells by and by."""
    try:
        sender.connect(address)
        sender.send(b"c:1|c")
        sender.send(b"c:1|c")
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("activator", [StandIn, *([Real] if ACTIVATE else [])])
def test_a_datagram_that_came_before_the_program_is_there(activator):
    activating = activator()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        eventually(lambda: arrives(sender, activating.address))
    told, _ = activating.process.communicate(timeout=DEADLINE)
    assert (activating.process.returncode, told) == (0, "udp 3 c:1|c\n")


def test_the_daemon_works_on_all_sockets_that_it_is_given():
    with ExitStack() as stack:
        http = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        both = [stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(2)]
        sender = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        for sock in both:
            sock.bind(("127.0.0.1", 0))
            sender.sendto(b"c:1|c", sock.getsockname())
        daemon = Daemon(given=[("udp", both[0]), ("http", http), ("udp", both[1])])
        assert daemon.http == "http://{}:{}".format(*http.getsockname())
    assert daemon.stats("c", 2)["sum"] == 2
    assert daemon.stop()[0] == 0


def test_a_socket_that_it_has_no_use_for_stops_the_start():
    with socket.create_server(("127.0.0.1", 0)) as stream:
        given = [("udp", stream)]
        done = subprocess.run(
            [*passing(given), sys.executable, "-m", "aggd", "run"],
            env={**os.environ, **names(given)},
            pass_fds=numbers(given),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("systemd passed 'udp', a SOCK_STREAM socket of AF_INET; ")
