"""Requests and answers on the connections of one loop."""

from libc.stdint cimport uint8_t, uint64_t

from _fastocsp.proxies cimport Proxies
from _fastocsp.wire cimport HttpRequest
from responder.edge.connections cimport Connection
from responder.edge.lane cimport Lane
from responder.edge.mailbox cimport Mailbox
from responder.edge.sockets cimport Sockets

cdef enum:
    TO_SLOW = 1                   # kinds of letters to Python
    TO_COLD = 2


cdef class Exchange(Sockets):
    cdef readonly Lane lane
    cdef Proxies proxies
    cdef readonly Mailbox to_python
    cdef long long elsewhere      # open connections that were handed over; both sides count it

    # Read and answer while there is something to read and nothing to wait for
    cdef void go_on(self, Connection* c, bint resumed) noexcept nogil
    # These are False when the connection has ended, or is no longer ours
    cdef bint work(self, Connection* c, size_t n) noexcept nogil
    cdef bint settle(self, Connection* c, const uint8_t* rest, size_t left, bint moved, int got) noexcept nogil
    cdef bint ask_slow(self, Connection* c, const uint8_t* octets, size_t n) noexcept nogil
    cdef void hand_over(self, Connection* c, const uint8_t* rest, size_t n) noexcept nogil
    cdef uint64_t client_of(self, const Connection* c, const HttpRequest* http) noexcept nogil
    cdef void count(self, size_t index) noexcept nogil
