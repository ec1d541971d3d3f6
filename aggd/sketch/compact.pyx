# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False
"""Points to centroids, compiled: the twin of `centroids`, which says what these do.

    row, value, weight, atom       in any order
        scatter                    one counting sort by row into points of 16 bytes
        sort_row                   natural runs, merged pairwise: what a merge brings is sorted
        collapse                   equal atoms become one
    offset, mean, weight, atom

All of it runs without the GIL and allocates once a call.  Numbers are added in
the order of the numpy twin, so that both cut rows at the same centroids.
"""

from libc.stdint cimport INT64_MAX, int16_t, int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

import numpy as np

from aggd.sketch.scale import table as bins_table

cdef enum:
    SHORT = 8  # runs are brought to this length by insertion before they merge

cdef struct Point:
    int64_t key  # a float64, as an integer of the same order
    double weight  # negative: not an atom


cdef inline int64_t to_key(double value) noexcept nogil:
    cdef int64_t bits
    value += 0.0  # -0.0 becomes 0.0
    memcpy(&bits, &value, 8)
    return bits ^ ((bits >> 63) & INT64_MAX)


cdef inline double to_value(int64_t key) noexcept nogil:
    cdef double value
    key ^= (key >> 63) & INT64_MAX
    memcpy(&value, &key, 8)
    return value


