"""The sockets a daemon works on: bound here, or given by systemd or by the daemon before.

given (LISTEN_FDS, SCM_RIGHTS) --+
                                 +--> udp: for each address one or more, http: one
listen.udp, http.listen ---------+

They are bound first of all, before anything large is imported or read: what is sent from
then on waits in the kernel.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aggd.config import Config
from aggd.errors import ConfigError

SO_RCVBUFFORCE = 33
SO_MEMINFO = 55
MEMINFO = struct.Struct("=9I")
DROPS = 8  # index of SK_MEMINFO_DROPS
BACKLOG = 128  # connections that wait to be accepted, as aiohttp has it


class Sockets(NamedTuple):
    """Bound sockets: those that share each address of datagrams, and the one for HTTP."""

    udp: list[list[socket.socket]]
    http: socket.socket

    def datagrams(self) -> Iterator[socket.socket]:
        """All sockets on which datagrams come in."""
        return (sock for shared in self.udp for sock in shared)

    def of_worker(self, number: int, workers: int) -> list[int]:
        """Numbers of the sockets that one of several receiving threads serves.

        Each of an address, or its own where there is one for each.  A single socket that
        was given is served by all.
        """
        return [
            sock.fileno()
            for shared in self.udp
            for i, sock in enumerate(shared)
            if i % workers == number or len(shared) == 1
        ]

    def close(self) -> None:
        """Close all of them."""
        for sock in (*self.datagrams(), self.http):
            sock.close()


def open_sockets(config: Config, given: Sequence[socket.socket] = ()) -> Sockets:
    """Sort out the sockets that were given, and bind what is missing.

    Raises
    ------
    ConfigError
        If an address can't be bound.
    """
    groups: dict[object, list[socket.socket]] = {}
    streams = []
    for sock in given:
        sock.setblocking(False)
        if sock.type == socket.SOCK_DGRAM:
            groups.setdefault(sock.getsockname(), []).append(sock)
        else:
            streams.append(sock)
    if len(streams) > 1:
        addresses = " and ".join(text(sock) for sock in streams)
        raise ConfigError(f"http.listen: one socket is served, {addresses} were given")
    listen = config.listen
    workers = listen.workers if listen.compiled else 1
    bound = list(groups.values()) or [
        open_shared(host, port, listen.receive_buffer, workers) for host, port in listen.udp
    ]
    try:
        http = streams[0] if streams else open_stream(*config.http.listen)
    except ConfigError:
        for sock in (sock for shared in bound for sock in shared):
            sock.close()
        raise
    return Sockets(bound, http)


def open_stream(host: str, port: int) -> socket.socket:
    """Bind a socket and listen for connections.

    Raises
    ------
    ConfigError
        If the address can't be bound.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, address = found[0][0], found[0][4]
        # SO_REUSEADDR is on: a restart need not wait for connections of the one before.
        sock = socket.create_server(
            (str(address[0]), int(address[1])), family=family, backlog=BACKLOG
        )
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise ConfigError(
            f"http.listen: can't listen on {host}:{port}: {why}; {_remedy(error)}"
        ) from error
    sock.setblocking(False)
    return sock


def _remedy(error: OSError) -> str:
    if error.errno == errno.EACCES:
        return "choose a port over 1023, or let systemd hold the socket"
    if error.errno == errno.EADDRNOTAVAIL:
        return "choose an address of this machine, or 0.0.0.0 for all of them"
    return "choose another address, or stop the program that holds it"


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
            f"listen.udp: can't receive on {host}:{port}: {error.strerror}; {_remedy(error)}"
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
