"""HTTP recogniser, sans I/O: octets in, one plain OCSP request out, or "need more", or "pass on".

Plain is also a GET of a CRL that says which one the client has (If-None-Match, If-Modified-Since), as caches ask it.

It takes what clients of a responder really send, and is sure of all it takes: one request line, HTTP/1.1 with one Host
or HTTP/1.0 with at most one (answered and closed), at most one Content-Length of digits and one Content-Type, no
Transfer-Encoding, no Expect, no upgrade, no query, no folded or control octets. Whatever else comes, well-formed or
not, is passed on with its octets to the full parser, which has the last word on what is an error (RFC 9112). So
framing has one meaning here and no request can be smuggled past it.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    /* Loops without a way out in the middle, which compilers turn into vectors. */

    /* Every octet may stand in a path as it is: visible US-ASCII, no "?" and no "#". */
    static inline int all_path(const uint8_t* p, size_t n) {
        uint8_t wrong = 0;
        for (size_t i = 0; i < n; i++)
            wrong |= (uint8_t)(p[i] - 0x21) > 0x5D || p[i] == '?' || p[i] == '#';
        return !wrong;
    }
    /* Every octet may stand in a field value: SP, HTAB, visible US-ASCII or obs-text. */
    static inline int all_text(const uint8_t* p, size_t n) {
        uint8_t wrong = 0;
        for (size_t i = 0; i < n; i++)
            wrong |= (p[i] < 0x20 && p[i] != 0x09) || p[i] == 0x7F;
        return !wrong;
    }
    /* The octets are the word's, letters in any case; the word is in lower case. */
    static inline int same_letters(const uint8_t* p, const char* word, size_t n) {
        uint8_t wrong = 0;
        for (size_t i = 0; i < n; i++)
            wrong |= (uint8_t)((p[i] ^ (uint8_t)word[i]) & (word[i] >= 'a' ? 0xDF : 0xFF));
        return !wrong;
    }
    """
    bint same_letters(const uint8_t* p, const char* word, size_t n) noexcept nogil
    bint all_path(const uint8_t* p, size_t n) noexcept nogil
    bint all_text(const uint8_t* p, size_t n) noexcept nogil

cdef enum:
    MAX_HEAD = 8192               # longer heads are passed on

cdef bint TOKEN[256]              # octets of a field name, RFC 9110 5.6.2


cdef void fill_tokens() noexcept:
    cdef int c
    for c in range(256):
        TOKEN[c] = c in b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

fill_tokens()


cdef struct Head:
    int hosts
    int lengths
    int types
    size_t content_length
    bint typed                    # Content-Type: application/ocsp-request
    bint odd                      # something this recogniser leaves to the full parser


cdef inline bint same_word(Span s, const char* word, size_t n) noexcept nogil:
    """s equals `word` (lower case) in any case."""
    return s.n == n and same_letters(s.p, word, n)


cdef bint starts(Span s, const char* word, size_t n) noexcept nogil:
    return s.n >= n and memcmp(s.p, word, n) == 0


cdef inline Span after(Span s, size_t n) noexcept nogil:
    s.p += n
    s.n -= n
    return s


cdef bint could_be(Span s, const char* word, size_t n) noexcept nogil:
    """s begins as `word` does, as far as either goes."""
    return memcmp(s.p, word, s.n if s.n < n else n) == 0


cdef bint hopeful(Span s) noexcept nogil:
    """What is there so far may still become a plain OCSP request."""
    return (could_be(s, b"GET /ocsp", 9) or could_be(s, b"POST /ocsp", 10)
            or could_be(s, b"GET /.well-known/pki/ocsp/", 26) or could_be(s, b"POST /.well-known/pki/ocsp/", 27)
            or could_be(s, b"GET /.well-known/pki/crl/", 25))


cdef int recognise(const uint8_t* p, size_t n, size_t max_body, HttpRequest* out) noexcept nogil:
    cdef Span all
    cdef Span line
    cdef Head head
    cdef size_t used = 0
    cdef int got
    all.p = p
    all.n = n
    if not hopeful(all):
        return WIRE_PASS_ON
    out.if_none_match.n = out.if_modified_since.n = out.forwarded_for.n = out.body.n = 0
    out.keep_alive = True
    head.hosts = head.lengths = head.types = 0
    head.content_length = 0
    head.typed = head.odd = False
    got = next_line(all, &line)
    if got != WIRE_TAKEN:
        return got
    if not request_line(line, out):
        return WIRE_PASS_ON
    used = line.n + 2
    while True:
        got = next_line(after(all, used), &line)
        if got != WIRE_TAKEN or used > MAX_HEAD:
            return WIRE_PASS_ON if used > MAX_HEAD else got
        used += line.n + 2
        if line.n == 0:
            break
        if not field(line, out, &head):
            return WIRE_PASS_ON
    if head.odd or head.hosts > 1 or (head.hosts == 0 and not out.old):
        return WIRE_PASS_ON
    if out.crl and out.if_none_match.n == 0 and out.if_modified_since.n == 0:
        return WIRE_PASS_ON
    if out.old:
        out.keep_alive = False
    return take_body(after(all, used), used, max_body, &head, out)


