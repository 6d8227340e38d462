"""OCSPResponse, RFC 6960 4.2.1, rebuilt from a template and a compact record.

The nogil half measures from the inside out and writes once from the outside in: no allocation, no Python object. The
Python half builds what is to be signed, and answers that are not one record. This module neither signs nor verifies;
the bytes to be signed and the bytes served come from the same writers, which the tests hold equal.
DEFAULT version and empty certs are not written (O-23, O-18).
"""

from _fastocsp.wire.codes cimport (
    INTERNAL_ERROR, MALFORMED_REQUEST, SIG_REQUIRED, SUCCESSFUL, TRY_LATER, UNAUTHORIZED,
)
from _fastocsp.wire.der cimport (
    BIT_STRING, CONSTRUCTED, ENUMERATED, OCTET_STRING, SEQUENCE, Cursor, Element, Fault, expect,
    leave, open_cursor,
)
from _fastocsp.wire.gentime cimport TIME_TLV, put_generalized_time
from _fastocsp.ocsp.record cimport FLAG_EXTENDED_REVOKE, put_signature_octets, read_or_raise, signature_size
from _fastocsp.ocsp.single_response cimport measure_single, put_single
from _fastocsp.wire.sink cimport (
    bytes_sink, new_bytes, octets_of, put_header, put_octet, put_octets, put_static, sink_room, tlv_size,
)

from _fastocsp.ocsp.certid import cert_id_head
from _fastocsp.wire.gentime import generalized_time
from _fastocsp.ocsp.record import pack_record, unpack_record
from _fastocsp.wire.sink import tlv
from _fastocsp.wire.types import Record

cdef enum:
    STATUS_TLV = 3                # bytes of responseStatus
    BASIC_OID_TLV = 11            # bytes of id-pkix-ocsp-basic

# id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1
cdef const char* BASIC_OID = b"\x06\x09\x2B\x06\x01\x05\x05\x07\x30\x01\x01"
# id-pkix-ocsp-nonce, 1.3.6.1.5.5.7.48.1.2
cdef bytes NONCE_OID = b"\x06\x09\x2B\x06\x01\x05\x05\x07\x30\x01\x02"
# Extension { id-pkix-ocsp-extended-revoke, 1.3.6.1.5.5.7.48.1.9, NULL }
cdef bytes EXTENDED_REVOKE = b"\x30\x0F\x06\x09\x2B\x06\x01\x05\x05\x07\x30\x01\x09\x04\x02\x05\x00"
cdef bytes ONLY_EXTENDED_REVOKE = tlv(CONSTRUCTED | 1, tlv(SEQUENCE, EXTENDED_REVOKE))
cdef Octets EXTENDED_REVOKE_EXTENSIONS = octets_of(ONLY_EXTENDED_REVOKE)

cdef set ERROR_STATUSES = {MALFORMED_REQUEST, INTERNAL_ERROR, TRY_LATER, SIG_REQUIRED, UNAUTHORIZED}


def error_response(int status):
    cdef bytes body = new_bytes(ERROR_BYTES)
    cdef Sink s
    if status not in ERROR_STATUSES:
        raise KeyError(status)
    bytes_sink(&s, body)
    put_error_response(&s, status)
    return body


cdef bint is_one(int tag, bytes octets) noexcept:
    """Whether the bytes are exactly one element with this identifier byte."""
    cdef Cursor c
    cdef Fault fault
    cdef Element element
    open_cursor(&c, octets_of(octets), &fault)
    return expect(&c, tag, &element) == 0 and leave(&c) == 0


