"""OCSPResponse from a template and a compact record, RFC 6960 4.2.1."""

cimport cython
from libc.stdint cimport uint8_t
from libc.string cimport memcmp

from _fastocsp.wire.codes cimport ERROR_BYTES
from _fastocsp.wire.der cimport Octets
from _fastocsp.ocsp.record cimport RecordHead
from _fastocsp.ocsp.single_response cimport Single
from _fastocsp.wire.serial cimport is_serial_key
from _fastocsp.wire.sink cimport Sink, put_octet, put_static

cdef struct Layout:
    Single single
    size_t responses_len          # content bytes of `responses`
    Octets extensions             # responseExtensions with its explicit tag; n is 0 when absent
    size_t tbs_len                # content bytes of ResponseData
    size_t signature_len          # bytes of the signature as it is served
    size_t basic_len              # content bytes of BasicOCSPResponse
    size_t octet_string_len       # content bytes of `response`, the OCTET STRING
    size_t bytes_len              # content bytes of ResponseBytes
    size_t content_len            # content bytes of OCSPResponse


cdef struct TemplateOctets:       # what the nogil writers need of a template, owned by it
    int hash_algorithm
    Octets responder
    Octets cert_id_head
    Octets responder_id
    Octets signature_algorithm
    Octets certs


@cython.final
cdef class Template:
    """What every answer of one issuer, one responder and one CertID hash has in common."""
    cdef readonly bytes responder          # 8 bytes, the record's responder field
    cdef readonly int hash_algorithm       # codes.SHA1.. | PARAMETERS_ABSENT
    cdef bytes _cert_id_head               # CertID content before serialNumber
    cdef bytes _responder_id               # ResponderID
    cdef bytes _signature_algorithm        # AlgorithmIdentifier
    cdef bytes _certs                      # certs with its explicit tag, or empty
    cdef TemplateOctets octets             # valid as long as the template

    cdef bytes single_response(self, bytes serial, bytes record)
    cdef bytes response_data(self, bytes serial, bytes record, bytes nonce)

cdef inline void put_error_response(Sink* s, int status) noexcept nogil:
    """The unsigned OCSPResponse of that OCSPResponseStatus: ERROR_BYTES, which the sink must have room for."""
    put_static(s, b"\x30\x03\x0a\x01", ERROR_BYTES - 1)
    put_octet(s, <uint8_t>status)


cdef inline bint belongs(const TemplateOctets* t, Octets serial, const RecordHead* record) noexcept nogil:
    """The record is of an answer of this template, and the serial one that can be asked for."""
    return (record.hash_algorithm == t.hash_algorithm and is_serial_key(serial)
            and memcmp(record.responder, t.responder.p, 8) == 0)


# Bytes of the complete OCSPResponse DER, `layout` filled in for write_response; 0 when the record does not belong to
# this template, has no signature, or the serial is empty or longer than MAX_SERIAL. The layout borrows all three.
cdef size_t response_size(const TemplateOctets* t, Octets serial, const RecordHead* record,
                          Layout* layout) noexcept nogil
# 0, or -1 when the sink is too small; on -1 nothing useful was written
cdef int write_response(const TemplateOctets* t, Sink* sink, const Layout* layout) noexcept nogil
