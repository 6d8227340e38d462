"""The HTTP/1.1 recogniser: plain OCSP requests and conditional GETs of CRLs, and nothing else."""

from libc.stdint cimport uint8_t

from _fastocsp.http.headers cimport KnownSection, Span

cdef enum:
    METHOD_GET = 1
    METHOD_POST = 2

cdef struct HttpRequest:
    int method
    Span target                   # request-target, undecoded
    Span issuer_id                # between "/.well-known/pki/ocsp/" and the next '/'; n == 0 for "/ocsp"
    Span rest                     # GET: the path after that slash, undecoded
    Span body                     # POST: the OCSPRequest
    Span if_none_match            # n == 0: absent
    Span if_modified_since
    Span forwarded_for
    size_t consumed               # bytes of this request, the next one begins there
    int keep_alive                # CONNECTION_* of headers.pxd
    bint old                      # HTTP/1.0
    bint crl                      # GET of a CRL with If-None-Match: issuer_id is its name, "demo" or "demo/delta"

# WIRE_TAKEN, WIRE_NEED_MORE or WIRE_PASS_ON; `known` are KNOWN_SECTIONS of one thread, all zeros at first, or NULL
cdef int recognise(const uint8_t* p, size_t n, size_t max_body, KnownSection* known, HttpRequest* out) noexcept nogil
