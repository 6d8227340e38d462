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

from libc.stdint cimport int64_t, uint8_t, uint16_t
from libc.string cimport memcmp

from _fastocsp.wire.codes cimport MAX_MAGNITUDE
from _fastocsp.wire.der cimport (
    BIT_STRING, BOOLEAN, CONSTRUCTED, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, Cursor,
    Element, Fault, Octets, enter, enter_only, expect, fail_at, leave, octets_left, open_cursor, peek_tag,
    read_element, wire_error, without_leading_zeros,
)
from _fastocsp.wire.sink cimport (
    Sink, bytes_sink, new_bytes, octets_of, put_big_endian, put_octet, put_octets, put_static, sink_room, sink_used,
)

from _fastocsp.wire.errors import WireError

cdef enum:
    UTC_TIME = 0x17
    ENUMERATED = 0x0A
    ROW = 2 + 4 + 21 + 4 + 8 + 4 + 2 + 4 + 8      # bytes of a row at most
    COPY_HEAD = 19
    REMOVE_FROM_CRL = 8
    LAST_REASON = 10

cdef int64_t LATEST_DATE = 253402214400         # 9999-12-31: the ledger's invalidity dates are before it

cdef struct Counts:
    size_t rows
    size_t skipped                # entries that no CertID can name
    size_t times, reasons, dates  # values that were replaced or left out

cdef struct Entry:
    Octets serial                 # the magnitude, or the content of a negative INTEGER
    bint is_negative
    int64_t revoked_at
    uint16_t reason
    int64_t invalidity_date       # -1: none


cdef int read_number(const uint8_t* digits, size_t n, int64_t* out) noexcept nogil:
    cdef size_t i
    out[0] = 0
    for i in range(n):
        if digits[i] < 0x30 or digits[i] > 0x39:
            return -1
        out[0] = 10 * out[0] + (digits[i] - 0x30)
    return 0


cdef inline int64_t days_to(int64_t year, int64_t month, int64_t day) noexcept nogil:
    """Days since the epoch of a date from the year 0 on; a year begins in March here, so that a leap day ends it."""
    cdef int64_t y = year - (1 if month <= 2 else 0)
    cdef int64_t of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return 365 * y + y // 4 - y // 100 + y // 400 + of_year - 719468


cdef int read_time(Cursor* c, int64_t* out) noexcept nogil:
    # Time ::= CHOICE { utcTime UTCTime, generalTime GeneralizedTime }, with seconds, in Z (RFC 5280 5.1.2.4)
    cdef Element element
    cdef int64_t part[6]
    cdef size_t width, i
    cdef const uint8_t* digits
    if read_element(c, &element) < 0:
        return -1
    width = 2 if element.tag == UTC_TIME else 4
    if (element.tag != UTC_TIME and element.tag != GENERALIZED_TIME) or element.content.n != width + 11:
        return fail_at(c, element.der.p, "not a time with seconds in UTC")
    digits = element.content.p
    if digits[width + 10] != 0x5A or read_number(digits, width, &part[0]) < 0:
        return fail_at(c, element.der.p, "not a time with seconds in UTC")
    for i in range(5):
        if read_number(digits + width + 2 * i, 2, &part[i + 1]) < 0:
            return fail_at(c, element.der.p, "not a time with seconds in UTC")
    if part[1] < 1 or part[1] > 12 or part[2] < 1 or part[2] > 31 or part[3] > 23 or part[4] > 59 or part[5] > 59:
        return fail_at(c, element.der.p, "no such moment")
    if width == 2:
        part[0] += 2000 if part[0] < 50 else 1900
    out[0] = 86400 * days_to(part[0], part[1], part[2]) + 3600 * part[3] + 60 * part[4] + part[5]
    return 0


cdef inline bint is_ce(Octets oid, uint8_t arc) noexcept nogil:
    """id-ce is 2.5.29."""
    return oid.n == 3 and oid.p[0] == 0x55 and oid.p[1] == 0x1D and oid.p[2] == arc


cdef int read_reason(Octets value, bint is_delta) noexcept nogil:
    """The reason; -1 when there is no such reason in this CRL."""
    cdef Cursor inside
    cdef Element code
    cdef Fault ignored
    ignored.at = NULL
    open_cursor(&inside, value, &ignored)
    if expect(&inside, ENUMERATED, &code) < 0 or leave(&inside) < 0 or code.content.n != 1:
        return -1
    if code.content.p[0] > LAST_REASON or code.content.p[0] == 7:
        return -1
    if code.content.p[0] == REMOVE_FROM_CRL and not is_delta:
        return -1
    return code.content.p[0]


cdef int64_t read_invalidity_date(Octets value) noexcept nogil:
    """Epoch seconds; -1 when it is unreadable or the ledger cannot hold it."""
    cdef Cursor inside
    cdef Fault ignored
    cdef int64_t when
    ignored.at = NULL
    open_cursor(&inside, value, &ignored)
    if peek_tag(&inside) != GENERALIZED_TIME or read_time(&inside, &when) < 0 or leave(&inside) < 0:
        return -1
    return when if 0 < when < LATEST_DATE else -1


