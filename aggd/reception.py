"""Sockets, lanes and threads, from the kernel to the recorder."""

import asyncio
import time
from collections.abc import Iterator
from secrets import randbits
from threading import Lock

from aggd import vitals
from aggd.config import Config
from aggd.http.service import LinesResult
from aggd.ingest.column import Column
from aggd.ingest.intake import Failed, Fold, Receiver
from aggd.listeners import udp
from aggd.listeners.udp import LARGEST_DATAGRAM
from aggd.outputs.prometheus import Family
from aggd.sockets import Sockets, granted, kernel_drops, text
from aggd.store.naming import Policy
from aggd.store.recorder import Recorder
from aggd.store.rollup import History
from aggd.store.series import Registry
from aggd.threads import start_thread

try:
    from aggd.ingest.fastlane import FastLane
except ImportError:  # installed where there was no C compiler
    FastLane = None  # type: ignore[assignment, misc]

FOLD_NICE = 5  # the receiving thread goes first: behind it stands the kernel's buffer


def policy(config: Config) -> Policy:
    """What the protocol leaves to the configuration."""
    chosen = config.protocol
    return Policy(
        chosen.gauge_sign,
        chosen.type_C == "monotonic",
        config.limits.future,
        chosen.sanitize_names,
        chosen.netdata_defaults,
    )


def is_compiled(config: Config) -> bool:
    """Tell whether the compiled lane receives."""
    return FastLane is not None and config.listen.compiled


def workers_of(config: Config) -> int:
    """How many receiving threads there are; the Python lane is one."""
    return config.listen.workers if is_compiled(config) else 1


class Bodies:
    """Lines in the bodies of requests, read by a lane of their own."""

    def __init__(self, recorder: Recorder, lane: "FastLane | None", number: int) -> None:
        self._recorder = recorder
        self._lane = lane
        self._number = number
        self._column = Column()
        self._lock = Lock()

    def record(self, body: bytes, now: float) -> LinesResult:
        """Record all lines of a body; how many samples were taken, and the lines that weren't."""
        accepted, refused = 0, []
        with self._lock:
            done = 0
            while done < len(body):
                self._column.reset()
                done = self._fill(body, done)
                self._column.start, self._column.lane = now, self._number
                recorded = self._recorder.column(self._column)
                accepted += recorded.accepted
                refused += [(None, bad.reason, bad.line) for bad in recorded.refused]
        return LinesResult(accepted, refused)

    def _fill(self, body: bytes, done: int) -> int:
        if self._lane is not None:
            self._column.whole = False
            return self._lane.feed(body, self._column, done)
        self._column.whole = True
        end = body.rfind(b"\n", done, done + LARGEST_DATAGRAM) + 1
        end = end if end > done else min(len(body), done + LARGEST_DATAGRAM)
        self._column.set_aside(body[done:end], b"")
        return end


class Reception:
    """All that receives, and the way from there to the recorder.

    Parameters
    ----------
    sockets : Sockets
        Closed when it finishes, but for the one of HTTP.
    failed : callable
        Takes the exception that ended a thread.
    """

    def __init__(
        self,
        config: Config,
        sockets: Sockets,
        registry: Registry,
        history: History,
        failed: Failed,
    ) -> None:
        workers = workers_of(config)
        self.compiled = is_compiled(config)
        self.sockets = sockets
        # One lane a receiving thread, and the last one for the bodies of requests.
        lanes = [FastLane(seed=randbits(64)) for _ in range(workers + 1)] if self.compiled else []
        self.recorder = Recorder(
            registry, history, policy(config), [lane.spellings for lane in lanes]
        )
        self.bodies = Bodies(self.recorder, lanes[-1] if lanes else None, workers)
        self.fold = Fold(self.recorder.column, failed)
        self.receivers = [
            Receiver(
                number,
                lane,
                sockets.of_worker(number, workers),
                self.fold,
                config.flush.interval,
                time.time,
                time.monotonic,
                round(config.listen.pause * 1e6),
                failed,
            )
            for number, lane in enumerate(lanes[:-1])
        ]
        self.listener = udp.PythonListener(self.fold, time.time, config.flush.interval)
        self._transports: list[asyncio.BaseTransport] = []

    @property
    def lane(self) -> str:
        """The lane that lines take first."""
        return "compiled" if self.compiled else "python"

    async def start(self) -> None:
        """Start the threads, or listen on the loop where there is no compiled lane."""
        start_thread(self.fold.thread, FOLD_NICE)
        for receiver in self.receivers:
            start_thread(receiver.thread)
        loop = asyncio.get_running_loop()
        for sock in () if self.compiled else self.sockets.datagrams():
            transport, _ = await loop.create_datagram_endpoint(lambda: self.listener, sock=sock)
            self._transports.append(transport)

    async def finish(self) -> None:
        """Take what the kernel still holds, record it, and end the threads."""
        for transport, sock in zip(self._transports, self.sockets.datagrams(), strict=False):
            self.listener.drain(sock)
            transport.close()
        self.listener.hand_over()
        await asyncio.get_running_loop().run_in_executor(None, self._join)
        for sock in self.sockets.datagrams():
            sock.close()

    def apply(self, config: Config) -> None:
        """Go on with another configuration, as far as it can change."""
        self.recorder.change_policy(policy(config))
        for receiver in self.receivers:
            receiver.pause_us = round(config.listen.pause * 1e6)

    def progress(self) -> list[int]:
        """Turns of every receiving thread so far."""
        return [receiver.turns for receiver in self.receivers]

    def _join(self) -> None:
        for receiver in self.receivers:
            receiver.finish()
        self.fold.finish()

    def addresses(self) -> list[str]:
        """Where datagrams are received."""
        return [text(shared[0]) for shared in self.sockets.udp]

    def buffer(self) -> int:
        """Bytes of receive buffer the kernel granted each socket."""
        return min((granted(sock) for sock in self.sockets.datagrams()), default=0)

    def figures(self) -> Iterator[Family]:
        """The edge's own figures."""
        drops = {text(s): kernel_drops(s) for s in self.sockets.datagrams()}
        yield vitals.by("kernel_drops", "Datagrams the kernel had no room for.", "socket", drops)
        yield vitals.counter(
            "queue_drops", "Datagrams dropped with no column free.", self.listener.dropped
        )
        yield vitals.gauge("receive_buffer_bytes", "Receive buffer granted.", self.buffer())
        yield vitals.gauge("queue_columns", "Columns waiting for the fold.", self.fold.waiting())
