"""The real command, replaced by itself while datagrams come in."""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from threading import Thread

import pytest

from aggd.takeover import HELLO
from tests.daemon import DEADLINE, Daemon, eventually

DATAGRAMS = 20_000
A_SECOND = 5_000
REPLACED = 3


class Sender(Thread):
    """Sends numbers to an address at a steady pace, however late it wakes."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__()
        self.sent = 0
        self._address = address

    def run(self) -> None:
        begun = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(self._address)
            while self.sent < DATAGRAMS:
                due = min(DATAGRAMS, int((time.monotonic() - begun) * A_SECOND))
                for number in range(self.sent, due):
                    sock.send(b"n:1|c\nvalue:%d|ms" % number)
                self.sent = due
                time.sleep(0.001)


class Reader(Thread):
    """Asks the one address again and again, and notes every answer there shouldn't be."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__()
        self.answers = 0
        self.refused: list[str] = []
        self.counts: list[int] = []
        self.over = False
        self._url = f"{daemon.http}/api/v1/stats/n"

    def run(self) -> None:
        while not self.over:
            try:
                with urllib.request.urlopen(self._url, timeout=DEADLINE) as answer:
                    self.counts.append(json.load(answer)["count"])
                self.answers += 1
            except urllib.error.HTTPError as error:
                with error:
                    self.refused += [] if error.code == 404 else [str(error.code)]  # not yet sent
            except ConnectionResetError:
                pass  # it had come to the old one as that left
            except urllib.error.URLError as error:
                self.refused += [str(error)]
            time.sleep(0.01)


@pytest.mark.parametrize("compiled", ["true", "false"])
def test_a_takeover_loses_no_datagram(tmp_path, start, compiled):
    options = "--state-dir", str(tmp_path)
    daemon = start(*options, AGGD_LISTEN__COMPILED=compiled)
    sender, reader = Sender(daemon.udp), Reader(daemon)
    sender.start()
    reader.start()
    for number in range(1, REPLACED + 1):
        share = number * DATAGRAMS // (REPLACED + 1)
        eventually(lambda share=share: sender.sent >= share)
        following = start(*options, "--takeover", AGGD_LISTEN__COMPILED=compiled)
        assert (following.udp, following.http) == (daemon.udp, daemon.http)
        code, logged = daemon.stop(0)  # leaves by itself
        assert code == 0
        assert "a new daemon takes over" in logged
        daemon = following
    sender.join()
    assert daemon.stats("n", DATAGRAMS)["sum"] == DATAGRAMS
    values = daemon.stats("value", DATAGRAMS)
    assert round(values["sum"]) == DATAGRAMS * (DATAGRAMS - 1) // 2
    assert (values["min"], values["max"]) == (0, DATAGRAMS - 1)
    reader.over = True
    reader.join()
    assert reader.refused == []
    assert reader.answers > 50
    assert daemon.figure("aggd_kernel_drops_total") == 0
    assert daemon.stop()[0] == 0