cdef int read_entry_extension(Cursor* c, bint is_delta, Entry* entry, Counts* counts) noexcept nogil:
    # Extension ::= SEQUENCE { extnID OBJECT IDENTIFIER, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }
    cdef Cursor inside
    cdef Element oid, flag, value
    cdef int reason
    cdef bint critical = False
    if enter(c, SEQUENCE, &inside) < 0 or expect(&inside, OBJECT_IDENTIFIER, &oid) < 0:
        return -1
    if peek_tag(&inside) == BOOLEAN:
        if read_element(&inside, &flag) < 0:
            return -1
        critical = flag.content.n != 1 or flag.content.p[0] != 0
    if expect(&inside, OCTET_STRING, &value) < 0 or leave(&inside) < 0:
        return -1
    if is_ce(oid.content, 21):
        reason = read_reason(value.content, is_delta)
        entry.reason = <uint16_t>max(reason, 0)
        counts.reasons += reason < 0
        return 0
    if is_ce(oid.content, 24):
        entry.invalidity_date = read_invalidity_date(value.content)
        counts.dates += entry.invalidity_date < 0
        return 0
    if is_ce(oid.content, 29):
        return fail_at(c, oid.der.p, "an entry of another issuer: the CRL is indirect")
    if critical:
        return fail_at(c, oid.der.p, "a critical entry extension that is not understood")
    return 0


cdef inline Octets minimal_content(Octets number) noexcept nogil:
    """The magnitude of a number, or the content of a negative one, without the padding that DER forbids."""
    if number.n == 0 or number.p[0] < 0x80:
        return without_leading_zeros(number)
    while number.n > 1 and number.p[0] == 0xFF and number.p[1] >= 0x80:
        number.p += 1
        number.n -= 1
    return number


cdef int read_entry(Cursor* c, bint is_delta, int64_t latest, Entry* entry, Counts* counts) noexcept nogil:
    """1 for a row, 0 for an entry that is skipped."""
    # SEQUENCE { userCertificate INTEGER, revocationDate Time, crlEntryExtensions Extensions OPTIONAL }
    cdef Cursor inside, dated, extensions
    cdef Element serial, when
    cdef Fault ignored
    entry.reason = 0
    entry.invalidity_date = -1
    ignored.at = NULL
    if enter(c, SEQUENCE, &inside) < 0 or expect(&inside, INTEGER, &serial) < 0 or read_element(&inside, &when) < 0:
        return -1
    entry.serial = minimal_content(serial.content)
    entry.is_negative = serial.content.n > 0 and serial.content.p[0] >= 0x80
    open_cursor(&dated, when.der, &ignored)
    if read_time(&dated, &entry.revoked_at) < 0:
        entry.revoked_at = latest
        counts.times += 1
    entry.revoked_at = max(<int64_t>0, min(entry.revoked_at, latest))
    if octets_left(&inside):
        if enter_only(&inside, SEQUENCE, &extensions) < 0:
            return -1
        while octets_left(&extensions):
            if read_entry_extension(&extensions, is_delta, entry, counts) < 0:
                return -1
    if not 1 <= entry.serial.n <= MAX_MAGNITUDE:
        counts.skipped += 1
        return 0
    counts.rows += 1
    return 1


cdef int find_entries(Cursor* c, Cursor* entries) noexcept nogil:
    """From the CertificateList to the content of its revokedCertificates; an empty cursor when there are none."""
    # TBSCertList ::= SEQUENCE { version INTEGER OPTIONAL, signature SEQUENCE, issuer SEQUENCE, thisUpdate Time,
    #   nextUpdate Time OPTIONAL, revokedCertificates SEQUENCE OF .. OPTIONAL, crlExtensions [0] EXPLICIT .. OPTIONAL }
    cdef Cursor whole, tbs
    cdef Element passed
    cdef int64_t when
    if enter_only(c, SEQUENCE, &whole) < 0 or enter(&whole, SEQUENCE, &tbs) < 0:
        return -1
    if expect(&whole, SEQUENCE, &passed) < 0 or expect(&whole, BIT_STRING, &passed) < 0 or leave(&whole) < 0:
        return -1
    if peek_tag(&tbs) == INTEGER and read_element(&tbs, &passed) < 0:
        return -1
    if expect(&tbs, SEQUENCE, &passed) < 0 or expect(&tbs, SEQUENCE, &passed) < 0 or read_time(&tbs, &when) < 0:
        return -1
    if peek_tag(&tbs) == UTC_TIME or peek_tag(&tbs) == GENERALIZED_TIME:
        if read_time(&tbs, &when) < 0:
            return -1
    open_cursor(entries, Octets(tbs.p, 0), c.fault)
    if peek_tag(&tbs) == SEQUENCE and enter(&tbs, SEQUENCE, entries) < 0:
        return -1
    if peek_tag(&tbs) == CONSTRUCTED and read_element(&tbs, &passed) < 0:
        return -1
    return leave(&tbs)


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


