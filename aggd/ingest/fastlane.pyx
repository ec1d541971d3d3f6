# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False
"""The fast lane: from the socket to rows of a column, compiled, without the GIL.

    page.load:320:310|ms|@0.1|#env:prod     a row for 320, a row for 310, both of weight 10
    ^^^^^^^^^ ~~~ ~~~ ^^  ~~~~  ^^^^^^^^
    the key: the bytes of name, type and tags as they stand

    recvmmsg --> gather: split 32 lines --> warm: their keys to the cache --> take: find, append
                                                                                `--> set aside

It knows no policy: no cleaning, no order of tags, no gauge levels.  A line that isn't
plain to the byte, or whose name or tags could give a warning or a refusal, is set
aside whole, with its place and sender, for the slow lane (`protocol.lines`).

Nothing is bounds-checked byte by byte, because nothing has to be: a newline is
written after each datagram, every scan stops at a newline, and behind it lie `SLACK`
bytes, which eight-byte loads may read and nobody interprets.

The table of keys is append-only, so that another thread may read the keys below the
count handed over with a column:

    slots          mark (32 bits of the key's hash) and place, in one word; doubled when half full
    arena          at place: row, shape (kind and lengths), name, tags; eight-byte aligned
    places, marks  the same by row, for reading keys and for doubling

A look-up touches one slot and one record.  Everything is allocated at its cap, but
pages are touched only when used.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
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
from libc.stdlib cimport strtod
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

import os

import numpy as np

cimport cython


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

cdef extern from * nogil:
    """
    #include <stdint.h>
    #if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "the first byte of a word must be its lowest; without this lane aggd runs all the same"
    #endif

    /* Both halves of a product with a secret: whoever doesn't know it can't make two keys
       collide.  A plain multiplication lets differences in the top bits cancel out. */
    static inline uint64_t aggd_fold(uint64_t a, uint64_t b)
    {
        unsigned __int128 product = (unsigned __int128)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }

    static const double aggd_ten_to[23] = {
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
        1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
    };
    """
    uint64_t fold "aggd_fold"(uint64_t a, uint64_t b)
    const double* TEN_TO "aggd_ten_to"
    int lowest_bit "__builtin_ctzll"(unsigned long long word)
    void prefetch "__builtin_prefetch"(const void* place)
    # A byte, eight times.
    const uint64_t NEWLINES "0x0A0A0A0A0A0A0A0AULL"
    const uint64_t COLONS "0x3A3A3A3A3A3A3A3AULL"
    const uint64_t BARS "0x7C7C7C7C7C7C7C7CULL"
    const uint64_t ONES "0x0101010101010101ULL"
    const uint64_t TOP_BITS "0x8080808080808080ULL"
    const double LARGEST "1e300"  # of a value, as in the slow lane
    const double SMALLEST_RATE "1e-6"

cdef enum:
    BATCH = 256  # datagrams of one recvmmsg
    LONGEST_DATAGRAM = 65536
    SLACK = 64
    # No multiple of 4096: or the first lines of all datagrams would share a set of the cache.
    ROOM = LONGEST_DATAGRAM + SLACK
    SENDER_BYTES = 28  # sizeof(struct sockaddr_in6); of a unix socket's address the start
    SOCKETS = 64
    AHEAD = 32  # lines split before the first of them is looked up
    FIRST_SLOTS = 1024
    HEAD = 8  # bytes of a record before its name
    LONGEST_KEY = 1024  # longer ones go the slow way, or few would fill the arena
    POLL_NS = 100000000  # how long `stop` may go unseen
    LAST_DATAGRAMS = 1 << 18  # read after `stop`: more than a receive buffer holds

cdef enum:  # of a line
    ODD
    COUNTER
    TIMER
    GAUGE
    HISTOGRAM
    DISTRIBUTION

cdef enum:  # places in `Column.state`
    USED
    ODD_LINES
    ODD_BYTES
    LINES
    DATAGRAMS
    BYTES
    KEYS

cdef enum:  # why `serve` came back, where it isn't an error number, negative
    IN_TIME
    FULL

cdef enum:  # a name's byte
    CLEAN = 1  # survives cleaning whatever the options are
    SPECIAL = 2  # may start a dialect of tags, or may not stand in a name

cdef char* LETTERS = b"?cmghd"  # of the kinds, in spellings
BOM = b"\xef\xbb\xbf"
cdef uint8_t[256] CLASS
cdef uint8_t _byte
memset(CLASS, 0, 256)
for _byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.=-":
    CLASS[_byte] = CLEAN
for _byte in b"|[]#,;":
    CLASS[_byte] = SPECIAL

cdef struct Cursor:
    int message  # datagram of the batch
    const uint8_t* at  # start of the next line
    const uint8_t* last  # the newline that ends the datagram

cdef struct Line:
    Cursor start
    const uint8_t* end  # its newline
    const uint8_t* number
    const uint8_t* tags
    double value
    double weight
    uint32_t shape  # kind, bytes of the name, bytes of the tags; ODD: not plain
    uint32_t mark
    bint packed


cdef inline uint64_t word(const uint8_t* p) noexcept nogil:
    cdef uint64_t loaded
    memcpy(&loaded, p, 8)
    return loaded


cdef inline uint64_t zeros(uint64_t x) noexcept nogil:
    """Top bits of the zero bytes; above the lowest zero byte there may be false ones."""
    return (x - ONES) & ~x & TOP_BITS


cdef inline uint64_t first(int count) noexcept nogil:
    """Mask of the first bytes of a word, up to seven."""
    return (<uint64_t>1 << (8 * count)) - 1


cdef inline bint same(const uint8_t* a, const uint8_t* b, int64_t size) noexcept nogil:
    while size >= 8:
        if word(a) != word(b):
            return False
        a += 8
        b += 8
        size -= 8
    return ((word(a) ^ word(b)) & first(size)) == 0


cdef inline const uint8_t* seek(const uint8_t* p, uint64_t wanted) noexcept nogil:
    """The first of the wanted bytes, or the newline where there is none in the line."""
    cdef uint64_t w = word(p)
    cdef uint64_t found = zeros(w ^ wanted) | zeros(w ^ NEWLINES)
    while found == 0:
        p += 8
        w = word(p)
        found = zeros(w ^ wanted) | zeros(w ^ NEWLINES)
    return p + (lowest_bit(found) >> 3)


cdef inline const uint8_t* scan(
    const uint8_t* p, uint64_t wanted, uint64_t secret, uint64_t* hash
) noexcept nogil:
    """`seek`, hashing what it passes over."""
    cdef uint64_t w = word(p), h = hash[0]
    cdef uint64_t found = zeros(w ^ wanted) | zeros(w ^ NEWLINES)
    cdef int rest
    while found == 0:
        h = fold(h ^ w, secret)
        p += 8
        w = word(p)
        found = zeros(w ^ wanted) | zeros(w ^ NEWLINES)
    rest = lowest_bit(found) >> 3
    hash[0] = fold(h ^ (w & first(rest)), secret)
    return p + rest


cdef inline const uint8_t* read_number(const uint8_t* p, double* value) noexcept nogil:
    """Read a decimal number, rounded as `float` does; the byte after it, NULL for none.

    A mantissa and a power of ten that are both exact doubles give the nearest double
    in one operation.  The rest is strtod's, which would also read hex, inf and nan:
    so the extent is decided here first.  Its decimal point is the locale's, and
    nobody calls setlocale.
    """
    cdef const uint8_t* start = p
    cdef const uint8_t* mark
    cdef uint64_t mantissa = 0
    cdef int64_t digits, exponent = 0, power = 0
    cdef double found
    cdef bint less
    cdef uint32_t digit
    if p[0] == c"-" or p[0] == c"+":
        p += 1
    mark = p
    digit = <uint32_t>p[0] - c"0"
    while digit < 10:
        mantissa = 10 * mantissa + digit
        p += 1
        digit = <uint32_t>p[0] - c"0"
    digits = p - mark
    if p[0] == c".":
        p += 1
        mark = p
        digit = <uint32_t>p[0] - c"0"
        while digit < 10:
            mantissa = 10 * mantissa + digit
            p += 1
            digit = <uint32_t>p[0] - c"0"
        exponent = mark - p
        digits -= exponent
    if digits == 0:
        return NULL
    if p[0] | 0x20 == c"e":
        p += 1
        less = p[0] == c"-"
        if less or p[0] == c"+":
            p += 1
        mark = p
        digit = <uint32_t>p[0] - c"0"
        while digit < 10:
            power = power if power > 100000 else 10 * power + digit
            p += 1
            digit = <uint32_t>p[0] - c"0"
        if p == mark:
            return NULL
        exponent += -power if less else power
    # 19 digits fit; of more the mantissa is wrong, but then it isn't used.
    if digits <= 19 and mantissa <= <uint64_t>1 << 53 and -22 <= exponent <= 22:
        found = <double><int64_t>mantissa
        found = found / TEN_TO[-exponent] if exponent < 0 else found * TEN_TO[exponent]
        value[0] = -found if start[0] == c"-" else found
    else:
        value[0] = strtod(<const char*>start, NULL)
    return p


cdef inline bint stripped(uint8_t byte) noexcept nogil:
    """Whether a byte is taken off the end of a line."""
    return byte == c" " or byte == c"\t" or byte == c"\r" or byte == 0


cdef inline int kind_of(const uint8_t** place) noexcept nogil:
    """Read a type, at a bar; ODD for one that is unknown or has more to it."""
    cdef const uint8_t* p = place[0] + 1
    cdef int kind = ODD
    if p[0] == c"c":
        kind = COUNTER
    elif p[0] == c"m" and p[1] == c"s":
        kind = TIMER
        p += 1
    elif p[0] == c"g":
        kind = GAUGE
    elif p[0] == c"h":
        kind = HISTOGRAM
    elif p[0] == c"d":
        kind = DISTRIBUTION
    if kind != ODD:
        place[0] = p + 1
    return kind


cdef bint sound_name(const uint8_t* p, int64_t size) noexcept nogil:
    """Whether naming can neither refuse this, nor warn, nor find tags in it."""
    cdef uint8_t seen = 0
    cdef int64_t i
    if stripped(p[0]) or (size > 2 and p[0] == c"_" and p[1] == c"e" and p[2] == c"{"):
        return False  # begins with what is stripped, or is an event
    for i in range(size):
        seen |= CLASS[p[i]]
    return seen == CLEAN


cdef bint sound_tags(const uint8_t* p, int64_t size) noexcept nogil:
    """Whether every item has a key, without a byte that naming takes off before it."""
    cdef bint begins = True
    cdef int64_t i
    while size and stripped(p[size - 1]):
        size -= 1
    for i in range(size):
        if begins and (p[i] == c":" or p[i] == c"=" or p[i] == c"#" or stripped(p[i])):
            return False
        begins = p[i] == c","
    return size > 0


cdef inline double clock() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec * 1e-9


cdef inline bint passing(int error) noexcept nogil:
    """Whether an error is the network's, reported once on a socket that goes on."""
    return (
        error == ECONNREFUSED or error == ECONNRESET or error == EHOSTDOWN
        or error == EHOSTUNREACH or error == ENETDOWN or error == ENETUNREACH
        or error == ENOPROTOOPT or error == EPROTO or error == ENOBUFS or error == ENOMEM
    )


