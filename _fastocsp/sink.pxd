"""The only bounded writer: octets go to a caller's buffer, never past its end."""

from libc.stdint cimport uint8_t

cdef struct Sink:
    uint8_t* start        # first octet of the caller's buffer
    uint8_t* p            # next octet to write
    uint8_t* end          # one past the last octet
    bint overflow         # set once a write did not fit; later writes do nothing
