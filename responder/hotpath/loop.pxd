"""The connection loop: a listener, its connections and their answers.

Loop(Exchange(Sockets)) is one object in three files: Sockets accepts, reads and writes, Exchange takes requests and
puts answers, and Loop waits for events. The signer's end is a member, SignerClient.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from responder.hotpath.connections cimport Connection
from responder.hotpath.http_exchange cimport Exchange
from responder.hotpath.mailbox cimport Letter, Mailbox
from responder.hotpath.posix cimport epoll_event

cdef enum:
    MAX_EVENTS = 64


@cython.final
cdef class Loop(Exchange):
    cdef Mailbox from_python
    cdef int listener             # -1 once the drain has begun
    cdef bint accepting           # the listener is in the set
    cdef bint told_empty
    cdef int drain_wanted         # set by Python
    cdef int stop_wanted
    cdef uint64_t tick_ns         # of the next tick
    cdef uint32_t tick_number
    cdef uint32_t per_address     # connections that one address may have
    cdef uint32_t searches        # for idle connections that are left until the next tick
    cdef epoll_event events[MAX_EVENTS]

    cdef int turn(self) noexcept nogil
    cdef void tick(self) noexcept nogil
    cdef void accept_some(self, int most) noexcept nogil
    cdef void welcome(self, int fd, const uint8_t* packed, size_t n) noexcept nogil
    cdef bint make_room(self, uint64_t address) noexcept nogil
    cdef void on_event(self, Connection* c, uint32_t events) noexcept nogil
    cdef void read_letters(self) noexcept nogil
    cdef void on_answer(self, Letter* letter) noexcept nogil
    cdef void end_away(self, Connection* c) noexcept nogil
    cdef void begin_drain(self) noexcept nogil
