# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False
"""The fast lane: from the socket to rows of a column, compiled, without the GIL.

    recvmmsg --> gather: split 32 lines --> their keys to the cache --> take: find, append
                                                                          `--> set aside

    page.load:320:310|ms|@0.1|#env:prod     row of the key, 320, 10
                                            row of the key, 310, 10

It knows no policy: no cleaning, no order of tags, no gauge levels.  A line that isn't
plain to the byte, or whose name or tags could give a warning or a refusal, is set
aside whole, with its place and sender, for the slow lane (`protocol.lines`).

`line` has the grammar and says why its scans are safe, `keys` has the table.
"""

from libc.errno cimport (
    EAGAIN,
    ECONNREFUSED,
    ECONNRESET,
    EHOSTDOWN,
    EHOSTUNREACH,
    EINTR,
    ENETDOWN,
    ENETUNREACH,
    ENOBUFS,
    ENOMEM,
    ENOPROTOOPT,
    EPROTO,
    errno,
)
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

import os

import numpy as np

cimport cython

from aggd.ingest.keys cimport (
    FIRST_SLOTS,
    NO_ROOM,
    Keys,
    check,
    find,
    forget,
    send_for_record,
    send_for_slot,
    spelling,
)
from aggd.ingest.line cimport (
    LARGEST,
    ODD,
    SLACK,
    Cursor,
    Line,
    Secret,
    fold,
    read_number,
    split,
    stripped,
    weight_of,
)


cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
        MSG_TRUNC
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        void* msg_name
        unsigned int msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int recvmmsg(int fd, mmsghdr* messages, unsigned int count, int flags, timespec* timeout)

cdef extern from "<poll.h>" nogil:
    enum:
        POLLIN
    struct pollfd:
        int fd
        short events
    int ppoll(pollfd* fds, unsigned long count, const timespec* timeout, const void* signals)

cdef enum:
    BATCH = 256  # datagrams of one recvmmsg
    LONGEST_DATAGRAM = 65536
    # No multiple of 4096: or the first lines of all datagrams would share a set of the cache.
    ROOM = LONGEST_DATAGRAM + SLACK
    SENDER_BYTES = 28  # sizeof(struct sockaddr_in6); of a unix socket's address the start
    SOCKETS = 64
    AHEAD = 32  # lines split before the first of them is looked up
    FEW = 8  # datagrams of a batch after which the pause is doubled,
    DOUBLINGS = 3  # from 300 us to 2.4 ms: a megabyte of buffer holds that much
    LONGEST_WAIT_NS = 100_000_000  # how long `stop` may go unseen

cdef enum:  # places in `Column.state`
    USED
    ODD_LINES
    ODD_BYTES
    LINES
    DATAGRAMS
    BYTES
    KEYS
    TOO_LONG

cdef enum:  # why `serve` came back, where it isn't for an error
    IN_TIME
    FULL


