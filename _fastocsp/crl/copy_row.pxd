"""One row of revoked certificates from the ledger's COPY stream, without a Python object. Inline only.

Serial bytea, revocation time int8 (epoch seconds), reason int2, invalidity date int8 or NULL, certificateIssuer bytea
or NULL (DER of its GeneralNames).
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from _fastocsp.wire.der cimport Cursor, Octets, read_octets, read_u16, read_u32
from _fastocsp.wire.serial cimport is_serial_key

cdef enum:
    COLUMNS = 5
    ISSUER_LIMIT = 65536
    YEAR_10000 = 253402300800     # the first second that GeneralizedTime does not have

cdef enum Outcome:
    BAD = -1
    CUT = 0                       # the row goes on in the next piece
    ROW = 1
    END = 2

cdef struct Row:
    Octets serial
    int64_t revoked_at
    uint16_t reason
    int64_t invalidity_date       # -1: none
    Octets certificate_issuer     # n is 0 when it is that of the entry before


cdef inline Outcome read_column(Cursor* c, Octets* out) noexcept nogil:
    """The bytes of a column; p is NULL for NULL."""
    cdef uint32_t n = 0
    if read_u32(c, &n) < 0:
        return CUT
    out.p = NULL
    out.n = 0
    if n == 0xFFFFFFFFU:
        return ROW
    if n > ISSUER_LIMIT:
        return BAD
    return CUT if read_octets(c, n, out) < 0 else ROW


cdef inline Outcome read_time(Cursor* c, int64_t* out) noexcept nogil:
    """A column of epoch seconds up to the year 9999; -1 for NULL."""
    cdef uint32_t n = 0
    cdef uint32_t high = 0
    cdef uint32_t low = 0
    out[0] = -1
    if read_u32(c, &n) < 0:
        return CUT
    if n == 0xFFFFFFFFU:
        return ROW
    if n != 8:
        return BAD
    if read_u32(c, &high) < 0 or read_u32(c, &low) < 0:
        return CUT
    out[0] = <int64_t>(<uint64_t>high << 32 | low)
    return ROW if 0 <= out[0] < <int64_t>YEAR_10000 else BAD


cdef inline Outcome read_reason(Cursor* c, uint16_t* out) noexcept nogil:
    cdef uint32_t n = 0
    if read_u32(c, &n) < 0:
        return CUT
    if n != 2:
        return BAD
    return CUT if read_u16(c, out) < 0 else ROW


cdef inline Outcome read_row(Cursor* c, Row* row) noexcept nogil:
    cdef uint16_t columns = 0
    cdef Outcome outcome
    if read_u16(c, &columns) < 0:
        return CUT
    if columns == 0xFFFF:
        return END
    if columns != COLUMNS:
        return BAD
    outcome = read_column(c, &row.serial)
    if outcome == ROW and not is_serial_key(row.serial):
        return BAD
    if outcome == ROW:
        outcome = read_time(c, &row.revoked_at)
    if outcome == ROW:
        outcome = read_reason(c, &row.reason)
    if outcome == ROW:
        outcome = read_time(c, &row.invalidity_date)
    if outcome == ROW:
        outcome = read_column(c, &row.certificate_issuer)
    if outcome != ROW:
        return outcome
    return ROW if row.revoked_at >= 0 else BAD
