# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled lane: receive, scan, number, look up, append; no object, no lock, no GIL.

    api.latency:23.5|ms|@0.1|#env:prod\\n
    ^ name     ^ numbers   ^ rate and tags, in either order
                               |
    key  m api.latency LF env:prod  -->  row 17  -->  column  17, 23.5, 10.0

A key is the bytes of kind, name and tags as they stood in a line.  It is entered
raw; what series it means is decided elsewhere, once for each new key.  A line that
is not plain is set aside whole, with its place among the rows and its sender.

The lane takes only what ``protocol.lines`` would take without a refusal or a
warning, so keys for which naming might have something to say are entered as ODD,
and their lines are always set aside.

**Bounds.**  Every datagram lies in a slot with 64 bytes of slack and is closed with
a newline before it is read.  Every scan stops at a newline, and words are loaded
eight bytes at a time from at most the newline itself, so no load passes the slack.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, ECONNREFUSED, EINTR, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc, strtod
from libc.string cimport memchr, memcpy, memset

ctypedef uint64_t u64
ctypedef const uint8_t *Bytes

cdef extern from *:
    """
    #include <poll.h>
    #include <sys/socket.h>
    #include <time.h>
    #include <netinet/in.h>
    """

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long count, int timeout_ms)
    short POLLIN

cdef extern from "<sys/socket.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        uint32_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *timeout)
    int MSG_DONTWAIT

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec *now)
    int nanosleep(const timespec *wanted, timespec *left)
    int CLOCK_MONOTONIC

cdef extern from *:
    int count_trailing_zeros "__builtin_ctzll"(u64 word) nogil
    bint unlikely "__builtin_expect"(bint condition, long expected) nogil

cdef enum:
    BATCH = 256            # datagrams a recvmmsg; 64 made half the throughput
    SLACK = 64
    DATAGRAM = 65536 + SLACK   # no multiple of 4096, or all slots fall on the same cache sets
    SENDER = 28            # sizeof(struct sockaddr_in6)
    SOCKETS = 64
    CHUNK = 1 << 16        # of a body, cut at a newline

cdef enum Outcome:
    TAKEN
    FULL        # the column has no room
    TIME        # is up
    FAILED

cdef u64 ODD = 0x80000000ULL           # flag beside a row number: set such lines aside
cdef u64 ROW = 0x7FFFFFFFULL
cdef u64 COLONS = 0x3A3A3A3A3A3A3A3AULL
cdef u64 BARS = 0x7C7C7C7C7C7C7C7CULL
cdef u64 NEWLINES = 0x0A0A0A0A0A0A0A0AULL
cdef double LARGEST = 1e300
cdef double SMALLEST_RATE = 1e-6
cdef double[23] POWER
for _power in range(23):
    POWER[_power] = 10.0 ** _power      # exact up to 10^22


cdef inline u64 word(Bytes p) noexcept nogil:
    cdef u64 w
    memcpy(&w, p, 8)
    return w


cdef inline u64 zeros(u64 w) noexcept nogil:
    """Mark the lowest zero byte of a word (higher marks may be false)."""
    return (w - 0x0101010101010101ULL) & ~w & 0x8080808080808080ULL


cdef inline u64 mix(u64 h, u64 w) noexcept nogil:
    h = (h ^ w) * 0x9E3779B97F4A7C15ULL
    return h ^ (h >> 32)


cdef inline u64 finish(u64 h) noexcept nogil:
    h = (h ^ (h >> 29)) * 0xD6E8FEB86659FD93ULL
    return h ^ (h >> 32)


cdef inline u64 head_of(u64 w, int size) noexcept nogil:
    return w & ((1ULL << (8 * size)) - 1)


cdef inline bint same(Bytes a, Bytes b, int64_t size) noexcept nogil:
    while size >= 8:
        if word(a) != word(b):
            return False
        a += 8
        b += 8
        size -= 8
    return head_of(word(a) ^ word(b), <int>size) == 0


cdef inline Bytes scan(Bytes p, u64 *h, u64 stop) noexcept nogil:
    """Go to the next `stop` byte or newline, mixing what is passed into a hash."""
    cdef u64 w = word(p), x = h[0]
    cdef u64 found = zeros(w ^ stop) | zeros(w ^ NEWLINES)
    cdef int k
    while found == 0:
        x = mix(x, w)
        p += 8
        w = word(p)
        found = zeros(w ^ stop) | zeros(w ^ NEWLINES)
    k = count_trailing_zeros(found) >> 3
    h[0] = mix(x, head_of(w, k))
    return p + k


