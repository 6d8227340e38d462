"""Request targets that were parsed recently, and the key that each of them asks for."""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from _fastocsp.http.headers cimport Span
from _fastocsp.table.entry cimport TableKey
from _fastocsp.wire.codes cimport MAX_MAGNITUDE

cdef enum:
    MIN_TARGET = 16               # bytes of a target that is kept
    MAX_TARGET = 272              # a Target has 320 bytes, five lines of the cache
    WAYS = 4                      # places of a set, of which a target may have any

cdef struct Tag:                  # of a target, small, so that all of them stay in a cache
    uint32_t hash                 # of its bytes, odd; even: of a target that was asked for once; 0: no target
    uint32_t place                # of its record, as in TableKey

cdef struct Target:
    uint64_t place_epoch
    uint64_t serial_hash          # as `hash_serial` has it
    uint32_t key_hash
    uint16_t n
    uint16_t issuer_no
    uint8_t hash_algorithm
    uint8_t serial_len
    uint8_t serial[MAX_MAGNITUDE]     # the connection loop answers no negative number
    uint8_t octets[MAX_TARGET]


cdef struct KnownTarget:          # a target that was found
    uint32_t slot
    uint64_t serial_hash          # as `hash_serial` has it


@cython.final
cdef class Targets:
    cdef Target* slots
    cdef Tag* tags                        # of each slot
    cdef uint32_t mask
    cdef const uint8_t* expected          # the last target whose hash was taken
    cdef size_t expected_n
    cdef uint64_t expected_hash

    # Ask for the memory that `find` will read for the target of this request; its tag, or NULL
    cdef const Tag* expect(self, const uint8_t* request, size_t n) noexcept nogil
    # Fill `out`, which borrows the serial number until the next `keep` or `clear`; False when the target is not known
    cdef bint find(self, Span target, TableKey* out, KnownTarget* known) noexcept nogil
    # The place of the record of this target's key, where it was found this time
    cdef void note_place(self, const KnownTarget* known, const TableKey* key) noexcept nogil
    # This target asks for that key; it is known from the second time on
    cdef void keep(self, Span target, const TableKey* key) noexcept nogil
    cdef uint64_t hash_once(self, Span target) noexcept nogil
    cdef uint32_t way_for(self, uint32_t at, uint64_t h) noexcept nogil
    cdef void forget(self) noexcept nogil
