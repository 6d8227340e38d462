"""The edge's table: (issuer, CertID hash algorithm, serial) to compact record."""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from _fastocsp.lock cimport Lock
from _fastocsp.record cimport RecordHead

cdef struct TableKey:
    uint32_t hash
    uint16_t issuer_no
    uint8_t hash_algorithm        # with PARAMETERS_ABSENT
    uint8_t serial_len
    const uint8_t* serial

cdef struct Entry:
    uint32_t hash
    uint32_t used                 # tick of the last hit, for eviction
    uint16_t issuer_no
    uint16_t record_len
    uint8_t hash_algorithm
    uint8_t serial_len
    uint16_t due_round            # of the lane: already noted as due in this round
    # followed by serial_len octets of serial and record_len octets of record

cdef void set_key(TableKey* key, uint16_t issuer_no, uint8_t hash_algorithm, const uint8_t* serial,
                  size_t serial_len) noexcept nogil

cdef inline const uint8_t* entry_record(const Entry* entry) noexcept nogil:
    return <const uint8_t*>entry + sizeof(Entry) + entry.serial_len


@cython.final
cdef class Table:
    cdef Entry** slots
    cdef size_t mask
    cdef size_t used_slots
    cdef size_t bytes_used
    cdef size_t bytes_limit
    cdef size_t hand              # next slot the eviction looks at
    cdef uint32_t tick
    cdef readonly Lock lock

    # The entry, or NULL. The caller holds the lock while it calls this and while it reads the entry.
    cdef Entry* find(self, const TableKey* key) noexcept nogil
    cdef size_t slot_of(self, const TableKey* key) noexcept nogil
    cdef void remove_slot(self, size_t at) noexcept nogil
    cdef int make_room(self, size_t octets) noexcept nogil
    cdef int grow(self) noexcept nogil
    cdef int keep(self, const TableKey* key, const RecordHead* fresh, const uint8_t* record,
                  size_t record_len) noexcept nogil
    cdef size_t copy(self, const TableKey* key, uint8_t* out) noexcept nogil