cdef inline bint is_digit(uint8_t c) noexcept nogil:
    return <uint8_t>(c - 48) < 10


cdef Bytes number(Bytes p, double *out) noexcept nogil:
    """Read a number as ``float()`` does; the byte after it, or NULL where there is none.

    Up to 2^53 and 10^22 both factors are exact, so one multiplication or division
    rounds once [Clinger 1990].  Other numbers go to strtod, which rounds right too:
    the scan has found where they end, so it can't read hexadecimals or names, and
    nobody here calls setlocale.
    """
    cdef Bytes start = p
    cdef Bytes mark
    cdef uint8_t sign = p[0]
    cdef u64 mantissa = 0
    cdef int digits, exponent = 0, power = 0
    cdef bint negative
    cdef char *end
    cdef double value
    if sign == b"-" or sign == b"+":
        p += 1
    mark = p
    while is_digit(p[0]):
        mantissa = mantissa * 10 + (p[0] - 48)
        p += 1
    digits = <int>(p - mark)
    if p[0] == b".":
        p += 1
        mark = p
        while is_digit(p[0]):
            mantissa = mantissa * 10 + (p[0] - 48)
            p += 1
        exponent = -<int>(p - mark)
        digits -= exponent
    if digits == 0:
        return NULL
    if p[0] == b"e" or p[0] == b"E":
        p += 1
        negative = p[0] == b"-"
        if negative or p[0] == b"+":
            p += 1
        if not is_digit(p[0]):
            return NULL
        while is_digit(p[0]):
            if power < 100000:
                power = power * 10 + (p[0] - 48)
            p += 1
        exponent += -power if negative else power
    if digits <= 19 and mantissa <= 1ULL << 53 and -22 <= exponent <= 22:
        value = <double>mantissa
        value = value / POWER[-exponent] if exponent < 0 else value * POWER[exponent]
        out[0] = -value if sign == b"-" else value
        return p
    out[0] = strtod(<const char *>start, &end)
    return p if <Bytes>end == p else NULL


cdef inline Bytes past_blanks(Bytes p) noexcept nogil:
    """Skip what the slow lane strips at the end of a line, if the line ends there."""
    cdef Bytes q = p
    while q[0] == b" " or q[0] == b"\t" or q[0] == b"\r" or q[0] == 0:
        q += 1
    return q if q[0] == b"\n" else p


cdef bint plain_name(Bytes p, int64_t size) noexcept nogil:
    """Tell whether naming will take this head as it is, without a word."""
    cdef int64_t i
    cdef uint8_t c
    cdef bint kept = False
    if p[0] == b" " or p[0] == b"\t" or p[0] == b"\r":
        return False
    if size >= 3 and p[0] == b"_" and p[1] == b"e" and p[2] == b"{":
        return False
    for i in range(size):
        c = p[i]
        if c == b"|" or c == b"[" or c == b"]" or c == b"#" or c == b"," or c == b";":
            return False
        # What cleaning surely keeps; a name with nothing of it might come out empty.
        kept |= (48 <= c < 58) | (65 <= c < 91) | (97 <= c < 123) | (c == b"_") | (c == b".")
    return kept


cdef bint plain_tags(Bytes p, int64_t size) noexcept nogil:
    """Tell whether every item of a tag section has a key, with nothing to strip."""
    cdef int64_t i
    cdef uint8_t c, before = b","
    for i in range(size):
        c = p[i]
        if c == b" " or c == b"\t" or c == b"\r" or c == 0 or c == b"#":
            return False
        if before == b"," and (c == b":" or c == b"="):
            return False
        before = c
    return True


