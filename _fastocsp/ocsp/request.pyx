"""OCSPRequest, RFC 6960 4.1.1, read as strict DER without allocation.

Bytes of one request in, borrowed pointers out; what to answer is the caller's affair. Not known here: issuers,
clocks, policies, HTTP. Extension values are opaque but for the nonce; the requestorName and the signature are kept
and checked no deeper than their outermost shape, because nothing reads them (O-7, O-8).

DEVIATION: version v1 written out and an Extensions without any Extension are accepted, docs/adr/0020.
"""

from libc.string cimport memset

from _fastocsp.ocsp.certid cimport cert_id_value, read_cert_id
from _fastocsp.wire.der cimport (
    BIT_STRING, CONSTRUCTED, CONTEXT, INTEGER, OCTET_STRING, SEQUENCE, Cursor, Element, Fault, Octets, enter,
    enter_only, expect, fail, fail_at, leave, octets_before, octets_left, open_cursor, peek_tag, read_element,
    wire_error,
)
from _fastocsp.ocsp.extension cimport Extension, read_extension
from _fastocsp.wire.sink cimport octets_of

from _fastocsp.wire import types
from _fastocsp.wire.errors import MalformedRequest

cdef enum:
    # last arc of id-pkix-ocsp, 1.3.6.1.5.5.7.48.1
    NONCE = 2
    ACCEPTABLE_RESPONSES = 4
    SERVICE_LOCATOR = 7
    PREFERRED_SIGNATURE_ALGORITHMS = 8

cdef int read_nonce(Cursor* c, Octets value, OCSPRequest* out) noexcept nogil:
    """Nonce ::= OCTET STRING, RFC 9654 2.1. A second nonce leaves open which one to repeat: malformed."""
    cdef Cursor inside
    cdef Fault ignored
    cdef Element nonce
    if out.nonce_len >= 0 or out.nonce_malformed:
        return fail(c, "the nonce is there twice")
    open_cursor(&inside, value, &ignored)
    if expect(&inside, OCTET_STRING, &nonce) < 0 or leave(&inside) < 0:
        out.nonce_malformed = True
        return 0
    out.nonce = nonce.content.p
    out.nonce_len = <Py_ssize_t>nonce.content.n
    return 0


cdef int read_request_extensions(Cursor* c, OCSPRequest* out) noexcept nogil:
    # requestExtensions [2] EXPLICIT Extensions OPTIONAL, the last field of TBSRequest
    cdef Cursor explicit, inside
    cdef Extension extension
    if octets_left(c) == 0:
        return 0
    if enter_only(c, CONSTRUCTED | 2, &explicit) < 0 or enter_only(&explicit, SEQUENCE, &inside) < 0:
        return -1
    while octets_left(&inside):
        if read_extension(&inside, &extension) < 0:
            return -1
        if extension.arc == NONCE:
            if read_nonce(&inside, extension.value, out) < 0:
                return -1
        elif extension.arc != ACCEPTABLE_RESPONSES and extension.arc != PREFERRED_SIGNATURE_ALGORITHMS:
            out.unknown_critical |= extension.critical
    return 0


cdef int read_single_extensions(Cursor* c, OCSPRequest* out) noexcept nogil:
    # singleRequestExtensions [0] EXPLICIT Extensions OPTIONAL, the last field of Request
    cdef Cursor explicit, inside
    cdef Extension extension
    if octets_left(c) == 0:
        return 0
    if enter_only(c, CONSTRUCTED | 0, &explicit) < 0 or enter_only(&explicit, SEQUENCE, &inside) < 0:
        return -1
    while octets_left(&inside):
        if read_extension(&inside, &extension) < 0:
            return -1
        if extension.arc != SERVICE_LOCATOR:
            out.unknown_critical |= extension.critical
    return 0


cdef int read_request_list(Cursor* c, OCSPRequest* out) noexcept nogil:
    # requestList SEQUENCE OF Request; Request ::= SEQUENCE { reqCert CertID, singleRequestExtensions [0] .. OPTIONAL }
    cdef Cursor inside, request
    cdef Element listed
    cdef CertID later
    if expect(c, SEQUENCE, &listed) < 0:
        return -1
    if listed.content.n == 0:
        return fail_at(c, listed.der.p, "requestList is empty")
    out.request_list = listed.content.p
    out.request_list_len = listed.content.n
    open_cursor(&inside, listed.content, c.fault)
    while octets_left(&inside):
        if enter(&inside, SEQUENCE, &request) < 0:
            return -1
        if read_cert_id(&request, &later if out.cert_id_count else &out.first) < 0:
            return -1
        if read_single_extensions(&request, out) < 0:
            return -1
        out.cert_id_count += 1
    return 0


cdef int read_version(Cursor* c) noexcept nogil:
    # version [0] EXPLICIT Version DEFAULT v1; Version ::= INTEGER { v1(0) }
    cdef Cursor explicit
    cdef Element number
    if peek_tag(c) != CONSTRUCTED | 0:
        return 0
    if enter(c, CONSTRUCTED | 0, &explicit) < 0 or expect(&explicit, INTEGER, &number) < 0 or leave(&explicit) < 0:
        return -1
    if number.content.n != 1 or number.content.p[0] != 0:
        return fail_at(c, number.der.p, "the version is not v1")
    return 0


