# cython: language_level=3
"""The plain line, as the compiled lane reads it.

    name:number(:number)*|type(|@rate)?(|#tags)?       rate and tags in either order
    page.load:320:310|ms|@0.1|#env:prod
    ^^^^^^^^^         ^^       ^^^^^^^^ key: these bytes as they stand, hashed on the way
              ^^^^^^^ numbers
                         ^^^^ weight 10

Whatever isn't exactly this is odd, and for the slow lane (`protocol.lines`) to read.

Nothing is bounds-checked byte by byte, because nothing has to be: the last line ends
with a newline too, every scan stops at a newline, and behind the last one lie `SLACK`
bytes, which eight-byte loads may read and nobody interprets.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport strtod
from libc.string cimport memcpy


cdef extern from * nogil:
    """
    #include <stdint.h>
    #if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "the first byte of a word must be its lowest; without this lane aggd runs all the same"
    #endif

    /* Both halves of a product with a secret: whoever doesn't know it can't make keys
       collide.  Of one half alone, differences in the top bits come out predictably and
       can be made to cancel out. */
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
    # A byte, eight times.
    const uint64_t NEWLINES "0x0A0A0A0A0A0A0A0AULL"
    const uint64_t COLONS "0x3A3A3A3A3A3A3A3AULL"
    const uint64_t BARS "0x7C7C7C7C7C7C7C7CULL"
    const uint64_t ONES "0x0101010101010101ULL"
    const uint64_t TOP_BITS "0x8080808080808080ULL"
    # As in the slow lane.
    const double LARGEST "1e300"
    const double SMALLEST_RATE "1e-6"

cdef enum:
    SLACK = 64
    LONGEST_KEY = 1024  # name and tags; longer ones go the slow way, or few would fill the table

cdef enum:  # kinds, in the order of the letters in `keys.spelling`
    ODD
    COUNTER
    TIMER
    GAUGE
    HISTOGRAM
    DISTRIBUTION

cdef struct Cursor:
    int message  # datagram of the batch
    const uint8_t* at  # start of the next line
    const uint8_t* last  # the newline that ends the datagram

cdef struct Line:
    Cursor start
    const uint8_t* end  # its newline
    const uint8_t* number
    const uint8_t* tags
    double value  # of the first number
    double weight
    uint32_t shape  # kind, bytes of the name, bytes of the tags; ODD: not plain
    uint32_t mark  # 32 bits of the key's hash
    bint packed  # more than one number

cdef struct Secret:
    uint64_t start
    uint64_t factor


cdef inline uint32_t shape_of(int kind, int64_t name_bytes, int64_t tags_bytes) noexcept nogil:
    return kind | <uint32_t>name_bytes << 3 | <uint32_t>tags_bytes << 14


cdef inline int64_t name_bytes_of(uint32_t shape) noexcept nogil:
    return shape >> 3 & 0x7FF


cdef inline int64_t tags_bytes_of(uint32_t shape) noexcept nogil:
    return shape >> 14


cdef inline uint64_t word(const uint8_t* p) noexcept nogil:
    cdef uint64_t loaded
    memcpy(&loaded, p, 8)
    return loaded


cdef inline uint64_t zeros(uint64_t x) noexcept nogil:
    """Top bits of the zero bytes; above the lowest zero byte there may be false ones."""
    return (x - ONES) & ~x & TOP_BITS


cdef inline uint64_t first(int64_t count) noexcept nogil:
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
    const uint8_t* p, uint64_t wanted, uint64_t factor, uint64_t* hash
) noexcept nogil:
    """`seek`, hashing what it passes over."""
    cdef uint64_t w = word(p), h = hash[0]
    cdef uint64_t found = zeros(w ^ wanted) | zeros(w ^ NEWLINES)
    cdef int rest
    while found == 0:
        h = fold(h ^ w, factor)
        p += 8
        w = word(p)
        found = zeros(w ^ wanted) | zeros(w ^ NEWLINES)
    rest = lowest_bit(found) >> 3
    hash[0] = fold(h ^ (w & first(rest)), factor)
    return p + rest


