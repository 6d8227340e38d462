"""The connection loop: a listener, its connections and their answers."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastocsp.proxies cimport Proxies
from _fastocsp.sink cimport Sink
from _fastocsp.wire cimport HttpRequest
from responder.edge.connections cimport Connection, Connections
from responder.edge.lane cimport Lane
from responder.edge.mailbox cimport Letter, Mailbox
from responder.edge.posix cimport epoll_event

cdef enum:
    MAX_EVENTS = 64


@cython.final
cdef class Loop:
    cdef readonly Lane lane
    cdef Proxies proxies
    cdef Connections connections
    cdef readonly Mailbox to_python
    cdef Mailbox from_python
    cdef int epoll
    cdef int listener             # -1 once the drain has begun
    cdef bint accepting           # the listener is in the set
    cdef bint draining
    cdef bint told_empty
    cdef int drain_wanted         # set by Python
    cdef int stop_wanted
    cdef long long elsewhere      # open connections that were handed over
    cdef uint64_t patience_ns     # for a request to arrive or an answer to be read
    cdef uint64_t idle_ns
    cdef uint64_t now_ns          # monotonic, of the last thing that happened
    cdef uint64_t tick_ns         # of the next tick
    cdef size_t in_octets
    cdef uint8_t* in_
    cdef uint8_t* out
    cdef epoll_event events[MAX_EVENTS]

    cdef int turn(self) noexcept nogil
    cdef void tick(self) noexcept nogil
    cdef void accept_some(self, int most) noexcept nogil
    cdef void welcome(self, int fd, const uint8_t* packed, size_t n) noexcept nogil
    cdef void on_event(self, Connection* c, uint32_t events) noexcept nogil
    cdef void go_on(self, Connection* c, bint resumed) noexcept nogil
    cdef Py_ssize_t read_some(self, Connection* c, bint resumed) noexcept nogil
    cdef bint work(self, Connection* c, size_t n) noexcept nogil
    cdef bint settle(self, Connection* c, const uint8_t* rest, size_t left, bint moved, int got) noexcept nogil
    cdef uint64_t client_of(self, const Connection* c, const HttpRequest* http) noexcept nogil
    cdef bint write_out(self, Connection* c, Sink* out) noexcept nogil
    cdef bint send_octets(self, Connection* c, const uint8_t* octets, size_t n) noexcept nogil
    cdef bint send_backlog(self, Connection* c) noexcept nogil
    cdef bint watch_for(self, Connection* c, uint32_t events) noexcept nogil
    cdef bint watch_anew(self, Connection* c, uint32_t events) noexcept nogil
    cdef bint ask_slow(self, Connection* c, const uint8_t* octets, size_t n) noexcept nogil
    cdef void hand_over(self, Connection* c, const uint8_t* rest, size_t n) noexcept nogil
    cdef void drop(self, Connection* c) noexcept nogil
    cdef void read_letters(self) noexcept nogil
    cdef void on_answer(self, Letter* letter) noexcept nogil
    cdef void begin_drain(self) noexcept nogil
    cdef void count(self, size_t index) noexcept nogil
