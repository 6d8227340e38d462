"""The edge's table: (issuer, CertID hash algorithm, serial) to compact record, one for all workers of a host."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastocsp.ocsp.record cimport RecordHead
from _fastocsp.table.entry cimport Found, TableKey
from _fastocsp.table.memory cimport TableMemory


@cython.final
cdef class Table:
    cdef TableMemory memory
    cdef uint32_t tick                    # epoch seconds; see set_tick

    # Ask for the memory that `find` reads first for a key
    cdef void expect(self, uint32_t key_hash, uint32_t place) noexcept nogil
    # A copy of the record of this key, whose place is noted in it; False without one. Takes no lock and never waits.
    cdef bint find(self, TableKey* key, Found* out) noexcept nogil
    # The record found was used now; True when it is due and no other worker has noted that lately.
    cdef bint mark(self, Found* found, uint32_t now, bint due) noexcept nogil
    cdef void move_clock(self, uint32_t now) noexcept nogil
    # For the writer alone, with the mutex taken
    cdef uint64_t word_of_key(self, const TableKey* key) noexcept nogil
    cdef bint keep(self, const TableKey* key, const RecordHead* fresh, const uint8_t* record,
                   size_t record_len) noexcept nogil
    cdef bint add(self, const TableKey* key, const uint8_t* record, size_t record_len) noexcept nogil
