"""The gate: the last question before bytes leave."""

from libc.stdint cimport uint8_t, uint16_t, uint64_t

from _fastocsp.shared.lock cimport Lock
from _fastocsp.ocsp.record cimport RecordHead
from _fastocsp.revoked.image cimport RevokedImage

cdef enum:
    GATE_PASS = 1                 # this record may be answered
    GATE_CONTRADICTED = 0         # the record does not say what the set says: sign anew
    GATE_CLOSED = -1              # the lease has run out: policy
    GATE_MOVED = -2               # the page names another image: `remap`, then ask again
    GATE_FENCED = -3              # the issuer is fenced: tryLater

cdef class Gate:
    cdef object _folder
    cdef object _page_map
    cdef const uint64_t* page
    cdef readonly Lock lock
    cdef uint64_t number          # of the image that is mapped
    cdef const uint8_t* octets    # of that image
    cdef RevokedImage image       # owns them

    # The caller holds the GIL or the lock: either keeps the image where it is
    cdef int check(self, uint16_t issuer_no, const uint8_t* serial, size_t serial_len,
                   const RecordHead* record) noexcept nogil
    # What `check` returned, or the verdict on a set with fences, whose lease `check` does not see
    cdef int check_fenced(self, int verdict, uint16_t issuer_no, const uint8_t* serial, size_t serial_len,
                          const RecordHead* record) noexcept nogil
    # Ask for the memory that `check` reads first for a serial of this hash
    cdef void expect(self, uint64_t serial_hash) noexcept nogil
