"""How a row of the revoked set lies: serial | revocation time u32 big-endian | reason u8."""

from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    ROW_TAIL = 5                  # bytes behind the serial: time and reason


cdef inline uint32_t be32(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]
