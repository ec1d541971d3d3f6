"""Threads that the kernel knows by name, for top and ps; Python does so itself from 3.14 on."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Thread, get_native_id
from typing import Any


def start_thread(thread: Thread, nice: int = 0) -> None:
    """Start a thread that the kernel knows by its name, behind those that are less nice."""
    thread.start()
    _settle(thread.native_id or 0, thread.name, nice)


def pool_of(name: str, threads: int, nice: int = 0) -> ThreadPoolExecutor:
    """Threads that the kernel knows by one name, behind those that are less nice."""
    return ThreadPoolExecutor(
        threads, name, initializer=lambda: _settle(get_native_id(), name, nice)
    )


def _settle(number: int, name: str, nice: int) -> None:
    Path(f"/proc/self/task/{number}/comm").write_text(name[:15])
    # What was started nicer than that may not become less nice.
    if nice > os.getpriority(os.PRIO_PROCESS, number):
        os.setpriority(os.PRIO_PROCESS, number, nice)


def watch(work: "Future[Any]", failed: Callable[[BaseException], None]) -> None:
    """Tell of the exception that ends some work for which nobody waits."""

    def ended(work: "Future[Any]") -> None:
        if not work.cancelled() and (error := work.exception()):
            failed(error)

    work.add_done_callback(ended)
