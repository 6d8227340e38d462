"""revokedCertificates of another CA's CRL as rows for the ledger's COPY: one pass, no Python object per entry.

RFC 5280 5.1.2.6 (entries), 5.3 (entry extensions: a critical one that is not understood forbids the whole CRL). Rows
are COPY binary: serial bytea, revocation time int8 (epoch seconds), reason int2, invalidity date int8 or NULL. Order is
the CRL's; a serial number may come twice.

An odd value in an entry does not cost the CRL, and every listed certificate that a CertID can name is revoked:

    serial number            skipped over 20 bytes or empty; else its key (wire/serial.pxd), also of a negative one
    revocation time          before 1970 it is 1970; after `latest`, or unreadable, it is `latest`
    reason                   unknown, or removeFromCRL outside a delta: unspecified
    invalidity date          left out when the ledger cannot hold it or it is unreadable
"""

cimport cython

from libc.stdint cimport int64_t, uint8_t

from _fastocsp.crl.entry cimport Counts, Entry, find_entries, read_entry
from _fastocsp.wire.der cimport Cursor, Element, Fault, octets_left, open_cursor, read_element, wire_error
from _fastocsp.wire.sink cimport (
    Sink, bytes_sink, new_bytes, octets_of, put_big_endian, put_octet, put_octets, put_static, sink_room, sink_used,
)

from _fastocsp.wire.errors import WireError

cdef enum:
    ROW = 2 + 4 + 21 + 4 + 8 + 4 + 2 + 4 + 8      # bytes of a row at most
    COPY_HEAD = 19


cdef inline void put_row(Sink* s, const Entry* entry) noexcept nogil:
    put_big_endian(s, 4, 2)
    put_big_endian(s, entry.serial.n + entry.is_negative, 4)
    if entry.is_negative:
        put_octet(s, 0)
    put_octets(s, entry.serial)
    put_big_endian(s, 8, 4)
    put_big_endian(s, <unsigned long long>entry.revoked_at, 8)
    put_big_endian(s, 2, 4)
    put_big_endian(s, entry.reason, 2)
    if entry.invalidity_date > 0:
        put_big_endian(s, 8, 4)
        put_big_endian(s, <unsigned long long>entry.invalidity_date, 8)
    else:
        put_static(s, "\xff\xff\xff\xff", 4)


@cython.final
cdef class EntryReader:
    cdef bytes _der
    cdef Cursor _entries
    cdef Fault _fault
    cdef int64_t _latest
    cdef bint _is_delta, _begun, _ended
    cdef Counts _counts

    def __cinit__(self, bytes der not None, int64_t latest, bint is_delta=False):
        cdef Cursor c
        self._der = der
        self._latest = latest
        self._is_delta = is_delta
        self._begun = self._ended = False
        self._counts = Counts(0, 0, 0, 0, 0)
        self._fault.at = NULL
        open_cursor(&c, octets_of(der), &self._fault)
        if find_entries(&c, &self._entries) < 0:
            raise self._error()
        self._entries.fault = &self._fault

    @property
    def count(self):
        return self._counts.rows

    @property
    def skipped(self):
        return self._counts.skipped

    @property
    def times_replaced(self):
        return self._counts.times

    @property
    def reasons_replaced(self):
        return self._counts.reasons

    @property
    def dates_dropped(self):
        return self._counts.dates

    cdef object _error(self):
        return wire_error(WireError, &self._fault, octets_of(self._der).p)

    def read(self, size_t room=1 << 18):
        cdef bytes piece
        cdef Sink s
        cdef int outcome
        if self._ended:
            return b""
        piece = new_bytes(max(room, <size_t>1024))
        bytes_sink(&s, piece)
        if not self._begun:
            put_static(&s, "PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", COPY_HEAD)
            self._begun = True
        with nogil:
            outcome = self._fill(&s)
        if outcome < 0:
            raise self._error()
        if not octets_left(&self._entries):
            put_static(&s, "\xff\xff", 2)
            self._ended = True
        return piece[:sink_used(&s)]

    cdef int _fill(self, Sink* s) noexcept nogil:
        cdef Entry entry
        cdef int outcome
        while octets_left(&self._entries) and sink_room(s) >= ROW + 2:
            outcome = read_entry(&self._entries, self._is_delta, self._latest, &entry, &self._counts)
            if outcome < 0:
                return -1
            if outcome:
                put_row(s, &entry)
        return 0


def entries_of(bytes der not None):
    cdef Cursor c, entries
    cdef Fault fault
    fault.at = NULL
    open_cursor(&c, octets_of(der), &fault)
    if find_entries(&c, &entries) < 0:
        raise wire_error(WireError, &fault, octets_of(der).p)
    begin = entries.p - octets_of(der).p
    return memoryview(der)[begin:begin + octets_left(&entries)]


def split_entries(bytes der not None):
    # CertificateList ::= SEQUENCE { tbsCertList SEQUENCE, signatureAlgorithm, signature }
    cdef Cursor c, entries, inside
    cdef Element whole, tbs
    cdef Fault fault
    cdef const uint8_t* start = octets_of(der).p
    fault.at = NULL
    open_cursor(&c, octets_of(der), &fault)
    if find_entries(&c, &entries) < 0:
        raise wire_error(WireError, &fault, start)
    open_cursor(&c, octets_of(der), &fault)
    read_element(&c, &whole)
    open_cursor(&inside, whole.content, &fault)
    read_element(&inside, &tbs)
    return tbs.der.p - start, tbs.content.p - start, entries.p - start, entries.end - start, inside.p - start
