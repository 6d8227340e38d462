"""Revoked certificates in any order from the ledger's COPY stream, as the sorted stream that `EntryWriter` reads.

Postgres sorts a million rows in seconds, and reads them in the order of the table in a third of one. Here each row is a
record of 33 bytes. Records are sorted where they are, and their memory goes back as they are read, so that the rows and
the CRL that is made of them are never both in memory as a whole.

A row has serial bytea, revocation time timestamptz, reason int2, invalidity date timestamptz or NULL. Times become
epoch seconds, rounded down.
"""

cimport cython

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memset

from _fastocsp.wire.codes cimport MAX_SERIAL
from _fastocsp.wire.der cimport (
    Cursor, Fault, Octets, octets_before, octets_left, open_cursor, read_big_endian, read_octets, read_u16, read_u32,
)
from _fastocsp.wire.sink cimport (
    Sink, bytes_sink, new_bytes, octets_of, put_big_endian, put_octets, put_static, sink_room, sink_used,
    store_big_endian,
)

from _fastocsp.wire.errors import WireError

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void* begin, size_t n, int advice)
    int MADV_DONTNEED

cdef enum:
    COPY_HEAD = 19
    COLUMNS = 4
    KEY = 22                      # a serial number, filled up with zeros, and its length: ordered as serial numbers are
    FEW = 24                      # records that are sorted by insertion
    FIRST_ROOM = 64
    ROW = 2 + 4 + 21 + 4 + 8 + 4 + 2 + 4 + 8 + 4    # bytes of a row for the writer, at most
    PAGE = 4096
    PAGES = 1 << 20               # bytes of records that are given back at a time

cdef int64_t EPOCH = 946684800                  # 2000-01-01, where Postgres begins to count
cdef int64_t YEAR_10000 = 253402300800
cdef uint64_t NO_DATE = 0xFFFFFFFFFF

cdef packed struct Record:
    uint8_t key[KEY]
    uint8_t reason
    uint8_t revoked_at[5]
    uint8_t invalidity_date[5]    # NO_DATE: none

cdef enum Outcome:
    BAD = -1
    CUT = 0                       # the row goes on in the next piece
    TAKEN = 1
    END = 2


cdef inline Outcome read_seconds(Cursor* c, bint is_optional, uint64_t* out) noexcept nogil:
    """A timestamptz from 1970 to 9999, microseconds since 2000, as epoch seconds."""
    cdef uint32_t n = 0
    cdef uint64_t raw = 0
    cdef int64_t micros, seconds
    out[0] = NO_DATE
    if read_u32(c, &n) < 0:
        return CUT
    if n == 0xFFFFFFFFU:
        return TAKEN if is_optional else BAD
    if n != 8:
        return BAD
    if read_big_endian(c, 8, &raw) < 0:
        return CUT
    micros = <int64_t>raw
    seconds = micros // 1000000
    seconds += EPOCH - (1 if micros < 0 and micros != 1000000 * seconds else 0)
    if not 0 <= seconds < YEAR_10000:
        return BAD
    out[0] = <uint64_t>seconds
    return TAKEN


cdef inline Outcome read_record(Cursor* c, Record* record) noexcept nogil:
    cdef uint16_t columns = 0
    cdef uint16_t reason = 0
    cdef uint32_t n = 0
    cdef uint64_t seconds = 0
    cdef Octets serial
    cdef Outcome outcome
    if read_u16(c, &columns) < 0:
        return CUT
    if columns == 0xFFFF:
        return END
    if columns != COLUMNS:
        return BAD
    if read_u32(c, &n) < 0:
        return CUT
    if not 1 <= n <= MAX_SERIAL:
        return BAD
    if read_octets(c, n, &serial) < 0:
        return CUT
    memset(record.key, 0, KEY)
    memcpy(record.key, serial.p, serial.n)
    record.key[KEY - 1] = <uint8_t>serial.n
    outcome = read_seconds(c, False, &seconds)
    if outcome != TAKEN:
        return outcome
    store_big_endian(record.revoked_at, seconds, 5)
    if read_u32(c, &n) < 0:
        return CUT
    if n != 2:
        return BAD
    if read_u16(c, &reason) < 0:
        return CUT
    if reason > 0xFF:
        return BAD
    record.reason = <uint8_t>reason
    outcome = read_seconds(c, True, &seconds)
    if outcome == TAKEN:
        store_big_endian(record.invalidity_date, seconds, 5)
    return outcome


cdef void sort_few(Record* records, size_t n, size_t known) noexcept nogil:
    """By insertion; the first `known` bytes of all keys are equal."""
    cdef size_t i, j
    cdef Record moved
    for i in range(1, n):
        if memcmp(records[i - 1].key + known, records[i].key + known, KEY - known) <= 0:
            continue
        moved = records[i]
        j = i
        while j > 0 and memcmp(records[j - 1].key + known, moved.key + known, KEY - known) > 0:
            records[j] = records[j - 1]
            j -= 1
        records[j] = moved