cdef inline bint stripped(uint8_t byte) noexcept nogil:
    """Whether a byte is taken off the end of a line."""
    return byte == c" " or byte == c"\t" or byte == c"\r" or byte == 0


cdef inline const uint8_t* read_digits(const uint8_t* p, uint64_t* number) noexcept nogil:
    """Append digits to a number, which wraps around after 19 of them."""
    cdef uint64_t found = number[0]
    cdef uint32_t digit = <uint32_t>p[0] - c"0"
    while digit < 10:
        found = 10 * found + digit
        p += 1
        digit = <uint32_t>p[0] - c"0"
    number[0] = found
    return p


cdef inline const uint8_t* read_exponent(const uint8_t* p, int64_t* exponent) noexcept nogil:
    """Add what stands after an e; NULL where no digit does."""
    cdef const uint8_t* mark
    cdef int64_t power = 0
    cdef bint less = p[0] == c"-"
    if less or p[0] == c"+":
        p += 1
    mark = p
    while c"0" <= p[0] <= c"9":
        power = power if power > 100000 else 10 * power + (p[0] - c"0")
        p += 1
    exponent[0] += -power if less else power
    return p if p != mark else NULL


cdef inline const uint8_t* read_number(const uint8_t* p, double* value) noexcept nogil:
    """Read a decimal number, rounded as `float` rounds it; the byte after it, NULL for none.

    A mantissa and a power of ten that are both exact doubles give the nearest double
    in one operation.  The rest is strtod's, which would also read hex, inf and nan:
    so the extent is decided here, and what follows it by the caller.  Its decimal
    point is the locale's, which is C's as long as nobody calls setlocale.
    """
    cdef const uint8_t* start = p
    cdef const uint8_t* mark
    cdef uint64_t mantissa = 0
    cdef int64_t digits, exponent = 0
    cdef double found
    if p[0] == c"-" or p[0] == c"+":
        p += 1
    mark = p
    p = read_digits(p, &mantissa)
    digits = p - mark
    if p[0] == c".":
        mark = p + 1
        p = read_digits(mark, &mantissa)
        exponent = mark - p
        digits -= exponent
    if digits == 0:
        return NULL
    if p[0] | 0x20 == c"e":
        p = read_exponent(p + 1, &exponent)
        if p == NULL:
            return NULL
    if digits <= 19 and mantissa <= <uint64_t>1 << 53 and -22 <= exponent <= 22:
        found = <double><int64_t>mantissa
        found = found / TEN_TO[-exponent] if exponent < 0 else found * TEN_TO[exponent]
        value[0] = -found if start[0] == c"-" else found
    else:
        value[0] = strtod(<const char*>start, NULL)
    return p


cdef inline const uint8_t* read_kind(const uint8_t* p, int* kind) noexcept nogil:
    """Read a type; what follows it is for the caller to judge."""
    kind[0] = ODD
    if p[0] == c"c":
        kind[0] = COUNTER
    elif p[0] == c"m" and p[1] == c"s":
        kind[0] = TIMER
        p += 1
    elif p[0] == c"g":
        kind[0] = GAUGE
    elif p[0] == c"h":
        kind[0] = HISTOGRAM
    elif p[0] == c"d":
        kind[0] = DISTRIBUTION
    return p + 1 if kind[0] != ODD else p


cdef inline const uint8_t* read_rate(const uint8_t* p, double* weight) noexcept nogil:
    """Read a rate that needs no correction, NULL for another, as its inverse."""
    cdef double rate
    p = read_number(p, &rate)
    if p == NULL or not SMALLEST_RATE <= rate <= 1.0:
        return NULL
    weight[0] = 1.0 / rate
    return p


