"""Columns on their way from a receiving thread to the fold thread and back."""

import errno
import socket
from contextlib import closing
from threading import Event

from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.ingest.column import DATAGRAMS, USED, Column
from aggd.ingest.intake import COLUMNS, SLICE, Fold, Receiver, pool
from tests.ingest.test_fastlane import small
from tests.ingest.test_receive import Wire

DEADLINE = 20.0  # seconds, for whatever should happen at once


class Slices:
    """A lane on a clock of its own: each call takes one datagram and all the time it may."""

    def __init__(self, calls: int, now: float = 1_700_000_000.0) -> None:
        self.calls, self.now = calls, now
        self.spans: list[tuple[float, float]] = []
        self.over = Event()

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now - 1_000_000

    def receive(self, sockets: list[int], column: Column, until: float, pause_us: int) -> bool:
        if len(self.spans) == self.calls:
            self.over.set()
            return False
        column.state[[USED, DATAGRAMS]] += 1
        column.row[0] = len(self.spans)
        self.spans.append((self.now, until + 1_000_000))
        self.now = until + 1_000_000
        return False

    def stop(self) -> None:
        self.over.set()


class Kept:
    """What a fold thread was given, and how it ended."""

    def __init__(self) -> None:
        self.columns: list[tuple[int, float, int, bool, list[int]]] = []
        self.errors: list[BaseException] = []
        self.failed = Event()

    def record(self, column: Column) -> None:
        used = len(column)
        self.columns.append(
            (column.lane, column.start, column.lines, column.whole, column.row[:used].tolist())
        )

    def fail(self, error: BaseException) -> None:
        self.errors.append(error)
        self.failed.set()


def receiver(lane, fold: Fold, kept: Kept, sockets=(), interval: int = 10) -> Receiver:
    clock = lane if isinstance(lane, Slices) else Slices(0)
    return Receiver(
        3, lane, list(sockets), fold, interval, clock.wall, clock.monotonic, 0, kept.fail
    )


def run_all(lane: Slices, interval: int = 10) -> Kept:
    kept = Kept()
    fold = Fold(kept.record, kept.fail)
    receiving = receiver(lane, fold, kept, interval=interval)
    fold.thread.start()
    receiving.thread.start()
    assert lane.over.wait(DEADLINE)
    receiving.finish()
    fold.finish()
    assert kept.errors == []
    return kept


@settings(max_examples=20, deadline=None)
@given(st.floats(1.6e9, 1.8e9), st.sampled_from([1, 10, 60]), st.integers(1, 30))
def test_no_column_crosses_the_boundary_of_an_interval(now, interval, calls):
    lane = Slices(calls, now)
    kept = run_all(lane, interval)
    assert [start for _, start, *_ in kept.columns] == [start for start, _ in lane.spans]
    for start, end in lane.spans:
        assert 0 < end - start < SLICE + 1e-6
        assert start // interval == (end - 1e-5) // interval or end - start < 1e-5


def test_slices_are_handed_over_in_order_with_lane_and_start():
    lane = Slices(20)
    kept = run_all(lane)
    assert [(number, whole) for number, _, _, whole, _ in kept.columns] == [(3, False)] * 20
    assert [row for *_, row in kept.columns] == [[i] for i in range(20)]


def test_a_slice_that_brought_nothing_costs_no_column_and_wakes_nobody():
    kept = Kept()
    fold = Fold(kept.record, kept.fail)
    lane = Slices(0)
    receiving = receiver(lane, fold, kept)
    receiving.thread.start()
    assert lane.over.wait(DEADLINE)
    receiving.finish()
    assert fold.waiting() == 0
    assert receiving._pool.qsize() == COLUMNS


