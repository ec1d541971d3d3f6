"""Samples in order of arrival, and the lines set aside among them.

    row     value  weight          odd lines
    3       23.5   1.0             at 1: "a:1|c:2|ms"     between the first and the second row
    0       1.0    10.0            at 3: "x"              after the third
    3       -2.0   0.0

A row is a key of the lane's table; its weight is 1/rate, and 0 marks a gauge's
change.  A column belongs to one thread at a time.
"""

import socket
from collections.abc import Iterator

import numpy as np

ROWS = 1 << 18  # 5 MB of samples
ODD_BYTES = 1 << 20
ODD_LINES = 1 << 14
SENDER_BYTES = 28  # sizeof(struct sockaddr_in6)

# Places in `Column.state`
USED, ODD, ODD_USED, LINES, DATAGRAMS, BYTES, KEYS, TOO_LONG = range(8)


class Column:
    """Room for samples and set-aside lines, allocated once and used again.

    Parameters
    ----------
    rows : int
        Samples it has room for.
    odd_bytes : int
        Bytes of set-aside lines it has room for.

    Attributes
    ----------
    lines : int
        Lines that became rows; those set aside count when they are read.
    odd_count : int
        Lines, or datagrams, set aside.
    datagrams, bytes : int
        Datagrams received, and their bytes.
    keys : int
        Keys that the lane had numbered when it handed this column over.
    too_long : int
        Lines that were too long to be set aside, and are lost.
    lane : int
        Whose keys the rows are.
    start : float
        Seconds since the epoch: when the first sample can have come.
    whole : bool
        The set-aside lines are whole datagrams.
    state : ndarray of int64, shape (8,)
        Rows used, odd lines, their bytes, lines that became rows, datagrams, bytes
        received, keys that the lane had numbered at hand-over, lines too long.
    """

    def __init__(self, rows: int = ROWS, odd_bytes: int = ODD_BYTES) -> None:
        self.row = np.empty(rows, np.int32)
        self.value = np.empty(rows)
        self.weight = np.empty(rows)
        self.odd = np.empty(odd_bytes, np.uint8)
        self.odd_at = np.empty(ODD_LINES, np.int64)
        self.odd_start = np.zeros(ODD_LINES + 1, np.int64)
        self.odd_sender = np.zeros((ODD_LINES, SENDER_BYTES), np.uint8)
        self.state = np.zeros(8, np.int64)
        self.lane = 0
        self.start = 0.0
        self.whole = False

    def __len__(self) -> int:
        return int(self.state[USED])

    @property
    def lines(self) -> int:
        return int(self.state[LINES])

    @property
    def odd_count(self) -> int:
        return int(self.state[ODD])

    @property
    def datagrams(self) -> int:
        return int(self.state[DATAGRAMS])

    @property
    def keys(self) -> int:
        return int(self.state[KEYS])

    @property
    def too_long(self) -> int:
        return int(self.state[TOO_LONG])

    def reset(self) -> None:
        """Make room again."""
        self.state[:] = 0

    def set_aside(self, line: bytes, sender: bytes) -> bool:
        """Keep a line, or a datagram, for the slow lane.

        Parameters
        ----------
        line : bytes
            As it came.
        sender : bytes
            Socket address as the kernel packs it, up to 28 bytes; empty where unknown.

        Returns
        -------
        bool
            False where there is no room.
        """
        state = self.state
        lines, used = int(state[ODD]), int(state[ODD_USED])
        if lines == ODD_LINES or used + len(line) > self.odd.size:
            return False
        self.odd[used : used + len(line)] = np.frombuffer(line, np.uint8)
        self.odd_at[lines] = state[USED]
        self.odd_start[lines + 1] = used + len(line)
        self.odd_sender[lines, : len(sender)] = np.frombuffer(sender, np.uint8)
        self.odd_sender[lines, len(sender) :] = 0
        state[ODD], state[ODD_USED] = lines + 1, used + len(line)
        state[DATAGRAMS] += 1
        state[BYTES] += len(line)
        return True

    def odd_lines(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Walk over what was set aside.

        Yields
        ------
        tuple of (int, bytes, bytes)
            Rows before the line, the line, and its sender's socket address.
        """
        count = int(self.state[ODD])
        odd = self.odd[: int(self.state[ODD_USED])].tobytes()
        ends = self.odd_start[: count + 1].tolist()
        at = self.odd_at[:count].tolist()
        for i in range(count):
            yield at[i], odd[ends[i] : ends[i + 1]], self.odd_sender[i].tobytes()

    @property
    def bytes(self) -> int:  # last, because it hides the type from what follows
        return int(self.state[BYTES])


def sender_text(raw: bytes) -> str:
    """Write a socket address for people.

    Parameters
    ----------
    raw : bytes
        As the kernel packs it.

    Returns
    -------
    str
        Such as ``127.0.0.1:40312``; empty for an address of another family.
    """
    family = int.from_bytes(raw[:2], "little")
    port = int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET:
        return f"{socket.inet_ntop(family, raw[4:8])}:{port}"
    if family == socket.AF_INET6:
        return f"[{socket.inet_ntop(family, raw[8:24])}]:{port}"
    return "unix" if family == socket.AF_UNIX else ""
