"""The GET form, RFC 6960 A.1: {url}/{url-encoding of base64 of the DER}.

decode_get (nogil) is strict: one byte of the alphabet after the other, percent-encoded or not; anything else, NUL
and white space included, is no request. First percent-encoding is undone, once, in any case and for any character
(RFC 3986 6.2.2), into the caller's buffer; then the symbols there become bytes in place, which never overtake them.
Slashes in front belong to the URL (H-7). The Python function of the same name also repairs slashes that a proxy
collapsed or doubled, when only one request can be meant (slash_repair.py).
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr

from _fastocsp.wire.der cimport (
    SEQUENCE, Cursor, Element, Fault, Octets, expect, leave, octets_left, open_cursor, read_u8, take,
)
from _fastocsp.ocsp.request cimport OCSPRequest, parse_request
from _fastocsp.wire.sink cimport (
    Sink, bytes_sink, claim, new_bytes, octets_of, open_sink, put_octet, put_octets, sink_used,
)

from _fastocsp.wire.errors import MalformedRequest
from _fastocsp.http.slash_repair import candidates

cdef struct Base64:
    uint32_t bits                 # the last symbols, 6 bits each
    size_t symbols
    size_t padding                # '=' seen; no symbol may follow

cdef enum:
    NOT_BASE64 = -1
    PADDING = 64


cdef inline int symbol_of(uint8_t c) noexcept nogil:
    """The six bits of a character, of RFC 4648 4 or 5; PADDING or NOT_BASE64."""
    if c"A" <= c <= c"Z":
        return c - c"A"
    if c"a" <= c <= c"z":
        return c - c"a" + 26
    if c"0" <= c <= c"9":
        return c - c"0" + 52
    if c == c"+" or c == c"-":
        return 62
    if c == c"/" or c == c"_":
        return 63
    return PADDING if c == c"=" else NOT_BASE64


# The six bits of a character at each place of a group of four, NO_SYMBOL for any other: or-ed, they are three bytes.
cdef uint32_t PLACES[4][256]
cdef uint32_t NO_SYMBOL = 1 << 24


cdef void fill_places() noexcept:
    cdef int place, c, symbol
    for place in range(4):
        for c in range(256):
            symbol = symbol_of(<uint8_t>c)
            PLACES[place][c] = NO_SYMBOL if symbol & ~63 else <uint32_t>symbol << 6 * (3 - place)

fill_places()


cdef inline int hex_of(uint8_t c) noexcept nogil:
    if c"0" <= c <= c"9":
        return c - c"0"
    if c"A" <= c <= c"F":
        return c - c"A" + 10
    return c - c"a" + 10 if c"a" <= c <= c"f" else -1


cdef int put_plain(Sink* sink, Octets path) noexcept nogil:
    """The path with its percent-encoding undone; -1 when that is broken."""
    cdef Cursor c
    cdef Fault fault
    cdef Octets run
    cdef const uint8_t* code
    open_cursor(&c, path, &fault)
    while True:
        code = <const uint8_t*>memchr(c.p, c"%", octets_left(&c))
        run.p, run.n = c.p, octets_left(&c) if code == NULL else <size_t>(code - c.p)
        put_octets(sink, run)
        if code == NULL:
            return 0
        take(&c, run.n)
        code = take(&c, 3)
        if code == NULL or hex_of(code[1]) < 0 or hex_of(code[2]) < 0:
            return -1
        put_octet(sink, <uint8_t>(hex_of(code[1]) << 4 | hex_of(code[2])))


cdef inline int put_symbol(Base64* state, Sink* sink, int symbol) noexcept nogil:
    if symbol == PADDING:
        state.padding += 1
        return 0
    if symbol == NOT_BASE64 or state.padding:
        return -1
    state.bits = state.bits << 6 | <uint32_t>symbol
    state.symbols += 1
    if state.symbols % 4 == 2:
        put_octet(sink, <uint8_t>(state.bits >> 4))
    elif state.symbols % 4 == 3:
        put_octet(sink, <uint8_t>(state.bits >> 2))
    elif state.symbols % 4 == 0:
        put_octet(sink, <uint8_t>state.bits)
    return 0


cdef int put_groups(Cursor* c, Sink* sink, size_t groups) noexcept nogil:
    """So many groups of four symbols as three bytes each; -1 when there is anything else among them."""
    cdef const uint8_t* text = take(c, 4 * groups)
    cdef uint8_t* to = claim(sink, 3 * groups)
    cdef uint32_t bits, wrong = 0
    if text == NULL or to == NULL:
        return -1
    while groups:
        groups -= 1
        bits = PLACES[0][text[0]] | PLACES[1][text[1]] | PLACES[2][text[2]] | PLACES[3][text[3]]
        wrong |= bits
        to[0], to[1], to[2] = <uint8_t>(bits >> 16), <uint8_t>(bits >> 8), <uint8_t>bits
        text += 4
        to += 3
    return -1 if wrong & NO_SYMBOL else 0


cdef inline bint is_complete(const Base64* state) noexcept nogil:
    """RFC 4648 3.2, 3.5: '=' may be missing but never surplus, and the bits that fill up the last symbol are zero."""
    cdef size_t over = state.symbols % 4
    if over == 1 or state.padding > (4 - over) % 4:
        return False
    return state.bits & (0x0F if over == 2 else 0x03 if over == 3 else 0) == 0


cdef Py_ssize_t decode_get(const uint8_t* p, size_t n, uint8_t* out) noexcept nogil:
    cdef Octets text
    cdef Cursor c
    cdef Fault fault
    cdef Sink sink
    cdef Base64 state
    cdef uint8_t character = 0
    text.p, text.n = p, n
    open_sink(&sink, out, n)
    if put_plain(&sink, text) < 0:
        return -1
    text.p, text.n = out, sink_used(&sink)
    open_cursor(&c, text, &fault)
    open_sink(&sink, out, n)
    while octets_left(&c) and c.p[0] == c"/":
        take(&c, 1)
    if octets_left(&c) == 0:
        return -1
    # '=' can only be in the last group, which may be short
    state.symbols, state.bits, state.padding = 4 * ((octets_left(&c) - 1) // 4), 0, 0
    if put_groups(&c, &sink, state.symbols // 4) < 0:
        return -1
    while octets_left(&c):
        read_u8(&c, &character)
        if put_symbol(&state, &sink, symbol_of(character)) < 0:
            return -1
    if sink.overflow or state.symbols == 0 or not is_complete(&state):
        return -1
    return <Py_ssize_t>sink_used(&sink)


cdef bint is_one_sequence(Octets octets) noexcept nogil:
    cdef Cursor c
    cdef Fault fault
    cdef Element element
    open_cursor(&c, octets, &fault)
    return expect(&c, SEQUENCE, &element) == 0 and leave(&c) == 0


cdef bytes decoded(bytes path):
    """The DER in the path, or None when it is not exactly one SEQUENCE."""
    cdef Octets text = octets_of(path)
    cdef bytes out = new_bytes(text.n)
    cdef Octets der = octets_of(out)
    cdef Py_ssize_t n = decode_get(text.p, text.n, <uint8_t*>der.p)
    if n < 0:
        return None
    der.n = n
    return der.p[:n] if is_one_sequence(der) else None


cdef bytes plain_text(bytes path):
    """The path with percent-encoding undone; None when that is broken."""
    cdef bytes plain = new_bytes(len(path))
    cdef Sink sink
    bytes_sink(&sink, plain)
    return plain[:sink_used(&sink)] if put_plain(&sink, octets_of(path)) == 0 else None


cdef bint is_ocsp_request(bytes der):
    cdef OCSPRequest request
    cdef size_t offset = 0
    cdef Octets octets
    if der is None:
        return False
    octets = octets_of(der)
    return parse_request(octets.p, octets.n, &request, &offset) == 0


cdef bytes repaired(bytes path):
    """The one OCSPRequest that the path can have been before a proxy touched its slashes; None when not exactly one."""
    text = plain_text(path)
    if text is None:
        return None
    found = set()
    for candidate in candidates(text):
        der = decoded(candidate)
        if is_ocsp_request(der):
            found.add(der)
    return found.pop() if len(found) == 1 else None


def decode_path(bytes path not None):
    der = decoded(path)
    if der is None:
        der = repaired(path)
    if der is None:
        raise MalformedRequest("the path is not the base64 of one DER SEQUENCE")
    return der


# The nogil decode_get of path.pxd does not appear in the module dictionary; there the name means this function.
decode_path.__name__ = decode_path.__qualname__ = "decode_get"
globals()["decode_get"] = decode_path
del globals()["decode_path"]
