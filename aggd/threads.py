"""Threads that the kernel knows by name, for top and ps; Python does so itself from 3.14 on."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread, get_native_id


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
