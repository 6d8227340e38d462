"""The GET form, RFC 6960 A.1: {url}/{url-encoding of base64 of the DER}.

decode_get (nogil) is strict: one octet of the alphabet after the other, percent-encoded or not; anything else, NUL
and white space included, is no request. Percent-encoding is undone once, in any case and for any character
(RFC 3986 6.2.2), before the octet is looked at; slashes in front belong to the URL (H-7). The Python function of the
same name also repairs slashes that a proxy collapsed or doubled, when only one request can be meant (slashes.py).
"""

from libc.stdint cimport uint32_t

from _fastocsp.der cimport (
    SEQUENCE, Cursor, Element, Fault, Octets, expect, leave, octets_left, open_cursor, read_u8, take,
)
from _fastocsp.request cimport OCSPRequest, parse_request
from _fastocsp.sink cimport Sink, claim, new_bytes, octets_of, open_sink, put_octet, sink_used, store_big_endian

from _fastocsp.errors import MalformedRequest
from _fastocsp.slashes import candidates

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


cdef inline int hex_of(uint8_t c) noexcept nogil:
    if c"0" <= c <= c"9":
        return c - c"0"
    if c"A" <= c <= c"F":
        return c - c"A" + 10
    return c - c"a" + 10 if c"a" <= c <= c"f" else -1


cdef inline int read_character(Cursor* c, uint8_t* out) noexcept nogil:
    """The next character, its percent-encoding undone; -1 at the end or when that is broken."""
    cdef const uint8_t* digits
    if read_u8(c, out) < 0:
        return -1
    if out[0] != c"%":
        return 0
    digits = take(c, 2)
    if digits == NULL or hex_of(digits[0]) < 0 or hex_of(digits[1]) < 0:
        return -1
    out[0] = <uint8_t>(hex_of(digits[0]) << 4 | hex_of(digits[1]))
    return 0


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


cdef uint8_t SYMBOLS[256]


cdef void fill_symbols() noexcept:
    cdef int c
    for c in range(256):
        SYMBOLS[c] = <uint8_t>symbol_of(<uint8_t>c)

fill_symbols()


cdef inline bint read_four(Cursor* c, Sink* sink) noexcept nogil:
    """Four plain symbols to three octets; False, and nothing read, where the next four are anything else."""
    cdef uint32_t bits
    cdef const uint8_t* text = c.p
    cdef uint8_t* to
    if octets_left(c) < 4 or (SYMBOLS[text[0]] | SYMBOLS[text[1]] | SYMBOLS[text[2]] | SYMBOLS[text[3]]) & ~63:
        return False
    bits = (<uint32_t>SYMBOLS[text[0]] << 18 | <uint32_t>SYMBOLS[text[1]] << 12 | <uint32_t>SYMBOLS[text[2]] << 6
            | SYMBOLS[text[3]])
    take(c, 4)
    to = claim(sink, 3)
    if to != NULL:
        store_big_endian(to, bits, 3)
    return True


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
    state.bits, state.symbols, state.padding = 0, 0, 0
    text.p, text.n = p, n
    open_cursor(&c, text, &fault)
    open_sink(&sink, out, n)
    while octets_left(&c):
        # a slash in front belongs to the URL
        if state.symbols % 4 == 0 and state.padding == 0 and (state.symbols or c.p[0] != c"/") and read_four(&c, &sink):
            state.symbols += 4
            continue
        if read_character(&c, &character) < 0:
            return -1
        if character == c"/" and state.symbols == 0 and state.padding == 0:
            continue
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
    cdef Octets text = octets_of(path)
    cdef Cursor c
    cdef Fault fault
    cdef uint8_t character = 0
    characters = bytearray()
    open_cursor(&c, text, &fault)
    while octets_left(&c):
        if read_character(&c, &character) < 0:
            return None
        characters.append(character)
    return bytes(characters)


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


# The nogil decode_get of getpath.pxd does not appear in the module dictionary; there the name means this function.
decode_path.__name__ = decode_path.__qualname__ = "decode_get"
globals()["decode_get"] = decode_path
del globals()["decode_path"]
