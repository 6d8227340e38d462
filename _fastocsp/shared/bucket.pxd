"""Per-address rate limit in memory that workers share."""

cimport cython
from libc.stdint cimport uint8_t, uint64_t


@cython.final
cdef class Bucket:
    cdef object _buffer
    cdef uint64_t* slots          # pairs: address, theoretical arrival time in ns
    cdef size_t mask              # sets of WAYS pairs - 1
    cdef uint64_t interval        # ns between two requests at the limit; 0 switches the limit off
    cdef uint64_t burst           # ns that may be used up ahead

    # True when this request is within the limit; counts it
    cdef bint take(self, uint64_t address, uint64_t now) noexcept nogil
    cdef uint64_t* pair_of(self, uint64_t address, uint64_t now) noexcept nogil

cdef uint64_t address_key(const uint8_t* packed, size_t n) noexcept nogil
