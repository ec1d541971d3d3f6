"""The daemon: builds the parts, owns threads and signals.

sockets --> receiving threads --> fold thread --> history <-- closing thread --> disk
                                                     ^
                         event loop: HTTP, timers ---+--- query threads
"""

import asyncio
import ctypes
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from aggd import __version__, systemd, vitals
from aggd.config import Config
from aggd.errors import ConfigError, StorageError
from aggd.flush import WallClock, boundary_due, flush_forever, next_boundary
from aggd.http.app import Audience, Service, make_app
from aggd.outputs.prometheus import Family
from aggd.reception import Reception
from aggd.reload import Reloaded, reloaded
from aggd.retention import limits, tiers
from aggd.sockets import Sockets, text
from aggd.storage import Storage
from aggd.store.disk import Disk
from aggd.store.rollup import History
from aggd.store.series import Registry
from aggd.takeover import Successor
from aggd.threads import pool_of, watch
from aggd.units import format_duration, format_size

log = logging.getLogger(__name__)

QUERY_THREADS = 4
LINGER = 5.0  # seconds that requests in flight get at the end

Load = Callable[[], Config]


def release_memory() -> None:
    """Give back what merging used, which glibc keeps: 100k timers held 60 MB more."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def quiet_collector() -> None:
    """Let the collector of cycles look at less, less often.

    There are next to none, but to look for them stops every thread: of 10,000 series in
    one answer it took 80 of 240 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


