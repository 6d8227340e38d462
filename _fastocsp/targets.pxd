"""Request targets that were understood a moment ago, and what each of them asks for."""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from _fastocsp.table_entry cimport TableKey
from _fastocsp.wire cimport Span

cdef enum:
    MIN_TARGET = 16               # octets of a target that is kept
    MAX_TARGET = 224

cdef struct Target:
    uint32_t hash                 # of the octets, less the bits that say where it lies
    uint32_t key_hash
    uint16_t n                    # 0: none
    uint16_t issuer_no
    uint8_t hash_algorithm
    uint8_t serial_len
    uint8_t serial[20]
    uint8_t octets[MAX_TARGET]


@cython.final
cdef class Targets:
    cdef Target* slots
    cdef uint32_t mask

    # Fill `out`, which borrows the serial number until the next `keep` or `clear`; False when the target is not known
    cdef bint find(self, Span target, TableKey* out) noexcept nogil
    # From now on this target asks for that key
    cdef void keep(self, Span target, const TableKey* key) noexcept nogil
    cdef void forget(self) noexcept nogil
