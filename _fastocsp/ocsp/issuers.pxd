"""Which issuer a CertID names, and the templates of its answers."""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from _fastocsp.ocsp.request cimport CertID
from _fastocsp.ocsp.response cimport Template, TemplateOctets

cdef struct IssuerHashes:
    uint8_t hash_algorithm        # without PARAMETERS_ABSENT
    uint8_t hash_len
    uint16_t issuer_no
    uint32_t next                 # row + 1 of the next one of this bucket
    uint8_t name_hash[64]
    uint8_t key_hash[64]
    const uint8_t* name           # issuer_id, owned by the index
    size_t name_len

cdef struct TemplateRow:
    uint16_t issuer_no
    uint8_t hash_algorithm        # with PARAMETERS_ABSENT
    uint32_t next                 # row + 1 of the next one of this bucket
    const TemplateOctets* octets  # owned by a template that the index holds


@cython.final
cdef class IssuerIndex:
    cdef IssuerHashes* rows
    cdef size_t count
    cdef size_t room
    cdef uint32_t* buckets                # as many as there is room for rows, a power of two
    cdef TemplateRow* template_rows
    cdef size_t template_count
    cdef size_t template_room
    cdef uint32_t* template_buckets
    cdef readonly dict names              # issuer_no to issuer_id, bytes
    cdef list _held                       # what the rows borrow from
    cdef dict _templates                  # (issuer_no, hash_algorithm with PARAMETERS_ABSENT) to list of Template

    cdef int reserve(self) except -1
    cdef int reserve_template(self) except -1
    cdef void hold(self, size_t at) noexcept
    cdef void hold_template(self, size_t at) noexcept
    # The issuer that has both hashes, or NULL
    cdef const IssuerHashes* issuer_of(self, const CertID* cert_id) noexcept nogil
    # The template of that responder's answers, or NULL
    cdef const TemplateOctets* template(self, uint16_t issuer_no, uint8_t hash_algorithm,
                                        const uint8_t* responder) noexcept nogil