cdef class FastLane:
    """One compiled lane, driven by one thread at a time.

    Parameters
    ----------
    seed : int
        64 bits that nobody outside knows, so that nobody can craft collisions.
    keys : int
        Keys that may be numbered; lines of further ones are set aside.
    key_bytes : int
        Bytes of all keys together.

    Notes
    -----
    Memory is allocated at its full size and touched as it is used.
    """

    cdef u64 seed, mask
    cdef u64 *slots             # upper half of the hash, ODD, row + 1; doubled at half full
    cdef u64 *hashes            # of each row
    cdef int64_t *key_at        # first byte of each row's key, and the end of the last
    cdef uint8_t *key           # kind, name, and LF and tags where there are any
    cdef int64_t count, keys_cap, key_cap
    cdef uint8_t *buffer        # BATCH slots of DATAGRAM bytes
    cdef uint8_t *body
    cdef int64_t body_size
    cdef mmsghdr *messages
    cdef iovec *slices
    cdef uint8_t *senders
    cdef int64_t at, got        # the message being walked, and how many there are
    cdef int64_t offset         # how far it has been walked
    cdef int turn               # socket to ask next
    cdef bint stopping
    cdef int32_t *row           # the open column
    cdef double *value
    cdef double *weight
    cdef uint8_t *odd
    cdef int64_t *odd_at
    cdef int64_t *odd_start
    cdef uint8_t *odd_sender
    cdef int64_t used, rows, odd_lines, odd_lines_cap, odd_used, odd_cap
    cdef int64_t lines, datagrams, received, too_long

    def __cinit__(self, u64 seed, int64_t keys=2_000_000, int64_t key_bytes=1 << 28):
        cdef int64_t i, size = 1024
        while size < 2 * keys:
            size *= 2
        self.seed = finish(seed)
        self.mask = 1023
        self.keys_cap = min(keys, <int64_t>ROW - 1)
        self.key_cap = key_bytes
        self.slots = <u64 *>calloc(size, 8)
        self.hashes = <u64 *>calloc(self.keys_cap, 8)
        self.key_at = <int64_t *>calloc(self.keys_cap + 1, 8)
        self.key = <uint8_t *>calloc(key_bytes + SLACK, 1)
        self.buffer = <uint8_t *>calloc(BATCH, DATAGRAM)
        self.messages = <mmsghdr *>calloc(BATCH, sizeof(mmsghdr))
        self.slices = <iovec *>calloc(BATCH, sizeof(iovec))
        self.senders = <uint8_t *>calloc(BATCH, SENDER)
        if not (self.slots and self.hashes and self.key_at and self.key and self.buffer
                and self.messages and self.slices and self.senders):
            raise MemoryError("no memory for a lane")
        for i in range(BATCH):
            self.slices[i].iov_base = self.buffer + i * DATAGRAM
            self.slices[i].iov_len = DATAGRAM - SLACK
            self.messages[i].msg_hdr.msg_iov = &self.slices[i]
            self.messages[i].msg_hdr.msg_iovlen = 1
            self.messages[i].msg_hdr.msg_name = self.senders + i * SENDER

    def __dealloc__(self):
        free(self.slots)
        free(self.hashes)
        free(self.key_at)
        free(self.key)
        free(self.buffer)
        free(self.body)
        free(self.messages)
        free(self.slices)
        free(self.senders)

    @property
    def keys(self):
        """Keys numbered so far."""
        return self.count

    def spellings(self, int64_t first, int64_t last):
        """Keys of rows ``[first, last)``; empty for those whose lines are set aside.

        Another thread may ask for keys below the count that came with a column.
        """
        return [
            PyBytes_FromStringAndSize(
                <char *>self.key + self.key_at[i], self.key_at[i + 1] - self.key_at[i]
            )
            for i in range(first, last)
        ]

    def stop(self):
        """Make ``receive`` take what the kernel holds and return."""
        self.stopping = True

    def receive(self, list sockets, column, double until, int pause_us):
        """Fill a column from sockets until it is full or time is up.

        Parameters
        ----------
        sockets : list of int
            Descriptors of datagram sockets.
        column : Column
            Empty; a datagram half walked for the last one is finished first.
        until : float
            Seconds of CLOCK_MONOTONIC.
        pause_us : int
            Sleep after a batch less than half full: fewer wake-ups for the same lines.

        Returns
        -------
        bool
            True where the column is full.

        Raises
        ------
        OSError
            If a socket can't be read.
        """
        cdef pollfd fds[SOCKETS]
        cdef int i, n = min(len(sockets), SOCKETS)
        cdef Outcome outcome
        for i in range(n):
            fds[i].fd = sockets[i]
            fds[i].events = POLLIN
        self._open(column)
        with nogil:
            outcome = self._receive(fds, n, until, pause_us)
        self._shut(column)
        if outcome == FAILED:
            raise OSError(errno, "can't receive")
        return outcome == FULL

    def feed(self, const uint8_t[::1] data, column, int64_t start=0):
        """Read lines from memory into a column.

        Parameters
        ----------
        data : bytes-like
            A datagram or the body of a request, of any length.
        column : Column
            With room for at least something.
        start : int
            Where to go on, as the last call returned it.

        Returns
        -------
        int
            Bytes done; less than all of them where the column is full.
        """
        cdef int64_t size = data.shape[0], done = start, end, k
        if start == 0:
            self.datagrams = 0
        self._open(column)
        while done < size:
            end = self._cut(&data[0], done, size)
            if self.body_size < end - done + SLACK:
                self.body_size = end - done + SLACK
                self.body = <uint8_t *>realloc(self.body, self.body_size)
                if not self.body:
                    raise MemoryError("no memory for a body")
                memset(self.body, 0, self.body_size)
            memcpy(self.body, &data[done], end - done)
            with nogil:
                k = self._walk(self.body, end - done, 0, done == 0, NULL)
            if k < end - done:
                done += k
                break
            done = end
        if start == 0:
            self.datagrams += 1
            self.received += size
        self._shut(column)
        return done

    cdef int64_t _cut(self, Bytes data, int64_t start, int64_t size) noexcept nogil:
        """End of a piece that holds whole lines."""
        cdef int64_t end = start + CHUNK
        cdef void *newline
        if end >= size:
            return size
        while end > start and data[end - 1] != b"\n":
            end -= 1
        if end > start:
            return end
        newline = memchr(data + start, b"\n", size - start)
        return <int64_t>(<Bytes>newline - data) + 1 if newline else size

    cdef _open(self, column):
        cdef int32_t[::1] row = column.row
        cdef double[::1] value = column.value
        cdef double[::1] weight = column.weight
        cdef uint8_t[::1] odd = column.odd
        cdef int64_t[::1] odd_at = column.odd_at
        cdef int64_t[::1] odd_start = column.odd_start
        cdef uint8_t[:, ::1] odd_sender = column.odd_sender
        cdef int64_t[::1] state = column.state
        self.row, self.value, self.weight = &row[0], &value[0], &weight[0]
        self.odd, self.odd_at, self.odd_start = &odd[0], &odd_at[0], &odd_start[0]
        self.odd_sender = &odd_sender[0, 0]
        self.rows, self.odd_cap, self.odd_lines_cap = row.shape[0], odd.shape[0], odd_at.shape[0]
        self.used, self.odd_lines, self.odd_used = state[0], state[1], state[2]
        self.lines, self.datagrams, self.received = state[3], state[4], state[5]
        self.too_long = state[7]

    cdef _shut(self, column):
        cdef int64_t[::1] state = column.state
        state[0], state[1], state[2] = self.used, self.odd_lines, self.odd_used
        state[3], state[4], state[5] = self.lines, self.datagrams, self.received
        state[6], state[7] = self.count, self.too_long

    cdef Outcome _receive(self, pollfd *fds, int n, double until, int pause_us) noexcept nogil:
        cdef timespec nap
        cdef int idle = 0
        cdef double left
        nap.tv_sec = 0
        nap.tv_nsec = pause_us * 1000
        while True:
            if not self._walk_batch():
                return FULL
            left = until - monotonic()
            if left <= 0:
                return TIME
            if pause_us > 0 and 0 < self.got < BATCH // 2 and not self.stopping:
                nanosleep(&nap, NULL)
            if n:
                self.turn = (self.turn + 1) % n
                if not self._ask(fds[self.turn].fd):
                    return FAILED
            idle = 0 if self.got > 0 else idle + 1
            if idle >= n:
                if self.stopping:
                    return TIME
                poll(fds, n, <int>(left * 1000) + 1)
                idle = 0

    cdef bint _ask(self, int fd) noexcept nogil:
        """Receive a batch; False where the socket is of no use."""
        cdef int i
        for i in range(<int>self.got):
            self.messages[i].msg_hdr.msg_namelen = SENDER
        self.at = 0
        self.got = recvmmsg(fd, self.messages, BATCH, MSG_DONTWAIT, NULL)
        if self.got >= 0:
            return True
        self.got = 0
        return errno == EAGAIN or errno == EINTR or errno == ECONNREFUSED

    cdef bint _walk_batch(self) noexcept nogil:
        """Walk the datagrams received; False where the column is full before the last."""
        cdef int64_t size
        cdef mmsghdr *message
        while self.at < self.got:
            message = &self.messages[self.at]
            size = message.msg_len
            if message.msg_hdr.msg_namelen == 0 and self.offset == 0:
                memset(self.senders + self.at * SENDER, 0, SENDER)
            self.offset = self._walk(
                self.buffer + self.at * DATAGRAM, size, self.offset, True,
                self.senders + self.at * SENDER,
            )
            if self.offset < size:
                return False
            self.datagrams += 1
            self.received += size
            self.offset = 0
            self.at += 1
        return True

    cdef int64_t _walk(
        self, uint8_t *data, int64_t size, int64_t offset, bint first, Bytes sender
    ) noexcept nogil:
        """Take the lines of a datagram from `offset` on; bytes done, less than `size` if full."""
        cdef Bytes p = data + offset
        cdef Bytes end = data + size
        cdef Bytes after
        data[size] = b"\n"
        if first and offset == 0 and size >= 3:
            if p[0] == 0xEF and p[1] == 0xBB and p[2] == 0xBF:
                p += 3
        while p < end:
            if p[0] == b"\n":
                p += 1
                continue
            after = self._line(p, sender)
            if after == NULL:
                return p - data
            p = after
        return size

    cdef inline Bytes _line(self, Bytes p, Bytes sender) noexcept nogil:
        """Take one line; what follows it, or NULL where the column has no room.

            name:number(:number)*|type(|@rate)?(|#tags)?
        """
        cdef Bytes name = p
        cdef Bytes name_end
        cdef Bytes numbers
        cdef Bytes tags = NULL
        cdef Bytes tags_end = NULL
        cdef u64 h = self.seed, found
        cdef double value, rate = 1.0
        cdef bint many = False, rated = False
        cdef uint8_t kind
        cdef int64_t before, i
        cdef Outcome outcome

        p = scan(p, &h, COLONS)
        if p[0] != b":" or p == name:
            return self._set_aside(name, p, sender)
        name_end = p
        numbers = p + 1
        p = number(numbers, &value)
        if p == NULL:
            return self._set_aside(name, numbers, sender)
        if p[0] == b":":
            many = True
            p = scan(p, &h, BARS)       # the values go into the hash ...
            h = self.seed
            scan(name, &h, COLONS)      # ... and out again
        if p[0] != b"|" or value > LARGEST or value < -LARGEST:
            return self._set_aside(name, p, sender)
        kind = p[1]
        if kind == b"m" and p[2] == b"s":
            p += 3
        elif kind == b"c" or kind == b"g" or kind == b"h" or kind == b"d":
            p += 2
        else:
            return self._set_aside(name, p, sender)
        h = mix(h, kind)
        while p[0] == b"|":
            if p[1] == b"#" and tags == NULL:
                tags = p + 2
                p = tags_end = scan(tags, &h, BARS)
            elif p[1] == b"@" and not rated:
                p = number(p + 2, &rate)
                if p == NULL or not (SMALLEST_RATE <= rate <= 1.0):
                    return self._set_aside(name, name_end, sender)
                rated = True
            else:
                return self._set_aside(name, p, sender)
        if p[0] != b"\n":
            p = past_blanks(p)
        if p[0] != b"\n" or (tags != NULL and tags == tags_end):
            return self._set_aside(name, p, sender)
        before = self.used
        if many:
            outcome = self._append_all(numbers, kind, rate)
        elif self.used < self.rows:
            self._append(value, kind, rate, numbers[0])
            outcome = TAKEN
        else:
            outcome = FULL
        if outcome == FULL and (before or self.odd_lines):
            self.used = before
            return NULL
        found = ODD
        if outcome == TAKEN:    # only now: a line that is refused must not enter a key
            found = self._row(finish(h), kind, name, name_end - name, tags, tags_end - tags)
        if found & ODD:
            self.used = before
            return self._set_aside(name, p, sender)
        for i in range(before, self.used):
            self.row[i] = <int32_t>found
        self.lines += 1
        return p + 1

    cdef inline void _append(
        self, double value, uint8_t kind, double rate, uint8_t sign
    ) noexcept nogil:
        cdef int64_t i = self.used
        self.value[i] = value
        self.weight[i] = 1.0 / rate
        if kind == b"g" and (sign == b"+" or sign == b"-"):
            self.weight[i] = 0.0
        self.used = i + 1

    cdef Outcome _append_all(self, Bytes p, uint8_t kind, double rate) noexcept nogil:
        """Append packed values up to the bar; FAILED where one of them is not plain."""
        cdef uint8_t sign
        cdef double value
        while True:
            sign = p[0]
            p = number(p, &value)
            if p == NULL or value > LARGEST or value < -LARGEST or (p[0] != b":" and p[0] != b"|"):
                return FAILED
            if self.used == self.rows:
                return FULL
            self._append(value, kind, rate, sign)
            if p[0] == b"|":
                return TAKEN
            p += 1

    cdef Bytes _set_aside(self, Bytes line, Bytes p, Bytes sender) noexcept nogil:
        """Keep a whole line for the slow lane; what follows it, NULL where there is no room."""
        cdef u64 unused = 0
        cdef int64_t size, i = self.odd_lines
        p = scan(p, &unused, NEWLINES)
        size = p - line
        if size > self.odd_cap:
            self.too_long += 1
            return p + 1
        if i == self.odd_lines_cap or self.odd_used + size > self.odd_cap:
            return NULL
        memcpy(self.odd + self.odd_used, line, size)
        if sender == NULL:
            memset(self.odd_sender + i * SENDER, 0, SENDER)
        else:
            memcpy(self.odd_sender + i * SENDER, sender, SENDER)
        self.odd_used += size
        self.odd_at[i] = self.used
        self.odd_start[i] = self.odd_used - size
        self.odd_start[i + 1] = self.odd_used
        self.odd_lines = i + 1
        return p + 1

    cdef inline u64 _row(
        self, u64 h, uint8_t kind, Bytes name, int64_t name_size, Bytes tags, int64_t tags_size
    ) noexcept nogil:
        """Row of a key, entered if it is new; ODD where its lines are to be set aside."""
        cdef u64 i = h & self.mask, slot
        cdef int64_t row, size = 1 + name_size
        cdef Bytes key
        if tags != NULL:
            size += 1 + tags_size
        while True:
            slot = self.slots[i]
            if slot == 0:
                return self._enter(h, i, kind, name, name_size, tags, tags_size, size)
            if slot >> 32 == h >> 32:
                row = <int64_t>(slot & ROW) - 1
                key = self.key + self.key_at[row]
                if (self.key_at[row + 1] - self.key_at[row] == size and key[0] == kind
                        and same(key + 1, name, name_size)
                        and (tags == NULL or (key[1 + name_size] == b"\n"
                             and same(key + 2 + name_size, tags, tags_size)))):
                    return <u64>row | (slot & ODD)
            i = (i + 1) & self.mask

    cdef u64 _enter(
        self, u64 h, u64 i, uint8_t kind, Bytes name, int64_t name_size, Bytes tags,
        int64_t tags_size, int64_t size
    ) noexcept nogil:
        cdef int64_t row = self.count, at = self.key_at[self.count]
        cdef u64 odd = 0
        cdef uint8_t *key = self.key + at
        if row == self.keys_cap or at + size > self.key_cap:
            return ODD
        if not plain_name(name, name_size) or (tags != NULL and not plain_tags(tags, tags_size)):
            odd = ODD
        key[0] = kind
        memcpy(key + 1, name, name_size)
        if tags != NULL:
            key[1 + name_size] = b"\n"
            memcpy(key + 2 + name_size, tags, tags_size)
        self.key_at[row + 1] = at + size
        self.hashes[row] = h
        self.slots[i] = (h >> 32) << 32 | odd | <u64>(row + 1)
        self.count = row + 1
        if 2 * <u64>self.count > self.mask:
            self._grow()
        return <u64>row | odd

    cdef void _grow(self) noexcept nogil:
        """Double the slots in use and place every row again."""
        cdef u64 i, j, slot, old = self.mask
        cdef u64 *before = <u64 *>malloc((old + 1) * 8)
        if before == NULL:
            return                      # longer searches, the same answers
        memcpy(before, self.slots, (old + 1) * 8)
        self.mask = 2 * old + 1
        memset(self.slots, 0, (self.mask + 1) * 8)
        for i in range(old + 1):
            slot = before[i]
            if slot:
                j = self.hashes[(slot & ROW) - 1] & self.mask
                while self.slots[j]:
                    j = (j + 1) & self.mask
                self.slots[j] = slot
        free(before)


cdef inline double monotonic() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <double>now.tv_sec + <double>now.tv_nsec * 1e-9
