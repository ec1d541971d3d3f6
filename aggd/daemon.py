"""The daemon: builds the parts, owns threads and signals.

sockets --> receiving threads --> fold thread --> history <-- closing thread
                                                     ^
                         event loop: HTTP, timers ---+--- query threads
"""

import asyncio
import ctypes
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import randbits
from threading import Lock, Thread, get_native_id

import uvloop
from aiohttp import web

from aggd import __version__, vitals
from aggd.config import Config
from aggd.errors import ConfigError
from aggd.flush import WallClock, flush_forever, next_boundary
from aggd.http.app import LinesResult, Service, make_app
from aggd.ingest.column import Column
from aggd.ingest.intake import Failed, Fold, Receiver
from aggd.listeners import udp
from aggd.listeners.udp import LARGEST_DATAGRAM
from aggd.outputs.prometheus import Family
from aggd.store.recorder import Policy, Recorder
from aggd.store.rollup import History, Tier
from aggd.store.series import Limits, Registry
from aggd.units import DAY, HOUR, MINUTE, format_duration, format_size

try:
    from aggd.ingest.fastlane import FastLane
except ImportError:  # installed where there was no C compiler
    FastLane = None  # type: ignore[assignment, misc]

log = logging.getLogger(__name__)

FOLD_NICE = 5  # the receiving thread goes first: behind it stands the kernel's buffer
QUERY_THREADS = 4


def limits(config: Config) -> Limits:
    """What a series may be called, and how many there may be."""
    chosen = config.limits
    return Limits(
        chosen.series,
        chosen.name_bytes,
        chosen.tags,
        chosen.tag_key_bytes,
        chosen.tag_value_bytes,
    )


def tiers(config: Config) -> list[Tier]:
    """Resolutions and how long each is kept, finest first."""
    kept = config.retention
    coarse = [
        Tier("minute", MINUTE, kept.minute),
        Tier("hour", HOUR, kept.hour),
        Tier("day", DAY, kept.day),
    ]
    width = config.flush.interval
    return coarse if width == MINUTE else [Tier("interval", width, kept.interval), *coarse]


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
                done = self._fill(body, done)
                self._column.start, self._column.lane = now, self._number
                recorded = self._recorder.column(self._column)
                accepted += recorded.accepted
                refused += [(None, bad.reason, bad.line) for bad in recorded.refused]
                self._column.reset()
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


class Intake:
    """Sockets, lanes and threads, from the kernel to the recorder.

    Parameters
    ----------
    failed : callable
        Takes the exception that ended a thread.
    """

    def __init__(
        self, config: Config, registry: Registry, history: History, failed: Failed
    ) -> None:
        listen = config.listen
        self.compiled = FastLane is not None and listen.compiled
        workers = listen.workers if self.compiled else 1
        self.sockets = [
            udp.open_shared(host, port, listen.receive_buffer, workers) for host, port in listen.udp
        ]
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
                [shared[number].fileno() for shared in self.sockets],
                self.fold,
                config.flush.interval,
                time.time,
                time.monotonic,
                round(listen.pause * 1e6),
                failed,
            )
            for number, lane in enumerate(lanes[:-1])
        ]
        self.listener = udp.PythonListener(self.fold, time.time)
        self._transports: list[asyncio.BaseTransport] = []

    @property
    def lane(self) -> str:
        """The lane that lines take first."""
        return "compiled" if self.compiled else "python"

    async def start(self) -> None:
        """Start the threads, or listen on the loop where there is no compiled lane."""
        start_thread(self.fold.thread)
        os.setpriority(os.PRIO_PROCESS, self.fold.thread.native_id or 0, FOLD_NICE)
        for receiver in self.receivers:
            start_thread(receiver.thread)
        loop = asyncio.get_running_loop()
        for sock in [] if self.compiled else [shared[0] for shared in self.sockets]:
            transport, _ = await loop.create_datagram_endpoint(lambda: self.listener, sock=sock)
            self._transports.append(transport)

    async def finish(self) -> None:
        """Take what the kernel still holds, record it, and end the threads."""
        for transport, shared in zip(self._transports, self.sockets, strict=False):
            self.listener.drain(shared[0])
            transport.close()
        self.listener.hand_over()
        await asyncio.get_running_loop().run_in_executor(None, self._join)
        for sock in self._every_socket():
            sock.close()

    def _join(self) -> None:
        for receiver in self.receivers:
            receiver.finish()
        self.fold.finish()

    def _every_socket(self) -> Iterator[socket.socket]:
        return (sock for shared in self.sockets for sock in shared)

    def addresses(self) -> list[str]:
        """Where datagrams are received."""
        return [udp.text(shared[0]) for shared in self.sockets]

    def buffer(self) -> int:
        """Bytes of receive buffer the kernel granted each socket."""
        return min((udp.granted(sock) for sock in self._every_socket()), default=0)

    def figures(self) -> Iterator[Family]:
        """The edge's own figures."""
        drops = {udp.text(s): udp.kernel_drops(s) for s in self._every_socket()}
        yield vitals.by("kernel_drops", "Datagrams the kernel had no room for.", "socket", drops)
        yield vitals.counter(
            "queue_drops", "Datagrams dropped with no column free.", self.listener.dropped
        )
        yield vitals.gauge("receive_buffer_bytes", "Receive buffer granted.", self.buffer())
        yield vitals.gauge("queue_columns", "Columns waiting for the fold.", self.fold.waiting())