cdef int read_requestor_name(Cursor* c, OCSPRequest* out) noexcept nogil:
    # requestorName [1] EXPLICIT GeneralName OPTIONAL; GeneralName ::= CHOICE of [0] .. [8]
    cdef Cursor explicit
    cdef Element name
    if peek_tag(c) != CONSTRUCTED | 1:
        return 0
    if enter(c, CONSTRUCTED | 1, &explicit) < 0 or read_element(&explicit, &name) < 0 or leave(&explicit) < 0:
        return -1
    if name.tag & 0xC0 != CONTEXT or name.tag & 0x1F > 8:
        return fail_at(c, name.der.p, "requestorName is not a GeneralName")
    out.requestor_name = name.der.p
    out.requestor_name_len = name.der.n
    return 0


cdef int read_signature(Cursor* c, OCSPRequest* out) noexcept nogil:
    # optionalSignature [0] EXPLICIT Signature OPTIONAL
    # Signature ::= SEQUENCE { signatureAlgorithm AlgorithmIdentifier, signature BIT STRING,
    #                          certs [0] EXPLICIT SEQUENCE OF Certificate OPTIONAL }
    cdef Cursor explicit, inside, certs
    cdef Element whole, algorithm, bits
    if octets_left(c) == 0:
        return 0
    if enter_only(c, CONSTRUCTED | 0, &explicit) < 0 or expect(&explicit, SEQUENCE, &whole) < 0:
        return -1
    open_cursor(&inside, whole.content, c.fault)
    if (leave(&explicit) < 0 or expect(&inside, SEQUENCE, &algorithm) < 0 or expect(&inside, BIT_STRING, &bits) < 0):
        return -1
    if octets_left(&inside) and (
            enter_only(&inside, CONSTRUCTED | 0, &certs) < 0 or expect(&certs, SEQUENCE, &bits) < 0
            or leave(&certs) < 0):
        return -1
    out.signature = whole.der.p
    out.signature_len = whole.der.n
    return 0


cdef int read_ocsp_request(Cursor* c, OCSPRequest* out) noexcept nogil:
    # OCSPRequest ::= SEQUENCE { tbsRequest TBSRequest, optionalSignature [0] EXPLICIT Signature OPTIONAL }
    # TBSRequest ::= SEQUENCE { version, requestorName, requestList, requestExtensions }
    cdef Cursor request, tbs
    if enter_only(c, SEQUENCE, &request) < 0 or enter(&request, SEQUENCE, &tbs) < 0:
        return -1
    if (read_version(&tbs) < 0 or read_requestor_name(&tbs, out) < 0 or read_request_list(&tbs, out) < 0
            or read_request_extensions(&tbs, out) < 0):
        return -1
    return read_signature(&request, out)


cdef int parse_with_reason(Octets octets, OCSPRequest* out, Fault* fault) noexcept nogil:
    cdef Cursor c
    memset(out, 0, sizeof(OCSPRequest))
    out.nonce_len = -1
    open_cursor(&c, octets, fault)
    return read_ocsp_request(&c, out)


cdef int parse_request(const uint8_t* p, size_t n, OCSPRequest* out, size_t* offset) noexcept nogil:
    cdef Octets octets
    cdef Fault fault
    octets.p = p
    octets.n = n
    if parse_with_reason(octets, out, &fault) == 0:
        return 0
    offset[0] = octets_before(p, fault.at)
    return -1


cdef int next_cert_id(const uint8_t** p, size_t* n, CertID* out) noexcept nogil:
    cdef Octets octets
    cdef Fault fault
    cdef Cursor c, request
    octets.p = p[0]
    octets.n = n[0]
    open_cursor(&c, octets, &fault)
    if octets.n == 0 or enter(&c, SEQUENCE, &request) < 0 or read_cert_id(&request, out) < 0:
        return 0
    p[0] = c.p
    n[0] = octets_left(&c)
    return 1


cdef tuple cert_ids_of(const OCSPRequest* request):
    cdef const uint8_t* p = request.request_list
    cdef size_t n = request.request_list_len
    cdef CertID cert_id
    cert_ids = []
    while next_cert_id(&p, &n, &cert_id):
        cert_ids.append(cert_id_value(&cert_id))
    return tuple(cert_ids)


cdef object octets_or_none(const uint8_t* p, Py_ssize_t n):
    return None if p == NULL else p[:n]


def request_value(bytes octets not None):
    cdef OCSPRequest request
    cdef Fault fault
    cdef Octets whole = octets_of(octets)
    if parse_with_reason(whole, &request, &fault) < 0:
        raise wire_error(MalformedRequest, &fault, whole.p)
    return types.OCSPRequest(
        cert_ids_of(&request),
        octets_or_none(request.nonce, request.nonce_len),
        bool(request.nonce_malformed),
        bool(request.unknown_critical),
        octets_or_none(request.requestor_name, request.requestor_name_len),
        octets_or_none(request.signature, request.signature_len),
    )


# The nogil parse_request of request.pxd does not appear in the module dictionary; there the name means this function.
request_value.__name__ = request_value.__qualname__ = "parse_request"
globals()["parse_request"] = request_value
del globals()["request_value"]
