"""The sockets of the connection loop."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastocsp.wire.sink cimport Sink
from responder.hotpath.connections cimport Connection, Connections

cdef enum:
    NOTHING = -2                  # nothing new was read
    GONE = -1                     # the connection has ended
    OUT_OCTETS = 65536


cdef class Sockets:
    cdef Connections connections
    cdef int epoll
    cdef bint draining            # whoever has been answered is closed
    cdef uint64_t patience_ns     # for a request to arrive
    cdef uint64_t reading_ns      # for answers to be read
    cdef uint64_t idle_ns
    cdef uint64_t now_ns          # monotonic, of the last thing that happened
    cdef size_t in_octets
    cdef uint8_t* in_
    cdef uint8_t* out

    cdef int open_sockets(self, uint32_t max_connections, size_t max_body, double patience_s, double reading_s,
                          double idle_s, size_t read_ahead) except -1
    # Bytes in the buffer `in_`, NOTHING or GONE
    cdef Py_ssize_t read_some(self, Connection* c, bint resumed) noexcept nogil
    # These are False when the connection has ended
    cdef bint write_out(self, Connection* c, Sink* out) noexcept nogil
    cdef bint send_octets(self, Connection* c, const uint8_t* octets, size_t n) noexcept nogil
    cdef bint send_backlog(self, Connection* c) noexcept nogil
    cdef bint watch_for(self, Connection* c, uint32_t events) noexcept nogil
    cdef bint watch_anew(self, Connection* c, uint32_t events) noexcept nogil
    cdef void drop(self, Connection* c) noexcept nogil
