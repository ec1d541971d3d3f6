"""From sockets to columns to the fold thread.

    sockets --> [receiving thread: lane] --columns--> [fold thread: record]
                       ^                                     |
                       +------------- pool of columns -------+

A column belongs to one thread at a time and crosses by a queue; there is no
lock on the path.  Where no column is free the receiving thread waits, the
sockets' buffers hold, and then the kernel drops and counts.

Where there is no compiled lane, the event loop hands over whole datagrams in
columns of the same kind, and the fold thread reads all of them in Python.
"""

from collections.abc import Callable
from queue import Empty, LifoQueue, SimpleQueue
from threading import Event, Thread
from typing import Protocol

from aggd.ingest.column import Column

Clock = Callable[[], float]
Failed = Callable[[BaseException], None]
Pool = LifoQueue[Column]  # the last one back is the first one out: few pages stay in use

COLUMNS = 8  # of a lane: two million rows between the socket and the fold
DRAINS = 50  # slices after the end in which a sender that never stops is still heard
SLICE = 0.25  # seconds after which a column is handed over however little it holds


class Lane(Protocol):
    """The compiled lane, as a receiving thread drives it."""

    def receive(
        self, sockets: list[int], column: Column, until: float, pause_us: int
    ) -> bool: ...  # True where the column is full, False where the time `until` has come

    def stop(self) -> None:
        """Make ``receive`` take what the kernel holds and return."""
        ...


def pool(columns: int = COLUMNS) -> Pool:
    """Make columns to go round between one receiver and the fold thread.

    Parameters
    ----------
    columns : int
        How many.

    Returns
    -------
    Pool
        All of them free.
    """
    free: Pool = LifoQueue()
    for _ in range(columns):
        free.put(Column())
    return free


class Fold:
    """The fold thread: records columns in the order they come.

    Parameters
    ----------
    record : callable
        Takes a column.
    failed : callable
        Takes the exception that ended the thread, which is always a bug.
    """

    def __init__(self, record: Callable[[Column], object], failed: Failed) -> None:
        self._record = record
        self._failed = failed
        self._queue: SimpleQueue[tuple[Column, Pool] | None] = SimpleQueue()
        self.broken = False  # no column comes back any more
        self.thread = Thread(target=self._run, name="aggd-fold", daemon=True)

    def put(self, column: Column, home: Pool) -> None:
        """Hand over a column.

        Parameters
        ----------
        column : Column
            Not to be touched by the caller any more.
        home : Pool
            Where it goes back to when it is recorded.
        """
        self._queue.put((column, home))

    def waiting(self) -> int:
        """Count the columns not taken up yet.

        Returns
        -------
        int
            A snapshot; the fold thread goes on.
        """
        return self._queue.qsize()

    def finish(self) -> None:
        """Record what has been handed over and end the thread."""
        self._queue.put(None)
        self.thread.join()

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                column, home = item
                self._record(column)
                column.reset()
                home.put(column)
        except BaseException as error:
            self.broken = True
            self._failed(error)


class Receiver:
    """A receiving thread: one compiled lane, its sockets and its pool of columns.

    Parameters
    ----------
    number : int
        Of the lane, as the columns say it.
    lane : Lane
        Driven by this thread alone.
    sockets : list of int
        Numbers of bound datagram sockets.
    fold : Fold
        Where full columns go.
    interval : int
        Seconds; no column crosses a boundary of it.
    wall, monotonic : callable
        Seconds since the epoch; seconds of CLOCK_MONOTONIC.
    pause_us : int
        Sleep after a batch that was less than half full.
    failed : callable
        Takes the exception that ended the thread, which is always a bug.
    """

    def __init__(
        self,
        number: int,
        lane: Lane,
        sockets: list[int],
        fold: Fold,
        interval: int,
        wall: Clock,
        monotonic: Clock,
        pause_us: int,
        failed: Failed,
    ) -> None:
        self.number = number
        self.lane = lane
        self._sockets = sockets
        self._fold = fold
        self._interval = interval
        self._wall = wall
        self._monotonic = monotonic
        self.pause_us = pause_us
        self.turns = 0  # slices so far; stands still where the thread or the fold hangs
        self._failed = failed
        self._pool = pool()
        self._stopping = Event()
        self.thread = Thread(target=self._run, name=f"aggd-receive-{number}", daemon=True)

    def finish(self) -> None:
        """Take what the kernel still holds, hand it over and end the thread."""
        self._stopping.set()
        self.lane.stop()
        self.thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._fill()
            for _ in range(DRAINS):
                if self._fold.broken or not self._fill():
                    break
        except BaseException as error:
            self._failed(error)

    def _fill(self) -> bool:
        """Fill one column; whether it holds anything."""
        try:
            column = self._pool.get(timeout=1.0)
        except Empty:
            return True  # the fold is behind; the sockets' buffers hold
        now = self._wall()
        column.lane, column.start, column.whole = self.number, now, False
        left = min(SLICE, self._interval - now % self._interval)
        self.lane.receive(self._sockets, column, self._monotonic() + left, self.pause_us)
        self.turns += 1
        if column.datagrams or len(column) or column.odd_count:
            self._fold.put(column, self._pool)
            return True
        column.reset()
        self._pool.put(column)
        return False
