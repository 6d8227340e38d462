"""The only bounded reader: a cursor over borrowed bytes, and DER elements read through it.

Every function checks by subtraction from the end before it advances. The first failure is kept in the Fault that all
cursors of one parse share; a parser that got -1 returns at once. DER is X.690 8.1 and 10.1: definite lengths in the
fewest bytes, tag numbers below 31. Nothing here knows OCSP.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    BOOLEAN = 0x01
    INTEGER = 0x02
    BIT_STRING = 0x03
    OCTET_STRING = 0x04
    NULL_TAG = 0x05
    OBJECT_IDENTIFIER = 0x06
    ENUMERATED = 0x0A
    GENERALIZED_TIME = 0x18
    SEQUENCE = 0x30
    CONTEXT = 0x80                # context class, primitive: or-ed with the tag number
    CONSTRUCTED = 0xA0            # context class, constructed: or-ed with the tag number

cdef struct Octets:
    const uint8_t* p              # borrowed
    size_t n

cdef struct Fault:
    const uint8_t* at             # where reading stopped; NULL: nothing failed
    const char* reason            # static text

cdef struct Cursor:
    const uint8_t* p              # next byte to read
    const uint8_t* end            # one past the last byte
    Fault* fault                  # shared by all cursors of one parse

cdef struct Element:
    uint8_t tag                   # the identifier byte
    Octets content
    Octets der                    # identifier, length and content


cdef inline void open_cursor(Cursor* c, Octets octets, Fault* fault) noexcept nogil:
    c.p = octets.p
    c.end = octets.p + octets.n
    c.fault = fault


cdef inline size_t octets_left(const Cursor* c) noexcept nogil:
    return <size_t>(c.end - c.p)


cdef inline size_t octets_before(const uint8_t* start, const uint8_t* at) noexcept nogil:
    """The offset of `at` in the input that begins at `start`; 0 for NULL."""
    return <size_t>(at - start) if at != NULL else 0


cdef inline int fail_at(Cursor* c, const uint8_t* at, const char* reason) noexcept nogil:
    c.fault.at = at
    c.fault.reason = reason
    return -1


cdef inline int fail(Cursor* c, const char* reason) noexcept nogil:
    return fail_at(c, c.p, reason)


cdef inline const uint8_t* take(Cursor* c, size_t n) noexcept nogil:
    """Moves over n bytes and returns the first; NULL and no move when fewer are left."""
    cdef const uint8_t* taken = c.p
    if n > octets_left(c):
        fail_at(c, c.end, "the octets end too early")
        return NULL
    c.p += n
    return taken


cdef inline int read_octets(Cursor* c, size_t n, Octets* out) noexcept nogil:
    out.p = take(c, n)
    out.n = n
    return -1 if out.p == NULL else 0


cdef inline int read_big_endian(Cursor* c, size_t width, uint64_t* out) noexcept nogil:
    """An unsigned number of `width` <= 8 bytes."""
    cdef const uint8_t* octets = take(c, width)
    cdef size_t i
    out[0] = 0
    if octets == NULL:
        return -1
    for i in range(width):
        out[0] = out[0] << 8 | octets[i]
    return 0


cdef inline int read_u8(Cursor* c, uint8_t* out) noexcept nogil:
    cdef const uint8_t* octet = take(c, 1)
    if octet == NULL:
        return -1
    out[0] = octet[0]
    return 0


cdef inline int read_u16(Cursor* c, uint16_t* out) noexcept nogil:
    cdef const uint8_t* octets = take(c, 2)
    if octets == NULL:
        return -1
    out[0] = <uint16_t>(<uint16_t>octets[0] << 8 | octets[1])
    return 0


cdef inline int read_u32(Cursor* c, uint32_t* out) noexcept nogil:
    cdef const uint8_t* octets = take(c, 4)
    if octets == NULL:
        return -1
    out[0] = <uint32_t>octets[0] << 24 | <uint32_t>octets[1] << 16 | <uint32_t>octets[2] << 8 | octets[3]
    return 0


cdef inline int peek_tag(const Cursor* c) noexcept nogil:
    """The next identifier byte; -1 at the end."""
    return -1 if c.p == c.end else c.p[0]


cdef inline int read_length(Cursor* c, size_t* out) noexcept nogil:
    """A definite length in the fewest bytes, not more than are left. At most four bytes of length."""
    cdef const uint8_t* start = c.p
    cdef uint8_t first = 0
    cdef uint64_t n = 0
    if read_u8(c, &first) < 0:
        return -1
    n = first
    if first == 0x80:
        return fail_at(c, start, "the length is indefinite")
    if first > 0x84:
        return fail_at(c, start, "the length is longer than four octets")
    if first > 0x80:
        if read_big_endian(c, first & 0x7F, &n) < 0:
            return -1
        if n < 0x80 or n >> (8 * ((first & 0x7F) - 1)) == 0:
            return fail_at(c, start, "the length is not minimal")
    if n > octets_left(c):
        return fail_at(c, start, "the length runs past the end")
    out[0] = n
    return 0


cdef inline int read_element(Cursor* c, Element* out) noexcept nogil:
    """The next element, of whatever tag."""
    out.der.p = c.p
    if read_u8(c, &out.tag) < 0:
        return -1
    if out.tag & 0x1F == 0x1F:
        return fail_at(c, out.der.p, "the tag number is above 30")
    if read_length(c, &out.content.n) < 0 or read_octets(c, out.content.n, &out.content) < 0:
        return -1
    out.der.n = <size_t>(c.p - out.der.p)
    return 0


cdef inline int expect(Cursor* c, int tag, Element* out) noexcept nogil:
    """The next element, which must have this identifier byte."""
    if peek_tag(c) != tag:
        return fail(c, "another element was expected here")
    return read_element(c, out)


cdef inline int enter(Cursor* c, int tag, Cursor* inside) noexcept nogil:
    """Moves over the element with this identifier byte and opens `inside` on its content."""
    cdef Element element
    if expect(c, tag, &element) < 0:
        return -1
    open_cursor(inside, element.content, c.fault)
    return 0


cdef inline int leave(Cursor* c) noexcept nogil:
    """0 when everything was read."""
    return 0 if c.p == c.end else fail(c, "octets follow the last field")


cdef inline int enter_only(Cursor* c, int tag, Cursor* inside) noexcept nogil:
    """enter() for the element that must be the last one, as in explicit tagging."""
    return -1 if enter(c, tag, inside) < 0 or leave(c) < 0 else 0


cdef inline bint is_minimal_integer(Octets content) noexcept nogil:
    """X.690 8.3: at least one byte, and the first nine bits are neither all zero nor all one."""
    if content.n < 2:
        return content.n == 1
    return not ((content.p[0] == 0x00 and content.p[1] < 0x80) or (content.p[0] == 0xFF and content.p[1] >= 0x80))


cdef inline bint is_oid(Octets content) noexcept nogil:
    """X.690 8.19: subidentifiers end inside the content and do not begin with 80."""
    cdef size_t i
    cdef bint begins = True
    for i in range(content.n):
        if begins and content.p[i] == 0x80:
            return False
        begins = content.p[i] < 0x80
    return begins and content.n > 0


cdef inline Octets without_leading_zeros(Octets number) noexcept nogil:
    """The same big-endian number in the fewest bytes; the number 0 keeps one."""
    while number.n > 1 and number.p[0] == 0:
        number.p += 1
        number.n -= 1
    return number


# The Python exception of this kind for a fault in the bytes that begin at `start`.
cdef object wire_error(object kind, Fault* fault, const uint8_t* start)
