"""The gate: the last question before bytes leave."""

from libc.stdint cimport uint8_t, uint16_t, uint64_t

from _fastocsp.record cimport RecordHead
from _fastocsp.revoked cimport RevokedImage

cdef enum:
    GATE_PASS = 1                 # this record may be answered
    GATE_CONTRADICTED = 0         # the record does not say what the set says: sign anew
    GATE_CLOSED = -1              # the lease has run out: policy

cdef class Gate:
    cdef object _folder
    cdef object _page_map
    cdef const uint64_t* page
    cdef uint64_t number          # of the image that is mapped
    cdef RevokedImage image

    cdef int check(self, uint16_t issuer_no, const uint8_t* serial, size_t serial_len, const RecordHead* record)
    cdef int remap(self) except -1
