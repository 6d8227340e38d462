"""What the ledger sends an edge: items of the feed, and the rows of a whole snapshot, which are sorted here.

feed_item (migration 0002): op u8 | issuer_no i16 | length of the serial u8 | serial | revocation time i64, epoch
seconds | reason u8 | invalidity date i64. A snapshot is a COPY of columns in Postgres' binary format. An empty serial
is the fence of an issuer (image.pyx): op 1 sets it, op 2 lifts it.
"""

cimport cython

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from _fastocsp.revoked.rows cimport ROW_TAIL, be32
from _fastocsp.wire.codes cimport MAX_SERIAL

from _fastocsp.wire.errors import WireError

cdef extern from *:
    """
    #include <stdlib.h>
    """
    void qsort_r(void* base, size_t count, size_t size, int (*compare)(const void*, const void*, void*) noexcept nogil,
                 void* argument) noexcept nogil

cdef enum:
    ITEM_FIXED = 21               # bytes of a feed item besides its serial
    COPY_HEAD = 19                # signature, flags, length of an extension that is not there
    ROW_SERIAL = 12               # where a row's serial begins: count of columns, issuer number, two lengths
    ROW_AFTER = 18                # bytes behind the serial: a time, a reason, their lengths
    PART_OCTETS = 4096
    BUCKETS = 65536

cdef uint64_t UNIX_BEFORE_SQL = 946_684_800_000_000       # microseconds from 1970 to 2000, where SQL begins
cdef uint64_t LAST_MICROSECOND = 253_402_300_800_000_000


def parse_items(bytes payload not None):
    """(op, issuer_no, serial, revocation_time, reason) of each feed item of a payload."""
    cdef const uint8_t* p = payload
    cdef size_t left = len(payload)
    cdef size_t n
    found = []
    while left:
        if left < ITEM_FIXED or p[3] > MAX_SERIAL or left - ITEM_FIXED < p[3]:
            raise WireError("feed item is cut short", len(payload) - left)
        n = p[3]
        if p[0] < 1 or p[0] > (4 if n else 2):
            raise WireError("feed item has an unknown operation", len(payload) - left)
        # the times are int8 on the wire; ours end in 2106
        found.append((p[0], (<int>p[1] << 8) | p[2], (<const char*>p)[4:4 + n], be32(p + 4 + n + 4), p[4 + n + 8]))
        p += ITEM_FIXED + n
        left -= ITEM_FIXED + n
    return found


cdef struct Part:                 # rows of one group, as they come
    uint16_t issuer_no
    uint8_t serial_len
    uint8_t* rows
    size_t used, room


