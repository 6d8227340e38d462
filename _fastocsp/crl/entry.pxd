"""One entry of a CRL, read without a Python object, as leniently as `entry_reader` says. Inline only.

RFC 5280 5.1.2.6 (entries), 5.3 (entry extensions).
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t
from libc.string cimport memcmp

from _fastocsp.wire.codes cimport MAX_MAGNITUDE
from _fastocsp.wire.der cimport (
    BIT_STRING, BOOLEAN, CONSTRUCTED, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, Cursor,
    Element, Fault, Octets, enter, enter_only, expect, fail_at, leave, octets_left, open_cursor, peek_tag,
    read_element, without_leading_zeros,
)

cdef enum:
    UTC_TIME = 0x17
    ENUMERATED = 0x0A
    REMOVE_FROM_CRL = 8
    LAST_REASON = 10
    LATEST_DATE = 253402214400    # 9999-12-31: the ledger's invalidity dates are before it

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


cdef inline int read_number(const uint8_t* digits, size_t n, int64_t* out) noexcept nogil:
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


cdef inline int read_time(Cursor* c, int64_t* out) noexcept nogil:
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


cdef inline int read_reason(Octets value, bint is_delta) noexcept nogil:
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


cdef inline int64_t read_invalidity_date(Octets value) noexcept nogil:
    """Epoch seconds; -1 when it is unreadable or the ledger cannot hold it."""
    cdef Cursor inside
    cdef Fault ignored
    cdef int64_t when
    ignored.at = NULL
    open_cursor(&inside, value, &ignored)
    if peek_tag(&inside) != GENERALIZED_TIME or read_time(&inside, &when) < 0 or leave(&inside) < 0:
        return -1
    return when if 0 < when < <int64_t>LATEST_DATE else -1


cdef inline int read_entry_extension(Cursor* c, bint is_delta, Entry* entry, Counts* counts) noexcept nogil:
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


cdef inline int read_entry(Cursor* c, bint is_delta, int64_t latest, Entry* entry, Counts* counts) noexcept nogil:
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


cdef inline int find_entries(Cursor* c, Cursor* entries) noexcept nogil:
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


cdef inline int order_of(const Entry* a, const Entry* b) noexcept nogil:
    """Of their keys: that of a negative number begins with 00, so it is below every other one but 00 itself."""
    cdef int order
    if a.is_negative != b.is_negative:
        if a.is_negative:
            return 1 if b.serial.n == 1 and b.serial.p[0] == 0 else -1
        return -1 if a.serial.n == 1 and a.serial.p[0] == 0 else 1
    order = memcmp(a.serial.p, b.serial.p, min(a.serial.n, b.serial.n))
    return order if order != 0 else <int>a.serial.n - <int>b.serial.n