cdef int take_body(Span left, size_t used, size_t max_body, const Head* head, HttpRequest* out) noexcept nogil:
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


cdef int next_line(Span left, Span* line) noexcept nogil:
    """The octets up to CR LF; a bare LF or CR is passed on."""
    cdef const uint8_t* end = <const uint8_t*>memchr(left.p, 10, left.n)
    if end == NULL:
        return WIRE_NEED_MORE if left.n <= MAX_HEAD else WIRE_PASS_ON
    if end == left.p or (end - 1)[0] != 13:
        return WIRE_PASS_ON
    line.p = left.p
    line.n = end - left.p - 1
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


cdef bint field(Span line, HttpRequest* out, Head* head) noexcept nogil:
    """field-line = field-name ":" OWS field-value OWS, RFC 9112 5. False: not well-formed."""
    cdef Span name
    cdef Span value
    cdef size_t i = 0
    while i < line.n and TOKEN[line.p[i]]:
        i += 1
    if i == 0 or i >= line.n or line.p[i] != 0x3A:
        return False
    name.p = line.p
    name.n = i
    value = trimmed(after(line, i + 1))
    if not all_text(value.p, value.n):
        return False
    note(name, value, out, head)
    return True


cdef Span trimmed(Span value) noexcept nogil:
    while value.n and (value.p[0] == 0x20 or value.p[0] == 0x09):
        value = after(value, 1)
    while value.n and (value.p[value.n - 1] == 0x20 or value.p[value.n - 1] == 0x09):
        value.n -= 1
    return value


cdef void note(Span name, Span value, HttpRequest* out, Head* head) noexcept nogil:
    """Keep what the fast lane needs; mark as odd what it leaves to the full parser."""
    if same_word(name, b"host", 4):
        head.hosts += 1
        head.odd = head.odd or value.n == 0
    elif same_word(name, b"content-length", 14):
        head.lengths += 1
        head.odd = head.odd or not decimal(value, &head.content_length)
    elif same_word(name, b"content-type", 12):
        head.types += 1
        head.odd = head.odd or head.types > 1
        head.typed = same_word(value, b"application/ocsp-request", 24)
    elif same_word(name, b"connection", 10):
        if same_word(value, b"close", 5):
            out.keep_alive = False
        elif not same_word(value, b"keep-alive", 10):
            head.odd = True
    elif same_word(name, b"if-none-match", 13):
        keep_once(&out.if_none_match, value, head)
    elif same_word(name, b"if-modified-since", 17):
        keep_once(&out.if_modified_since, value, head)
    elif same_word(name, b"x-forwarded-for", 15):
        keep_once(&out.forwarded_for, value, head)
    elif (same_word(name, b"transfer-encoding", 17) or same_word(name, b"expect", 6)
            or same_word(name, b"upgrade", 7) or same_word(name, b"te", 2) or same_word(name, b"trailer", 7)):
        head.odd = True


cdef void keep_once(Span* kept, Span value, Head* head) noexcept nogil:
    if kept.n != 0 or value.n == 0:
        head.odd = True
    kept[0] = value


cdef bint decimal(Span digits, size_t* out) noexcept nogil:
    """1*DIGIT of at most nine; leading zeros are odd."""
    cdef size_t i
    cdef size_t v = 0
    if digits.n == 0 or digits.n > 9 or (digits.p[0] == 0x30 and digits.n > 1):
        return False
    for i in range(digits.n):
        if not 0x30 <= digits.p[i] <= 0x39:
            return False
        v = v * 10 + digits.p[i] - 0x30
    out[0] = v
    return True


def recognise_octets(bytes octets not None, size_t max_body=16384):
    """What the recogniser makes of these octets: None (need more), False (pass on) or a dict of its spans."""
    cdef HttpRequest r
    cdef int got = recognise(octets, len(octets), max_body, &r)
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
