"""UDP sockets, and datagrams without the compiled lane."""

import asyncio
import socket
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.errors import ConfigError
from aggd.ingest.column import SENDER_BYTES, Column, sender_text
from aggd.ingest.fastlane import FastLane
from aggd.ingest.intake import COLUMNS, Fold
from aggd.listeners import udp
from aggd.listeners.udp import PythonListener, packed_sender
from aggd.sockets import granted, kernel_drops, open_shared, open_socket, text

NOW = 1_700_000_000.5
ADDRESS = ("127.0.0.1", 1)
families = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
ports = st.integers(0, 65535)


class Recording:
    """A fold thread that keeps the datagrams it was given."""

    def __init__(self) -> None:
        self.datagrams: list[tuple[bytes, str]] = []
        self.columns = 0
        self.errors: list[BaseException] = []
        self.fold = Fold(self.record, self.errors.append)
        self.listener = PythonListener(self.fold, lambda: NOW, 10)

    def record(self, column: Column) -> None:
        assert column.whole
        assert column.start == NOW
        self.columns += 1
        self.datagrams += [(line, sender_text(sender)) for _, line, sender in column.odd_lines()]

    def finish(self) -> list[bytes]:
        """All datagrams that were handed over."""
        self.fold.finish()
        assert self.errors == []
        return [datagram for datagram, _ in self.datagrams]


def opened(host: str = "127.0.0.1", buffer_bytes: int = 1 << 16, port: int = 0) -> socket.socket:
    return open_socket(host, port, buffer_bytes, False)


def sender_to(sock: socket.socket) -> socket.socket:
    made = socket.socket(sock.family, socket.SOCK_DGRAM)
    made.connect(sock.getsockname())
    return made


@families
def test_a_socket_has_the_buffer_that_was_asked_for_and_does_not_block(host):
    with opened(host) as sock:
        assert granted(sock) == 1 << 16
        with pytest.raises(BlockingIOError):
            sock.recv(1)


@families
def test_a_socket_is_named_as_people_write_it(host):
    with opened(host) as sock:
        port = sock.getsockname()[1]
        assert text(sock) == (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


@families
def test_an_address_in_use_is_named_in_the_error(host):
    with opened(host) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"listen\.udp: .*:{port}: Address already in use"):
            open_socket(host, port, 1 << 16, True)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_an_address_of_another_machine_is_an_error_that_says_so(host):
    with pytest.raises(ConfigError, match="assign requested address"):
        opened(host)


def test_both_families_may_have_one_port():
    with opened("::") as six, opened("0.0.0.0", port=six.getsockname()[1]) as four:
        assert four.getsockname()[1] == six.getsockname()[1]


def test_shared_sockets_have_one_port_and_divide_its_datagrams():
    with ExitStack() as stack:
        sockets = [stack.enter_context(s) for s in open_shared("127.0.0.1", 0, 1 << 16, 3)]
        assert len({sock.getsockname() for sock in sockets}) == 1
        for i in range(60):  # of as many senders: the kernel hashes their addresses
            with sender_to(sockets[0]) as sender:
                sender.send(b"%d" % i)
        taken = [_received(sock) for sock in sockets]
        assert sorted(int(datagram) for part in taken for datagram in part) == list(range(60))
        assert sum(map(bool, taken)) > 1