cdef inline const uint8_t* read_plain(Line* line, Secret secret) noexcept nogil:
    """Read a line up to its newline, NULL where it isn't plain; `line.end` is in the line."""
    cdef const uint8_t* p
    cdef uint64_t hash = secret.start, tags_hash = secret.factor
    cdef int64_t name_bytes, tags_bytes = 0
    cdef int kind
    p = line.end = scan(line.start.at, COLONS, secret.factor, &hash)
    name_bytes = p - line.start.at
    if p[0] == c"\n" or name_bytes == 0:
        return NULL
    line.number = line.end = p + 1
    p = read_number(line.number, &line.value)
    if p == NULL:
        return NULL
    line.packed = p[0] == c":"
    if line.packed:
        p = seek(p, BARS)  # its numbers are read again when they are appended
    line.end = p
    if p[0] != c"|":
        return NULL
    p = read_kind(p + 1, &kind)
    if kind == ODD:
        return NULL
    while p[0] == c"|":
        line.end = p
        if p[1] == c"@" and line.weight == 0.0:
            p = read_rate(p + 2, &line.weight)
            if p == NULL:
                return NULL
        elif p[1] == c"#" and line.tags == NULL:
            line.tags = p + 2
            p = scan(line.tags, BARS, secret.factor, &tags_hash)
            tags_bytes = p - line.tags
            # Blanks before a bar belong to the tags, those at the end of the line don't.
            if tags_bytes == 0 or (p[0] == c"|" and stripped((p - 1)[0])):
                return NULL
        else:
            return NULL
    line.end = p
    while stripped(p[0]):
        p += 1
    if p[0] != c"\n" or name_bytes + tags_bytes > LONGEST_KEY:
        return NULL
    if line.weight == 0.0:
        line.weight = 1.0
    line.shape = shape_of(kind, name_bytes, tags_bytes)
    # The shape has the lengths: a NUL at the end hashes as if it weren't there.
    line.mark = fold(hash ^ line.shape, tags_hash) >> 32
    return p


cdef inline void split(Line* line, Secret secret) noexcept nogil:
    """Find the parts and the end of the line at `line.start`; its shape is ODD if it isn't plain."""
    cdef const uint8_t* newline
    line.shape, line.mark, line.weight, line.tags = ODD, 0, 0.0, NULL
    newline = read_plain(line, secret)
    line.end = newline if newline != NULL else seek(line.end, NEWLINES)


cdef inline double weight_of(const Line* line, const uint8_t* number) noexcept nogil:
    """A gauge's number with a sign is a change of it, and has no weight."""
    if line.shape & 7 == GAUGE and (number[0] == c"+" or number[0] == c"-"):
        return 0.0
    return line.weight


cdef inline bint sound_name(const uint8_t* p, int64_t size) noexcept nogil:
    """Whether naming can neither refuse this, nor warn of it, nor find tags in it."""
    cdef bint clean = False  # one such byte survives cleaning, whatever its options are
    cdef int64_t i
    if stripped(p[0]) or (size > 2 and p[0] == c"_" and p[1] == c"e" and p[2] == c"{"):
        return False  # begins with what is taken off, or is an event
    for i in range(size):
        if p[i] in b"|[]#,;":
            return False
        clean |= (
            c"a" <= p[i] | 0x20 <= c"z" or c"0" <= p[i] <= c"9" or p[i] in b"_.=-"
        )
    return clean


cdef inline bint sound_tags(const uint8_t* p, int64_t size) noexcept nogil:
    """Whether every item has a key, without a byte before it that naming takes off."""
    cdef bint begins = True
    cdef int64_t i
    while size and stripped(p[size - 1]):
        size -= 1
    for i in range(size):
        if begins and (stripped(p[i]) or p[i] in b":=#"):
            return False
        begins = p[i] == c","
    return size > 0


cdef inline bint sound(const Line* line) noexcept nogil:
    """Whether the slow lane would take the line without a word, whatever its numbers are."""
    cdef int64_t tags_bytes = tags_bytes_of(line.shape)
    if not sound_name(line.start.at, name_bytes_of(line.shape)):
        return False
    return tags_bytes == 0 or sound_tags(line.tags, tags_bytes)
