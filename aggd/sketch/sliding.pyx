# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False
"""Moving windows over ranks, compiled: the twin of `spans`, which says what these do.

    root     |        9         |        4         |     sums of 128 branches
    branch   |  5  |  0  |  4   |  4  | ...              sums of 128 leaves
    leaf     2 0 0 3 ...                                 units at each rank, 0 outside the window

Every point has a rank, its place among all points of all slots by value.  A slot
that enters the window adds its units to three sums a point, one that leaves takes
them off, and a rank is found by walking down: O(1) a point, some 150 steps a rank.
Units are integers, so nothing drifts.  All of it runs without the GIL.
"""

from libc.math cimport floor
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

import numpy as np

cdef enum:
    BITS = 7  # 128 sums of 8 bytes are 16 lines of the cache

cdef struct Key:
    uint32_t bits
    int32_t place


def order(const double[::1] value not None):
    """Order values, equal ones as they came.

    Four passes by a byte each over the upper 32 bits of what differs, then by insertion:
    15 ns a value, where a sort takes 60.  Values that crowd in few of 2**32 cells, for
    all their range, are sorted after all.
    """
    cdef Py_ssize_t n = value.shape[0], i
    found = np.empty(n, np.int64)
    if n == 0:
        return found
    cdef int64_t[::1] out = found
    cdef Key* keys = <Key*> malloc(2 * n * sizeof(Key))
    cdef bint done
    if keys == NULL:
        raise MemoryError
    with nogil:
        sort(&value[0], n, keys, keys + n)
        done = settle(&value[0], n, keys)
        for i in range(n):
            out[i] = keys[i].place
    free(keys)
    return found if done else np.argsort(value, kind="stable")


cdef void sort(const double* value, Py_ssize_t n, Key* keys, Key* spare) noexcept nogil:
    """Sort by the upper bits of the values' range; the result is in `keys`."""
    cdef Py_ssize_t[4][256] count
    cdef uint64_t low = to_bits(value[0]), high = low, bits
    cdef Py_ssize_t i, first
    cdef int k, digit, shift = 0
    memset(count, 0, sizeof(count))
    for i in range(n):
        bits = to_bits(value[i])
        low, high = min(low, bits), max(high, bits)
    while (high - low) >> shift > <uint64_t> 0xFFFFFFFF:
        shift += 1
    for i in range(n):
        keys[i].bits, keys[i].place = <uint32_t> ((to_bits(value[i]) - low) >> shift), i
        for k in range(4):
            count[k][keys[i].bits >> 8 * k & 255] += 1
    for k in range(4):  # four swaps, so that the last one ends in `keys`
        first = 0
        for digit in range(256):
            first += count[k][digit]
            count[k][digit] = first - count[k][digit]
        for i in range(n):
            digit = keys[i].bits >> 8 * k & 255
            spare[count[k][digit]] = keys[i]
            count[k][digit] += 1
        keys, spare = spare, keys


cdef bint settle(const double* value, Py_ssize_t n, Key* keys) noexcept nogil:
    """Order what shares its upper bits; false where that takes too many steps."""
    cdef Py_ssize_t i, j, steps = 0
    cdef Key key
    for i in range(1, n):
        key = keys[i]
        j = i
        while j > 0 and value[keys[j - 1].place] > value[key.place]:
            keys[j] = keys[j - 1]
            j -= 1
        keys[j] = key
        steps += i - j
        if steps > 4 * n:
            return False
    return True


cdef inline uint64_t to_bits(double value) noexcept nogil:
    """A float64 as an integer of the same order."""
    cdef int64_t bits
    value += 0.0  # -0.0 becomes 0.0
    memcpy(&bits, &value, 8)
    return <uint64_t> bits ^ (<uint64_t> (bits >> 63) | <uint64_t> 1 << 63)


cdef struct Tree:
    int64_t* leaf
    int64_t* branch
    int64_t* root
    int64_t total


cdef bint grow(Tree* tree, Py_ssize_t n) noexcept:
    """Allocate a tree of n leaves; false where memory is short."""
    tree.leaf = <int64_t*> calloc(n + 1, sizeof(int64_t))
    tree.branch = <int64_t*> calloc((n >> BITS) + 1, sizeof(int64_t))
    tree.root = <int64_t*> calloc((n >> 2 * BITS) + 1, sizeof(int64_t))
    tree.total = 0
    return tree.leaf != NULL and tree.branch != NULL and tree.root != NULL


cdef void fell(Tree* tree) noexcept:
    free(tree.leaf)
    free(tree.branch)
    free(tree.root)


cdef inline void add(Tree* tree, Py_ssize_t place, int64_t units) noexcept nogil:
    tree.leaf[place] += units
    tree.branch[place >> BITS] += units
    tree.root[place >> 2 * BITS] += units
    tree.total += units


