"""ECDSA-Sig-Value, RFC 3279 2.2.3, as r and s of one width. Inline only, there is no .pyx.

    ECDSA-Sig-Value ::= SEQUENCE { r INTEGER, s INTEGER }

Two non-negative INTEGERs have one form in DER, so the halves give back the bytes that were taken apart; what has
another form, or numbers too wide for a curve that we sign with, is left whole. Nothing here verifies or knows a key.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from _fastocsp.wire.der cimport (
    INTEGER, SEQUENCE, Cursor, Element, Fault, Octets, enter_only, expect, is_minimal_integer, leave, open_cursor,
    without_leading_zeros,
)
from _fastocsp.wire.sink cimport Sink, claim

cdef enum:
    SHORT_HALF = 32               # bytes of a number of P-256
    LONG_HALF = 48                # and of P-384


cdef inline int take_number(Cursor* c, Octets* out) noexcept nogil:
    """A non-negative INTEGER of at most LONG_HALF bytes: its magnitude."""
    cdef Element element
    if expect(c, INTEGER, &element) < 0 or not is_minimal_integer(element.content) or element.content.p[0] & 0x80:
        return -1
    out[0] = without_leading_zeros(element.content)
    return -1 if out.n > LONG_HALF else 0


cdef inline void put_half(uint8_t* to, size_t half, Octets number) noexcept nogil:
    memset(to, 0, half - number.n)
    memcpy(to + half - number.n, number.p, number.n)


cdef inline size_t split_signature(Octets der, uint8_t* halves) noexcept nogil:
    """r and s to `halves`, which has room for 2 * LONG_HALF; the bytes of each, 0 when it is left whole."""
    cdef Cursor c, inside
    cdef Fault fault
    cdef Octets r, s
    cdef size_t half
    open_cursor(&c, der, &fault)
    if enter_only(&c, SEQUENCE, &inside) < 0 or take_number(&inside, &r) < 0 or take_number(&inside, &s) < 0:
        return 0
    if leave(&inside) < 0:
        return 0
    half = SHORT_HALF if r.n <= SHORT_HALF and s.n <= SHORT_HALF else LONG_HALF
    put_half(halves, half, r)
    put_half(halves + half, half, s)
    return half


cdef inline Octets number_of(const uint8_t* halves, size_t half, size_t index) noexcept nogil:
    """r for 0, s for 1, leading zeros included."""
    cdef Octets number
    number.p = halves + index * half
    number.n = half
    return number


cdef inline bint is_shortest(const uint8_t* halves, size_t half) noexcept nogil:
    """No shorter half would hold both numbers: each signature has one width."""
    return (half == SHORT_HALF or without_leading_zeros(number_of(halves, half, 0)).n > SHORT_HALF
            or without_leading_zeros(number_of(halves, half, 1)).n > SHORT_HALF)


cdef inline size_t number_size(Octets number) noexcept nogil:
    """Of the INTEGER; its length, and that of the whole, has always one byte."""
    return 2 + number.n + (number.p[0] >> 7)


cdef inline uint8_t* write_number(uint8_t* to, Octets number) noexcept nogil:
    """The INTEGER; returns what is behind it."""
    cdef size_t sign = number.p[0] >> 7
    to[0] = INTEGER
    to[1] = <uint8_t>(number.n + sign)
    to[2] = 0
    memcpy(to + 2 + sign, number.p, number.n)
    return to + 2 + sign + number.n


cdef inline size_t joined_size(const uint8_t* halves, size_t half) noexcept nogil:
    """Bytes of the ECDSA-Sig-Value."""
    return (2 + number_size(without_leading_zeros(number_of(halves, half, 0)))
            + number_size(without_leading_zeros(number_of(halves, half, 1))))


cdef inline void put_joined(Sink* s, const uint8_t* halves, size_t half) noexcept nogil:
    """The ECDSA-Sig-Value."""
    cdef Octets first = without_leading_zeros(number_of(halves, half, 0))
    cdef Octets second = without_leading_zeros(number_of(halves, half, 1))
    cdef size_t n = number_size(first) + number_size(second)
    cdef uint8_t* to = claim(s, 2 + n)
    if to == NULL:
        return
    to[0] = SEQUENCE
    to[1] = <uint8_t>n
    write_number(write_number(to + 2, first), second)