def test_what_is_posted_while_another_takes_over_is_kept(tmp_path, start):
    daemon = start("--state-dir", str(tmp_path))
    url, accepted, over = daemon.http, [], []

    def post() -> None:
        while not over:
            request = urllib.request.Request(
                f"{url}/api/v1/record", b"posted:1|c", {"Content-Type": "text/plain"}
            )
            try:
                with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                    accepted.append(json.load(answer)["accepted"])
            except ConnectionResetError:
                pass  # not answered: it may have been taken or not
            time.sleep(0.001)

    threads = [Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        before = len(accepted)
        eventually(lambda before=before: len(accepted) > before + 100)
        following = start("--state-dir", str(tmp_path), "--takeover")
        assert daemon.stop(0)[0] == 0
        daemon = following
    over.append(True)
    for thread in threads:
        thread.join()
    count = daemon.ask("/api/v1/stats/posted")["count"]
    assert sum(accepted) <= count <= sum(accepted) + 4 * 3  # those that weren't answered
    assert daemon.stop()[0] == 0


def refused(*options: str) -> str:
    """What a daemon says that must not start."""
    command = [sys.executable, "-m", "aggd", "run", "--udp", "127.0.0.1:0"]
    command += ["--http", "127.0.0.1:0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_nobody_to_take_over_from_is_said(tmp_path):
    said = refused("--state-dir", str(tmp_path), "--takeover")
    assert said == (
        f"--takeover: no daemon answers at {tmp_path}/takeover: No such file or directory; "
        "start without --takeover where none is running\n"
    )


def test_a_daemon_that_was_killed_is_nobody_to_take_over_from(tmp_path, start):
    start("--state-dir", str(tmp_path)).stop(9)
    assert "Connection refused" in refused("--state-dir", str(tmp_path), "--takeover")
    daemon = start("--state-dir", str(tmp_path))
    assert (daemon.early, daemon.stop()[0]) == ("", 0)


def test_a_takeover_needs_a_directory_to_meet_in():
    said = refused("--takeover")
    assert said == "--takeover: storage.state_dir is where the two daemons meet; set it\n"


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param(b"", id="hangs up"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n", id="speaks HTTP"),
        pytest.param(HELLO, id="gives no sockets"),
    ],
)
def test_a_peer_that_gives_no_sockets_is_no_daemon(tmp_path, answers):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "takeover"))
        server.listen(1)

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(len(HELLO))
                peer.sendall(answers)

        thread = Thread(target=serve)
        thread.start()
        said = refused("--state-dir", str(tmp_path), "--takeover")
        thread.join()
    assert f"no daemon answers at {tmp_path}/takeover: " in said


def test_a_peer_that_gives_what_is_no_socket_is_no_daemon(tmp_path):
    with socket.socket(socket.AF_UNIX) as server, open(__file__) as file:
        server.bind(str(tmp_path / "takeover"))
        server.listen(1)

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(len(HELLO))
                socket.send_fds(peer, [HELLO], [file.fileno()])

        thread = Thread(target=serve)
        thread.start()
        said = refused("--state-dir", str(tmp_path), "--takeover")
        thread.join()
    assert "no daemon answers at" in said


def test_a_stranger_at_the_socket_gets_nothing_and_does_no_harm(tmp_path, start):
    daemon = start("--state-dir", str(tmp_path))
    for said in (b"GET / HTTP/1.1\r\n", b""):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(tmp_path / "takeover"))
            peer.sendall(said)
            peer.shutdown(socket.SHUT_WR)
            _, descriptors, _, _ = socket.recv_fds(peer, 100, 10)
            assert descriptors == []
    daemon.send(b"c:1|c")
    daemon.stats("c", 1)
    following = start("--state-dir", str(tmp_path), "--takeover")
    assert daemon.stop(0)[0] == 0
    assert following.stats("c", 1)["sum"] == 1
    assert following.stop()[0] == 0


def test_a_directory_is_for_one_daemon(tmp_path, start):
    daemon = start("--state-dir", str(tmp_path))
    said = refused("--state-dir", str(tmp_path))
    assert re.fullmatch(
        rf"ERROR storage\.state_dir: {tmp_path} is in use by aggd with process id "
        rf"{daemon.process.pid}; stop it, take over from it with --takeover, or choose another "
        r"directory\n",
        said,
    )
    daemon.send(b"c:1|c")
    daemon.stats("c", 1)
    assert daemon.stop()[0] == 0


def test_a_long_path_is_no_hindrance(tmp_path, start):
    directory = tmp_path / ("long" * 30)  # sockets may have 107 bytes
    daemon = start("--state-dir", str(directory))
    assert daemon.early == ""
    following = start("--state-dir", str(directory), "--takeover")
    assert daemon.stop(0)[0] == 0
    assert following.stop()[0] == 0
