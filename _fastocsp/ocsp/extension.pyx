"""Extension, RFC 5280 4.1, as OCSP clients send it. Which ones are known is decided where they are read."""

from libc.string cimport memcmp

from _fastocsp.wire.der cimport (
    BOOLEAN, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, Cursor, Element, Octets, enter, expect, fail_at, is_oid, leave,
    peek_tag, read_element,
)


cdef int ocsp_arc(Octets oid) noexcept nogil:
    """id-pkix-ocsp is 1.3.6.1.5.5.7.48.1."""
    if oid.n == 9 and memcmp(oid.p, <const char*>b"\x2B\x06\x01\x05\x05\x07\x30\x01", 8) == 0:
        return oid.p[8]
    return -1


cdef int read_critical(Cursor* c, bint* critical) noexcept nogil:
    """BOOLEAN DEFAULT FALSE: in DER it is TRUE, FF, or absent (X.690 11.1, 11.5)."""
    cdef Element flag
    critical[0] = False
    if peek_tag(c) != BOOLEAN:
        return 0
    if read_element(c, &flag) < 0:
        return -1
    if flag.content.n != 1 or flag.content.p[0] != 0xFF:
        return fail_at(c, flag.der.p, "critical is neither TRUE nor absent")
    critical[0] = True
    return 0


cdef int read_extension(Cursor* c, Extension* out) noexcept nogil:
    # Extension ::= SEQUENCE { extnID OBJECT IDENTIFIER, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }
    cdef Cursor inside
    cdef Element oid, value
    if enter(c, SEQUENCE, &inside) < 0 or expect(&inside, OBJECT_IDENTIFIER, &oid) < 0:
        return -1
    if not is_oid(oid.content):
        return fail_at(c, oid.der.p, "the OBJECT IDENTIFIER is not well formed")
    if read_critical(&inside, &out.critical) < 0 or expect(&inside, OCTET_STRING, &value) < 0:
        return -1
    out.arc = ocsp_arc(oid.content)
    out.value = value.content
    return leave(&inside)
