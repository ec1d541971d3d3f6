"""The sockets a daemon works on: bound here, or given by systemd or by the daemon before.

given (LISTEN_FDS, SCM_RIGHTS) --+
                                 +--> udp: for each address one or more, http: one
listen.udp, http.listen ---------+
"""

import os
import socket
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aggd.config import Config
from aggd.errors import ConfigError
from aggd.listeners import udp

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


def open_sockets(config: Config, workers: int, given: Sequence[socket.socket] = ()) -> Sockets:
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
        addresses = " and ".join(udp.text(sock) for sock in streams)
        raise ConfigError(f"http.listen: one socket is served, {addresses} were given")
    bound = list(groups.values()) or [
        udp.open_shared(host, port, config.listen.receive_buffer, workers)
        for host, port in config.listen.udp
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
            f"http.listen: can't listen on {host}:{port}: {why}; "
            "choose another address, or stop the program that holds it"
        ) from error
    sock.setblocking(False)
    return sock
