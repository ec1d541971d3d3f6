"""The naive version, for the benchmarks to compare with: no part of aggd.

asyncio's own DatagramProtocol, one dict of sums, one of levels and one of lists of
timers, everything on the event loop.  It asks for the same receive buffer as aggd,
so that what is compared is the code, and answers GET /metrics with what was taken.
"""

import asyncio
import resource
import signal
import socket
import struct
import sys
from collections import defaultdict

SO_RCVBUFFORCE, SO_MEMINFO, DROPS = 33, 55, 8
BUFFER = 32 << 20


class Naive(asyncio.DatagramProtocol):
    """Parses each line as it comes; tags stay part of the name."""

    def __init__(self) -> None:
        self.counters: defaultdict[str, float] = defaultdict(float)
        self.gauges: dict[str, float] = {}
        self.timers: defaultdict[str, list[float]] = defaultdict(list)
        self.datagrams = self.lines = self.bad = 0

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.datagrams += 1
        for line in data.decode().split("\n"):
            self.lines += 1
            try:
                self.record(line)
            except (ValueError, IndexError):
                self.bad += 1

    def record(self, line: str) -> None:
        name, _, rest = line.partition(":")
        value, kind, *sections = rest.split("|")
        rate = 1.0
        for section in sections:
            if section.startswith("@"):
                rate = float(section[1:])
            elif section.startswith("#"):
                name = f"{name}|{section}"
        if kind == "c":
            self.counters[name] += float(value) / rate
        elif kind == "g":
            self.gauges[name] = float(value)
        elif kind in ("ms", "h"):
            self.timers[name].append(float(value))
        else:
            raise ValueError(kind)

    def flush(self) -> dict[str, float]:
        """The interval's sums, levels and 99th percentiles; then start the next one."""
        flushed = {**self.counters, **self.gauges}
        for name, values in self.timers.items():
            values.sort()
            flushed[name] = values[int(0.99 * (len(values) - 1))]
        self.counters.clear()
        self.timers.clear()
        return flushed


def metrics(naive: Naive, sock: socket.socket) -> str:
    """The figures the benchmarks read, under the names aggd gives them."""
    drops = struct.unpack("=9I", sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))[DROPS]
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "aggd_datagrams_total": naive.datagrams,
        "aggd_lines_total": naive.lines,
        "aggd_samples_total": naive.lines - naive.bad,
        "aggd_lines_bad_total": naive.bad,
        "aggd_kernel_drops_total": drops,
        "aggd_process_cpu_seconds_total": used.ru_utime + used.ru_stime,
    }
    return "".join(f"{name} {value}\n" for name, value in figures.items())


def open_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    return sock


async def main(interval: float) -> None:
    loop, naive, sock = asyncio.get_running_loop(), Naive(), open_socket()
    await loop.create_datagram_endpoint(lambda: naive, sock=sock)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = metrics(naive, sock).encode()
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    print(f"udp 127.0.0.1:{sock.getsockname()[1]}, http 127.0.0.1:{port}", file=sys.stderr)
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), interval)
        except TimeoutError:
            naive.flush()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