cdef void sort(Record* records, size_t n, size_t known) noexcept nogil:
    """Radix sort in place, from the byte after the `known` ones, which are equal in all keys."""
    cdef size_t ends[256]
    cdef size_t heads[256]
    cdef size_t i, begin
    cdef int value
    cdef Record moved, other
    while True:
        if n <= FEW:
            sort_few(records, n, known)
            return
        if known == KEY:
            return
        memset(ends, 0, sizeof(ends))
        for i in range(n):
            ends[records[i].key[known]] += 1
        if ends[records[0].key[known]] < n:
            break
        known += 1
    begin = 0
    for value in range(256):
        heads[value] = begin
        begin += ends[value]
        ends[value] = begin
    for value in range(256):
        while heads[value] < ends[value]:
            moved = records[heads[value]]
            while moved.key[known] != value:         # each round brings one record to its place
                other = records[heads[moved.key[known]]]
                records[heads[moved.key[known]]] = moved
                heads[moved.key[known]] += 1
                moved = other
            records[heads[value]] = moved
            heads[value] += 1
    begin = 0
    for value in range(256):
        if ends[value] - begin > 1:
            sort(records + begin, ends[value] - begin, known + 1)
        begin = ends[value]


cdef inline void put_row(Sink* s, const Record* record) noexcept nogil:
    cdef Octets serial
    cdef uint64_t date = big_endian(record.invalidity_date)
    serial.p = &record.key[0]
    serial.n = record.key[KEY - 1]
    put_static(s, "\0\5", 2)
    put_big_endian(s, serial.n, 4)
    put_octets(s, serial)
    put_static(s, "\0\0\0\x08", 4)
    put_big_endian(s, big_endian(record.revoked_at), 8)
    put_static(s, "\0\0\0\2\0", 5)
    put_big_endian(s, record.reason, 1)
    if date != NO_DATE:
        put_static(s, "\0\0\0\x08", 4)
        put_big_endian(s, date, 8)
    else:
        put_static(s, "\xff\xff\xff\xff", 4)
    put_static(s, "\xff\xff\xff\xff", 4)


cdef inline uint64_t big_endian(const uint8_t* octets) noexcept nogil:
    """The number of five bytes."""
    cdef uint64_t number = 0
    cdef int i
    for i in range(5):
        number = number << 8 | octets[i]
    return number


@cython.final
cdef class RowSorter:
    """See the stub."""

    cdef bytes _rest
    cdef Record* _records
    cdef size_t _room, _next
    cdef uint8_t* _given_back     # the records before are read, and their memory is given back
    cdef bint _begun, _ended, _sorted, _finished
    cdef readonly size_t count

    def __cinit__(self):
        self._rest = b""

    def __dealloc__(self):
        free(self._records)

    def feed(self, piece not None):
        cdef bytes octets = self._rest + bytes(piece)
        cdef Octets all_of_it = octets_of(octets)
        cdef Fault fault
        cdef Cursor c
        cdef const uint8_t* begin
        cdef Outcome outcome = TAKEN
        if self._sorted:
            raise ValueError("the rows are being read already")
        fault.at = NULL
        open_cursor(&c, all_of_it, &fault)
        if not self._begun:
            if all_of_it.n < COPY_HEAD:
                self._rest = octets
                return
            if octets[:11] != b"PGCOPY\n\xff\r\n\0" or octets[15:COPY_HEAD] != b"\0\0\0\0":
                raise WireError("not a binary COPY stream", 0)
            self._begun = True
            c.p += COPY_HEAD
        begin = c.p
        while not self._ended:
            begin = c.p
            if self.count == self._room:
                self._grow()
            outcome = read_record(&c, self._records + self.count)
            if outcome != TAKEN:
                break
            self.count += 1
        if outcome == CUT:
            c.p = begin
        if outcome == BAD:
            raise WireError("not a row of a revoked certificate", octets_before(all_of_it.p, begin))
        self._ended = self._ended or outcome == END
        if self._ended and octets_left(&c):
            raise WireError("octets after the end of the COPY stream", octets_before(all_of_it.p, c.p))
        self._rest = octets[octets_before(all_of_it.p, c.p):]

    cdef int _grow(self) except -1:
        cdef size_t room = max(2 * self._room, <size_t>FIRST_ROOM)
        cdef Record* records = <Record*>realloc(self._records, room * sizeof(Record))
        if records == NULL:
            raise MemoryError
        self._records, self._room = records, room
        return 0

    def read(self, size_t room=1 << 18):
        cdef bytes piece
        cdef Sink s
        if not self._ended:
            raise WireError("the COPY stream is cut short", len(self._rest))
        if self._finished:
            return b""
        piece = new_bytes(max(room, <size_t>1024))
        bytes_sink(&s, piece)
        if not self._sorted:
            with nogil:
                sort(self._records, self.count, 0)
            self._sorted = True
            self._given_back = <uint8_t*>self._records
            put_static(&s, "PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", COPY_HEAD)
        while self._next < self.count and sink_room(&s) >= ROW + 2:
            put_row(&s, self._records + self._next)
            self._next += 1
        self._give_back()
        if self._next == self.count:
            put_static(&s, "\xff\xff", 2)
            self._finished = True
        return piece[:sink_used(&s)]

    cdef void _give_back(self) noexcept:
        """Whole pages of what was read; what they hold is never read again."""
        cdef size_t begin = (<size_t>self._given_back + PAGE - 1) & ~<size_t>(PAGE - 1)
        cdef size_t end = <size_t>(self._records + self._next) & ~<size_t>(PAGE - 1)
        if end > begin and end - begin >= PAGES:
            madvise(<void*>begin, end - begin, MADV_DONTNEED)
            self._given_back = <uint8_t*>end
