"""Field lines up to the empty one: what the fast lane needs of them, and whether it may answer.

A section is read line by line (RFC 9112 5). Clients send the same one again and again: one that was read a moment ago,
byte for byte, says the same again. Kept are those without conditions and X-Forwarded-For, which differ from request
to request.
"""

from libc.string cimport memchr, memcmp, memcpy, memset

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    /* Loops without a way out in the middle, which compilers turn into vectors. */

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
    bint all_text(const uint8_t* p, size_t n) noexcept nogil

cdef bint TOKEN[256]              # bytes of a field name, RFC 9110 5.6.2


cdef void fill_tokens() noexcept:
    cdef int c
    for c in range(256):
        TOKEN[c] = c in b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

fill_tokens()


cdef inline bint same_word(Span s, const char* word, size_t n) noexcept nogil:
    """s equals `word` (lower case) in any case."""
    return s.n == n and same_letters(s.p, word, n)


cdef int next_line(Span left, Span* line) noexcept nogil:
    """The bytes up to CR LF; a bare LF or CR is passed on."""
    cdef const uint8_t* end = <const uint8_t*>memchr(left.p, 10, left.n)
    if end == NULL:
        return WIRE_NEED_MORE if left.n <= MAX_HEAD else WIRE_PASS_ON
    if end == left.p or (end - 1)[0] != 13:
        return WIRE_PASS_ON
    line.p = left.p
    line.n = end - left.p - 1
    return WIRE_TAKEN


cdef class KnownSections:
    """Of one thread."""


cdef int read_section(Span left, size_t used, KnownSection* known, HeaderSection* out) noexcept nogil:
    cdef KnownSection* kept = NULL
    cdef int got
    if known != NULL:
        kept = &known[left.n % KNOWN_SECTIONS]
        if (0 < kept.section.octets <= left.n and used + kept.section.octets <= MAX_HEAD
                and memcmp(kept.octets, left.p, kept.section.octets) == 0):
            out[0] = kept.section
            return WIRE_TAKEN
    got = read_lines(left, used, out)
    if (got == WIRE_TAKEN and kept != NULL and out.octets <= KNOWN_OCTETS
            and out.if_none_match.n + out.if_modified_since.n + out.forwarded_for.n == 0):
        kept.section = out[0]
        memcpy(kept.octets, left.p, out.octets)
    return got


cdef int read_lines(Span left, size_t used, HeaderSection* out) noexcept nogil:
    cdef Span line
    cdef int got
    memset(out, 0, sizeof(out[0]))
    while True:
        got = next_line(after(left, out.octets), &line)
        if got != WIRE_TAKEN or used + out.octets > MAX_HEAD:
            return WIRE_PASS_ON if used + out.octets > MAX_HEAD else got
        out.octets += line.n + 2
        if line.n == 0:
            return WIRE_TAKEN
        if not field(line, out):
            return WIRE_PASS_ON


cdef bint field(Span line, HeaderSection* out) noexcept nogil:
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
    note(name, value, out)
    return True


cdef Span trimmed(Span value) noexcept nogil:
    while value.n and (value.p[0] == 0x20 or value.p[0] == 0x09):
        value = after(value, 1)
    while value.n and (value.p[value.n - 1] == 0x20 or value.p[value.n - 1] == 0x09):
        value.n -= 1
    return value


cdef void note(Span name, Span value, HeaderSection* out) noexcept nogil:
    """Keep what the fast lane needs; mark as odd what it leaves to the full parser."""
    if same_word(name, b"host", 4):
        out.hosts += 1
        out.odd = out.odd or value.n == 0
    elif same_word(name, b"content-length", 14):
        out.lengths += 1
        out.odd = out.odd or not decimal(value, &out.content_length)
    elif same_word(name, b"content-type", 12):
        out.types += 1
        out.odd = out.odd or out.types > 1
        out.typed = same_word(value, b"application/ocsp-request", 24)
    elif same_word(name, b"connection", 10):
        if same_word(value, b"close", 5):
            out.close = True
        elif same_word(value, b"keep-alive", 10):
            out.keep = True
        else:
            out.odd = True
    elif same_word(name, b"if-none-match", 13):
        keep_once(&out.if_none_match, value, out)
    elif same_word(name, b"if-modified-since", 17):
        keep_once(&out.if_modified_since, value, out)
    elif same_word(name, b"x-forwarded-for", 15):
        keep_once(&out.forwarded_for, value, out)
    elif (same_word(name, b"transfer-encoding", 17) or same_word(name, b"expect", 6)
            or same_word(name, b"upgrade", 7) or same_word(name, b"te", 2) or same_word(name, b"trailer", 7)):
        out.odd = True


cdef void keep_once(Span* kept, Span value, HeaderSection* out) noexcept nogil:
    if kept.n != 0 or value.n == 0:
        out.odd = True
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