def _received(sock: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(sock.recv(100))
        except BlockingIOError:
            return found


def test_a_socket_alone_is_shared_with_nobody():
    (sock,) = open_shared("127.0.0.1", 0, 1 << 16, 1)
    with sock, pytest.raises(ConfigError, match="in use"):
        open_socket("127.0.0.1", sock.getsockname()[1], 1 << 16, True)


def test_the_kernel_counts_what_its_buffer_does_not_hold():
    with opened(buffer_bytes=1) as sock, sender_to(sock) as sender:
        assert kernel_drops(sock) == 0
        for _ in range(100):
            sender.send(b"x" * 1000)
        dropped = kernel_drops(sock)
        assert dropped == 100 - len(_received(sock))
        assert dropped > 50


async def test_datagrams_reach_the_fold_whole_with_their_sender():
    recording = Recording()
    recording.fold.thread.start()
    loop = asyncio.get_running_loop()
    with opened() as sock, sender_to(sock) as sender:
        handed_over = asyncio.Event()
        record = recording.fold._record
        recording.fold._record = lambda column: (
            record(column),
            loop.call_soon_threadsafe(handed_over.set),
        )
        transport, _ = await loop.create_datagram_endpoint(lambda: recording.listener, sock=sock)
        assert transport.max_size == udp.LARGEST_DATAGRAM
        largest = b"x" * 65507
        for datagram in (b"a:1|c\nb:1|c", b"", largest):
            sender.send(datagram)
        await asyncio.wait_for(handed_over.wait(), 20)  # nobody asks for it but the clock
        transport.close()
        recording.listener.hand_over()
        assert recording.finish() == [b"a:1|c\nb:1|c", b"", largest]
        assert {found for _, found in recording.datagrams} == {text(sender)}


async def test_with_no_column_free_datagrams_are_dropped_and_counted():
    recording = Recording()
    listener = recording.listener
    for i in range(COLUMNS):
        listener.datagram_received(b"%d" % i, ADDRESS)
        listener.hand_over()
    for _ in range(3):
        listener.datagram_received(b"lost", ADDRESS)
    assert listener.dropped == 3
    recording.fold.thread.start()
    assert recording.finish() == [b"%d" % i for i in range(COLUMNS)]
    listener.datagram_received(b"again", ADDRESS)  # the columns are back
    assert listener.dropped == 3
    listener.hand_over()
    assert recording.fold.waiting() == 1


async def test_a_column_that_is_full_is_handed_over_and_no_datagram_lost():
    recording = Recording()
    recording.fold.thread.start()
    datagrams = [b"%05d" % i * 12_000 for i in range(40)]  # 60 kB each, a column holds 17
    for datagram in datagrams:
        recording.listener.datagram_received(datagram, ADDRESS)
    recording.listener.hand_over()
    assert recording.finish() == datagrams
    assert recording.columns == 3
    assert recording.listener.dropped == 0


async def test_handing_over_nothing_hands_nothing_over():
    recording = Recording()
    recording.listener.hand_over()
    recording.listener.datagram_received(b"x", ADDRESS)
    recording.listener.hand_over()
    recording.listener.hand_over()
    assert recording.fold.waiting() == 1


async def test_draining_takes_what_the_kernel_still_holds():
    recording = Recording()
    recording.fold.thread.start()
    with opened() as sock, sender_to(sock) as sender:
        for i in range(50):
            sender.send(b"%d" % i)
        recording.listener.drain(sock)
        assert _received(sock) == []
        recording.listener.drain(sock)
    recording.listener.hand_over()
    assert recording.finish() == [b"%d" % i for i in range(50)]


@settings(deadline=None)
@given(st.ip_addresses(), ports)
def test_a_packed_sender_reads_as_the_address_it_was(ip, port):
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    host = socket.inet_ntop(family, ip.packed)
    shown = f"{host}:{port}" if ip.version == 4 else f"[{host}]:{port}"
    assert sender_text(packed_sender((host, port))) == shown


def test_the_scope_of_an_address_is_not_packed():
    assert packed_sender(("fe80::1%lo", 5)) == packed_sender(("fe80::1", 5))


@families
def test_a_sender_is_packed_as_the_compiled_lane_gets_it_from_the_kernel(host):
    column = Column(10)
    with opened(host) as sock, sender_to(sock) as sender:
        sender.send(b"odd")
        FastLane(1, 10).receive([sock.fileno()], column, 0.0, 0)
        expected = packed_sender(sender.getsockname()).ljust(SENDER_BYTES, b"\0")
    assert [sender for _, _, sender in column.odd_lines()] == [expected]
