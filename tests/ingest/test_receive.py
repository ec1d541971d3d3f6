"""The compiled lane on real sockets of the loopback."""

import errno
import os
import socket
from contextlib import closing
from threading import Thread
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.ingest.column import Column, sender_text
from aggd.ingest.fastlane import FastLane
from tests.ingest.lanes import Row, aside, rows
from tests.ingest.test_fastlane import meant, plain, small, written

NOW = 0.0  # a time that is past: what is there is taken once


class Wire:
    """A bound socket and one that sends to it."""

    def __init__(self, family: int = socket.AF_INET, host: str = "127.0.0.1") -> None:
        self.bound = socket.socket(family, socket.SOCK_DGRAM)
        self.bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.bound.bind((host, 0))
        self.sender = socket.socket(family, socket.SOCK_DGRAM)
        self.sender.connect(self.bound.getsockname())

    def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.sender.send(datagram)

    def close(self) -> None:
        self.bound.close()
        self.sender.close()


@pytest.fixture
def wire():
    with closing(Wire()) as made:
        yield made


@pytest.fixture
def pair():
    """A unix socket pair: the lane's end, and one that sends large datagrams."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    with ours, theirs:
        yield ours, theirs


def take(lane: FastLane, column: Column, *sockets: socket.socket) -> bool:
    return lane.receive([sock.fileno() for sock in sockets], column, NOW, 0)


def test_datagrams_become_rows_in_the_order_they_came(wire):
    lane, column = small(), Column(10)
    wire.send(b"a:1|c\nb:2|ms\n", b"a:3|c", b"", b"a:4|c\r\n")
    assert not take(lane, column, wire.bound)
    assert rows(lane, column) == [(b"ca", 1, 1), (b"mb", 2, 1), (b"ca", 3, 1), (b"ca", 4, 1)]
    assert (column.datagrams, column.bytes, column.lines, column.keys) == (4, 25, 4, 2)
    assert (lane.truncated, lane.errors) == (0, 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(plain, max_size=6), max_size=12), st.integers(1, 5))
def test_a_column_that_fills_inside_a_datagram_goes_on_with_the_next_call(datagrams, size):
    lane, column = small(), Column(size, 100)
    found: list[Row] = []
    with closing(Wire()) as wire:
        wire.send(*(b"\n".join(map(written, lines)) for lines in datagrams))
        full = True
        while full:
            column.reset()
            full = take(lane, column, wire.bound)
            lane._check()
            assert not full or len(column) == size
            found += rows(lane, column)
    assert found == [meant(line) for lines in datagrams for line in lines]


def test_what_is_left_of_a_batch_outlives_the_feeding_of_other_lines(wire):
    lane, column, other = small(), Column(1), Column(5)
    wire.send(b"a:1|c\na:2|c", b"bad\na:3|c")
    assert take(lane, column, wire.bound)
    lane.feed(b"x:1|c\nworse", other)
    assert sender_text(next(other.odd_lines())[2]) == ""
    column.reset()
    assert take(lane, column, wire.bound)
    assert rows(lane, column) == [(b"ca", 2, 1)]
    assert aside(column) == [(1, b"bad")]
    assert sender_text(next(column.odd_lines())[2]).startswith("127.0.0.1:")
    column.reset()
    assert not take(lane, column, wire.bound)
    assert rows(lane, column) == [(b"ca", 3, 1)]


def test_more_datagrams_than_a_batch_are_taken_before_the_time_comes(wire):
    lane, column = small(), Column(1000)
    wire.send(*(b"a:%d|c" % i for i in range(400)))
    lane.stop()  # so that it comes back once the socket is empty
    assert not lane.receive([wire.bound.fileno()], column, monotonic() + 60, 300)
    assert column.value[: len(column)].tolist() == list(range(400))


def test_bytes_of_an_earlier_and_longer_datagram_are_never_read_again(wire):
    lane, column = small(), Column(10)
    wire.send(b"\xef\xbb\xbfabc:123456|c|#tags:of,the:first\nmore:1|c")
    take(lane, column, wire.bound)
    wire.send(b"\xef")
    take(lane, column, wire.bound)
    wire.send(b"abc:1")
    take(lane, column, wire.bound)
    assert [row.spelling for row in rows(lane, column)] == [
        b"cabc\ntags:of,the:first",
        b"cmore",
    ]
    assert aside(column) == [(2, b"\xef"), (2, b"abc:1")]


def test_all_sockets_are_served():
    lane, column = small(), Column(100)
    wires = [Wire() for _ in range(5)]
    for i, wire in enumerate(wires):
        wire.send(b"a:%d|c" % i)
    take(lane, column, *(wire.bound for wire in wires))
    assert sorted(row.value for row in rows(lane, column)) == [0, 1, 2, 3, 4]
    for wire in wires:
        wire.close()


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_a_line_that_was_set_aside_has_its_sender(family, host):
    with closing(Wire(family, host)) as wire:
        column = Column(10)
        wire.send(b"bad")
        take(small(), column, wire.bound)
        port = wire.sender.getsockname()[1]
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        assert [sender_text(sender) for _, _, sender in column.odd_lines()] == [shown]


def test_a_long_unix_address_before_leaves_nothing_of_itself_behind(tmp_path, pair):
    lane, column = small(), Column(10)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "in"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as named:
            named.bind(str(tmp_path / "a-rather-long-name-of-a-sender"))
            named.sendto(b"bad", str(tmp_path / "in"))
        take(lane, column, bound)
    ours, theirs = pair
    theirs.send(b"worse")
    take(lane, column, ours)
    senders = [sender for _, _, sender in column.odd_lines()]
    assert [sender_text(sender) for sender in senders] == ["unix", ""]
    assert not any(senders[1])


def test_a_sender_is_its_own_whoever_sent_before(pair, wire):
    ours, theirs = pair
    lane, column = small(), Column(10)
    with closing(Wire()) as other:
        other.send(b"bad")
        take(lane, column, other.bound)
    column.reset()
    theirs.send(b"bad")
    take(lane, column, ours)
    wire.send(b"worse")
    take(lane, column, wire.bound)
    port = wire.sender.getsockname()[1]
    senders = [sender_text(sender) for _, _, sender in column.odd_lines()]
    assert senders == ["", f"127.0.0.1:{port}"]


def test_of_a_datagram_that_was_cut_the_whole_lines_count(pair):
    ours, theirs = pair
    lane, column = small(), Column(10)
    theirs.send(b"a:1|c\n" + b"b" * 65_525 + b":12|c\nc:1|c")
    theirs.send(b"x" * 65_537)
    theirs.send(b"d:1|c\n" + b"x" * (65_536 - 6))
    assert not take(lane, column, ours)
    assert [row.spelling for row in rows(lane, column)] == [b"ca", b"cd"]
    assert aside(column) == [(2, b"x" * 65_530)]
    assert lane.truncated == 2


def test_a_cut_datagram_is_counted_once_though_the_column_filled_before_it(pair):
    ours, theirs = pair
    lane, column = small(), Column(2)
    theirs.send(b"a:1|c\na:2|c\na:3|c")
    theirs.send(b"b:1|c\n" + b"x" * 70_000)
    assert take(lane, column, ours)
    column.reset()
    assert not take(lane, column, ours)
    assert [row.spelling for row in rows(lane, column)] == [b"ca", b"cb"]
    assert lane.truncated == 1


def test_it_comes_back_when_the_time_comes_though_nothing_did(wire):
    column = Column(10)
    until = monotonic() + 0.02
    assert not small().receive([wire.bound.fileno()], column, until, 300)
    assert monotonic() >= until
    assert column.datagrams == 0


def test_stop_from_another_thread_takes_what_the_kernel_holds_and_comes_back(wire):
    lane, column = small(), Column(1000)
    answers: list[bool] = []
    until = monotonic() + 3600

    def receive() -> None:
        answers.append(lane.receive([wire.bound.fileno()], column, until, 300))

    thread = Thread(target=receive)
    thread.start()
    wire.send(*(b"a:%d|c" % i for i in range(200)))
    lane.stop()
    thread.join()
    assert answers == [False]
    assert column.value[: len(column)].tolist() == list(range(200))


def test_a_socket_that_was_closed_is_an_error_of_the_caller(wire, tmp_path):
    number = wire.bound.fileno()
    wire.bound.close()
    lane, column = small(), Column(10)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        lane.receive([number], column, NOW, 0)
    with (
        (tmp_path / "file").open("w") as file,
        pytest.raises(OSError, match=os.strerror(errno.ENOTSOCK)),
    ):
        lane.receive([file.fileno()], column, NOW, 0)
    assert lane.errors == 0


def test_an_error_of_the_network_is_counted_and_the_socket_goes_on(wire):
    lane, column = small(), Column(10)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind(("127.0.0.1", 0))
        ours.connect(wire.bound.getsockname())
        address = wire.bound.getsockname()
        wire.bound.close()
        ours.send(b"to nobody")  # is answered by ICMP before the call returns
        assert not take(lane, column, ours)
        assert lane.errors == 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(address)
            again.sendto(b"a:1|c", ours.getsockname())
            assert not take(lane, column, ours)
    assert (column.lines, lane.errors) == (1, 1)


def test_more_sockets_than_a_lane_serves_are_refused():
    with pytest.raises(ValueError, match="at most 64 sockets, got 65"):
        small().receive([0] * 65, Column(10), NOW, 0)


def test_without_sockets_it_waits_for_the_time():
    until = monotonic() + 0.01
    assert not small().receive([], Column(10), until, 0)
    assert monotonic() >= until