@cython.final
cdef class SnapshotReader:
    """`feed` the bytes of `COPY (select issuer_no, serial_number, revoked_at, reason from feed_snapshot) TO STDOUT
    (FORMAT binary)` in pieces of any size, then take `groups`. WireError when the stream is not that.
    """

    cdef bytes _rest
    cdef bint _begun
    cdef bint _ended
    cdef Part* parts
    cdef size_t part_count
    cdef Part* last

    def __cinit__(self):
        self._rest = b""

    def __dealloc__(self):
        cdef size_t i
        for i in range(self.part_count):
            free(self.parts[i].rows)
        free(self.parts)

    def feed(self, piece not None):
        """The next bytes."""
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
        """Bytes of the row at `p`; 0 when it is not whole yet, or the stream ends here."""
        cdef size_t left = end - p
        cdef size_t n
        cdef uint64_t at
        cdef uint8_t* row
        if left < 2:
            return 0
        if be16(p) == 0xFFFF:
            self._ended = True
            return 2
        if be16(p) != 4:
            raise WireError("a row of the snapshot has four columns", 0)
        if left < ROW_SERIAL:
            return 0
        n = be32(p + ROW_SERIAL - 4)
        if be32(p + 2) != 2 or n > MAX_SERIAL:
            raise WireError("not a revoked certificate", 0)
        if left < ROW_SERIAL + n + ROW_AFTER:
            return 0
        if be32(p + ROW_SERIAL + n) != 8 or be32(p + ROW_SERIAL + n + 12) != 2:
            raise WireError("not a revoked certificate", 0)
        at = (<uint64_t>be32(p + ROW_SERIAL + n + 4) << 32) | be32(p + ROW_SERIAL + n + 8)
        if at + UNIX_BEFORE_SQL > LAST_MICROSECOND:
            raise WireError("a time of revocation before 1970 or after 9999", 0)
        row = self._new_row(be16(p + 6), n)
        memcpy(row, p + ROW_SERIAL, n)
        put_be32(row + n, <uint32_t>((at + UNIX_BEFORE_SQL) // 1000000))     # ours end in 2106
        row[n + 4] = p[ROW_SERIAL + n + 17]
        return ROW_SERIAL + n + ROW_AFTER

    cdef uint8_t* _new_row(self, uint16_t issuer_no, size_t serial_len) except NULL:
        cdef Part* part = self.last
        cdef uint8_t* rows
        if part == NULL or part.issuer_no != issuer_no or part.serial_len != serial_len:
            part = self.last = self._part(issuer_no, serial_len)
        if part.room - part.used < serial_len + ROW_TAIL:
            rows = <uint8_t*>realloc(part.rows, 2 * part.room + PART_OCTETS)
            if rows == NULL:
                raise MemoryError
            part.rows, part.room = rows, 2 * part.room + PART_OCTETS
        part.used += serial_len + ROW_TAIL
        return part.rows + part.used - serial_len - ROW_TAIL

    cdef Part* _part(self, uint16_t issuer_no, size_t serial_len) except NULL:
        cdef Part* parts
        cdef size_t i
        for i in range(self.part_count):
            if self.parts[i].issuer_no == issuer_no and self.parts[i].serial_len == serial_len:
                return &self.parts[i]
        parts = <Part*>realloc(self.parts, (self.part_count + 1) * sizeof(Part))
        if parts == NULL:
            raise MemoryError
        self.parts = parts
        parts += self.part_count
        parts.issuer_no, parts.serial_len, parts.rows, parts.used, parts.room = issuer_no, serial_len, NULL, 0, 0
        self.part_count += 1
        return parts

    def groups(self):
        """All rows, sorted; WireError when the stream has not ended."""
        cdef size_t i
        if not self._ended:
            raise WireError("the COPY stream is cut short", len(self._rest))
        return {(self.parts[i].issuer_no, self.parts[i].serial_len): _sorted(&self.parts[i])
                for i in range(self.part_count)}


cdef int by_serial(const void* a, const void* b, void* serial_len) noexcept nogil:
    return memcmp(a, b, (<size_t*>serial_len)[0])


cdef bytes _sorted(const Part* part):
    cdef bytes rows = (<const char*>part.rows)[:part.used]
    cdef size_t stride = part.serial_len + ROW_TAIL
    cdef size_t count = part.used // stride
    cdef uint32_t* ends
    if part.serial_len == 0:
        return rows[:stride]        # fences of one issuer are one
    if is_sorted(part.rows, count, stride, part.serial_len):
        return rows
    ends = <uint32_t*>malloc(BUCKETS * sizeof(uint32_t))
    if ends == NULL:
        raise MemoryError
    sort_rows(part.rows, <uint8_t*><const char*>rows, count, stride, part.serial_len, ends)
    free(ends)
    return rows


cdef bint is_sorted(const uint8_t* rows, size_t count, size_t stride, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(1, count):
        if memcmp(rows + (i - 1) * stride, rows + i * stride, n) >= 0:
            return False
    return True


cdef void sort_rows(const uint8_t* rows, uint8_t* out, size_t count, size_t stride, size_t n,
                    uint32_t* ends) noexcept nogil:
    """Into 65,536 buckets by the first two bytes in which serials differ, then each bucket by itself."""
    cdef size_t same = shared_octets(rows, count, stride, n)
    cdef uint32_t at, begin = 0
    cdef size_t i
    memset(ends, 0, BUCKETS * sizeof(uint32_t))
    for i in range(count):
        ends[bucket_of(rows + i * stride + same, n - same)] += 1
    for i in range(BUCKETS):
        at = ends[i]
        ends[i] = begin
        begin += at
    for i in range(count):
        at = bucket_of(rows + i * stride + same, n - same)
        memcpy(out + ends[at] * stride, rows + i * stride, stride)
        ends[at] += 1
    begin = 0
    for i in range(BUCKETS):
        if ends[i] - begin > 1:
            qsort_r(out + begin * stride, ends[i] - begin, stride, by_serial, &n)
        begin = ends[i]


cdef size_t shared_octets(const uint8_t* rows, size_t count, size_t stride, size_t n) noexcept nogil:
    """Leading bytes that all serials have in common, at most n - 1."""
    cdef size_t same = n - 1
    cdef size_t i
    for i in range(1, count):
        while memcmp(rows, rows + i * stride, same) != 0:
            same -= 1
    return same


cdef inline uint32_t bucket_of(const uint8_t* p, size_t n) noexcept nogil:
    return <uint32_t>p[0] << 8 | (p[1] if n > 1 else 0)


cdef inline uint16_t be16(const uint8_t* p) noexcept nogil:
    return (<uint16_t>p[0] << 8) | p[1]


cdef inline void put_be32(uint8_t* p, uint32_t v) noexcept nogil:
    p[0], p[1], p[2], p[3] = <uint8_t>(v >> 24), <uint8_t>(v >> 16), <uint8_t>(v >> 8), <uint8_t>v
