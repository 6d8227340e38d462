"""Serial numbers as keys: one spelling in the ledger, the feed, the revoked set, the table, Redis and every frame.

    0 and above   the magnitude, big-endian, without leading zeros, 1..MAX_MAGNITUDE bytes; the number 0 is one byte 00
    below 0       one byte 00, then the content of the DER INTEGER, which begins with a set bit

No magnitude of two bytes or more begins with 00, so -1 (00 FF) and 255 (FF) are two keys. Inline only.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from _fastocsp.wire.codes cimport MAX_MAGNITUDE, MAX_SERIAL
from _fastocsp.wire.der cimport INTEGER, Octets
from _fastocsp.wire.sink cimport Sink, claim, put_header


cdef inline bint is_negative(Octets key) noexcept nogil:
    return key.n > 1 and key.p[0] == 0


cdef inline bint is_serial_key(Octets key) noexcept nogil:
    if is_negative(key):
        # as short as it can be: nine equal bits at the front are one byte too many (X.690 8.3.2)
        return key.n <= MAX_SERIAL and key.p[1] >= 0x80 and not (key.n > 2 and key.p[1] == 0xFF and key.p[2] >= 0x80)
    return 1 <= key.n <= MAX_MAGNITUDE


cdef inline size_t serial_size(Octets key) noexcept nogil:
    """Content bytes of the INTEGER of that key, which is not empty."""
    if is_negative(key):
        return key.n - 1
    return key.n + (key.p[0] >> 7)


cdef inline void store_serial(uint8_t* to, Octets key, size_t n) noexcept nogil:
    """The content of that INTEGER, to where its n bytes were claimed."""
    if n < key.n:                 # negative: the mark is not written
        memcpy(to, key.p + 1, n)
        return
    to[0] = 0
    memcpy(to + n - key.n, key.p, key.n)


cdef inline void put_serial(Sink* s, Octets key) noexcept nogil:
    """The INTEGER of that key, which is not empty."""
    cdef size_t n = serial_size(key)
    cdef uint8_t* to
    put_header(s, INTEGER, n)
    to = claim(s, n)
    if to != NULL:
        store_serial(to, key, n)