class Daemon:
    """All parts of a running aggd, on one event loop.

    Parameters
    ----------
    load : callable
        Reads the configuration again, or raises ConfigError.
    """

    def __init__(self, config: Config, sockets: Sockets, load: Load) -> None:
        self.config = config
        self.sockets = sockets
        self.registry = Registry(limits(config))
        self.storage = self._open_storage()
        self.intake = Reception(config, sockets, self.registry, self.history, self._failed)
        self.executor = pool_of("aggd-query", QUERY_THREADS)
        self.closer = pool_of("aggd-close", 1)
        # Not in the fold thread: two seconds of full load take a third of one to merge.
        self.history.gather_soon = lambda: watch(
            self.closer.submit(self.history.gather), self._failed
        )
        self.closes = vitals.Timing()
        self.audience = Audience()
        self.service = self._service()
        self._load = load
        self._next: Reloaded | None = None  # to take effect when the interval closes
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None

    def _open_storage(self) -> Storage | None:
        """Read the state directory, where there is one, and begin the history."""
        config, now = self.config, time.time()
        bounds = config.limits.frames_memory, config.limits.samples_memory, now
        if not config.storage.state_dir:
            self.history = History(tiers(config), *bounds)
            return None
        directory = Path(config.storage.state_dir)
        disk = Disk(directory, tiers(config), config.storage.max_bytes, config.storage.cache)
        disk.hold(f"aggd with process id {os.getpid()}")
        saved, troubles = disk.open(self.registry)
        for trouble in troubles:
            log.error("storage: %s was damaged: %s", trouble.path, trouble.message)
        self.history = History(tiers(config), *bounds, disk.shelves)
        disk.restore(self.registry, self.history, saved, int(now))
        return Storage(disk, self.registry, self.history, self._failed)

    def _failed(self, error: BaseException) -> None:
        """Stop, from any thread, on what must not happen."""
        self._failure = error
        self.stop()

    def stop(self) -> None:
        """End, from any thread."""
        self._loop.call_soon_threadsafe(self._stop.set)

    async def run(self) -> None:
        """Run until a signal comes, then write or close the open interval."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload_on_signal)
        await self.intake.start()
        runner = await self._serve()
        successor = self._await_successor()
        timers = [self._task(timer) for timer in self._timers()]
        quiet_collector()
        log.info("%s", self.summary())
        systemd.notify(f"{systemd.READY}\n{systemd.status(self.summary())}")
        await self._stop.wait()
        systemd.notify(systemd.STOPPING)
        log.info("stopping: taking what is in flight, closing the open interval")
        await runner.cleanup()  # first: what a request was told is taken must be written
        for timer in timers:
            timer.cancel()
        await self.intake.finish()
        await self._loop.run_in_executor(self.closer, self._finish)
        if successor:
            successor.close()
        self.executor.shutdown()
        self.closer.shutdown()
        if self._failure:
            raise self._failure
        log.info("stopped after %d samples", sum(self.intake.recorder.figures.samples.values()))

    def _timers(self) -> list[Coroutine[Any, Any, None]]:
        """What happens again and again, on the clock."""
        clock = WallClock()
        found = [flush_forever(self.close, clock, self.config.flush.interval, self.closer)]
        if self.storage:
            found.append(self._checkpoint_forever(self.storage, clock))
        if wait := systemd.watchdog_interval():
            found.append(systemd.feed_forever(self.intake.progress, clock, wait))
        return found

    def _task(self, timer: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self._loop.create_task(timer)
        task.add_done_callback(self._timer_ended)
        return task

    def _timer_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()):
            self._failed(error)

    async def _checkpoint_forever(self, storage: Storage, clock: WallClock) -> None:
        while True:
            await clock.sleep(self.config.storage.checkpoint)
            await self._loop.run_in_executor(self.closer, storage.checkpoint)

    def close(self, boundary: int) -> None:
        """Close the interval that ends at `boundary`, and time it."""
        with self.closes.measure(time.perf_counter):
            self.history.close(boundary)
            release_memory()
        if self.storage:
            self.storage.closed(boundary)
        if self._next:
            self._apply(self._next)

    def _finish(self) -> None:
        """Write everything; where nothing is written, close the open interval."""
        if self.storage:
            self.storage.finish(time.time())
        else:
            self.history.close(next_boundary(time.time(), self.config.flush.interval))

    def _await_successor(self) -> Successor | None:
        """Let another daemon take over, where there is a state directory to meet in."""
        if not self.config.storage.state_dir:
            return None
        every = [*self.sockets.datagrams(), self.sockets.http]
        successor = Successor(Path(self.config.storage.state_dir), every, self.stop)
        try:
            successor.start()
        except StorageError as error:
            log.warning("no other daemon can take over from this one: %s", error)
            return None
        return successor

    def _reload_on_signal(self) -> None:
        try:
            self.reload()
        except ConfigError as error:
            log.error("not reloaded, all is as it was: %s", error)

    def reload(self) -> Reloaded:
        """Read the configuration again; what can change does when the interval closes.

        Raises
        ------
        ConfigError
            Where it is wrong: then nothing changes.
        """
        systemd.notify(systemd.reloading(time.monotonic()))
        try:
            found = reloaded(self.config, self._load())
        finally:
            systemd.notify(systemd.READY)
        for key in found.needs_restart:
            log.warning("%s has changed, which takes effect at the next start only", key)
        log.info("reloaded: %s", ", ".join(found.changed) or "nothing to change")
        self._next = found
        return found

    def _apply(self, found: Reloaded) -> None:
        """Put a new configuration in force."""
        self._next, self.config = None, found.config
        config = found.config
        self.registry.limits = limits(config)
        self.history.frames_memory = config.limits.frames_memory
        self.history.samples_memory = config.limits.samples_memory
        self.intake.apply(config)
        self.service.max_body = config.http.max_body
        self.service.thresholds = config.timers.percentiles
        if self.storage:
            self.storage.disk.max_bytes = config.storage.max_bytes
            self.storage.disk.cache.limit = config.storage.cache
        logging.getLogger().setLevel(config.log.level.upper())

    def _service(self) -> Service:
        return Service(
            registry=self.registry,
            history=self.history,
            recorder=self.intake.recorder,
            lines=self.intake.bodies.record,
            now=time.time,
            tick=partial(boundary_due, WallClock()),
            audience=self.audience,
            executor=self.executor,
            max_body=self.config.http.max_body,
            figures=self.figures,
            reasons=self.reasons,
            thresholds=self.config.timers.percentiles,
            reload=self.reload,
        )

    async def _serve(self) -> web.AppRunner:
        runner = web.AppRunner(make_app(self.service), access_log=None, shutdown_timeout=LINGER)
        await runner.setup()
        await web.SockSite(runner, self.sockets.http).start()
        return runner

    def figures(self) -> list[Family]:
        """All figures of this process."""
        figures = self.intake.recorder.figures
        return [
            *vitals.intake(figures),
            *self.intake.figures(),
            *vitals.memory(self.registry, self.history),
            *self.closes.families("close", "Time to close an interval."),
            *(self.storage.figures() if self.storage else ()),
            *vitals.audience(self.audience),
            *vitals.process(),
        ]

    def reasons(self) -> list[str]:
        """What a person should know about before trusting the answers."""
        lost = sum(self.history.slots.evicted)
        found = [f"limits.frames_memory is too small: {lost} slots left early"] if lost else []
        return found + (self.storage.reasons() if self.storage else [])

    def summary(self) -> str:
        """One line with the settings in force."""
        config, kept = self.config, self.config.retention
        kinds = [format_duration(t) for t in (kept.interval, kept.minute, kept.hour, kept.day)]
        return (
            f"aggd {__version__}: udp {' '.join(self.intake.addresses()) or 'none'}, "
            f"http {text(self.sockets.http)}, {self.intake.lane} lane, "
            f"receive buffer {format_size(self.intake.buffer())} of "
            f"{format_size(config.listen.receive_buffer)}, "
            f"interval {format_duration(config.flush.interval)}, keeps {'/'.join(kinds)}, "
            f"state {config.storage.state_dir or 'in memory only'}"
        )


async def _main(config: Config, sockets: Sockets, load: Load) -> None:
    await Daemon(config, sockets, load).run()


def run(config: Config, sockets: Sockets, load: Load) -> int:
    """Run the daemon until it is told to stop; the exit code."""
    logging.basicConfig(
        level=config.log.level.upper(), format="%(levelname)s %(message)s", stream=sys.stderr
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_main(config, sockets, load))
    except (ConfigError, StorageError) as error:
        log.error("%s", error)
        return 2
    finally:
        sockets.close()
    return 0
