"""The connection loop's connection to the signer, and the queries that are under way on it."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastocsp.ocsp.signer_wire cimport AnswerQuery, Frame
from _fastocsp.wire.der cimport Octets
from _fastocsp.wire.sink cimport Sink
from responder.hotpath.mailbox cimport Letter

cdef struct PendingSignature:
    Letter* letter                # for Python, if the signer cannot settle it; NULL: the place is free
    uint32_t number
    uint64_t deadline             # monotonic ns
    AnswerQuery query


@cython.final
cdef class SignerClient:
    cdef int epoll                # the loop's
    cdef int fd                   # -1: there is none
    cdef uint64_t tag             # of its events
    cdef uint32_t watched         # epoll events asked for
    cdef uint8_t* octets          # what goes out
    cdef Sink out
    cdef uint8_t* in_
    cdef size_t in_len
    cdef Octets unread            # of in_
    cdef PendingSignature* places         # a query's is the low bits of its number
    cdef uint32_t mask
    cdef uint32_t count           # of queries under way
    cdef uint32_t oldest          # no number before it is under way
    cdef uint32_t following       # the next number

    # Takes the socket, which it closes when it cannot use it
    cdef bint open(self, int fd) noexcept nogil
    # Owns the letter and sends its query with the next `flush`; False: the letter is still the caller's
    cdef bint ask(self, Letter* letter, const AnswerQuery* query, uint64_t deadline) noexcept nogil
    # These are False when the connection is broken
    cdef bint flush(self) noexcept nogil
    cdef bint receive(self) noexcept nogil
    # 1, or 0 when no frame is whole, or -1 for what is none; the frame holds until `receive`
    cdef int next(self, Frame* frame) noexcept nogil
    # The query of that number, or NULL
    cdef PendingSignature* find(self, uint32_t number) noexcept nogil
    # The oldest query, if its deadline has passed
    cdef PendingSignature* overdue(self, uint64_t now_ns) noexcept nogil
    # Its place is free; the letter is the caller's
    cdef Letter* settle(self, PendingSignature* question) noexcept nogil
    # Queries that are under way stay so
    cdef void hang_up(self) noexcept nogil
