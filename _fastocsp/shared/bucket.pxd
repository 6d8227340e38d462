"""Per-address rate limit in memory that workers share."""

cimport cython
from libc.stdint cimport uint8_t, uint64_t

cdef struct ClientKey:            # of one client, by the key of one Bucket
    uint64_t address              # IPv4 address or IPv6 /64; 0: no address, which has no limit
    uint64_t network              # IPv6 /48; 0: none


@cython.final
cdef class Bucket:
    cdef object _buffer
    cdef uint64_t key             # of the hash, the same for all that share the memory
    cdef uint64_t* slots          # pairs: address, theoretical arrival time in ns
    cdef size_t mask              # sets of WAYS pairs - 1
    cdef uint64_t interval        # ns between two requests at the limit; 0 switches the limit off
    cdef uint64_t burst           # ns that may be used up ahead

    # Of 4 or 16 bytes; mapped IPv4 counts as IPv4
    cdef ClientKey key_of(self, const uint8_t* packed, size_t n) noexcept nogil
    # True when this request is within the limits; counts it
    cdef bint take(self, const ClientKey* client, uint64_t now) noexcept nogil
    cdef bint take_one(self, uint64_t address, uint64_t now, uint64_t interval, uint64_t burst) noexcept nogil
    cdef uint64_t* pair_of(self, uint64_t address, uint64_t now) noexcept nogil
