"""Lines of `openssl ca`'s index.txt as rows for the ledger's COPY: one pass, no Python object for a usual line.

Usual are printable ASCII without backslash, a serial number of 1 to 20 whole bytes that begins with no 0, times that
exist, and a reason that is spelled as in RFC 5280. Every other line is handed back for `importer/openssl_index.py`,
which decides what it means or what is wrong with it.

A row is line int8, serial bytea, subject text, notAfter int8, good bool, revocation time int8, reason int2, invalidity
date int8; times in epoch seconds, the last three NULL unless it is revoked.
"""

cimport cython

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memchr, memcmp

from _fastocsp.wire.codes cimport MAX_MAGNITUDE
from _fastocsp.wire.der cimport Octets
from _fastocsp.wire.sink cimport (
    Sink, bytes_sink, new_bytes, octets_of, put_big_endian, put_octet, put_octets, put_static, sink_used,
)

from _fastocsp.wire.errors import WireError

cdef enum:
    FIELDS = 6
    NAMES = 10

cdef struct Name:
    const char* text
    size_t n
    int reason

cdef Name[NAMES] REASONS
REASONS[0] = Name("unspecified", 11, 0)
REASONS[1] = Name("keyCompromise", 13, 1)
REASONS[2] = Name("CACompromise", 12, 2)
REASONS[3] = Name("cACompromise", 12, 2)
REASONS[4] = Name("affiliationChanged", 18, 3)
REASONS[5] = Name("superseded", 10, 4)
REASONS[6] = Name("cessationOfOperation", 20, 5)
REASONS[7] = Name("certificateHold", 15, 6)
REASONS[8] = Name("privilegeWithdrawn", 18, 9)
REASONS[9] = Name("aACompromise", 12, 10)

cdef struct Line:
    Octets fields[FIELDS]
    uint8_t serial[MAX_MAGNITUDE]
    int64_t not_after
    int64_t revoked_at            # -1: not revoked
    int reason


cdef inline int digits(const uint8_t* at, size_t n) noexcept nogil:
    """The number of n <= 4 digits; -1 when one is none."""
    cdef int number = 0
    cdef size_t i
    for i in range(n):
        if at[i] < 0x30 or at[i] > 0x39:
            return -1
        number = 10 * number + (at[i] - 0x30)
    return number


cdef inline int days_of(int year, int month) noexcept nogil:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


cdef bint read_time(const uint8_t* at, size_t n, int64_t* out) noexcept nogil:
    """A UTCTime or GeneralizedTime with seconds, in Z, that exists."""
    cdef int part[6]
    cdef int64_t y
    cdef size_t width = n - 11
    cdef size_t i
    if (n != 13 and n != 15) or at[n - 1] != 0x5A:
        return False
    part[0] = digits(at, width)
    for i in range(5):
        part[i + 1] = digits(at + width + 2 * i, 2)
    for i in range(6):
        if part[i] < 0:
            return False
    if width == 2:
        part[0] += 1900 if part[0] >= 50 else 2000
    if part[0] < 1 or not 1 <= part[1] <= 12 or not 1 <= part[2] <= days_of(part[0], part[1]):
        return False
    if part[3] > 23 or part[4] > 59 or part[5] > 59:
        return False
    y = part[0] - (1 if part[1] <= 2 else 0)         # a year begins in March here, so that a leap day ends it
    out[0] = 365 * y + y // 4 - y // 100 + y // 400 - 719468
    out[0] += (153 * (part[1] - 3 if part[1] > 2 else part[1] + 9) + 2) // 5 + part[2] - 1
    out[0] = 86400 * out[0] + 3600 * part[3] + 60 * part[4] + part[5]
    return True


cdef bint read_revocation(Octets field, Line* line) noexcept nogil:
    """`date[,reason]`."""
    cdef const uint8_t* comma = <const uint8_t*>memchr(field.p, 0x2C, field.n)
    cdef size_t n
    cdef int i
    line.reason = 0
    if comma == NULL:
        return read_time(field.p, field.n, &line.revoked_at)
    n = <size_t>(field.p + field.n - comma) - 1
    for i in range(NAMES):
        if REASONS[i].n == n and memcmp(comma + 1, REASONS[i].text, n) == 0:
            line.reason = REASONS[i].reason
            return read_time(field.p, <size_t>(comma - field.p), &line.revoked_at)
    return False


cdef inline int hex_digit(uint8_t octet) noexcept nogil:
    if 0x30 <= octet <= 0x39:
        return octet - 0x30
    octet |= 0x20
    return octet - 0x57 if 0x61 <= octet <= 0x66 else -1


