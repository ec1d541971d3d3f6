# cython: language_level=3
"""The table of keys: from the bytes of name, type and tags to a row number.

    slots          mark (32 bits of the key's hash) and place, in one word; doubled when half full
    arena          at place: row, shape (kind and lengths), name, tags; eight-byte aligned
    places, marks  the same by row, for reading keys and for doubling

A look-up touches one slot and one record.  Keys are compared, not trusted to their
hash.  Everything but the slots is append-only, so that another thread may read the
keys below a count it was given.  All is allocated at its cap; pages are touched only
when used.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from aggd.ingest.line cimport Line, name_bytes_of, same, sound, stripped, tags_bytes_of


cdef extern from * nogil:
    void prefetch "__builtin_prefetch"(const void* place)

cdef enum:
    FIRST_SLOTS = 1024
    UNIT = 8  # bytes a place counts in: 32 bits of them reach 32 GiB
    HEAD = 8  # bytes of a record before its name

cdef enum:  # instead of a row
    UNSOUND = -1
    NO_ROOM = -2

cdef struct Record:  # and after these the bytes of name and tags
    uint32_t row
    uint32_t shape

cdef struct Keys:
    uint64_t* slots
    uint8_t* arena
    uint32_t* places
    uint32_t* marks
    uint64_t mask  # of an index into the slots in use
    int64_t rows
    int64_t most_rows
    int64_t used  # of the arena, in bytes
    int64_t size


cdef inline void forget(Keys* keys) noexcept nogil:
    """Empty the table."""
    keys.mask = FIRST_SLOTS - 1
    memset(keys.slots, 0, FIRST_SLOTS * sizeof(uint64_t))
    keys.rows = 0
    keys.used = UNIT  # a slot that holds 0 is free, so nothing lies at place 0


cdef inline const Record* record_at(const Keys* keys, uint32_t place) noexcept nogil:
    return <const Record*>(keys.arena + UNIT * <int64_t>place)


cdef inline void send_for_slot(const Keys* keys, const Line* line) noexcept nogil:
    prefetch(&keys.slots[line.mark & keys.mask])


cdef inline void send_for_record(const Keys* keys, const Line* line) noexcept nogil:
    prefetch(record_at(keys, <uint32_t>keys.slots[line.mark & keys.mask]))


cdef inline int64_t find(Keys* keys, const Line* line) noexcept nogil:
    """Row of a line's key, entered if it is new; UNSOUND or NO_ROOM where it isn't."""
    cdef uint64_t i = line.mark & keys.mask, slot
    cdef int64_t name_bytes = name_bytes_of(line.shape), tags_bytes = tags_bytes_of(line.shape)
    cdef const Record* record
    cdef const uint8_t* text
    while True:
        slot = keys.slots[i]
        if slot == 0:
            return enter(keys, line, i)
        if slot >> 32 == line.mark:
            record = record_at(keys, <uint32_t>slot)
            text = <const uint8_t*>record + HEAD
            if record.shape == line.shape and same(line.start.at, text, name_bytes):
                if tags_bytes == 0 or same(line.tags, text + name_bytes, tags_bytes):
                    return record.row
        i = (i + 1) & keys.mask


cdef inline int64_t enter(Keys* keys, const Line* line, uint64_t free) noexcept nogil:
    """Number a new key, if it is sound and there is room."""
    cdef int64_t name_bytes = name_bytes_of(line.shape), tags_bytes = tags_bytes_of(line.shape)
    cdef int64_t row = keys.rows, place = keys.used // UNIT
    cdef int64_t end = keys.used + HEAD + name_bytes + tags_bytes
    cdef Record* record = <Record*>(keys.arena + keys.used)
    cdef uint8_t* text = <uint8_t*>record + HEAD
    if not sound(line):
        return UNSOUND
    if row == keys.most_rows or end > keys.size:
        return NO_ROOM
    record.row, record.shape = <uint32_t>row, line.shape
    memcpy(text, line.start.at, name_bytes)
    if tags_bytes:
        memcpy(text + name_bytes, line.tags, tags_bytes)
    keys.places[row], keys.marks[row] = <uint32_t>place, line.mark
    keys.slots[free] = <uint64_t>line.mark << 32 | <uint64_t>place
    keys.used = (end + UNIT - 1) // UNIT * UNIT
    keys.rows = row + 1
    if 2 * <uint64_t>keys.rows > keys.mask + 1:
        double_slots(keys)
    return row


cdef inline void double_slots(Keys* keys) noexcept nogil:
    """Double the slots in place and enter all keys anew: 6 ms for a million."""
    cdef int64_t row
    cdef uint64_t i
    keys.mask = 2 * keys.mask + 1
    memset(keys.slots, 0, (keys.mask + 1) * sizeof(uint64_t))
    for row in range(keys.rows):
        i = keys.marks[row] & keys.mask
        while keys.slots[i]:
            i = (i + 1) & keys.mask
        keys.slots[i] = <uint64_t>keys.marks[row] << 32 | keys.places[row]


cdef inline bytes spelling(const Keys* keys, int64_t row):
    """Letter of the kind, name, and where there are tags a newline and the tags.

    Tags go without what is taken off the end of a line: nowhere else may it stand.
    """
    cdef const Record* record = record_at(keys, keys.places[row])
    cdef const uint8_t* text = <const uint8_t*>record + HEAD
    cdef int64_t name = name_bytes_of(record.shape), tags = tags_bytes_of(record.shape)
    while tags and stripped(text[name + tags - 1]):
        tags -= 1
    cdef bytes found = PyBytes_FromStringAndSize(NULL, 1 + name + (1 + tags if tags else 0))
    cdef char* into = PyBytes_AS_STRING(found)
    into[0] = b"?cmghd"[record.shape & 7]
    memcpy(into + 1, text, name)
    if tags:
        into[1 + name] = c"\n"
        memcpy(into + 2 + name, text + name, tags)
    return found


cdef inline check(Keys* keys):
    """Assert what holds between two calls: 0.1 s for a million keys."""
    cdef Line line
    cdef int64_t row, i, end, used = UNIT, taken = 0, slots = keys.mask + 1
    cdef const Record* record
    state = f"{keys.rows} rows of {keys.most_rows}, {keys.used} bytes of {keys.size}, {slots} slots"
    assert 0 <= keys.rows <= keys.most_rows, state
    # At most half full, and where it was doubled a quarter: so it stays in what was allocated.
    assert slots & keys.mask == 0 and slots >= 2 * keys.rows, state
    assert slots == FIRST_SLOTS or FIRST_SLOTS < slots <= 4 * keys.rows, state
    for i in range(slots):
        taken += keys.slots[i] != 0
    assert taken == keys.rows, f"{taken} slots taken, {state}"
    for row in range(keys.rows):
        # One behind the other: places ascend, and no record reaches into the next.
        assert UNIT * <int64_t>keys.places[row] == used, f"row {row} misplaced, {state}"
        record = record_at(keys, keys.places[row])
        line.start.at, line.shape = <const uint8_t*>record + HEAD, record.shape
        line.tags, line.mark = line.start.at + name_bytes_of(record.shape), keys.marks[row]
        end = used + HEAD + name_bytes_of(record.shape) + tags_bytes_of(record.shape)
        assert end <= keys.size, f"row {row} ends at {end}, {state}"
        used = (end + UNIT - 1) // UNIT * UNIT
        assert record.row == row and find(keys, &line) == row, f"row {row} not found, {state}"
    assert keys.used == used, state
