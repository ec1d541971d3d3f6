"""Asking over HTTP, timing it, and writing down what it took."""

import http.client
import time
from collections.abc import Callable, Sequence

import numpy as np

from tests.bench.tools import DEADLINE, BenchError

Latencies = dict[str, list[float]]  # ms, by the title of the question


class Client:
    """One connection that is kept alive."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)

    def ask(self, path: str) -> bytes:
        """The answer to a question."""
        return self._answer("GET", path, None, {})

    def post(self, path: str, body: bytes, media: str) -> bytes:
        """The answer to a body."""
        return self._answer("POST", path, body, {"Content-Type": media})

    def _answer(self, method: str, path: str, body: bytes | None, head: dict[str, str]) -> bytes:
        self._connection.request(method, path, body, head)
        response = self._connection.getresponse()
        text = response.read()
        if response.status >= 300:
            raise BenchError(f"{method} {path}: {response.status} {text[:300]!r}")
        return text


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def percentiles(took: Sequence[float]) -> list[str]:
    """Median, p99 and number of latencies, for a table."""
    return [*(f"{x:.2f}" for x in np.percentile(took, (50, 99))), f"{len(took)}"]


def line(title: str, *cells: str) -> str:
    return f"{title:<32}" + "".join(f"{cell:>13}" for cell in cells)
