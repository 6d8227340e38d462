"""revokedCertificates of a CRL, written from the ledger's COPY stream: one pass, no Python object for an entry.

RFC 5280 5.1.2.6 (entries), 5.3.1 (reasonCode), 5.3.2 (invalidityDate), 5.3.3 (certificateIssuer). A row: serial bytea,
revocation time int8 (epoch seconds), reason int2, invalidity date int8 or NULL, certificateIssuer bytea or NULL (DER of
its GeneralNames). Rows of one certificate issuer ascend by the bytes of the serial, so that none comes twice unseen.

    SEQUENCE { userCertificate INTEGER, revocationDate Time, crlEntryExtensions SEQUENCE OF Extension OPTIONAL }
"""

cimport cython

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from _fastocsp.crl.copy_row cimport BAD, CUT, END, YEAR_10000, Outcome, Row, read_row
from _fastocsp.crl.entry_buffer cimport EntryBuffer
from _fastocsp.wire.codes cimport MAX_SERIAL
from _fastocsp.wire.der cimport (
    GENERALIZED_TIME, OCTET_STRING, SEQUENCE, Cursor, Fault, Octets, octets_before, octets_left, open_cursor,
)
from _fastocsp.wire.gentime cimport store_clock, store_day
from _fastocsp.wire.serial cimport put_serial, serial_size
from _fastocsp.wire.sink cimport (
    Sink, bytes_sink, claim, new_bytes, octets_of, open_sink, put_header, put_octet, put_octets, put_static,
    sink_used, tlv_size,
)

from _fastocsp.wire.errors import WireError

cdef enum:
    UTC_TIME = 0x17
    COPY_HEAD = 19                # signature, flags, length of an extension that is not there
    REASON_EXTENSION = 12
    DATE_EXTENSION = 26
    FIXED_ENTRY = 128             # bytes of an entry without its certificateIssuer, at most
    REMOVE_FROM_CRL = 8
    LAST_REASON = 10
    MAX_SHARDS = 4096

cdef int64_t YEAR_2050 = 2524608000             # the first second that UTCTime does not have, RFC 5280 5.1.2.4

cdef struct Day:
    int64_t number                # since the epoch; -1 before the first use
    uint8_t digits[8]             # YYYYMMDD


cdef inline void turn_to(Day* day, int64_t number) noexcept nogil:
    store_day(day.digits, number)
    day.number = number


cdef inline size_t time_size(int64_t seconds) noexcept nogil:
    return 15 if seconds < YEAR_2050 else 17


cdef inline void put_time(Sink* s, Day* day, int64_t seconds, bint generalized) noexcept nogil:
    """YYMMDDHHMMSSZ as UTCTime, YYYYMMDDHHMMSSZ as GeneralizedTime; 0 <= seconds < YEAR_10000."""
    cdef int64_t number = seconds // 86400
    cdef uint32_t of_day = <uint32_t>(seconds - 86400 * number)
    cdef uint8_t* to = claim(s, 17 if generalized else 15)
    if to == NULL:
        return
    if number != day.number:
        turn_to(day, number)
    if generalized:
        to[0] = GENERALIZED_TIME
        to[1] = 15
        memcpy(to + 2, day.digits, 8)
        to += 10
    else:
        to[0] = UTC_TIME
        to[1] = 13
        memcpy(to + 2, &day.digits[2], 6)
        to += 8
    store_clock(to, of_day)
    to[6] = b"Z"


cdef inline size_t issuer_content(size_t n) noexcept nogil:
    """Content bytes of the certificateIssuer extension with n bytes of GeneralNames; 0 for none."""
    return 8 + tlv_size(n) if n else 0


cdef inline void put_entry(Sink* s, const Row* row, Day* day, Day* invalid) noexcept nogil:
    cdef size_t issuer = issuer_content(row.certificate_issuer.n)
    cdef size_t extensions = (
        (REASON_EXTENSION if row.reason else 0)
        + (DATE_EXTENSION if row.invalidity_date >= 0 else 0)
        + (tlv_size(issuer) if issuer else 0)
    )
    cdef size_t content = tlv_size(serial_size(row.serial)) + time_size(row.revoked_at)
    put_header(s, SEQUENCE, content + (tlv_size(extensions) if extensions else 0))
    put_serial(s, row.serial)
    put_time(s, day, row.revoked_at, row.revoked_at >= YEAR_2050)
    if not extensions:
        return
    put_header(s, SEQUENCE, extensions)
    if row.reason:                                            # unspecified is left out, RFC 5280 5.3.1
        put_static(s, "\x30\x0a\x06\x03\x55\x1d\x15\x04\x03\x0a\x01", 11)
        put_octet(s, <uint8_t>row.reason)
    if row.invalidity_date >= 0:
        put_static(s, "\x30\x18\x06\x03\x55\x1d\x18\x04\x11", 9)
        put_time(s, invalid, row.invalidity_date, True)
    if issuer:
        put_header(s, SEQUENCE, issuer)
        put_static(s, "\x06\x03\x55\x1d\x1d\x01\x01\xff", 8)
        put_header(s, OCTET_STRING, row.certificate_issuer.n)
        put_octets(s, row.certificate_issuer)


