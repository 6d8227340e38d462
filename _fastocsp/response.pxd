"""OCSPResponse from a template and a compact record, RFC 6960 4.2.1."""

from libc.stdint cimport uint8_t

from _fastocsp.record cimport RecordHead
from _fastocsp.sink cimport Sink

cdef class Template:
    """What every answer of one issuer, one responder and one CertID hash has in common."""
    cdef readonly bytes responder          # 8 octets, the record's responder field
    cdef readonly int hash_algorithm       # codes.SHA1.. | PARAMETERS_ABSENT
    # ... private members, all bytes objects plus raw pointers and lengths into them

    # Octets of the complete OCSPResponse DER; 0 when the record does not belong to this template
    cdef size_t response_size(self, size_t serial_len, const uint8_t* serial, const RecordHead* record) noexcept nogil
    # 0, or -1 when the sink is too small
    cdef int write_response(self, Sink* sink, size_t serial_len, const uint8_t* serial,
                            const RecordHead* record) noexcept nogil
