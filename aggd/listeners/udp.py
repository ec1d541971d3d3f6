"""The listener that serves UDP sockets where there is no compiled lane."""

import asyncio
import socket
import struct
from queue import Empty

from aggd.ingest.column import Column
from aggd.ingest.intake import SLICE, Clock, Fold, pool

LARGEST_DATAGRAM = 65536
LARGEST_BACKLOG = 1 << 17  # datagrams drained at the end; a sender may never stop


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
