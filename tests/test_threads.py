"""Threads under names of ours, and what ends them."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread, get_native_id

import pytest

from aggd.threads import pool_of, start_thread, watch


def own() -> tuple[str, int]:
    """Name and niceness of the thread that asks."""
    name = Path(f"/proc/self/task/{get_native_id()}/comm").read_text().strip()
    return name, os.getpriority(os.PRIO_PROCESS, get_native_id())


def test_threads_of_a_pool_have_its_name_and_its_niceness():
    with pool_of("aggd-a-long-name", 1, 7) as pool:
        assert pool.submit(own).result() == ("aggd-a-long-nam", 7)


def test_a_thread_of_a_process_that_is_nicer_stays_so():
    script = (
        "import os; os.nice(10)\n"
        "from aggd.threads import pool_of\n"
        "from tests.test_threads import own\n"
        "with pool_of('x', 1, 5) as pool: print(pool.submit(own).result()[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "10\n", done.stderr


def test_a_thread_is_started_under_its_name():
    named, found = Event(), []

    def look():
        named.wait()
        found.append(own()[0])

    started = Thread(target=look, name="aggd-some")
    start_thread(started)
    named.set()
    started.join()
    assert found == ["aggd-some"]


@pytest.mark.parametrize("error", [ValueError("a bug"), MemoryError()])
def test_what_ends_work_that_nobody_waits_for_is_told(error):
    def broken():
        raise error

    told = []
    with pool_of("x", 1) as pool:
        watch(pool.submit(broken), told.append)
        watch(pool.submit(own), told.append)
    assert told == [error]