def arrange(
    const int32_t[:] row not None,
    const double[:] value not None,
    const double[:] weight,
    atom,
    Py_ssize_t rows,
):
    """Sort points by row and value, and collapse runs of equal atoms."""
    cdef Py_ssize_t n = row.shape[0], m, i
    if value.shape[0] != n or (weight is not None and weight.shape[0] != n):
        raise ValueError("row, value and weight must have one length")
    flags = None if atom is None else atom.view(np.uint8)
    cdef const uint8_t[:] pure = flags
    if pure is not None and pure.shape[0] != n:
        raise ValueError("row and atom must have one length")
    cdef int64_t[::1] start = np.zeros(rows + 1, np.int64)
    cdef bint good
    with nogil:
        good = count(row, start)
    if not good:
        raise ValueError(f"rows must be in [0, {rows}), got {np.min(row)} to {np.max(row)}")
    offsets = np.zeros(rows + 1, np.int64)
    cdef int64_t[::1] offset = offsets
    cdef Py_ssize_t longest = 0
    for i in range(rows):
        longest = max(longest, start[i + 1] - start[i])
    cdef Point* points = <Point*> malloc((2 * n + 1) * sizeof(Point))
    cdef Py_ssize_t* ends = <Py_ssize_t*> malloc((longest // SHORT + 1) * sizeof(Py_ssize_t))
    if points == NULL or ends == NULL:
        free(points)
        free(ends)
        raise MemoryError
    try:
        with nogil:
            scatter(row, value, weight, pure, offset, start, points)
            sort_rows(points, points + n, ends, start, offset)
            m = offset[rows]
        means, weights, atoms = np.empty(m), np.empty(m), np.empty(m, np.bool_)
        write(points, start, offset, means, weights, atoms.view(np.uint8))
    finally:
        free(points)
        free(ends)
    return offsets, means, weights, atoms


cdef bint count(const int32_t[:] row, int64_t[::1] start) noexcept nogil:
    """Where each row starts, for points grouped by row; false if a row is out of range."""
    cdef Py_ssize_t rows = start.shape[0] - 1, i
    for i in range(row.shape[0]):
        if <size_t> row[i] >= <size_t> rows:
            return False
        start[row[i] + 1] += 1
    for i in range(rows):
        start[i + 1] += start[i]
    return True


cdef void scatter(
    const int32_t[:] row,
    const double[:] value,
    const double[:] weight,
    const uint8_t[:] atom,
    int64_t[::1] next_,
    const int64_t[::1] start,
    Point* points,
) noexcept nogil:
    """Put points where their rows are; `next_` is scratch."""
    cdef Py_ssize_t i
    cdef Point point
    cdef bint weighed = weight is not None, mixed = atom is not None
    next_[:] = start
    for i in range(row.shape[0]):
        point.key = to_key(value[i])
        point.weight = weight[i] if weighed else 1.0
        if mixed and not atom[i]:
            point.weight = -point.weight
        points[next_[row[i]]] = point
        next_[row[i]] += 1


cdef void sort_rows(
    Point* points,
    Point* spare,
    Py_ssize_t* ends,
    const int64_t[::1] start,
    int64_t[::1] offset,
) noexcept nogil:
    """Sort and collapse every row in its place; `offset` is where they go when packed."""
    cdef Py_ssize_t i, length
    cdef Point* sorted_
    offset[0] = 0
    for i in range(start.shape[0] - 1):
        length = start[i + 1] - start[i]
        sorted_ = sort_row(points + start[i], spare, ends, length)
        offset[i + 1] = offset[i] + collapse(sorted_, points + start[i], length)


cdef Point* sort_row(
    Point* points, Point* spare, Py_ssize_t* ends, Py_ssize_t n
) noexcept nogil:
    """Sort by key, equal keys in their order; the result is in `points` or in `spare`."""
    cdef Py_ssize_t runs = 0, merged, first, i
    cdef Point* other
    i = 0
    while i < n:
        i = run_end(points, i, n)
        ends[runs] = i
        runs += 1
    while runs > 1:
        merged = 0
        first = 0
        i = 0
        while i + 1 < runs:
            merge_runs(points, first, ends[i], ends[i + 1], spare)
            first = ends[i + 1]
            ends[merged] = first
            merged += 1
            i += 2
        if i < runs:
            memcpy(spare + first, points + first, (n - first) * sizeof(Point))
            ends[merged] = n
            merged += 1
        runs = merged
        other = points
        points = spare
        spare = other
    return points


cdef inline Py_ssize_t run_end(Point* points, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
    """Follow the run that starts at `first`, bring it to SHORT, and say where it ends."""
    cdef Py_ssize_t end = first + 1, stop, i
    cdef Point point
    while end < n and points[end - 1].key <= points[end].key:
        end += 1
    stop = min(first + SHORT, n)
    while end < stop:
        point = points[end]
        i = end
        while i > first and points[i - 1].key > point.key:
            points[i] = points[i - 1]
            i -= 1
        points[i] = point
        end += 1
    return end


cdef inline void merge_runs(
    const Point* points, Py_ssize_t a, Py_ssize_t b, Py_ssize_t end, Point* out
) noexcept nogil:
    """Merge points a..b and b..end; of equal keys those of `a` come first.

    From both ends toward the middle: as many steps as the shorter run is long need
    no check of the ends and no branch (which is next can't be guessed), and are two
    chains of loads that the processor runs side by side: 2.3 ns a point, not 3.8.
    """
    cdef Py_ssize_t a_last = b - 1, b_last = end - 1, front = a, back = end - 1, step
    cdef Py_ssize_t later
    for step in range(min(b - a, end - b)):
        later = points[b].key < points[a].key
        out[front] = points[a + ((b - a) & -later)]
        b += later
        a += 1 - later
        front += 1
        later = points[b_last].key < points[a_last].key
        out[back] = points[b_last + ((a_last - b_last) & -later)]
        a_last -= later
        b_last -= 1 - later
        back -= 1
    while a <= a_last and b <= b_last:
        later = points[b].key < points[a].key
        out[front] = points[a + ((b - a) & -later)]
        b += later
        a += 1 - later
        front += 1
    memcpy(out + front, points + a, (a_last + 1 - a) * sizeof(Point))
    memcpy(out + front + (a_last + 1 - a), points + b, (b_last + 1 - b) * sizeof(Point))


cdef Py_ssize_t collapse(Point* sorted_, Point* out, Py_ssize_t n) noexcept nogil:
    """Make one of each run of equal atoms; `out` may be `sorted_`."""
    cdef Py_ssize_t i, m = 0
    if n == 0:
        return 0
    out[0] = sorted_[0]
    for i in range(1, n):
        if (
            sorted_[i].key == out[m].key
            and sorted_[i].weight > 0
            and out[m].weight > 0
        ):
            out[m].weight += sorted_[i].weight
        else:
            m += 1
            out[m] = sorted_[i]
    return m + 1


cdef void write(
    const Point* points,
    const int64_t[::1] start,
    const int64_t[::1] offset,
    double[::1] mean,
    double[::1] weight,
    uint8_t[::1] atom,
) noexcept:
    """Pack the rows into columns."""
    cdef Py_ssize_t i, k, to
    cdef const Point* point
    with nogil:
        for i in range(start.shape[0] - 1):
            point = points + start[i]
            for to in range(offset[i], offset[i + 1]):
                mean[to] = to_value(point.key)
                weight[to] = point.weight if point.weight > 0 else -point.weight
                atom[to] = point.weight > 0
                point += 1


def compress(offset, mean, weight, atom, Py_ssize_t size):
    """Leave every row with at most `size` centroids."""
    cdef const int64_t[::1] start = offset
    cdef const double[::1] value = mean, heavy = weight
    cdef const uint8_t[::1] pure = atom.view(np.uint8)
    cdef Py_ssize_t rows = start.shape[0] - 1, i, room = 0, largest = 0
    with nogil:
        for i in range(rows):
            largest = max(largest, start[i + 1] - start[i])
            room += min(size, start[i + 1] - start[i])
    if largest <= size:
        return offset, mean, weight, atom
    offsets = np.zeros(rows + 1, np.int64)
    means, weights, atoms = np.empty(room), np.empty(room), np.empty(room, np.bool_)
    cdef int64_t[::1] to = offsets
    cdef double[::1] out_mean = means, out_weight = weights
    cdef uint8_t[::1] out_atom = atoms.view(np.uint8)
    cdef const int16_t[::1] table = bins_table(size)
    cdef Centroids out
    with nogil:
        out.mean, out.weight, out.atom = &out_mean[0], &out_weight[0], &out_atom[0]
        out.used = 0
        for i in range(rows):
            if start[i + 1] - start[i] <= size:
                copy_row(&value[0], &heavy[0], &pure[0], start[i], start[i + 1], &out)
            else:
                compress_row(
                    &value[start[i]],
                    &heavy[start[i]],
                    &pure[start[i]],
                    start[i + 1] - start[i],
                    size,
                    &table[0],
                    &out,
                )
            to[i + 1] = out.used
    m = out.used
    return offsets, means[:m].copy(), weights[:m].copy(), atoms[:m].copy()


cdef struct Centroids:
    double* mean
    double* weight
    uint8_t* atom
    Py_ssize_t used


cdef inline void copy_row(
    const double* mean,
    const double* weight,
    const uint8_t* atom,
    Py_ssize_t start,
    Py_ssize_t end,
    Centroids* out,
) noexcept nogil:
    memcpy(out.mean + out.used, mean + start, (end - start) * sizeof(double))
    memcpy(out.weight + out.used, weight + start, (end - start) * sizeof(double))
    memcpy(out.atom + out.used, atom + start, end - start)
    out.used += end - start


cdef inline int bin_of(double q, int size, const int16_t* table) noexcept nogil:
    """`scale.bins` of one rank."""
    cdef float u = <float> min(q, 1 - q)
    cdef int32_t bits
    if not (u > 0 and u <= 0.5):  # weights that are no numbers must not lead out of the table
        u = 0
    memcpy(&bits, &u, 4)
    return size - 1 - table[bits >> 16] if q > 0.5 else table[bits >> 16]


cdef void compress_row(
    const double* mean,
    const double* weight,
    const uint8_t* atom,
    Py_ssize_t n,
    int size,
    const int16_t* table,
    Centroids* out,
) noexcept nogil:
    """Put the points of one row into bins by their mid-ranks."""
    cdef double total = 0, below = 0
    cdef Py_ssize_t i, first = 0
    cdef int current = -1, found
    for i in range(n):
        total += weight[i]
    for i in range(n):
        below += weight[i]
        found = bin_of((below - 0.5 * weight[i]) / total, size, table)
        if found != current:
            if i:
                add_centroid(mean + first, weight + first, atom + first, i - first, out)
            first = i
            current = found
    add_centroid(mean + first, weight + first, atom + first, n - first, out)


cdef inline void add_centroid(
    const double* mean, const double* weight, const uint8_t* atom, Py_ssize_t n, Centroids* out
) noexcept nogil:
    """Make one of sorted points."""
    cdef double total = 0, above = 0, low = mean[0], high = mean[n - 1]
    cdef uint8_t pure = low == high
    cdef Py_ssize_t i
    for i in range(n):
        total += weight[i]
        pure &= atom[i]
    for i in range(n):
        above += (mean[i] - low) * (weight[i] / total)
    out.mean[out.used] = min(low + above, high)
    out.weight[out.used] = total
    out.atom[out.used] = pure
    out.used += 1


def describe(
    const int64_t[::1] offset not None,
    const double[::1] value not None,
    const double[::1] weight not None,
):
    """Take the moments of arranged samples."""
    cdef Py_ssize_t rows = offset.shape[0] - 1
    columns = tuple(np.full(rows, np.nan) for _ in range(5))
    cdef double[::1] count, mean, m2, low, high
    count, mean, m2, low, high = columns
    cdef Py_ssize_t i, k, first, end
    cdef double total, above, spread, distance
    with nogil:
        for i in range(rows):
            first, end = offset[i], offset[i + 1]
            total = above = spread = 0
            for k in range(first, end):
                total += weight[k]
            if first < end:
                low[i], high[i] = value[first], value[end - 1]
                for k in range(first, end):
                    above += (value[k] - low[i]) * (weight[k] / total)
                mean[i] = min(low[i] + above, high[i])
                for k in range(first, end):
                    distance = value[k] - mean[i]
                    spread += distance * distance * weight[k]
            count[i] = total
            m2[i] = spread
    return columns
