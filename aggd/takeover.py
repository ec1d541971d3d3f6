"""One daemon hands its sockets to the next, so that no datagram is lost between them.

new                          old                 state_dir/takeover
 | --- connect, TAKE OVER --> |
 | <-- sockets (SCM_RIGHTS) - |
 |                            | stops receiving, writes everything, lets the directory go
 | <-- end of the connection  |
 | reads the directory, receives what the kernel has kept meanwhile
"""

import logging
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from aggd.errors import StorageError

log = logging.getLogger(__name__)

HELLO = b"aggd takeover 1\n"
SOCKETS = 128  # at most; the kernel carries 253 at once
WRITES = 120.0  # seconds the old daemon has to write everything
ANSWERS = 5.0  # seconds for what should happen at once
CREDENTIALS = struct.Struct("=iII")  # pid, user, group


class Successor:
    """Waits for the daemon that comes next.

    Parameters
    ----------
    sockets : sequence of socket
        What is handed over; they stay open here as well.
    leave : callable
        Called from a thread once they are: stop receiving, write, and end.
    """

    def __init__(
        self, directory: Path, sockets: Sequence[socket.socket], leave: Callable[[], None]
    ) -> None:
        self._path = directory / "takeover"
        self._sockets = sockets
        self._leave = leave
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._waiting: socket.socket | None = None

    def start(self) -> None:
        """Listen, in a thread of its own.

        Raises
        ------
        StorageError
            Where there can't be a socket in the state directory.
        """
        try:
            self._path.unlink(missing_ok=True)
            with _short(self._path) as name:
                self._server.bind(name)
            self._path.chmod(0o600)
        except OSError as error:
            raise StorageError(
                f"{self._path}: there can't be a socket here: {error.strerror}"
            ) from error
        self._server.listen(1)
        Thread(target=self._serve, name="aggd-takeover", daemon=True).start()

    def _serve(self) -> None:
        while self._waiting is None:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return  # closed
            if self._hand_over(peer):
                self._waiting = peer
            else:
                peer.close()
        log.info("a new daemon takes over: writing everything, then leaving")
        self._leave()

    def _hand_over(self, peer: socket.socket) -> bool:
        """Give the sockets to a peer that asks for them as it should."""
        peer.settimeout(ANSWERS)
        found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        _, user, _ = CREDENTIALS.unpack(found)
        try:
            if user not in (0, os.geteuid()) or peer.recv(len(HELLO)) != HELLO:
                return False
            socket.send_fds(peer, [HELLO], [sock.fileno() for sock in self._sockets])
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Tell the one that waits, if any, that everything is written."""
        self._server.close()
        if self._waiting is not None:
            self._waiting.close()
        else:
            self._path.unlink(missing_ok=True)


def take_over(state_dir: str) -> list[socket.socket]:
    """Take the sockets of the daemon that uses a state directory, and wait until it has left.

    Raises
    ------
    StorageError
        Where there is no directory or no daemon, or it doesn't leave.
    """
    if not state_dir:
        raise StorageError("--takeover: storage.state_dir is where the two daemons meet; set it")
    path = Path(state_dir) / "takeover"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as old:
        try:
            sockets = _sockets_of(old, path)
        except OSError as error:
            raise StorageError(
                f"--takeover: no daemon answers at {path}: {error.strerror or error}; "
                "start without --takeover where none is running"
            ) from error
        old.settimeout(WRITES)
        try:
            gone = old.recv(1) == b""
        except OSError:
            gone = False
    if not gone:
        for sock in sockets:
            sock.close()
        raise StorageError(f"--takeover: the daemon at {path} does not leave; stop it by hand")
    return sockets


def _sockets_of(old: socket.socket, path: Path) -> list[socket.socket]:
    """Ask the daemon that listens at a path for its sockets."""
    old.settimeout(ANSWERS)
    with _short(path) as name:
        old.connect(name)
    old.sendall(HELLO)
    said, descriptors, _, _ = socket.recv_fds(old, len(HELLO), SOCKETS)
    if said != HELLO or not descriptors:
        raise ConnectionError("what is there hands over no sockets")
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Another name of a path, as that of a socket must not exceed 107 bytes."""
    directory = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
