"""UDP sockets, and the listener that serves them where there is no compiled lane."""

import asyncio
import socket
import struct
from queue import Empty

from aggd.errors import ConfigError
from aggd.ingest.column import Column
from aggd.ingest.intake import SLICE, Clock, Fold, pool

SO_RCVBUFFORCE = 33
SO_MEMINFO = 55
MEMINFO = struct.Struct("=9I")
DROPS = 8  # index of SK_MEMINFO_DROPS
LARGEST_DATAGRAM = 65536
LARGEST_BACKLOG = 1 << 17  # datagrams drained at the end; a sender may never stop


def open_socket(host: str, port: int, buffer_bytes: int, share: bool) -> socket.socket:
    """Bind a non-blocking UDP socket with as large a receive buffer as the kernel grants.

    Raises
    ------
    ConfigError
        If the address can't be bound.
    """
    try:
        sock = _bound(host, port, share)
    except OSError as error:
        raise ConfigError(
            f"listen.udp: can't receive on {host}:{port}: {error.strerror}; "
            "choose another address, or stop the program that holds it"
        ) from error
    sock.setblocking(False)
    try:
        # Past net.core.rmem_max, for those who may.
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer_bytes)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    return sock


def _bound(host: str, port: int, share: bool) -> socket.socket:
    found = socket.getaddrinfo(
        host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
    )
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def open_shared(host: str, port: int, buffer_bytes: int, workers: int) -> list[socket.socket]:
    """Bind a socket for each worker; more than one share the address's datagrams."""
    first = open_socket(host, port, buffer_bytes, workers > 1)
    port = first.getsockname()[1]
    return [first, *(open_socket(host, port, buffer_bytes, True) for _ in range(workers - 1))]


def granted(sock: socket.socket) -> int:
    """Bytes of receive buffer the kernel gave; it reports them doubled."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def kernel_drops(sock: socket.socket) -> int:
    """Datagrams the kernel dropped for want of room, as in /proc/net/udp."""
    info = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size)
    return int(MEMINFO.unpack(info)[DROPS])


def text(sock: socket.socket) -> str:
    """Address of a socket, as people write it."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class PythonListener(asyncio.DatagramProtocol):
    """Whole datagrams from the event loop to columns of the fold thread.

    Where no column is free datagrams are dropped and counted: the loop, unlike
    a thread, can't wait.
    """

    def __init__(self, fold: Fold, wall: Clock, interval: int) -> None:
        self.dropped = 0  # datagrams
        self._fold = fold
        self._wall = wall
        self._interval = interval  # seconds; no column crosses a boundary of it
        self._pool = pool()
        self._column: Column | None = None
        self._due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for whole datagrams at once; asyncio's own default is four times slower."""
        if hasattr(transport, "max_size"):
            transport.max_size = LARGEST_DATAGRAM

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Put a datagram into the open column."""
        sender = packed_sender(addr)
        if self._column is None or not self._column.set_aside(data, sender):
            self.hand_over()
            self._column = self._fresh()
            if self._column is None:
                self.dropped += 1
                return
            self._column.set_aside(data, sender)

    def _fresh(self) -> Column | None:
        try:
            column = self._pool.get_nowait()
        except Empty:
            return None
        column.whole, column.start = True, self._wall()
        left = min(SLICE, self._interval - column.start % self._interval)
        self._due = asyncio.get_running_loop().call_later(left, self.hand_over)
        return column

    def drain(self, sock: socket.socket) -> None:
        """Take what the kernel still holds for a socket."""
        for _ in range(LARGEST_BACKLOG):
            try:
                self.datagram_received(*sock.recvfrom(LARGEST_DATAGRAM))
            except BlockingIOError:
                break

    def hand_over(self) -> None:
        """Give the open column to the fold thread."""
        if self._due:
            self._due.cancel()
        if self._column is not None:
            self._fold.put(self._column, self._pool)
        self._column = self._due = None


def packed_sender(address: tuple[str, int]) -> bytes:
    """A socket address as the kernel packs it: what the compiled lane keeps of a sender."""
    host, port = address[:2]
    if ":" in host:
        raw = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 0) + raw
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host)