@cython.final
cdef class FastLane:
    """A table of keys, and the loop that turns lines into rows of a column.

    A lane belongs to one thread; only `stop` and the reading of keys that were
    handed over are for others.

    Parameters
    ----------
    seed : int
        Secret of the hash, 64 bits, random at each start.
    keys : int
        The most keys it numbers; lines of further ones are set aside.
    arena : int
        Bytes for keys; 0 for 64 a key.

    Attributes
    ----------
    truncated : int
        Datagrams longer than the buffer, which only unix sockets carry: what
        followed their last newline is lost.
    errors : int
        Errors that the network reported on a socket.
    unkeyed : int
        Lines set aside because there was no room for their key.
    """

    cdef readonly int64_t truncated, errors, unkeyed
    cdef Secret secret
    cdef Keys table
    cdef object _owned  # the arrays that pointers point into

    cdef mmsghdr* messages
    cdef uint8_t* senders
    cdef uint8_t* buffer
    cdef int received, turn
    cdef volatile bint stopping
    cdef bint fed
    cdef Cursor cursor

    cdef object _column
    cdef int32_t[::1] row
    cdef double[::1] value
    cdef double[::1] weight
    cdef uint8_t[::1] odd
    cdef int64_t[::1] odd_at
    cdef int64_t[::1] odd_start
    cdef uint8_t[:, ::1] odd_sender
    cdef int64_t[::1] state

    def __init__(self, seed, keys=2_000_000, arena=0):
        if not 0 < keys < 1 << 31:
            raise ValueError(f"keys must be in [1, 2**31), got {keys}")
        size = arena or 64 * keys
        if not 0 < size <= 1 << 35:
            raise ValueError(f"arena must be in [1, 2**35] bytes, got {size}")
        slots = max(FIRST_SLOTS, 1 << (2 * keys - 1).bit_length())
        cdef uint64_t[::1] of_slots = np.zeros(slots, np.uint64)
        cdef uint8_t[::1] of_arena = np.zeros(size + SLACK, np.uint8)
        cdef uint32_t[::1] of_places = np.zeros(keys, np.uint32)
        cdef uint32_t[::1] of_marks = np.zeros(keys, np.uint32)
        self._owned = [of_slots, of_arena, of_places, of_marks]
        self.table.slots, self.table.arena = &of_slots[0], &of_arena[0]
        self.table.places, self.table.marks = &of_places[0], &of_marks[0]
        self.table.most_rows, self.table.size = keys, size
        forget(&self.table)
        # Two numbers of a seed, whatever bits it has; the constants are wyhash's.
        self.secret.start = fold(
            <uint64_t>(seed & 0xFFFFFFFFFFFFFFFF) ^ <uint64_t>0xA0761D6478BD642F,
            <uint64_t>0xE7037ED1A0B428DB,
        )
        self.secret.factor = 1 | fold(
            self.secret.start ^ <uint64_t>0x8EBC6AF09C88C6E3, <uint64_t>0x589965CC75374CC3
        )
        self._make_buffers()

    cdef _make_buffers(self):
        """Room for a batch; pages are touched only by datagrams that reach them."""
        cdef uint8_t[::1] buffer = np.empty(BATCH * ROOM, np.uint8)
        cdef uint8_t[::1] senders = np.zeros(BATCH * SENDER_BYTES, np.uint8)
        cdef uint8_t[::1] messages = np.zeros(BATCH * sizeof(mmsghdr), np.uint8)
        cdef uint8_t[::1] vectors = np.zeros(BATCH * sizeof(iovec), np.uint8)
        cdef iovec* vector = <iovec*>&vectors[0]
        cdef msghdr* message
        cdef int64_t i
        self._owned += [buffer, senders, messages, vectors]
        self.buffer, self.senders = &buffer[0], &senders[0]
        self.messages = <mmsghdr*>&messages[0]
        for i in range(BATCH):
            vector[i].iov_base, vector[i].iov_len = self.buffer + i * ROOM, LONGEST_DATAGRAM
            message = &self.messages[i].msg_hdr
            message.msg_iov, message.msg_iovlen = &vector[i], 1
            message.msg_name, message.msg_namelen = self.senders + i * SENDER_BYTES, SENDER_BYTES

    def receive(self, sockets, column, double until, int64_t pause_us):
        """Receive into a column until it is full or the time has come.

        Parameters
        ----------
        sockets : list of int
            Numbers of datagram sockets, at most 64.
        column : Column
            Filled behind what it holds.
        until : float
            Seconds of CLOCK_MONOTONIC; when past, what is there is taken once.
        pause_us : int
            Microseconds to sleep after a batch less than half full, and up to eight
            times that while only few come: fewer, larger batches cost a third of the
            CPU time.  0 where the receive buffer is under a megabyte.

        Returns
        -------
        bool
            True where the column has no room for the next line, which the next call
            takes first; False when `until` has come, or after `stop` when the
            sockets are empty.

        Raises
        ------
        OSError
            If a socket can't be received from: it was closed, or isn't a socket.
        """
        cdef pollfd[SOCKETS] fds
        cdef int count = len(sockets), i, reason
        if count > SOCKETS:
            raise ValueError(f"a lane serves at most {SOCKETS} sockets, got {count}")
        for i in range(count):
            fds[i].fd, fds[i].events = sockets[i], POLLIN
        self._attach(column)
        with nogil:
            reason = self.serve(fds, count, until, pause_us)
        self.state[KEYS] = self.table.rows
        if reason < 0:
            raise OSError(-reason, os.strerror(-reason))
        return reason == FULL

    def feed(self, const uint8_t[::1] data not None, column, int64_t start=0):
        """Take lines from memory, as if they were one datagram.

        Parameters
        ----------
        data : bytes-like
            Of any length.
        column : Column
            Filled behind what it holds.
        start : int
            Where to begin: 0, or what the call before returned.

        Returns
        -------
        int
            Bytes of `data` taken: all, or up to a line that needs another column.
        """
        cdef int64_t size = data.shape[0], at = start, middle = size - SLACK
        if not 0 <= start <= size:
            raise ValueError(f"start must be in [0, {size}], got {start}")
        self._attach(column)
        if start == 0 and size >= 3 and data[0] == 0xEF and data[1] == 0xBB and data[2] == 0xBF:
            at = 3
        # In place up to the last newline that has slack behind it; then a copy of the rest.
        while middle > at and data[middle - 1] != c"\n":
            middle -= 1
        if middle > at:
            at += self._walk_over(&data[at], middle - 1 - at)
        if at >= middle:
            rest = bytes(data[at:]) + b"\n" + bytes(SLACK)
            at += self._walk_over(rest, size - at)
        at = min(at, size)
        self.state[DATAGRAMS] += at == size
        self.state[BYTES] += at - start
        self.state[KEYS] = self.table.rows
        return at

    cdef int64_t _walk_over(self, const uint8_t* text, int64_t last):
        """Walk over text with a newline at `last` and slack behind it; bytes taken."""
        cdef Cursor kept = self.cursor
        cdef int received = self.received
        cdef int64_t taken = last + 1
        self.cursor = Cursor(0, text, text + last)
        self.received, self.fed = 0, True
        with nogil:
            if not self.walk():
                taken = self.cursor.at - text
        self.cursor, self.received, self.fed = kept, received, False
        return taken

    def stop(self):
        """Let `receive` take what the kernel holds and come back; from any thread."""
        self.stopping = True

    def clear(self):
        """Forget all keys: rows begin at 0 again.

        Between two calls, and when no column that was filled before is still to be read.
        """
        forget(&self.table)

    @property
    def keys(self):
        """Keys numbered so far."""
        return self.table.rows

    def key(self, row):
        """Spelling of one key; see `spellings`.

        Parameters
        ----------
        row : int
            In [0, keys).

        Returns
        -------
        bytes
            Its spelling.
        """
        return self.spellings(row, row + 1)[0]

    def spellings(self, int64_t first, int64_t last):
        """Spellings of keys, also for a thread that was handed a column with their count.

        Parameters
        ----------
        first, last : int
            Rows, in [0, keys]; `last` is not included.

        Returns
        -------
        list of bytes
            Letter of the kind (``c m g h d``, m for ms), name, and where the line had
            tags a newline and the tags.

        Raises
        ------
        ValueError
            If there are no such keys.
        """
        if not 0 <= first <= last <= self.table.rows:
            raise ValueError(f"rows must be in [0, {self.table.rows}], got {first} to {last}")
        return [spelling(&self.table, row) for row in range(first, last)]

    def _check(self):
        check(&self.table)

    cdef _attach(self, column):
        if column is not self._column:
            self.row, self.value, self.weight = column.row, column.value, column.weight
            self.odd, self.odd_at = column.odd, column.odd_at
            self.odd_start, self.odd_sender = column.odd_start, column.odd_sender
            self.state = column.state
            self._column = column

    cdef int serve(self, pollfd* fds, int count, double until, int64_t pause_us) noexcept nogil:
        """Receive and walk in turn; FULL, IN_TIME or minus an error number.

        It stays inside for as long as it can: coming back to Python after every 64
        datagrams, beside a busy Python thread, cost nine tenths of the throughput.
        """
        cdef int got, most, doublings = 0
        cdef double left
        if not self.walk():  # the rest of the batch that filled the last column
            return FULL
        while True:
            most = 0
            for _ in range(count):
                self.turn = (self.turn + 1) % count
                got = self.fetch(fds[self.turn].fd)
                if got < 0:
                    return got
                most = max(most, got)
                if not self.walk():
                    return FULL
            left = until - clock()
            if left <= 0 or (most == 0 and self.stopping):
                return IN_TIME
            if most == 0:
                wait(fds, count, left)
            elif most < BATCH // 2 and pause_us > 0 and not self.stopping:
                wait(NULL, 0, min(left, 1e-6 * (pause_us << doublings)))
                doublings = min(doublings + 1, DOUBLINGS) if most < FEW else 0

    cdef int fetch(self, int fd) noexcept nogil:
        """Receive a batch without waiting: how many datagrams, or minus an error number."""
        cdef int i, got
        for i in range(self.received):
            self.messages[i].msg_hdr.msg_namelen = SENDER_BYTES  # the kernel wrote its own
        self.received = 0
        self.cursor = Cursor(-1, NULL, NULL)
        got = recvmmsg(fd, self.messages, BATCH, MSG_DONTWAIT, NULL)
        if got < 0:
            if errno == EAGAIN or errno == EINTR:
                return 0
            if not passing(errno):
                return -errno
            self.errors += 1
            return 0
        self.received = got  # what lies behind is of an older batch
        self.state[DATAGRAMS] += got
        for i in range(got):
            self.state[BYTES] += self.messages[i].msg_len
            self.truncated += (self.messages[i].msg_hdr.msg_flags & MSG_TRUNC) != 0
        return got

    cdef bint walk(self) noexcept nogil:
        """Take the lines from the cursor on; False at one the column has no room for.

        With many series neither slots nor records are in the cache.  Lines are split
        some way ahead of their look-up, so that what it needs comes in together and
        not one after the other: 60 ns a line instead of 250 with a million series, and
        no more than before with ten thousand.
        """
        cdef Line[AHEAD] lines
        cdef int count, i
        while True:
            count = self.gather(lines)
            if count == 0:
                return True
            for i in range(count):
                send_for_record(&self.table, &lines[i])
            for i in range(count):
                if not self.take(&lines[i]):
                    self.cursor = lines[i].start
                    return False

    cdef inline int gather(self, Line* lines) noexcept nogil:
        """Split the next lines."""
        cdef int count = 0
        while count < AHEAD:
            if self.cursor.at >= self.cursor.last:
                if not self.open_datagram():
                    break
            elif self.cursor.at[0] == c"\n":
                self.cursor.at += 1
            else:
                lines[count].start = self.cursor
                split(&lines[count], self.secret)
                send_for_slot(&self.table, &lines[count])
                self.cursor.at = lines[count].end + 1
                count += 1
        return count

    cdef inline bint open_datagram(self) noexcept nogil:
        """Go to the next datagram of the batch, and end it with a newline."""
        cdef int message = self.cursor.message + 1
        cdef uint8_t* start
        cdef uint8_t* last
        if message >= self.received:
            return False
        start = self.buffer + <int64_t>message * ROOM
        last = start + self.messages[message].msg_len
        if self.messages[message].msg_hdr.msg_flags & MSG_TRUNC:
            while last > start and (last - 1)[0] != c"\n":
                last -= 1  # a line that was cut may still look whole
        last[0] = c"\n"
        if start[0] == 0xEF and start[1] == 0xBB and start[2] == 0xBF:
            start += 3
        self.cursor = Cursor(message, start, last)
        return True

    cdef inline bint take(self, Line* line) noexcept nogil:
        """Append a line to the column; False where that has no room for it."""
        cdef int64_t row, used = self.state[USED]
        if line.shape == ODD:
            return self.set_aside(line)
        if line.packed:
            return self.take_packed(line)
        if not -LARGEST <= line.value <= LARGEST:
            return self.set_aside(line)
        row = find(&self.table, line)
        if row < 0:
            return self.set_aside_unkeyed(line, row)
        if used == self.row.shape[0]:
            return False
        self.row[used] = <int32_t>row
        self.value[used] = line.value
        self.weight[used] = weight_of(line, line.number)
        self.state[USED] = used + 1
        self.state[LINES] += 1
        return True

    cdef bint take_packed(self, Line* line) noexcept nogil:
        """Append all numbers of a list; none where one of them is bad."""
        cdef const uint8_t* p = line.number
        cdef const uint8_t* number
        cdef int64_t row, i, used = self.state[USED], end = used
        while True:
            if end == self.row.shape[0]:
                # What not even an empty column holds is left to the slow lane.
                return used == 0 and self.set_aside(line)
            number = p
            p = read_number(number, &self.value[end])
            if p == NULL or not -LARGEST <= self.value[end] <= LARGEST:
                return self.set_aside(line)
            self.weight[end] = weight_of(line, number)
            end += 1
            if p[0] == c"|":
                break
            if p[0] != c":":
                return self.set_aside(line)
            p += 1
        row = find(&self.table, line)  # only now: a refused line leaves no key behind
        if row < 0:
            return self.set_aside_unkeyed(line, row)
        for i in range(used, end):
            self.row[i] = <int32_t>row
        self.state[USED] = end
        self.state[LINES] += 1
        return True

    cdef bint set_aside(self, Line* line) noexcept nogil:
        """Copy a line for the slow lane; False where the column has no room for it."""
        cdef const uint8_t* p = line.start.at
        cdef int64_t size = line.end - p
        cdef int64_t lines = self.state[ODD_LINES], used = self.state[ODD_BYTES]
        while stripped(p[0]):
            p += 1
        if p == line.end:
            return True  # an empty line
        if size > self.odd.shape[0]:
            self.state[TOO_LONG] += 1
            return True
        if lines == self.odd_at.shape[0] or used + size > self.odd.shape[0]:
            return False
        memcpy(&self.odd[used], line.start.at, size)
        self.odd_at[lines] = self.state[USED]
        self.odd_start[lines], self.odd_start[lines + 1] = used, used + size
        self.sign(&self.odd_sender[lines, 0], line.start.message)
        self.state[ODD_LINES], self.state[ODD_BYTES] = lines + 1, used + size
        return True

    cdef bint set_aside_unkeyed(self, Line* line, int64_t reason) noexcept nogil:
        """Set aside a line whose key has no row; counted here, as it may be tried again."""
        if not self.set_aside(line):
            return False
        self.unkeyed += reason == NO_ROOM
        return True

    cdef void sign(self, uint8_t* sender, int message) noexcept nogil:
        """Write whose datagram it is; zeros for one without a sender."""
        cdef unsigned int size = 0
        memset(sender, 0, SENDER_BYTES)
        if not self.fed:
            # The kernel gives an address's whole length, of a unix socket up to 110.
            size = min(self.messages[message].msg_hdr.msg_namelen, <unsigned int>SENDER_BYTES)
            memcpy(sender, self.senders + message * SENDER_BYTES, size)


cdef inline double clock() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec * 1e-9


cdef inline void wait(pollfd* fds, int count, double seconds) noexcept nogil:
    """Wait for datagrams, or without sockets just wait; an interruption ends it too."""
    cdef timespec time
    time.tv_sec = 0
    time.tv_nsec = <int64_t>min(seconds * 1e9, <double>LONGEST_WAIT_NS)
    ppoll(fds, count, &time, NULL)


cdef inline bint passing(int error) noexcept nogil:
    """Whether an error is the network's, told once, on a socket that goes on."""
    return error in (
        ECONNREFUSED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH,
        ENOBUFS, ENOMEM, ENOPROTOOPT, EPROTO,
    )