@cython.final
cdef class FastLane:
    """A table of keys, and the loop that turns lines into rows of a column.

    A lane belongs to one thread; only `stop` and the reading of keys that were
    handed over are for others.

    Parameters
    ----------
    keys : int
        The most keys it numbers; further ones are set aside line by line.
    arena : int
        Bytes for keys; 0 for 64 a key.
    seed : int
        Secret of the hash, 64 bits, random at each start.

    Attributes
    ----------
    lines, datagrams, bytes, odd : int
        Taken so far; `odd` are the lines among them that were set aside.
    unkeyed : int
        Lines set aside because the table or the arena was full.
    dropped : int
        Lines that fit no column: longer than its room for set-aside lines.
    truncated : int
        Datagrams longer than the buffer; what follows their last newline is lost.
    errors : int
        Errors the network reported on a socket.
    """

    cdef readonly int64_t lines, datagrams, bytes, odd, unkeyed, dropped, truncated, errors
    cdef object _owned  # the arrays that the pointers point into

    cdef uint64_t secret, basis
    cdef uint64_t* slots
    cdef uint8_t* arena
    cdef uint32_t* places
    cdef uint32_t* marks
    cdef uint64_t mask
    cdef int64_t rows, most_rows, arena_used, arena_size

    cdef mmsghdr* messages
    cdef uint8_t* senders
    cdef uint8_t* buffer
    cdef int received, turn
    cdef int64_t last_datagrams
    cdef volatile bint stopping
    cdef bint drained, fed
    cdef Cursor cursor

    cdef object _column
    cdef int32_t[::1] _row
    cdef double[::1] _value
    cdef double[::1] _weight
    cdef uint8_t[::1] _odd
    cdef int64_t[::1] _odd_at
    cdef int64_t[::1] _odd_start
    cdef uint8_t[:, ::1] _odd_sender
    cdef int64_t[::1] _state
    cdef int32_t* row
    cdef double* value
    cdef double* weight
    cdef int64_t* state

    def __init__(self, keys=2_000_000, arena=0, *, seed):
        if not 0 < keys < 1 << 31:
            raise ValueError(f"keys must be in [1, 2**31), got {keys}")
        size = arena or 64 * keys
        if not 0 < size <= 1 << 35:
            raise ValueError(f"arena must be in [1, 2**35] bytes, got {size}")
        cdef uint64_t[::1] slots = np.zeros(max(FIRST_SLOTS, 1 << (2 * keys - 1).bit_length()), np.uint64)
        cdef uint8_t[::1] records = np.zeros(size + SLACK, np.uint8)
        cdef uint32_t[::1] places = np.zeros(keys, np.uint32)
        cdef uint32_t[::1] marks = np.zeros(keys, np.uint32)
        cdef uint8_t[::1] buffer = np.empty(BATCH * ROOM, np.uint8)
        cdef uint8_t[:, ::1] senders = np.zeros((BATCH, SENDER_BYTES), np.uint8)
        cdef uint8_t[::1] messages = np.zeros(BATCH * sizeof(mmsghdr), np.uint8)
        cdef uint8_t[::1] vectors = np.zeros(BATCH * sizeof(iovec), np.uint8)
        self._owned = (slots, records, places, marks, buffer, senders, messages, vectors)
        self.slots, self.arena = &slots[0], &records[0]
        self.places, self.marks = &places[0], &marks[0]
        self.most_rows, self.arena_size = keys, size
        self.buffer, self.senders = &buffer[0], &senders[0, 0]
        self.messages = <mmsghdr*>&messages[0]
        self._connect(<iovec*>&vectors[0])
        # Any two numbers of the seed; a multiplier of few bits would hash badly.
        self.basis = fold((seed & 0xFFFFFFFFFFFFFFFF) ^ 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93)
        self.secret = fold(self.basis ^ 0xA0761D6478BD642F, 0xE7037ED1A0B428DB) | 1
        self.clear()

    cdef void _connect(self, iovec* vectors) noexcept:
        """Point each message at its place in the buffer, once."""
        cdef msghdr* message
        cdef int64_t i
        for i in range(BATCH):
            vectors[i].iov_base = self.buffer + i * ROOM
            vectors[i].iov_len = LONGEST_DATAGRAM
            message = &self.messages[i].msg_hdr
            message.msg_iov, message.msg_iovlen = &vectors[i], 1
            message.msg_name, message.msg_namelen = self.senders + i * SENDER_BYTES, SENDER_BYTES

    def receive(self, sockets, column, double until, long pause_us):
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
            Microseconds to sleep after datagrams that came in less than half a batch:
            fewer, larger batches.  0 where the receive buffer is under a megabyte.

        Returns
        -------
        bool
            True when the column has no room for the next line, which the next call
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
        before = self._attach(column)
        with nogil:
            reason = self.serve(fds, count, until, pause_us)
        self._count(before)
        if reason < 0:
            raise OSError(-reason, os.strerror(-reason))
        return reason == FULL

    def feed(self, const uint8_t[::1] data not None, column, Py_ssize_t start=0):
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
            Bytes of `data` taken: all of them, or up to a line that needs another column.
        """
        cdef Py_ssize_t size = data.shape[0], middle
        if not 0 <= start <= size:
            raise ValueError(f"start must be in [0, {size}], got {start}")
        before = self._attach(column)
        at = start
        if start == 0 and size >= 3 and bytes(data[:3]) == BOM:
            at = 3
        # In place up to the last newline with slack behind it, then a copy of the rest.
        middle = size - SLACK
        while middle > at and data[middle - 1] != c"\n":
            middle -= 1
        if middle > at:
            at += self._walk_over(data[at:middle], middle - at - 1)
        if at >= middle:
            rest = bytes(data[at:])
            at += min(self._walk_over(rest + b"\n" + bytes(SLACK), len(rest)), len(rest))
        self._state[DATAGRAMS] += at == size
        self._state[BYTES] += at - start
        self._count(before)
        return at

    cdef Py_ssize_t _walk_over(self, const uint8_t[::1] text, Py_ssize_t last):
        """Walk over text whose newline at `last` has slack behind it; bytes taken."""
        cdef Cursor kept = self.cursor
        cdef int received = self.received
        cdef Py_ssize_t taken = last + 1
        self.cursor = Cursor(0, &text[0], &text[last])
        self.received, self.fed = 0, True
        with nogil:
            if not self.walk():
                taken = self.cursor.at - &text[0]
        self.cursor, self.received, self.fed = kept, received, False
        return taken

    def stop(self):
        """Let `receive` take what the kernel holds and come back, from any thread."""
        self.stopping = True

    def clear(self):
        """Forget all keys, between two calls: the next column's rows begin at 0 again."""
        memset(self.slots, 0, (self.mask + 1 if self.mask else 0) * sizeof(uint64_t))
        self.mask = FIRST_SLOTS - 1
        self.rows = 0
        self.arena_used = 8  # a slot that holds 0 is free

    @property
    def keys(self):
        """Keys numbered so far."""
        return self.rows

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
        """Spellings of keys, for a thread that was handed a column with their count.

        Parameters
        ----------
        first, last : int
            Rows, in [0, keys]; `last` is not included.

        Returns
        -------
        list of bytes
            Letter of the kind (``c m g h d``, m for ms), name, and where the line had
            tags a newline and the tags; without what is stripped from a line's end.

        Raises
        ------
        ValueError
            If there are no such keys.
        """
        if not 0 <= first <= last <= self.rows:
            raise ValueError(f"rows must be in [0, {self.rows}], got {first} to {last}")
        return [self._spelling(self.arena + 8 * <int64_t>self.places[i]) for i in range(first, last)]

    cdef bytes _spelling(self, const uint8_t* record):
        cdef uint32_t shape = (<const uint32_t*>record)[1]
        cdef Py_ssize_t name = shape >> 3 & 0x7FF, tags = shape >> 14
        cdef const uint8_t* text = record + HEAD
        while tags and stripped(text[name + tags - 1]):
            tags -= 1
        cdef bytes spelling = PyBytes_FromStringAndSize(NULL, 1 + name + (1 + tags if tags else 0))
        cdef char* into = PyBytes_AS_STRING(spelling)
        into[0] = LETTERS[shape & 7]
        memcpy(into + 1, text, name)
        if tags:
            into[1 + name] = c"\n"
            memcpy(into + 2 + name, text + name, tags)
        return spelling

    cdef tuple _attach(self, column):
        """Point at a column's arrays; its figures before."""
        if column is not self._column:
            self._row, self._value, self._weight = column.row, column.value, column.weight
            self._odd, self._odd_at = column.odd, column.odd_at
            self._odd_start, self._odd_sender = column.odd_start, column.odd_sender
            self._state = column.state
            self._column = column
        self.row, self.value, self.weight = &self._row[0], &self._value[0], &self._weight[0]
        self.state = &self._state[0]
        return self.state[LINES], self.state[DATAGRAMS], self.state[BYTES], self.state[ODD_LINES]

    cdef _count(self, tuple before):
        """Add what the column gained to the lane's own figures."""
        self.lines += self.state[LINES] - <int64_t>before[0]
        self.datagrams += self.state[DATAGRAMS] - <int64_t>before[1]
        self.bytes += self.state[BYTES] - <int64_t>before[2]
        self.odd += self.state[ODD_LINES] - <int64_t>before[3]
        self.state[KEYS] = self.rows

    cdef int serve(self, pollfd* fds, int count, double until, long pause_us) noexcept nogil:
        """Receive and walk, in turn; FULL, IN_TIME or minus an error number."""
        cdef int got, most
        cdef double left
        if not self.walk():  # the rest of the batch that filled the last column
            return FULL
        while not self.drained:
            most = 0
            for _ in range(count):
                self.turn = (self.turn + 1) % count
                got = self.fetch(fds[self.turn].fd)
                if got < 0:
                    return got
                most = max(most, got)
                if not self.walk():
                    return FULL
            self.drained = self.stopping and (most == 0 or self.last_datagrams > LAST_DATAGRAMS)
            left = until - clock()
            if left <= 0:
                break
            if self.stopping:
                continue
            if most == 0:
                rest(fds, count, left)
            elif most < BATCH // 2 and pause_us > 0:
                rest(NULL, 0, pause_us * 1e-6)
        return IN_TIME

    cdef int fetch(self, int fd) noexcept nogil:
        """Receive a batch without waiting: its datagrams, or minus an error number."""
        cdef int i, got = -1
        for i in range(self.received):
            self.messages[i].msg_hdr.msg_namelen = SENDER_BYTES  # the kernel wrote its own
        self.received = 0
        self.cursor = Cursor(-1, NULL, NULL)
        while got < 0:
            got = recvmmsg(fd, self.messages, BATCH, MSG_DONTWAIT, NULL)
            if got < 0 and errno == EAGAIN:
                return 0
            if got < 0 and passing(errno):
                self.errors += 1
            elif got < 0 and errno != EINTR:
                return -errno
        self.received = got  # what lies beyond is an older batch's
        self.state[DATAGRAMS] += got
        for i in range(got):
            self.state[BYTES] += self.messages[i].msg_len
        if self.stopping:
            self.last_datagrams += got
        return got

    cdef bint walk(self) noexcept nogil:
        """Take the lines from the cursor on; False at one the column has no room for.

        Keys of a hundred thousand series and more are not in the cache.  Lines are
        split some way ahead of the look-up, so that their keys are on the way
        together and not one by one.
        """
        cdef Line[AHEAD] lines
        cdef int count, i
        cdef uint64_t slot
        while True:
            count = self.gather(lines)
            if count == 0:
                return True
            for i in range(count):
                slot = self.slots[lines[i].mark & self.mask]
                prefetch(self.arena + 8 * <int64_t><uint32_t>slot)
            for i in range(count):
                if not self.take(&lines[i]):
                    self.cursor = lines[i].start
                    return False

    cdef inline int gather(self, Line* lines) noexcept nogil:
        """Split the next lines, and send for their slots."""
        cdef int count = 0
        while count < AHEAD:
            if self.cursor.at >= self.cursor.last:
                if not self.open_datagram():
                    break
            elif self.cursor.at[0] == c"\n":
                self.cursor.at += 1
            else:
                lines[count].start = self.cursor
                self.split(&lines[count])
                prefetch(&self.slots[lines[count].mark & self.mask])
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
            # Only a unix socket carries more.  The line that was cut could still look whole.
            self.truncated += 1
            while last > start and (last - 1)[0] != c"\n":
                last -= 1
        last[0] = c"\n"
        if start[0] == 0xEF and start[1] == 0xBB and start[2] == 0xBF:
            start += 3
        self.cursor = Cursor(message, start, last)
        return True

    cdef inline void split(self, Line* line) noexcept nogil:
        """Find the parts of a line and hash its key; its shape is ODD if it isn't plain."""
        cdef const uint8_t* p
        cdef const uint8_t* name = line.start.at
        cdef uint64_t hash = self.basis, tags_hash = self.secret
        cdef int64_t name_bytes, tags_bytes = 0
        cdef double rate
        cdef int kind
        line.shape, line.mark, line.weight, line.tags = ODD, 0, 0.0, NULL
        p = line.end = scan(name, COLONS, self.secret, &hash)
        name_bytes = p - name
        if p[0] == c"\n":
            return
        line.number = p + 1
        p = read_number(line.number, &line.value)
        if p == NULL:
            line.end = seek(line.number, NEWLINES)
            return
        line.packed = p[0] == c":"
        if line.packed:
            p = seek(p, BARS)
        line.end = p
        kind = kind_of(&p) if p[0] == c"|" else ODD
        while kind != ODD and p[0] == c"|":
            if p[1] == c"@" and line.weight == 0.0:
                p = read_number(p + 2, &rate)
                if p == NULL or not SMALLEST_RATE <= rate <= 1.0:
                    kind = ODD
                    break
                line.end = p
                line.weight = 1.0 / rate
            elif p[1] == c"#" and line.tags == NULL:
                line.tags = p + 2
                p = line.end = scan(line.tags, BARS, self.secret, &tags_hash)
                tags_bytes = p - line.tags
                if tags_bytes == 0 or (p[0] == c"|" and stripped((p - 1)[0])):
                    kind = ODD  # only at the line's end are blanks stripped with the others
            else:
                kind = ODD
        if kind != ODD:
            while stripped(p[0]):
                p += 1
            line.end = p
        if kind == ODD or p[0] != c"\n" or name_bytes == 0 or name_bytes + tags_bytes > LONGEST_KEY:
            line.end = seek(line.end, NEWLINES)
            return
        if kind == GAUGE or line.weight == 0.0:
            line.weight = 1.0
        line.shape = kind | <uint32_t>name_bytes << 3 | <uint32_t>tags_bytes << 14
        line.mark = fold(hash ^ line.shape, tags_hash) >> 32

    cdef inline bint take(self, Line* line) noexcept nogil:
        """Append a line to the column; False where that has no room for it."""
        cdef int64_t row, used = self.state[USED]
        if line.shape == ODD:
            return self.set_aside(line)
        if line.packed:
            return self.take_packed(line)
        if not -LARGEST <= line.value <= LARGEST:
            return self.set_aside(line)
        row = self.find(line)
        if row < 0:
            return self.set_aside(line)
        if used == self._row.shape[0]:
            return False
        self.row[used] = <int32_t>row
        self.value[used] = line.value
        self.weight[used] = weight_of(line, line.number)
        self.state[USED] = used + 1
        self.state[LINES] += 1
        return True

    cdef bint take_packed(self, Line* line) noexcept nogil:
        """Append all numbers of a list, or, where one is bad, none."""
        cdef const uint8_t* p = line.number
        cdef const uint8_t* number
        cdef int64_t row, i, used = self.state[USED], end = used
        while True:
            if end == self._row.shape[0]:
                # A list that not even an empty column holds is read by the slow lane.
                return used == 0 and self.set_aside(line)
            number = p
            p = read_number(p, &self.value[end])
            if p == NULL or not -LARGEST <= self.value[end] <= LARGEST:
                return self.set_aside(line)
            self.weight[end] = weight_of(line, number)
            end += 1
            if p[0] == c"|":
                break
            if p[0] != c":":
                return self.set_aside(line)
            p += 1
        row = self.find(line)
        if row < 0:
            return self.set_aside(line)
        for i in range(used, end):
            self.row[i] = <int32_t>row
        self.state[USED] = end
        self.state[LINES] += 1
        return True

    cdef bint set_aside(self, Line* line) noexcept nogil:
        """Copy a line for the slow lane; False where the column has no room for it."""
        cdef const uint8_t* p = line.start.at
        cdef int64_t size = line.end - p, lines = self.state[ODD_LINES]
        cdef int64_t used = self.state[ODD_BYTES]
        cdef int64_t sender_bytes = 0
        while stripped(p[0]):
            p += 1
        if p == line.end:
            return True  # an empty line
        if lines == self._odd_at.shape[0] or used + size > self._odd.shape[0]:
            if lines == 0:
                self.dropped += 1
                self.state[LINES] += 1
            return lines == 0
        memcpy(&self._odd[used], line.start.at, size)
        self._odd_at[lines] = self.state[USED]
        self._odd_start[lines + 1] = used + size
        memset(&self._odd_sender[lines, 0], 0, SENDER_BYTES)
        if not self.fed:
            # A unix socket's address may be longer, or be nothing.
            sender_bytes = min(
                self.messages[line.start.message].msg_hdr.msg_namelen, <int64_t>SENDER_BYTES
            )
            memcpy(
                &self._odd_sender[lines, 0],
                self.senders + line.start.message * SENDER_BYTES,
                sender_bytes,
            )
        self.state[ODD_LINES] = lines + 1
        self.state[ODD_BYTES] = used + size
        self.state[LINES] += 1
        return True

    cdef inline int64_t find(self, Line* line) noexcept nogil:
        """Row of a line's key, entered if it is new; -1 for one that isn't entered."""
        cdef uint64_t i = line.mark & self.mask, slot
        cdef int64_t name_bytes = line.shape >> 3 & 0x7FF, tags_bytes = line.shape >> 14
        cdef const uint8_t* record
        while True:
            slot = self.slots[i]
            if slot == 0:
                return self.enter(line, name_bytes, tags_bytes, i)
            if slot >> 32 == line.mark:
                record = self.arena + 8 * <int64_t><uint32_t>slot
                if (
                    (<const uint32_t*>record)[1] == line.shape
                    and same(line.start.at, record + HEAD, name_bytes)
                    and (tags_bytes == 0 or same(line.tags, record + HEAD + name_bytes, tags_bytes))
                ):
                    return (<const uint32_t*>record)[0]
            i = (i + 1) & self.mask

    cdef int64_t enter(
        self, Line* line, int64_t name_bytes, int64_t tags_bytes, uint64_t free
    ) noexcept nogil:
        """Number a new key, if it is sound and there is room."""
        cdef int64_t row = self.rows, at = self.arena_used
        cdef int64_t end = (at + HEAD + name_bytes + tags_bytes + 7) // 8 * 8
        cdef uint8_t* record = self.arena + at
        if not sound_name(line.start.at, name_bytes):
            return -1
        if tags_bytes and not sound_tags(line.tags, tags_bytes):
            return -1
        if row == self.most_rows or end > self.arena_size:
            self.unkeyed += 1
            return -1
        (<uint32_t*>record)[0] = <uint32_t>row
        (<uint32_t*>record)[1] = line.shape
        memcpy(record + HEAD, line.start.at, name_bytes)
        if tags_bytes:
            memcpy(record + HEAD + name_bytes, line.tags, tags_bytes)
        self.places[row] = <uint32_t>(at // 8)
        self.marks[row] = line.mark
        self.slots[free] = <uint64_t>line.mark << 32 | <uint64_t>(at // 8)
        self.arena_used = end
        self.rows = row + 1
        if 2 * <uint64_t>self.rows > self.mask + 1:
            self.grow()
        return row

    cdef void grow(self) noexcept nogil:
        """Double the slots in place and enter all keys anew."""
        cdef int64_t row
        cdef uint64_t i
        self.mask = 2 * self.mask + 1
        memset(self.slots, 0, (self.mask + 1) * sizeof(uint64_t))
        for row in range(self.rows):
            i = self.marks[row] & self.mask
            while self.slots[i]:
                i = (i + 1) & self.mask
            self.slots[i] = <uint64_t>self.marks[row] << 32 | self.places[row]


cdef inline double weight_of(Line* line, const uint8_t* number) noexcept nogil:
    """A gauge's number with a sign is a change of it, and has no weight."""
    if line.shape & 7 == GAUGE and (number[0] == c"+" or number[0] == c"-"):
        return 0.0
    return line.weight


cdef void rest(pollfd* fds, int count, double seconds) noexcept nogil:
    """Wait for datagrams, or just wait; an interruption is as good as one."""
    cdef timespec time
    seconds = min(seconds, POLL_NS * 1e-9)
    time.tv_sec = 0
    time.tv_nsec = <long>(seconds * 1e9)
    if time.tv_nsec >= 1000000000:
        time.tv_nsec = 999999999
    ppoll(fds, count, &time, NULL)
