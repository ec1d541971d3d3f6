"""A stand-in for systemd, which holds sockets and passes them to one program after another."""

import socket
import sys
from collections.abc import Sequence

STAND_IN = """
import os, sys
from fcntl import F_DUPFD_CLOEXEC, fcntl
given = [int(number) for number in sys.argv[1].split(",")]
aside = [fcntl(number, F_DUPFD_CLOEXEC, 100) for number in given]
for number in given:
    os.close(number)
for place, number in enumerate(aside, 3):
    os.dup2(number, place)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(given))}
os.execvp(sys.argv[2], sys.argv[2:])
"""

Named = Sequence[tuple[str, socket.socket]]


def passing(sockets: Named) -> list[str]:
    """Words before a command that is to get the sockets; none where there are none."""
    places = ",".join(map(str, numbers(sockets)))
    return [sys.executable, "-c", STAND_IN, places] if sockets else []


def numbers(sockets: Named) -> list[int]:
    """Descriptors that the command has to inherit for that."""
    return [sock.fileno() for _, sock in sockets]


def names(sockets: Named) -> dict[str, str]:
    """What its environment has to say beside."""
    return {"LISTEN_FDNAMES": ":".join(name for name, _ in sockets)} if sockets else {}