def test_every_slice_is_a_turn_and_a_fold_that_gives_no_column_back_ends_them():
    kept, lane = Kept(), Slices(3 * COLUMNS)
    last, released = Event(), Event()

    def record(column: Column) -> None:
        assert released.wait(DEADLINE)

    def wall() -> float:
        if len(lane.spans) == COLUMNS - 1:
            last.set()
        return lane.now

    fold = Fold(record, kept.fail)
    receiving = Receiver(3, lane, [], fold, 10, wall, lane.monotonic, 0, kept.fail)
    fold.thread.start()
    receiving.thread.start()
    assert last.wait(DEADLINE)
    assert receiving.turns <= COLUMNS
    released.set()
    assert lane.over.wait(DEADLINE)
    receiving.finish()
    fold.finish()
    assert receiving.turns > 3 * COLUMNS


def test_finishing_takes_what_the_kernel_holds():
    kept = Kept()
    fold = Fold(kept.record, kept.fail)
    with closing(Wire()) as wire:
        wire.send(*(b"a:1|c\nb:1|c" for _ in range(400)))
        receiving = receiver(small(), fold, kept, [wire.bound.fileno()])
        receiving._stopping.set()  # so that only the end of the thread can take them
        receiving.thread.start()
        receiving.finish()
    fold.thread.start()
    fold.finish()
    assert sum(lines for _, _, lines, _, _ in kept.columns) == 800
    assert kept.errors == []


def test_where_the_fold_is_behind_the_receiver_waits_for_a_column():
    kept, lane = Kept(), Slices(3 * COLUMNS)
    begun, released = Event(), Event()
    early: list[int] = []

    def record(column: Column) -> None:
        begun.set()
        assert released.wait(DEADLINE)
        kept.record(column)

    def wall() -> float:
        if len(lane.spans) >= COLUMNS and not released.is_set():
            early.append(len(lane.spans))
        if len(lane.spans) == COLUMNS - 1:
            last.set()
        return lane.now

    last = Event()
    fold = Fold(record, kept.fail)
    receiving = Receiver(3, lane, [], fold, 10, wall, lane.monotonic, 0, kept.fail)
    fold.thread.start()
    receiving.thread.start()
    assert begun.wait(DEADLINE)
    assert last.wait(DEADLINE)  # the last column there is has been taken from the pool
    assert fold.waiting() < COLUMNS
    assert receiving._pool.empty()
    released.set()
    assert lane.over.wait(DEADLINE)
    receiving.finish()
    fold.finish()
    assert early == []
    assert [row for *_, row in kept.columns] == [[i] for i in range(3 * COLUMNS)]


def test_a_failure_of_recording_is_reported_and_ends_the_thread():
    kept, bug = Kept(), RuntimeError("a bug")

    def record(column: Column) -> None:
        raise bug

    fold, home = Fold(record, kept.fail), pool(1)
    fold.put(home.get(), home)
    fold.thread.start()
    assert kept.failed.wait(DEADLINE)
    fold.finish()
    assert kept.errors == [bug]
    assert home.empty()


def test_a_failure_of_receiving_is_reported_and_ends_the_thread():
    kept = Kept()
    fold = Fold(kept.record, kept.fail)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        number = sock.fileno()
    receiving = receiver(small(), fold, kept, [number])
    receiving.thread.start()
    assert kept.failed.wait(DEADLINE)
    receiving.finish()
    assert [error.errno for error in kept.errors] == [errno.EBADF]


def test_columns_are_recorded_in_order_and_come_home_empty():
    kept, home = Kept(), pool(3)
    fold = Fold(kept.record, kept.fail)
    for number in range(3):
        column = home.get()
        column.row[0], column.state[USED] = number, 1
        fold.put(column, home)
    assert fold.waiting() == 3
    fold.thread.start()
    fold.finish()
    assert [row for *_, row in kept.columns] == [[0], [1], [2]]
    assert [len(home.get_nowait()) for _ in range(3)] == [0, 0, 0]


def test_the_column_that_came_home_last_goes_out_first():
    home = pool(3)
    first, second = home.get(), home.get()
    home.put(second)
    home.put(first)
    assert home.get() is first
