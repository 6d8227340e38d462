"""HTTP recogniser, sans I/O: bytes in, one plain OCSP request out, or "need more", or "pass on".

Plain is also a GET of a CRL that says which one the client has (If-None-Match, If-Modified-Since), as caches ask it.

It takes what clients of a responder really send, and is sure of all it takes: one request line, HTTP/1.1 with one Host
or HTTP/1.0 with at most one, at most one Content-Length of digits and one Content-Type, no
Transfer-Encoding, no Expect, no upgrade, no query, no folded or control bytes. Whatever else comes, well-formed or
not, is passed on with its bytes to the full parser, which has the last word on what is an error (RFC 9112). So
framing has one meaning here and no request can be smuggled past it.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp

from _fastocsp.http.headers cimport (
    CONNECTION_CLOSE, CONNECTION_KEEP_ALIVE, CONNECTION_KEPT, WIRE_NEED_MORE, WIRE_PASS_ON, WIRE_TAKEN,
    HeaderSection, KnownSections, after, next_line, read_section,
)

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    /* Every octet may stand in a path as it is: visible US-ASCII, no "?" and no "#". A loop without a way out in the
     * middle, which compilers turn into vectors. */
    static inline int all_path(const uint8_t* p, size_t n) {
        uint8_t wrong = 0;
        for (size_t i = 0; i < n; i++)
            wrong |= (uint8_t)(p[i] - 0x21) > 0x5D || p[i] == '?' || p[i] == '#';
        return !wrong;
    }
    """
    bint all_path(const uint8_t* p, size_t n) noexcept nogil


cdef bint starts(Span s, const char* word, size_t n) noexcept nogil:
    return s.n >= n and memcmp(s.p, word, n) == 0


cdef bint could_be(Span s, const char* word, size_t n) noexcept nogil:
    """s begins as `word` does, as far as either goes."""
    return memcmp(s.p, word, s.n if s.n < n else n) == 0


cdef bint hopeful(Span s) noexcept nogil:
    """What is there so far may still become a plain OCSP request."""
    return (could_be(s, b"GET /ocsp", 9) or could_be(s, b"POST /ocsp", 10)
            or could_be(s, b"GET /.well-known/pki/ocsp/", 26) or could_be(s, b"POST /.well-known/pki/ocsp/", 27)
            or could_be(s, b"GET /.well-known/pki/crl/", 25))


cdef int recognise(const uint8_t* p, size_t n, size_t max_body, KnownSection* known, HttpRequest* out) noexcept nogil:
    cdef Span all
    cdef Span line
    cdef HeaderSection head
    cdef size_t used
    cdef int got
    all.p = p
    all.n = n
    if not hopeful(all):
        return WIRE_PASS_ON
    got = next_line(all, &line)
    if got != WIRE_TAKEN:
        return got
    if not request_line(line, out):
        return WIRE_PASS_ON
    used = line.n + 2
    got = read_section(after(all, used), used, known, &head)
    if got != WIRE_TAKEN:
        return got
    used += head.octets
    if head.odd or head.hosts > 1 or (head.hosts == 0 and not out.old):
        return WIRE_PASS_ON
    if out.crl and head.if_none_match.n == 0 and head.if_modified_since.n == 0:
        return WIRE_PASS_ON
    out.if_none_match, out.if_modified_since = head.if_none_match, head.if_modified_since
    out.forwarded_for, out.body.n = head.forwarded_for, 0
    if head.close:
        out.keep_alive = CONNECTION_CLOSE
    elif not out.old:
        out.keep_alive = CONNECTION_KEPT
    else:
        out.keep_alive = CONNECTION_KEEP_ALIVE if head.keep else CONNECTION_CLOSE
    return take_body(after(all, used), used, max_body, &head, out)


