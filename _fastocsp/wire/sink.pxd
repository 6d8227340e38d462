"""The only bounded writer: bytes go to a caller's buffer, never past its end.

Writers of DER first ask for sizes, from the inside out, and then write once from the outside in. All lengths are
definite and minimal (X.690 10.1). Nothing here knows OCSP.
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from _fastocsp.wire.der cimport Octets

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    /* Two lower-case digits of each octet; a loop that compilers turn into vectors. */
    static inline void store_hex(uint8_t* restrict to, const uint8_t* restrict octets, size_t n) {
        for (size_t i = 0; i < n; i++) {
            uint8_t high = octets[i] >> 4, low = octets[i] & 15;
            to[2 * i] = (uint8_t)(high + '0' + (high > 9 ? 'a' - '0' - 10 : 0));
            to[2 * i + 1] = (uint8_t)(low + '0' + (low > 9 ? 'a' - '0' - 10 : 0));
        }
    }
    #define D1(t) t "0" t "1" t "2" t "3" t "4" t "5" t "6" t "7" t "8" t "9"
    static const char TWO_DIGITS[] =
        D1("0") D1("1") D1("2") D1("3") D1("4") D1("5") D1("6") D1("7") D1("8") D1("9");
    #undef D1
    """
    const char* TWO_DIGITS
    # to where two bytes each were claimed
    void store_hex(uint8_t* to, const uint8_t* octets, size_t n) noexcept nogil

cdef struct Sink:
    uint8_t* start        # first byte of the caller's buffer
    uint8_t* p            # next byte to write
    uint8_t* end          # one past the last byte
    bint overflow         # set once a write did not fit; later writes do nothing


cdef inline void open_sink(Sink* s, uint8_t* buffer, size_t n) noexcept nogil:
    s.start = buffer
    s.p = buffer
    s.end = buffer + n
    s.overflow = False


cdef inline size_t sink_room(const Sink* s) noexcept nogil:
    """Bytes that still fit; 0 after an overflow."""
    return 0 if s.overflow else <size_t>(s.end - s.p)


cdef inline size_t sink_used(const Sink* s) noexcept nogil:
    return <size_t>(s.p - s.start)


cdef inline uint8_t* claim(Sink* s, size_t n) noexcept nogil:
    """Room for n bytes, which the caller must fill; NULL when they do not fit."""
    cdef uint8_t* claimed = s.p
    if s.overflow or n > <size_t>(s.end - s.p):
        s.overflow = True
        return NULL
    s.p += n
    return claimed


cdef inline void put_octet(Sink* s, uint8_t octet) noexcept nogil:
    cdef uint8_t* to = claim(s, 1)
    if to != NULL:
        to[0] = octet


cdef inline void put_octets(Sink* s, Octets octets) noexcept nogil:
    cdef uint8_t* to = claim(s, octets.n)
    if to != NULL and octets.n:
        memcpy(to, octets.p, octets.n)


cdef inline void put_static(Sink* s, const char* text, size_t n) noexcept nogil:
    """The first n bytes of a literal."""
    cdef uint8_t* to = claim(s, n)
    if to != NULL:
        memcpy(to, text, n)


cdef inline void store_big_endian(uint8_t* to, uint64_t number, size_t width) noexcept nogil:
    """The low `width` <= 8 bytes of the number, to where that many were claimed."""
    cdef size_t i
    for i in range(width):
        to[i] = <uint8_t>(number >> (8 * (width - 1 - i)))


cdef inline void put_big_endian(Sink* s, uint64_t number, size_t width) noexcept nogil:
    """The low `width` <= 8 bytes of the number."""
    cdef uint8_t* to = claim(s, width)
    if to != NULL:
        store_big_endian(to, number, width)


cdef inline void store_two_digits(uint8_t* to, unsigned int number) noexcept nogil:
    """A number below 100, with its leading zero, to where two bytes were claimed."""
    memcpy(to, TWO_DIGITS + 2 * number, 2)


cdef inline size_t length_size(size_t n) noexcept nogil:
    """Bytes of the length field of n content bytes; n below 2**32."""
    if n < 0x80:
        return 1
    if n < 0x100:
        return 2
    if n < 0x10000:
        return 3
    return 4 if n < 0x1000000 else 5


cdef inline size_t tlv_size(size_t n) noexcept nogil:
    """Bytes of an element with n content bytes."""
    return 1 + length_size(n) + n


cdef inline void put_header(Sink* s, uint8_t tag, size_t n) noexcept nogil:
    """Identifier and length bytes of an element with n content bytes."""
    cdef size_t width = length_size(n)
    cdef uint8_t* to = claim(s, 1 + width)
    if to == NULL:
        return
    to[0] = tag
    if width == 1:
        to[1] = <uint8_t>n
        return
    to[1] = <uint8_t>(0x7F + width)
    store_big_endian(to + 2, n, width - 1)


cdef bytes new_bytes(size_t n)
cdef void bytes_sink(Sink* s, bytes target) noexcept
cdef Octets octets_of(bytes octets) noexcept