cdef struct Walk:                 # through entries that ascend by the keys of their serial numbers
    Cursor entries
    Entry entry
    Entry before                  # the one before; its serial.n is 0 at the beginning
    bint ended


cdef int advance(Walk* walk, bint is_delta, Counts* counts) noexcept nogil:
    """To the next entry that revokes; -1 at one that is malformed or not in its order."""
    cdef int outcome = 0
    while octets_left(&walk.entries):
        outcome = read_entry(&walk.entries, is_delta, LATEST_DATE, &walk.entry, counts)
        if outcome < 0:
            return -1
        if outcome == 0:
            continue
        if walk.before.serial.n and order_of(&walk.before, &walk.entry) >= 0:
            return fail_at(&walk.entries, walk.entry.serial.p, "the entries do not ascend by serial number")
        walk.before = walk.entry
        if not (is_delta and walk.entry.reason == REMOVE_FROM_CRL):
            return 0
    walk.ended = True
    return 0


cdef inline int order_of(const Entry* a, const Entry* b) noexcept nogil:
    """Of their keys: that of a negative number begins with 00, so it is below every other one but 00 itself."""
    cdef int order
    if a.is_negative != b.is_negative:
        if a.is_negative:
            return 1 if b.serial.n == 1 and b.serial.p[0] == 0 else -1
        return -1 if a.serial.n == 1 and a.serial.p[0] == 0 else 1
    order = memcmp(a.serial.p, b.serial.p, min(a.serial.n, b.serial.n))
    return order if order != 0 else <int>a.serial.n - <int>b.serial.n


cdef int next_vanished(Walk* old, Walk* new, bint is_delta, Counts* counts) noexcept nogil:
    """1: the entry of `old` has vanished; 0: there are no more; -1."""
    cdef int order
    while not old.ended:
        order = -1 if new.ended else order_of(&old.entry, &new.entry)
        if order < 0:
            return 1
        if advance(old if order == 0 else new, is_delta, counts) < 0:
            return -1
    return 0


cdef bytes key_of(const Entry* entry):
    cdef bytes content = (<const char*>entry.serial.p)[:entry.serial.n]
    return b"\0" + content if entry.is_negative else content


def vanished_entries(before not None, after not None, bint is_delta=False):
    cdef const uint8_t[::1] a = before
    cdef const uint8_t[::1] b = after
    cdef Walk old, new
    cdef Fault fault
    cdef Counts counts = Counts(0, 0, 0, 0, 0)
    cdef Octets octets
    cdef int outcome
    found = []
    if len(a) == 0:
        return found
    fault.at = NULL
    octets.p, octets.n = &a[0], len(a)
    open_cursor(&old.entries, octets, &fault)
    octets.n = len(b)
    if octets.n:
        octets.p = &b[0]
    open_cursor(&new.entries, octets, &fault)
    old.before.serial.n = new.before.serial.n = 0
    old.ended = new.ended = False
    with nogil:
        outcome = advance(&old, is_delta, &counts) or advance(&new, is_delta, &counts)
        if outcome == 0:
            outcome = next_vanished(&old, &new, is_delta, &counts)
    while outcome == 1:
        found.append((key_of(&old.entry), old.entry.revoked_at, old.entry.reason,
                      old.entry.invalidity_date if old.entry.invalidity_date > 0 else None))
        with nogil:
            outcome = advance(&old, is_delta, &counts)
            if outcome == 0:
                outcome = next_vanished(&old, &new, is_delta, &counts)
    if outcome < 0:
        raise WireError("entries are malformed, or do not ascend by serial number", 0)
    return found


def summarize_entries(entries not None):
    cdef const uint8_t[::1] whole = entries
    cdef Octets octets
    cdef Cursor c
    cdef Fault fault
    cdef Counts counts = Counts(0, 0, 0, 0, 0)
    cdef Entry entry, before
    cdef int64_t latest = 0
    cdef bint ascends = True
    cdef int outcome = 0
    if len(whole) == 0:
        return 0, 0, 0, True
    fault.at = NULL
    octets.p, octets.n = &whole[0], len(whole)
    before.serial.n = 0
    with nogil:
        open_cursor(&c, octets, &fault)
        while outcome >= 0 and octets_left(&c):
            outcome = read_entry(&c, True, LATEST_DATE, &entry, &counts)
            if outcome == 1:
                latest = max(latest, entry.revoked_at)
                ascends = ascends and (before.serial.n == 0 or order_of(&before, &entry) < 0)
                before = entry
    if outcome < 0:
        raise wire_error(WireError, &fault, octets.p)
    return counts.rows, counts.skipped, latest, ascends


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