cdef bint read_serial(Octets field, Line* line) noexcept nogil:
    cdef size_t i
    cdef int high, low
    if field.n % 2 or not 2 <= field.n <= 2 * MAX_MAGNITUDE or field.p[0] == 0x30:
        return False
    for i in range(field.n // 2):
        high, low = hex_digit(field.p[2 * i]), hex_digit(field.p[2 * i + 1])
        if high < 0 or low < 0:
            return False
        line.serial[i] = <uint8_t>(high << 4 | low)
    return True


cdef bint split(Octets whole, Line* line) noexcept nogil:
    """Into the fields between tabs; False at a byte that is not usual."""
    cdef size_t i
    cdef size_t begin = 0
    cdef int n = 0
    for i in range(whole.n):
        if whole.p[i] == 0x09:
            if n == FIELDS - 1:
                return False
            line.fields[n].p, line.fields[n].n = whole.p + begin, i - begin
            begin = i + 1
            n += 1
        elif not 0x20 <= whole.p[i] < 0x7F or whole.p[i] == 0x5C:
            return False
    line.fields[n].p, line.fields[n].n = whole.p + begin, whole.n - begin
    return n == FIELDS - 1


cdef bint read_line(Octets whole, Line* line) noexcept nogil:
    cdef uint8_t kind
    if not split(whole, line) or line.fields[0].n != 1:
        return False
    kind = line.fields[0].p[0]
    if kind != 0x56 and kind != 0x52 and kind != 0x45:
        return False
    if (kind == 0x52) != (line.fields[2].n > 0) or not read_time(line.fields[1].p, line.fields[1].n, &line.not_after):
        return False
    line.revoked_at = -1
    if kind == 0x52 and not read_revocation(line.fields[2], line):
        return False
    return read_serial(line.fields[3], line)


cdef inline void put_line(Sink* s, int64_t number, Line* line) noexcept nogil:
    cdef Octets serial
    serial.p, serial.n = &line.serial[0], line.fields[3].n // 2
    put_static(s, "\0\x08\0\0\0\x08", 6)
    put_big_endian(s, <unsigned long long>number, 8)
    put_big_endian(s, serial.n, 4)
    put_octets(s, serial)
    put_big_endian(s, line.fields[5].n, 4)
    put_octets(s, line.fields[5])
    put_static(s, "\0\0\0\x08", 4)
    put_big_endian(s, <unsigned long long>line.not_after, 8)
    put_static(s, "\0\0\0\1", 4)
    put_octet(s, line.fields[0].p[0] == 0x56)
    if line.fields[0].p[0] == 0x52:
        put_static(s, "\0\0\0\x08", 4)
        put_big_endian(s, <unsigned long long>line.revoked_at, 8)
        put_static(s, "\0\0\0\2", 4)
        put_big_endian(s, <unsigned long long>line.reason, 2)
        put_static(s, "\xff\xff\xff\xff", 4)
    else:
        put_static(s, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12)


@cython.final
cdef class IndexReader:
    """See the stub."""

    cdef bytes _rest
    cdef int64_t _latest
    cdef size_t _longest
    cdef bint _skips              # the rest of a line that is too long
    cdef readonly size_t lines, good, revoked, expired, times_out_of_range

    def __cinit__(self, int64_t latest, size_t longest):
        self._rest = b""
        self._latest = latest
        self._longest = longest

    def feed(self, bytes block not None, bint is_last=False):
        cdef bytes whole = self._rest + block
        cdef Octets left = octets_of(whole)
        cdef const uint8_t* start = left.p
        cdef const uint8_t* end
        cdef bytes rows = new_bytes(3 * left.n + 128)
        cdef Sink s
        cdef size_t n
        bytes_sink(&s, rows)
        odd = []
        while left.n:
            end = <const uint8_t*>memchr(left.p, 0x0A, left.n)
            if end == NULL and not is_last:
                break
            n = left.n if end == NULL else <size_t>(end - left.p) + 1
            if self._skips:
                self._skips = False
            else:
                self.lines += 1
                if not self._take(&s, Octets(left.p, n - (end != NULL)), n):
                    odd.append((self.lines, left.p[:min(n, self._longest + 1)]))
            left.p += n
            left.n -= n
        if left.n > self._longest or (left.n and self._skips):
            if not self._skips:
                self.lines += 1
                odd.append((self.lines, left.p[:self._longest + 1]))
                self._skips = True
            left.p, left.n = left.p + left.n, 0
        self._rest = whole[left.p - start:]
        if s.overflow:
            raise WireError("rows outgrew their room")
        return rows[:sink_used(&s)], odd

    cdef bint _take(self, Sink* s, Octets text, size_t n) noexcept nogil:
        """Write the row of a line of n bytes, its end included; False for one that is not usual."""
        cdef Line line
        if n > self._longest or not read_line(text, &line):
            return False
        put_line(s, <int64_t>self.lines, &line)
        self.good += line.fields[0].p[0] == 0x56
        self.expired += line.fields[0].p[0] == 0x45
        if line.fields[0].p[0] == 0x52:
            self.revoked += 1
            self.times_out_of_range += not 0 <= line.revoked_at <= self._latest
        return True
