"""The HTTP/1.1 recogniser: plain OCSP requests and conditional GETs of CRLs, and nothing else."""

from libc.stdint cimport uint8_t

cdef enum:
    WIRE_PASS_ON = -1             # not a plain OCSP request: another parser's business
    WIRE_NEED_MORE = 0
    WIRE_TAKEN = 1

cdef enum:
    METHOD_GET = 1
    METHOD_POST = 2

cdef struct Span:
    const uint8_t* p              # borrowed from the connection's buffer
    size_t n

cdef struct HttpRequest:
    int method
    Span target                   # request-target, undecoded
    Span issuer_id                # between "/.well-known/pki/ocsp/" and the next '/'; n == 0 for "/ocsp"
    Span rest                     # GET: the path after that slash, undecoded
    Span body                     # POST: the OCSPRequest
    Span if_none_match            # n == 0: absent
    Span if_modified_since
    Span forwarded_for
    size_t consumed               # octets of this request, the next one begins there
    bint keep_alive
    bint old                      # HTTP/1.0
    bint crl                      # GET of a CRL with If-None-Match: issuer_id is its name, "demo" or "demo/delta"

cdef int recognise(const uint8_t* p, size_t n, size_t max_body, HttpRequest* out) noexcept nogil
