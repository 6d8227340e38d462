"""Groups: the revoked set as sorted rows, one bytes per (issuer_no, serial length). Merged, compared, joined, and read
from the ledger's COPY stream.

Row: serial | revocation time u32 big-endian | reason u8; ascending by serial, each serial once. A group is never empty.
It knows no image and no file: revoked lays groups out, the journal keeps them.
"""

cimport cython

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from _fastocsp.errors import WireError

cdef extern from *:
    """
    #include <stdlib.h>
    """
    void qsort_r(void* base, size_t count, size_t size, int (*compare)(const void*, const void*, void*) noexcept nogil,
                 void* argument) noexcept nogil

cdef enum:
    ROW_TAIL = 5
    ITEM_FIXED = 21               # octets of a feed item besides its serial
    COPY_HEAD = 19                # signature, flags, length of an extension that is not there


def merge_groups(groups, items):
    """`groups` after these items, the last of a serial winning."""
    changes = {}
    for op, issuer_no, serial, revocation_time, reason in items:
        row = serial + revocation_time.to_bytes(4, "big") + bytes((reason,)) if op == 1 else None
        changes.setdefault((issuer_no, len(serial)), {})[serial] = row
    merged = dict(groups)
    for key, rows in changes.items():
        merged[key] = _merge(merged.get(key, b""), key[1], rows)
    return {key: rows for key, rows in merged.items() if rows}


def _merge(bytes rows, size_t serial_len, changes):
    """Sorted rows after {serial: row or None}: runs between two changes are copied whole."""
    cdef const uint8_t* p = rows
    cdef size_t stride = serial_len + ROW_TAIL
    cdef size_t count = len(rows) // stride
    cdef size_t begin = 0
    cdef size_t at
    parts = []
    for serial in sorted(changes):
        at = _lower_bound(p, begin, count, stride, serial, serial_len)
        parts.append(rows[begin * stride:at * stride])
        if changes[serial] is not None:
            parts.append(changes[serial])
        if at < count and memcmp(p + at * stride, <const uint8_t*><bytes>serial, serial_len) == 0:
            at += 1
        begin = at
    parts.append(rows[begin * stride:])
    return b"".join(parts)


cdef size_t _lower_bound(const uint8_t* rows, size_t low, size_t high, size_t stride, bytes serial, size_t n):
    cdef const uint8_t* wanted = serial
    cdef size_t middle
    while low < high:
        middle = low + (high - low) // 2
        if memcmp(rows + middle * stride, wanted, n) < 0:
            low = middle + 1
        else:
            high = middle
    return low


def missing_rows(before, after):
    """The rows of `before` whose serials `after` does not have."""
    found = {key: _pair(rows, after.get(key, b""), key[1], False) for key, rows in before.items()}
    return {key: rows for key, rows in found.items() if rows}


def join_groups(groups, more):
    """Both together; where both have a serial the row of `groups` stands."""
    return {key: _pair(more.get(key, b""), groups.get(key, b""), key[1], True) for key in {*groups, *more}}


def _pair(bytes a, bytes b, size_t serial_len, bint joined):
    """Rows of `a` that `b` lacks, and with `joined` those of `b` between them."""
    cdef const uint8_t* p = a
    cdef const uint8_t* q = b
    cdef const uint8_t* a_end = p + len(a)
    cdef const uint8_t* b_end = q + len(b)
    cdef size_t stride = serial_len + ROW_TAIL
    cdef size_t at = 0
    cdef int order
    cdef uint8_t* out = <uint8_t*>malloc(len(a) + len(b) + 1)
    if out == NULL:
        raise MemoryError
    try:
        while p != a_end or q != b_end:
            order = 1 if p == a_end else -1 if q == b_end else memcmp(p, q, serial_len)
            if order < 0 or joined:
                memcpy(out + at, p if order < 0 else q, stride)
                at += stride
            if order <= 0:
                p += stride
            if order >= 0:
                q += stride
        return (<const char*>out)[:at]
    finally:
        free(out)


@cython.final
cdef class SnapshotReader:
    """`feed` the octets of `COPY (select item from feed_snapshot) TO STDOUT (FORMAT binary)` in pieces of any size,
    then take `groups`. WireError when the stream is not that.
    """

    cdef bytes _rest
    cdef dict _parts
    cdef bint _begun
    cdef bint _ended

    def __cinit__(self):
        self._rest = b""
        self._parts = {}

    def feed(self, piece not None):
        """The next octets."""
        cdef bytes octets = self._rest + bytes(piece)
        cdef const uint8_t* p = octets
        cdef const uint8_t* end = p + len(octets)
        cdef size_t used
        if not self._begun:
            if end - p < COPY_HEAD:
                self._rest = octets
                return
            if octets[:11] != b"PGCOPY\n\xff\r\n\0" or octets[15:COPY_HEAD] != b"\0\0\0\0":
                raise WireError("not a binary COPY stream", 0)
            self._begun = True
            p += COPY_HEAD
        while not self._ended:
            used = self._row(p, end)
            if used == 0:
                break
            p += used
        self._rest = (<const char*>p)[:end - p]
        if self._ended and self._rest:
            raise WireError("octets after the end of the COPY stream", len(octets))

    cdef size_t _row(self, const uint8_t* p, const uint8_t* end) except? 0:
        """Octets of the row at `p`; 0 when it is not whole yet, or the stream ends here."""
        cdef size_t left = end - p
        cdef size_t item_len
        cdef size_t n
        cdef uint8_t row[20 + ROW_TAIL]
        if left < 2:
            return 0
        if p[0] == 0xFF and p[1] == 0xFF:
            self._ended = True
            return 2
        if p[0] != 0 or p[1] != 1:
            raise WireError("a row of the snapshot has one column", 0)
        if left < 10:
            return 0
        item_len = (<uint32_t>p[2] << 24) | (<uint32_t>p[3] << 16) | (<uint32_t>p[4] << 8) | p[5]
        n = p[9]
        if n < 1 or n > 20 or item_len != ITEM_FIXED + n or p[6] != 1:
            raise WireError("not a revoked item", 0)
        if left < 6 + item_len:
            return 0
        memcpy(row, p + 10, n)
        memcpy(row + n, p + 10 + n + 4, ROW_TAIL)      # of the int8 time the low half: ours end in 2106
        self._part((<uint16_t>p[7] << 8) | p[8], n).extend((<const char*>row)[:n + ROW_TAIL])
        return 6 + item_len

    cdef object _part(self, uint16_t issuer_no, size_t serial_len):
        part = self._parts.get((issuer_no, serial_len))
        if part is None:
            part = self._parts[issuer_no, serial_len] = bytearray()
        return part

    def groups(self):
        """All rows, sorted; WireError when the stream has not ended."""
        if not self._ended:
            raise WireError("the COPY stream is cut short", len(self._rest))
        return {key: _sorted(part, key[1]) for key, part in self._parts.items()}


cdef int by_serial(const void* a, const void* b, void* serial_len) noexcept nogil:
    return memcmp(a, b, (<size_t*>serial_len)[0])


cdef bytes _sorted(part, size_t serial_len):
    cdef bytearray rows = part
    cdef uint8_t* first = rows
    cdef size_t stride = serial_len + ROW_TAIL
    cdef size_t count = len(rows) // stride
    cdef size_t i
    for i in range(1, count):
        if memcmp(first + (i - 1) * stride, first + i * stride, serial_len) >= 0:
            qsort_r(first, count, stride, by_serial, &serial_len)
            break
    return bytes(rows)