cdef class Template:

    def __cinit__(self, *, int hash_algorithm, bytes issuer_name_hash not None, bytes issuer_key_hash not None,
                  bytes responder_id not None, bytes responder not None, bytes signature_algorithm not None, certs=()):
        if not (is_one(CONSTRUCTED | 1, responder_id) or is_one(CONSTRUCTED | 2, responder_id)):
            raise ValueError("responder_id is not a ResponderID")
        if len(responder) != 8:
            raise ValueError("responder is not 8 octets")
        if not is_one(SEQUENCE, signature_algorithm):
            raise ValueError("signature_algorithm is not an AlgorithmIdentifier")
        for cert in certs:
            if not is_one(SEQUENCE, cert):
                raise ValueError("certs are not Certificates")
        self.hash_algorithm = hash_algorithm
        self.responder = responder
        self._cert_id_head = cert_id_head(hash_algorithm, issuer_name_hash, issuer_key_hash)
        self._responder_id = responder_id
        self._signature_algorithm = signature_algorithm
        self._certs = tlv(CONSTRUCTED | 0, tlv(SEQUENCE, b"".join(certs))) if certs else b""
        self.octets.hash_algorithm = hash_algorithm
        self.octets.responder = octets_of(self.responder)
        self.octets.cert_id_head = octets_of(self._cert_id_head)
        self.octets.responder_id = octets_of(self._responder_id)
        self.octets.signature_algorithm = octets_of(self._signature_algorithm)
        self.octets.certs = octets_of(self._certs)

    cdef bytes single_response(self, bytes serial, bytes record):
        """The SingleResponse DER."""
        cdef RecordHead head
        cdef Single single
        cdef Sink s
        cdef bytes element
        read_or_raise(record, &head)
        if open_single(&self.octets, &single, octets_of(serial), &head) < 0:
            raise ValueError("the record or the serial does not belong to this template")
        element = new_bytes(measure_single(&single))
        bytes_sink(&s, element)
        put_single(&s, &single)
        return element

    def encode(self, bytes serial not None, bytes record not None):
        cdef RecordHead head
        cdef Sink s
        cdef Layout layout
        cdef bytes response
        read_or_raise(record, &head)
        size = response_size(&self.octets, octets_of(serial), &head, &layout)
        if size == 0:
            raise ValueError("the record or the serial does not belong to this template")
        response = new_bytes(size)
        bytes_sink(&s, response)
        write_response(&self.octets, &s, &layout)
        return response

    def tbs(self, bytes serial not None, record, bytes nonce=None):
        return self.response_data(serial, pack_record(record) if isinstance(record, Record) else record, nonce)

    cdef bytes response_data(self, bytes serial, bytes record, bytes nonce):
        """The ResponseData of one record, written once: a walk signs millions of these."""
        cdef RecordHead head
        cdef Sink s
        cdef bytes single = self.single_response(serial, record), element, with_nonce
        cdef Octets extensions = EXTENDED_REVOKE_EXTENSIONS
        read_or_raise(record, &head)
        if nonce is not None:
            with_nonce = response_extensions(head.flags & FLAG_EXTENDED_REVOKE, nonce)
            extensions = octets_of(with_nonce)
        elif not head.flags & FLAG_EXTENDED_REVOKE:
            extensions.n = 0
        length = <size_t>len(self._responder_id) + TIME_TLV + tlv_size(len(single)) + extensions.n
        element = new_bytes(tlv_size(length))
        bytes_sink(&s, element)
        put_header(&s, SEQUENCE, length)
        put_octets(&s, octets_of(self._responder_id))
        put_generalized_time(&s, head.produced_at)
        put_header(&s, SEQUENCE, len(single))
        put_octets(&s, octets_of(single))
        put_octets(&s, extensions)
        return element


cdef int open_single(const TemplateOctets* t, Single* out, Octets serial, const RecordHead* record) noexcept nogil:
    """0, or -1 when record or serial do not belong here."""
    if not belongs(t, serial, record):
        return -1
    out.cert_id_head = t.cert_id_head
    out.serial = serial
    out.record = record
    return 0


cdef size_t response_size(const TemplateOctets* t, Octets serial, const RecordHead* record,
                          Layout* layout) noexcept nogil:
    if record.signature_len == 0 or open_single(t, &layout.single, serial, record) < 0:
        return 0
    layout.responses_len = measure_single(&layout.single)
    layout.extensions = EXTENDED_REVOKE_EXTENSIONS
    if not record.flags & FLAG_EXTENDED_REVOKE:
        layout.extensions.n = 0
    layout.tbs_len = t.responder_id.n + TIME_TLV + tlv_size(layout.responses_len) + layout.extensions.n
    measure_envelope(t, tlv_size(layout.tbs_len), signature_size(record), layout)
    return tlv_size(layout.content_len)


cdef void measure_envelope(const TemplateOctets* t, size_t tbs, size_t signature, Layout* layout) noexcept nogil:
    """The lengths around ResponseData and a signature of so many bytes."""
    layout.signature_len = signature
    layout.basic_len = tbs + t.signature_algorithm.n + tlv_size(1 + signature) + t.certs.n
    layout.octet_string_len = tlv_size(layout.basic_len)
    layout.bytes_len = BASIC_OID_TLV + tlv_size(layout.octet_string_len)
    layout.content_len = STATUS_TLV + tlv_size(tlv_size(layout.bytes_len))


cdef int write_response(const TemplateOctets* t, Sink* sink, const Layout* layout) noexcept nogil:
    if tlv_size(layout.content_len) > sink_room(sink):
        return -1
    put_envelope(sink, layout)
    put_response_data(t, sink, layout)
    put_octets(sink, t.signature_algorithm)
    put_signature(sink, layout)
    put_octets(sink, t.certs)
    return -1 if sink.overflow else 0