cdef inline uint64_t shard_hash(Octets serial) noexcept nogil:
    """FNV-1a of 64 bits, finished as MurmurHash3 does: for ever the same, certificates name shards by it."""
    cdef uint64_t h = 0xCBF29CE484222325ULL
    cdef size_t i
    for i in range(serial.n):
        h = (h ^ serial.p[i]) * 0x100000001B3ULL
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCDULL
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53ULL
    return h ^ h >> 33


def shard_of(bytes serial_number not None, int shards):
    if not 1 <= shards <= MAX_SHARDS:
        raise ValueError(f"1 to {MAX_SHARDS} shards, not {shards}")
    return shard_hash(octets_of(serial_number)) % <uint64_t>shards


def time_element(int64_t seconds, bint generalized=False):
    cdef Day day
    cdef Sink s
    cdef bytes element
    if not 0 <= seconds < <int64_t>YEAR_10000:
        raise ValueError(f"the wire has no such time: {seconds}")
    generalized = generalized or seconds >= YEAR_2050
    day.number = -1
    element = new_bytes(17 if generalized else 15)
    bytes_sink(&s, element)
    put_time(&s, &day, seconds, generalized)
    return element


@cython.final
cdef class EntryWriter:
    """See the stub."""

    cdef bytes _rest
    cdef EntryBuffer _whole       # all entries
    cdef list _parts              # that, then an EntryBuffer for each shard
    cdef size_t _shards
    cdef bint _is_delta
    cdef bint _begun
    cdef bint _ended
    cdef Day _day
    cdef Day _invalid
    cdef uint8_t _last[MAX_SERIAL]
    cdef size_t _last_n
    cdef readonly size_t count
    cdef readonly int64_t latest

    def __cinit__(self, int shards=0, bint is_delta=False):
        if not 0 <= shards <= MAX_SHARDS:
            raise ValueError(f"0 to {MAX_SHARDS} shards, not {shards}")
        self._shards = shards
        self._is_delta = is_delta
        self._rest = b""
        self._day.number = self._invalid.number = -1
        self._whole = EntryBuffer()
        self._parts = [self._whole]
        for _ in range(shards):
            self._parts.append(EntryBuffer())

    def feed(self, piece not None):
        cdef bytes octets = self._rest + bytes(piece)
        cdef Octets all_of_it = octets_of(octets)
        cdef Fault fault
        cdef Cursor c
        cdef const uint8_t* begin
        cdef Row row
        cdef Outcome outcome
        if self._parts is None:
            raise ValueError("the entries were taken already")
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
            outcome = read_row(&c, &row)
            if outcome == CUT:
                c.p = begin
                break
            if outcome == BAD:
                raise WireError("not a row of a revoked certificate", octets_before(all_of_it.p, begin))
            if outcome == END:
                self._ended = True
                break
            self._take(&row)
        if self._ended and octets_left(&c):
            raise WireError("octets after the end of the COPY stream", octets_before(all_of_it.p, c.p))
        self._rest = octets[octets_before(all_of_it.p, c.p):]

    cdef int _take(self, const Row* row) except -1:
        """One entry, to all of them and to its shard."""
        cdef size_t room = FIXED_ENTRY + (16 + row.certificate_issuer.n if row.certificate_issuer.n else 0)
        cdef EntryBuffer part = self._whole
        cdef Sink s
        cdef Octets entry
        if row.reason == 7 or row.reason > LAST_REASON or (row.reason == REMOVE_FROM_CRL and not self._is_delta):
            raise WireError(f"reason {row.reason} may not stand in this CRL")
        self._require_ascent(row)
        if part.room - part.used < room:
            part.grow(room)
        open_sink(&s, part.p + part.used, part.room - part.used)
        put_entry(&s, row, &self._day, &self._invalid)
        if s.overflow:
            raise WireError("an entry outgrew its room")
        entry.p = s.start
        entry.n = sink_used(&s)
        part.used += entry.n
        if self._shards:
            part = <EntryBuffer>self._parts[1 + <Py_ssize_t>(shard_hash(row.serial) % self._shards)]
            if part.room - part.used < entry.n:
                part.grow(entry.n)
            memcpy(part.p + part.used, entry.p, entry.n)
            part.used += entry.n
        self.count += 1
        self.latest = max(self.latest, row.revoked_at)
        return 0

    cdef int _require_ascent(self, const Row* row) except -1:
        cdef size_t n = min(self._last_n, row.serial.n)
        cdef int order = memcmp(self._last, row.serial.p, n)
        if row.certificate_issuer.n == 0 and (order > 0 or (order == 0 and self._last_n >= row.serial.n)):
            raise WireError("a serial number comes twice, or not in its order")
        memcpy(self._last, row.serial.p, row.serial.n)
        self._last_n = row.serial.n
        return 0

    def take_parts(self):
        if not self._ended or self._parts is None:
            raise WireError("the COPY stream is cut short", len(self._rest))
        taken = self._parts
        self._parts = None
        return taken