cdef inline Py_ssize_t find(const Tree* tree, int64_t unit, int64_t* below) noexcept nogil:
    """The place that holds a unit in [0, total), and how many units lie before that place."""
    cdef int64_t left = unit
    cdef Py_ssize_t i = 0
    while tree.root[i] <= left:
        left -= tree.root[i]
        i += 1
    i <<= BITS
    while tree.branch[i] <= left:
        left -= tree.branch[i]
        i += 1
    i <<= BITS
    while tree.leaf[i] <= left:
        left -= tree.leaf[i]
        i += 1
    below[0] = unit - left
    return i


cdef struct Points:
    const int64_t* at  # the point at each place
    const double* mean
    const uint8_t* atom
    double low
    double high
    double scale


def quantiles(
    const int64_t[::1] start not None,
    const int64_t[::1] order not None,
    const int32_t[::1] place not None,
    const double[::1] mean not None,
    const int64_t[::1] units not None,
    atom,
    double scale,
    const double[:] low not None,
    const double[:] high not None,
    Py_ssize_t width,
    Py_ssize_t stride,
    const double[::1] q not None,
):
    """Read the quantiles of every window."""
    cdef Py_ssize_t n = mean.shape[0], windows = low.shape[0], i, j, k
    cdef Py_ssize_t first, last, gone = 0, entered = 0
    answers = np.full((windows, q.shape[0]), np.nan)
    if not n or not q.shape[0]:
        return answers
    cdef double[:, ::1] answer = answers
    cdef const uint8_t[::1] pure = atom.view(np.uint8)
    cdef Points points
    cdef Tree tree
    points.at, points.mean, points.atom = &order[0], &mean[0], &pure[0]
    points.scale = scale
    try:
        if not grow(&tree, n):
            raise MemoryError
        with nogil:
            for i in range(windows):
                first, last = start[i * stride], start[i * stride + width]
                for j in range(gone, min(entered, first)):
                    add(&tree, place[j], -units[j])
                for j in range(max(entered, first), last):
                    add(&tree, place[j], units[j])
                gone, entered = first, last
                if tree.total:
                    points.low, points.high = low[i], high[i]
                    for k in range(q.shape[0]):
                        answer[i, k] = quantile(&tree, &points, q[k])
    finally:
        fell(&tree)
    return answers


cdef double quantile(const Tree* tree, const Points* points, double q) noexcept nogil:
    """`quantiles.quantile` of the points in the tree."""
    cdef double last = max(tree.total / points.scale - 1, 0.0)
    cdef double rank = last * q, below = floor(rank), left, right, part, step
    step = min(last - below, 1.0)
    part = (rank - below) / step if step > 0 else 0.0
    left = sample(tree, points, below, last)
    right = sample(tree, points, below + step, last) if part > 0 else left
    return left + (right - left) * part if part < 0.5 else right - (right - left) * (1 - part)


cdef inline double sample(
    const Tree* tree, const Points* points, double rank, double last
) noexcept nogil:
    """One order statistic."""
    cdef double at = (rank + 0.5) * points.scale, left, right, mean, neighbour, x
    cdef int64_t below, other, units
    cdef Py_ssize_t i
    if rank <= 0:
        return points.low
    if rank >= last:
        return points.high
    i = find(tree, min(<int64_t> at, tree.total - 1), &below)
    mean = points.mean[points.at[i]]
    if points.atom[points.at[i]]:
        return mean
    units = tree.leaf[i]
    left, right = points.low, points.high
    if below > 0:
        neighbour = points.mean[points.at[find(tree, below - 1, &other)]]
        left = max(left, middle(neighbour, mean))
    if below + units < tree.total:
        neighbour = points.mean[points.at[find(tree, below + units, &other)]]
        right = min(right, middle(mean, neighbour))
    x = min(max((at - below) / units, 0.0), 1.0)
    return left + x * (right - left)


cdef inline double middle(double a, double b) noexcept nogil:
    return a / 2 + b / 2


def smallest(
    const int64_t[::1] start not None,
    const int32_t[::1] place not None,
    Py_ssize_t places,
    Py_ssize_t width,
    Py_ssize_t stride,
    Py_ssize_t windows,
    Py_ssize_t k,
):
    """Count the different places of every window, and find the k-th of them."""
    counts, found = np.zeros(windows, np.int64), np.full(windows, -1, np.int64)
    cdef int64_t[::1] count = counts, kth = found
    copies_ = np.zeros(places, np.int32)
    cdef int32_t[::1] copies = copies_
    cdef Py_ssize_t i, j, first, last, gone = 0, entered = 0
    cdef int64_t below
    cdef Tree tree
    try:
        if not grow(&tree, places):
            raise MemoryError
        with nogil:
            for i in range(windows):
                first, last = start[i * stride], start[i * stride + width]
                for j in range(gone, min(entered, first)):
                    copies[place[j]] -= 1
                    if copies[place[j]] == 0:
                        add(&tree, place[j], -1)
                for j in range(max(entered, first), last):
                    copies[place[j]] += 1
                    if copies[place[j]] == 1:
                        add(&tree, place[j], 1)
                gone, entered = first, last
                count[i] = tree.total
                if tree.total >= k:
                    kth[i] = find(&tree, k - 1, &below)
    finally:
        fell(&tree)
    return counts, found
