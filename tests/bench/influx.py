"""InfluxDB 1.x (Debian's package influxdb) on free ports, to be compared with."""

import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aggd.datagrams import pack
from tests.bench.tools import DEADLINE, BenchError, until

CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{directory}/meta"
[data]
  dir = "{directory}/data"
  wal-dir = "{directory}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{http}"
  log-enabled = false
[[udp]]
  enabled = true
  bind-address = "127.0.0.1:{udp}"
  database = "bench"
  precision = "ms"
  batch-size = 5000
  batch-pending = 100
  batch-timeout = "100ms"
  read-buffer = 33554432
[continuous_queries]
  enabled = false
[logging]
  level = "error"
"""


def version() -> str | None:
    """What is installed; None where nothing is."""
    found = shutil.which("influxd")
    if not found:
        return None
    told = subprocess.run([found, "version"], capture_output=True, text=True, timeout=DEADLINE)
    return " ".join(told.stdout.split()[:2])


class Influx:
    """influxd in a directory of its own, with one database."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="influx-")
        self.http, self.udp, rpc = _free_ports(3)
        path = Path(self._directory.name) / "influxdb.conf"
        path.write_text(CONFIG.format(directory=path.parent, rpc=rpc, http=self.http, udp=self.udp))
        self.process = subprocess.Popen(
            ["influxd", "-config", str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.pid = self.process.pid
        try:
            until(self._created, "influxd answering")
        except BaseException:
            self.stop()
            raise

    def _created(self) -> bool:
        if self.process.poll() is not None:
            raise BenchError(f"influxd ended with {self.process.returncode}")
        try:
            self._answer("POST", "/query?" + urlencode({"q": "CREATE DATABASE bench"}))
        except OSError:
            return False
        return True

    def _answer(self, method: str, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=DEADLINE)
        connection.request(method, path)
        found = json.loads(connection.getresponse().read())
        connection.close()
        return found

    def taken(self) -> int:
        """Points that came as datagrams and were written."""
        found = self._answer("GET", "/debug/vars")
        return sum(of["values"].get("pointsTx", 0) for of in found.values() if _is_udp(of))

    def flood(self, bodies: list[bytes], seconds: float) -> None:
        """Send points as packed datagrams, as fast as they go."""
        datagrams = list(pack(line for body in bodies for line in body.split(b"\n")))
        end = time.monotonic() + seconds
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
            target.connect(("127.0.0.1", self.udp))
            for i in count(step=64):
                if time.monotonic() > end:
                    break
                for datagram in datagrams[i % len(datagrams) :][:64]:
                    target.send(datagram)

    def stop(self) -> None:
        """End the process and throw away what it stored."""
        self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._directory.cleanup()


def _is_udp(of: Any) -> bool:
    return isinstance(of, dict) and of.get("name") == "udp"


def _free_ports(count: int) -> list[int]:
    """Ports that nobody holds just now, on TCP; influxd can't be asked which it took."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def query(words: str) -> str:
    """The path that asks a question; times come as milliseconds."""
    return "/query?" + urlencode({"db": "bench", "epoch": "ms", "q": words})