def start_thread(thread: Thread) -> None:
    """Start a thread that the kernel knows by its name, for top and ps."""
    thread.start()
    call_thread(thread.native_id or 0, thread.name)


def pool_of(name: str, threads: int) -> ThreadPoolExecutor:
    """Threads that the kernel knows by one name."""
    return ThreadPoolExecutor(threads, name, initializer=lambda: call_thread(get_native_id(), name))


def call_thread(number: int, name: str) -> None:
    """Name a thread of this process; Python does so itself from 3.14 on."""
    Path(f"/proc/self/task/{number}/comm").write_text(name[:15])


def release_memory() -> None:
    """Give back what merging used, which glibc keeps: 100k timers held 60 MB more."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


class Daemon:
    """All parts of a running aggd, on one event loop."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.registry = Registry(limits(config))
        self.history = History(
            tiers(config), config.limits.frames_memory, config.limits.samples_memory, time.time()
        )
        self.intake = Intake(config, self.registry, self.history, self._failed)
        self.executor = pool_of("aggd-query", QUERY_THREADS)
        self.closer = pool_of("aggd-close", 1)
        # Not in the fold thread: two seconds of full load take a third of one to merge.
        self.history.gather_soon = lambda: self.closer.submit(self.history.gather)
        self.closes = vitals.Timing()
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None

    def _failed(self, error: BaseException) -> None:
        """Stop, from any thread, on what must not happen."""
        self._failure = error
        self._loop.call_soon_threadsafe(self._stop.set)

    async def run(self) -> None:
        """Run until a signal comes, then close the open interval."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        await self.intake.start()
        runner, address = await self._serve()
        closing = self._loop.create_task(
            flush_forever(self.close, WallClock(), self.config.flush.interval, self.closer)
        )
        closing.add_done_callback(self._closing_ended)
        log.info("%s", self.summary(address))
        await self._stop.wait()
        log.info("stopping: taking what is in flight, closing the open interval")
        closing.cancel()
        await self.intake.finish()
        await self._loop.run_in_executor(self.closer, self.close, self._boundary())
        await runner.cleanup()
        self.executor.shutdown()
        self.closer.shutdown()
        if self._failure:
            raise self._failure
        log.info("stopped after %d samples", sum(self.intake.recorder.figures.samples.values()))

    def _closing_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()):
            self._failed(error)

    def _boundary(self) -> int:
        return next_boundary(time.time(), self.config.flush.interval)

    def close(self, boundary: int) -> None:
        """Close the interval that ends at `boundary`, and time it."""
        with self.closes.measure(time.perf_counter):
            self.history.close(boundary)
            release_memory()

    async def _serve(self) -> tuple[web.AppRunner, str]:
        host, port = self.config.http.listen
        service = Service(
            registry=self.registry,
            history=self.history,
            recorder=self.intake.recorder,
            lines=self.intake.bodies.record,
            now=time.time,
            executor=self.executor,
            max_body=self.config.http.max_body,
            figures=self.figures,
            reasons=self.reasons,
        )
        runner = web.AppRunner(make_app(service), access_log=None, shutdown_timeout=5.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigError(
                f"http.listen: can't listen on {host}:{port}: {error.strerror}; "
                "choose another address, or stop the program that holds it"
            ) from error
        host, port = runner.addresses[0][:2]
        return runner, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def figures(self) -> list[Family]:
        """All figures of this process."""
        figures = self.intake.recorder.figures
        return [
            *vitals.intake(figures),
            *self.intake.figures(),
            *vitals.memory(self.registry, self.history),
            *self.closes.families("close", "Time to close an interval."),
            *vitals.process(),
        ]

    def reasons(self) -> list[str]:
        """What a person should know about before trusting the answers."""
        lost = sum(self.history.evicted)
        return [f"limits.frames_memory is too small: {lost} slots left early"] if lost else []

    def summary(self, http: str) -> str:
        """One line with the settings in force."""
        listen, kept = self.config.listen, self.config.retention
        kinds = [format_duration(t) for t in (kept.interval, kept.minute, kept.hour, kept.day)]
        return (
            f"aggd {__version__}: udp {' '.join(self.intake.addresses()) or 'none'}, http {http}, "
            f"{self.intake.lane} lane, receive buffer {format_size(self.intake.buffer())} of "
            f"{format_size(listen.receive_buffer)}, interval "
            f"{format_duration(self.config.flush.interval)}, keeps {'/'.join(kinds)}, "
            f"state {self.config.storage.state_dir or 'in memory only'}"
        )


async def _main(config: Config) -> None:
    await Daemon(config).run()


def run(config: Config) -> int:
    """Run the daemon until it is told to stop; the exit code."""
    logging.basicConfig(
        level=config.log.level.upper(), format="%(levelname)s %(message)s", stream=sys.stderr
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_main(config))
    except ConfigError as error:
        log.error("%s", error)
        return 2
    return 0