cdef void put_response_data(const TemplateOctets* t, Sink* s, const Layout* layout) noexcept nogil:
    # ResponseData ::= SEQUENCE {
    #   version [0] EXPLICIT Version DEFAULT v1, responderID ResponderID, producedAt GeneralizedTime,
    #   responses SEQUENCE OF SingleResponse, responseExtensions [1] EXPLICIT Extensions OPTIONAL }
    put_header(s, SEQUENCE, layout.tbs_len)
    put_octets(s, t.responder_id)
    put_generalized_time(s, layout.single.record.produced_at)
    put_header(s, SEQUENCE, layout.responses_len)
    put_single(s, &layout.single)
    put_octets(s, layout.extensions)


cdef void put_envelope(Sink* s, const Layout* layout) noexcept nogil:
    # OCSPResponse ::= SEQUENCE { responseStatus ENUMERATED, responseBytes [0] EXPLICIT ResponseBytes OPTIONAL }
    # ResponseBytes ::= SEQUENCE { responseType OBJECT IDENTIFIER, response OCTET STRING }
    # BasicOCSPResponse ::= SEQUENCE { tbsResponseData, signatureAlgorithm, signature, certs [0] EXPLICIT .. OPTIONAL }
    put_header(s, SEQUENCE, layout.content_len)
    put_header(s, ENUMERATED, STATUS_TLV - 2)
    put_octet(s, SUCCESSFUL)
    put_header(s, CONSTRUCTED | 0, tlv_size(layout.bytes_len))
    put_header(s, SEQUENCE, layout.bytes_len)
    put_static(s, BASIC_OID, BASIC_OID_TLV)
    put_header(s, OCTET_STRING, layout.octet_string_len)
    put_header(s, SEQUENCE, layout.basic_len)


cdef void put_signature(Sink* s, const Layout* layout) noexcept nogil:
    """BIT STRING of whole bytes."""
    put_header(s, BIT_STRING, 1 + layout.signature_len)
    put_octet(s, 0)
    put_signature_octets(s, layout.single.record)


def responder_id_by_key(bytes key_hash not None):
    if len(key_hash) != 20:
        raise ValueError("byKey is the SHA-1 of the key bits, 20 octets")
    return tlv(CONSTRUCTED | 2, tlv(OCTET_STRING, key_hash))


def responder_id_by_name(bytes name not None):
    if not is_one(SEQUENCE, name):
        raise ValueError("byName is not a Name")
    return tlv(CONSTRUCTED | 1, name)


cdef bytes response_extensions(bint extended_revoke, bytes nonce):
    """responseExtensions [1] EXPLICIT Extensions OPTIONAL, empty when there is none (O-12)."""
    cdef bytes extensions = b""
    if nonce is not None:
        extensions = tlv(SEQUENCE, NONCE_OID + tlv(OCTET_STRING, tlv(OCTET_STRING, nonce)))
    if extended_revoke:
        extensions += EXTENDED_REVOKE
    return tlv(CONSTRUCTED | 1, tlv(SEQUENCE, extensions)) if extensions else b""


def tbs_response_data(singles, produced_at, bytes nonce=None):
    cdef Template template
    cdef bytes responses = b""
    cdef bytes responder_id = None
    cdef bint extended_revoke = False
    for template, serial, record in singles:
        if responder_id is not None and responder_id != template._responder_id:
            raise ValueError("one answer has one responder")
        responder_id = template._responder_id
        head = record if isinstance(record, Record) else unpack_record(record)
        extended_revoke |= head.flags & FLAG_EXTENDED_REVOKE
        responses += template.single_response(serial, pack_record(head))
    if responder_id is None:
        raise ValueError("an answer needs at least one SingleResponse")
    extensions = response_extensions(extended_revoke, nonce)
    content = responder_id + generalized_time(produced_at) + tlv(SEQUENCE, responses) + extensions
    return tlv(SEQUENCE, content)


def encode_signed(Template template not None, bytes tbs not None, bytes signature not None):
    cdef const TemplateOctets* t = &template.octets
    cdef Layout layout
    cdef bytes response
    cdef Sink s
    measure_envelope(t, len(tbs), len(signature), &layout)
    response = new_bytes(tlv_size(layout.content_len))
    bytes_sink(&s, response)
    put_envelope(&s, &layout)
    put_octets(&s, octets_of(tbs))
    put_octets(&s, t.signature_algorithm)
    put_header(&s, BIT_STRING, 1 + len(signature))
    put_octet(&s, 0)
    put_octets(&s, octets_of(signature))
    put_octets(&s, t.certs)
    return response
