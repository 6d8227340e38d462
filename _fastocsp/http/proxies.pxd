"""Whose X-Forwarded-For is believed, and whom it names."""

cimport cython
from libc.stdint cimport uint8_t

from _fastocsp.http.headers cimport Span


cdef struct Network:
    uint8_t packed[16]
    uint8_t octets                # 4 or 16
    uint8_t bits                  # of the prefix


@cython.final
cdef class Proxies:
    cdef Network* networks
    cdef size_t count

    # The packed address (4 or 16 bytes; mapped IPv4 counts as IPv4) lies in one of the networks
    cdef bint trusts(self, const uint8_t* packed, size_t n) noexcept nogil
    # Bytes written to `packed`, which has room for 16; 0 when the field names nobody but proxies
    cdef size_t client(self, Span forwarded_for, uint8_t* packed) noexcept nogil
