"""Python's view of the writer in sink.pxd: whole elements as bytes, for code off the hot path and for tests."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

from _fastocsp.wire.der cimport INTEGER


cdef bytes new_bytes(size_t n):
    """Bytes of n bytes, to be filled through bytes_sink before anyone else sees them."""
    return PyBytes_FromStringAndSize(NULL, n)


cdef void bytes_sink(Sink* s, bytes target) noexcept:
    open_sink(s, <uint8_t*>PyBytes_AS_STRING(target), len(target))


cdef Octets octets_of(bytes octets) noexcept:
    cdef Octets run
    run.p = <const uint8_t*>PyBytes_AS_STRING(octets)
    run.n = len(octets)
    return run


def tlv(uint8_t tag, bytes content not None):
    cdef Octets inside = octets_of(content)
    cdef bytes element = new_bytes(tlv_size(inside.n))
    cdef Sink s
    bytes_sink(&s, element)
    put_header(&s, tag, inside.n)
    put_octets(&s, inside)
    return element


def unsigned_integer(bytes magnitude not None):
    if not magnitude:
        raise ValueError("an INTEGER needs at least one octet")
    number = magnitude.lstrip(b"\0") or b"\0"
    return tlv(INTEGER, b"\0" + number if number[0] & 0x80 else number)
