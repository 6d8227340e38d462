"""Python's view of the time writers in gentime.pxd."""

from _fastocsp.wire.sink cimport bytes_sink, new_bytes


def generalized_time(uint32_t seconds):
    cdef bytes element = new_bytes(TIME_TLV)
    cdef Sink s
    bytes_sink(&s, element)
    put_generalized_time(&s, seconds)
    return element


def imf_fixdate(uint32_t seconds):
    cdef bytes text = new_bytes(FIXDATE)
    cdef Sink s
    bytes_sink(&s, text)
    put_fixdate(&s, seconds)
    return text.decode("ascii")