cdef int take_body(Span left, size_t used, size_t max_body, const HeaderSection* head, HttpRequest* out) noexcept nogil:
    out.consumed = used
    if out.method == METHOD_GET:
        return WIRE_TAKEN if head.lengths == 0 else WIRE_PASS_ON
    if head.lengths != 1 or not head.typed or head.content_length > max_body or head.content_length == 0:
        return WIRE_PASS_ON
    if left.n < head.content_length:
        return WIRE_NEED_MORE
    out.body.p = left.p
    out.body.n = head.content_length
    out.consumed += head.content_length
    return WIRE_TAKEN


cdef bint request_line(Span line, HttpRequest* out) noexcept nogil:
    """request-line = method SP request-target SP HTTP-version, RFC 9112 3."""
    if line.n < 14 or memcmp(line.p + line.n - 9, b" HTTP/1.", 8) != 0 or line.p[line.n - 1] | 1 != 0x31:
        return False
    out.old = line.p[line.n - 1] == 0x30
    line.n -= 9
    if starts(line, b"GET ", 4):
        out.method = METHOD_GET
        line = after(line, 4)
    else:
        out.method = METHOD_POST
        line = after(line, 5)
    out.target = line
    return all_path(line.p, line.n) and target(line, out)


cdef bint target(Span path, HttpRequest* out) noexcept nogil:
    """/ocsp[/...], /.well-known/pki/ocsp/{issuer_id}[/...] or /.well-known/pki/crl/{name}."""
    cdef const uint8_t* slash
    out.crl = out.method == METHOD_GET and starts(path, b"/.well-known/pki/crl/", 21)
    if out.crl:
        out.issuer_id = after(path, 21)
        out.rest = after(path, path.n)
        return out.issuer_id.n != 0
    if starts(path, b"/ocsp", 5):
        out.issuer_id.p = path.p
        out.issuer_id.n = 0
        path = after(path, 5)
    elif starts(path, b"/.well-known/pki/ocsp/", 22):
        path = after(path, 22)
        slash = <const uint8_t*>memchr(path.p, 0x2F, path.n)
        out.issuer_id.p = path.p
        out.issuer_id.n = path.n if slash == NULL else slash - path.p
        # an encoded issuer is decoded by the full parser
        if out.issuer_id.n == 0 or memchr(path.p, 0x25, out.issuer_id.n) != NULL:
            return False
        path = after(path, out.issuer_id.n)
    else:
        return False
    out.rest = path
    if out.method == METHOD_POST:
        return path.n == 0 or (path.n == 1 and path.p[0] == 0x2F)
    if path.n < 2 or path.p[0] != 0x2F:
        return False
    out.rest = after(path, 1)
    return True


def recognise_octets(bytes octets not None, size_t max_body=16384, KnownSections known=None):
    """What the recogniser makes of these bytes: None (need more), False (pass on) or a dict of its spans."""
    cdef HttpRequest r
    cdef KnownSection* places = NULL
    cdef int got
    if known is not None:
        places = known.places
    got = recognise(octets, len(octets), max_body, places, &r)
    if got != WIRE_TAKEN:
        return None if got == WIRE_NEED_MORE else False
    return {
        "method": "GET" if r.method == METHOD_GET else "POST",
        "issuer_id": (<const char*>r.issuer_id.p)[:r.issuer_id.n],
        "rest": (<const char*>r.rest.p)[:r.rest.n],
        "body": (<const char*>r.body.p)[:r.body.n] if r.body.n else b"",
        "if_none_match": (<const char*>r.if_none_match.p)[:r.if_none_match.n] if r.if_none_match.n else b"",
        "if_modified_since": (<const char*>r.if_modified_since.p)[:r.if_modified_since.n]
        if r.if_modified_since.n else b"",
        "forwarded_for": (<const char*>r.forwarded_for.p)[:r.forwarded_for.n] if r.forwarded_for.n else b"",
        "consumed": r.consumed,
        "keep_alive": r.keep_alive,
        "crl": r.crl,
    }
