"""What systemd and a service tell each other, by the environment and one datagram socket.

    systemd  ---- LISTEN_FDS=2, LISTEN_FDNAMES=udp:http ---->  activated
             ---- WATCHDOG_USEC=30000000 ------------------->  watchdog_interval
             <--- READY=1 ... WATCHDOG=1 to NOTIFY_SOCKET ---  notify

Where the variables aren't set nothing of this happens.  The protocols are those of
sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3).
"""

import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from aggd.errors import ConfigError

if TYPE_CHECKING:
    from aggd.flush import Clock

log = logging.getLogger(__name__)

READY = "READY=1"  # started, or done with reloading
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"
PATIENCE = 1.0  # seconds that telling a state may take where systemd doesn't read

LISTEN = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
FIRST = 3  # number of the first descriptor passed, always
UNNAMED = "unknown"  # as sd_listen_fds_with_names has it
INTERNET = (socket.AF_INET, socket.AF_INET6)
PURPOSES = {"udp": socket.SOCK_DGRAM, "http": socket.SOCK_STREAM}  # over IP, by FileDescriptorName=


def notify(state: str) -> None:
    """Tell systemd of a state, if it wants to know.

    Never raises, and waits `PATIENCE` seconds at most: a daemon must not die of saying how
    it is, and systemd acts by itself on what it isn't told.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    abstract = address.startswith("@")
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.sendto(state.encode(errors="replace"), "\0" + address[1:] if abstract else address)


def reloading(monotonic: float) -> str:
    """State of a service that reads its settings anew; `READY` ends it.

    `monotonic` is seconds of CLOCK_MONOTONIC: systemd tells by them which request is answered.
    """
    return f"RELOADING=1\nMONOTONIC_USEC={round(monotonic * 1e6)}"


def status(text: str) -> str:
    """State in words for ``systemctl status``; a second line of it would be another state."""
    return "STATUS=" + " ".join(text.split())


def watchdog_interval() -> float | None:
    """Seconds from one `WATCHDOG` to the next, half of what kills us; None where none is wanted.

    Raises
    ------
    ConfigError
        If a variable isn't a number.
    """
    patience_us = _number("WATCHDOG_USEC")
    if not patience_us or _number("WATCHDOG_PID") not in (None, os.getpid()):
        return None
    return patience_us / 2e6


def alive(now: Sequence[int], before: Sequence[int]) -> bool:
    """Whether every counter of turns has moved on, in the order of `before`."""
    return all(turns > earlier for turns, earlier in zip(now, before, strict=True))


async def feed_forever(
    progress: Callable[[], Sequence[int]], clock: "Clock", interval: float
) -> None:
    """Feed the watchdog every `interval` seconds while all make progress, until cancelled.

    A loop that stands doesn't get here; a thread that stands shows in `progress`, its turns so
    far, which must grow faster than every `interval` seconds.
    """
    before = progress()
    while True:
        await clock.sleep(interval)
        now = progress()
        if alive(now, before):
            notify(WATCHDOG)
        else:
            log.error("a receiving thread has stood still for %g s: turns %s", interval, list(now))
        before = now


def activated() -> list[tuple[str, socket.socket]]:
    """Sockets that systemd holds for us, each with what it is for: ``udp`` or ``http``.

    They don't block, and programs we start don't inherit them.  They can be had once: the
    variables are taken out of the environment, so that nobody takes them for theirs.

    Raises
    ------
    ConfigError
        If a variable isn't what systemd sets, or a descriptor is no socket, or one of a kind
        that aggd has no use for or that isn't what its name promises.
    """
    try:
        names = _names()
    finally:
        for variable in LISTEN:
            os.environ.pop(variable, None)
    sockets = [_inherited(number, name) for number, name in enumerate(names, FIRST)]
    return [(purpose(name, sock), sock) for name, sock in zip(names, sockets, strict=True)]


def _names() -> list[str]:
    """Names of the descriptors passed to this process, from `FIRST` on."""
    if _number("LISTEN_PID") != os.getpid():
        return []
    count = _number("LISTEN_FDS") or 0
    names = os.environ.get("LISTEN_FDNAMES")
    found = names.split(":") if names is not None and count else [UNNAMED] * count
    if len(found) != count:
        raise ConfigError(f"LISTEN_FDNAMES is {names!r}; it must have {count} names, as LISTEN_FDS")
    return found


def _number(variable: str) -> int | None:
    found = os.environ.get(variable)
    if found is None:
        return None
    if not (found.isascii() and found.isdecimal()):
        raise ConfigError(f"{variable} is {found!r}; it must be a number, as systemd sets it")
    return int(found)


def _inherited(number: int, name: str) -> socket.socket:
    try:
        sock = socket.socket(fileno=number)
    except OSError as error:
        raise ConfigError(
            f"systemd passed {name!r} as descriptor {number}, which is no socket: {error.strerror}"
        ) from error
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock


def purpose(name: str, sock: socket.socket) -> str:
    """Tell what a socket is for: by our name for it, or by its kind where it has another name.

    Raises
    ------
    ConfigError
        If the kind fits no purpose, or not the name.
    """
    fit = [p for p, kind in PURPOSES.items() if sock.type == kind and sock.family in INTERNET]
    fit = [name] if name in fit else [] if name in PURPOSES else fit
    if len(fit) != 1:
        right = " or ".join(f"{p} ({kind.name} over IP)" for p, kind in PURPOSES.items())
        raise ConfigError(f"systemd passed {name!r}, {_kind(sock)}; it must be {right}")
    return fit[0]


def _kind(sock: socket.socket) -> str:
    kind, family = socket.SocketKind(sock.type), socket.AddressFamily(sock.family)
    return f"a {kind.name} socket of {family.name}"
