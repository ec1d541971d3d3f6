"""Lines to datagrams, and those to a daemon: what ``aggd send`` does."""

import os
import socket
from collections.abc import Iterable, Iterator
from io import BufferedReader
from itertools import groupby

ETHERNET_DATAGRAM = 1432  # bytes that fit an Ethernet frame with room for tunnels, as clients use


def groups(lines: Iterable[str], stdin: BufferedReader) -> Iterator[list[bytes]]:
    """Lines as given, those of standard input in the place of each ``-``."""
    for piped, group in groupby(lines, lambda line: line == "-"):
        yield from _read(stdin) if piped else [os.fsencode("\n".join(group)).split(b"\n")]


def _read(stdin: BufferedReader) -> Iterator[list[bytes]]:
    """Lines of standard input, those that can be read at once together."""
    rest = b""
    while chunk := stdin.read1(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        yield lines
    yield [rest]


def send(groups: Iterable[list[bytes]], host: str, port: int) -> tuple[int, int]:
    """Send every group of lines; how many lines and datagrams that were."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    lines = datagrams = 0
    with socket.socket(family, kind, protocol) as target:
        target.connect(address)
        for datagram in (packed for group in groups for packed in pack(group)):
            target.send(datagram)
            lines += datagram.count(b"\n") + 1
            datagrams += 1
        # The refusal of the last datagram has no later call to show up in.
        if error := target.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, os.strerror(error))
    return lines, datagrams


def pack(lines: Iterable[bytes], size: int = ETHERNET_DATAGRAM) -> Iterator[bytes]:
    """Join lines to datagrams of up to `size` bytes; a longer line goes alone, a blank one not."""
    packed: list[bytes] = []
    used = 0
    for line in filter(None, map(bytes.strip, lines)):
        if packed and used + len(line) > size:
            yield b"\n".join(packed)
            packed, used = [], 0
        packed.append(line)
        used += len(line) + 1
    if packed:
        yield b"\n".join(packed)
