"""The real command on free ports of the loopback, as a user starts it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

from tests.activation import Named, names, numbers, passing

T = TypeVar("T")

DEADLINE = 20.0  # seconds, for whatever should happen at once


def eventually(found: Callable[[], T], deadline: float = DEADLINE) -> T:
    """Ask until the answer is true; fail with the last one when time is up."""
    end = time.monotonic() + deadline
    while not (answer := found()):
        assert time.monotonic() < end, f"still {answer!r} after {deadline} s"
        time.sleep(0.01)
    return answer


class Daemon:
    """A running aggd and how to talk to it; sockets that are `given` it gets as from systemd."""

    def __init__(
        self, *options: str, udp: str = "127.0.0.1:0", given: Named = (), **environment: str
    ) -> None:
        command = [*passing(given), sys.executable, "-m", "aggd", "run"]
        command += ["--udp", udp, "--http", "127.0.0.1:0", *options]
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment, **names(given)},
            pass_fds=numbers(given),
            text=True,
        )
        assert self.process.stderr
        self.early = ""  # logged before the summary
        self.summary = self.process.stderr.readline()
        while not self.summary.startswith("INFO aggd "):
            self.early += self.summary
            self.summary = self.process.stderr.readline()
            assert self.summary, self.early
        found = re.search(r"udp (?:\[([^]]+)\]|([\d.]+)):(\d+).* http ([\d.]+:\d+)", self.summary)
        assert found, self.summary
        self.udp = (found[1] or found[2], int(found[3]))
        self.http = f"http://{found[4]}"
        family = socket.AF_INET6 if found[1] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.connect(self.udp)

    def send(self, datagram: bytes) -> None:
        self.socket.send(datagram)

    def request(self, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        """Status and body of an answer, whatever the status."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if data is not None else {}
        request = urllib.request.Request(self.http + path, data, {**kind, **headers})
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def ask(self, path: str, body: Any = None) -> Any:
        """The answer to a question that must succeed."""
        status, answer = self.request(path, body)
        assert status == 200, (path, status, answer)
        return json.loads(answer)

    def figure(self, name: str, **labels: str) -> float:
        """Sum of a figure of ``/metrics`` over all labels that aren't given."""
        text = self.request("/metrics")[1].decode()
        lines = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.M)
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        return sum(float(value) for found, value in lines if wanted <= set(found.split(",")))

    def stats(self, name: str, count: float, **query: str) -> Any:
        """Statistics of a series, as soon as it has `count` samples."""
        path = f"/api/v1/stats/{name}?" + "&".join(f"{k}={v}" for k, v in query.items())

        def answer() -> Any:
            status, body = self.request(path)
            found = json.loads(body)
            return found if status == 200 and found["count"] == count else None

        return eventually(answer)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and what was logged after the start."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, logged = self.process.communicate(timeout=DEADLINE)
        self.socket.close()
        return self.process.returncode, logged
