"""Python's view of the cursor in der.pxd, for tests and for code off the hot path."""

from _fastocsp.wire.errors import WireError


cdef object wire_error(object kind, Fault* fault, const uint8_t* start):
    return kind(fault.reason.decode("ascii"), octets_before(start, fault.at))


def read_elements(const uint8_t[::1] octets not None):
    cdef Cursor c
    cdef Octets run
    cdef Fault fault
    cdef Element element
    run.p = &octets[0] if octets.shape[0] else NULL
    run.n = octets.shape[0]
    fault.at = NULL
    open_cursor(&c, run, &fault)
    elements = []
    while octets_left(&c):
        if read_element(&c, &element) < 0:
            raise wire_error(WireError, &fault, run.p)
        elements.append((element.tag, element.content.p[:element.content.n]))
    return elements
