"""The connection to the signer: a Unix socket that the connection loop itself writes and reads.

Queries gather in a buffer and leave by one send at the end of the loop's turn; one recv brings the answers to many.
Each query has a number, which is not used again before four billion others were, so a late answer never meets another
query. Beside the query is the letter for Python, which gets it when the connection breaks, or when the signer's answer
is one that only Python can handle. Owned by the loop's thread; watched level-triggered.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memmove

from _fastocsp.ocsp.signer_wire cimport FRAME_HEAD, MAX_NONCE, AnswerQuery, Frame, next_frame, put_answer_query
from _fastocsp.wire.codes cimport MAX_SERIAL
from _fastocsp.wire.sink cimport open_sink, sink_room, sink_used
from responder.hotpath.posix cimport (
    EAGAIN, EINTR, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, MSG_NOSIGNAL, close, last_error, recv, send, watch,
)

cdef enum:
    OUT_OCTETS = 65536
    IN_OCTETS = 65536             # no answer is longer, and no more is read in one turn
    MAX_QUESTION = FRAME_HEAD + 6 + MAX_NONCE + MAX_SERIAL


cdef class SignerClient:
    """Room for so many questions; closed until `open`."""

    def __cinit__(self, int epoll, uint64_t tag, uint32_t room):
        cdef uint32_t places = 16
        self.epoll, self.fd, self.tag = epoll, -1, tag
        while places < 2 * room:
            places *= 2
        self.mask = places - 1
        self.places = <PendingSignature*>calloc(places, sizeof(PendingSignature))
        self.octets = <uint8_t*>malloc(OUT_OCTETS)
        self.in_ = <uint8_t*>malloc(IN_OCTETS)
        if self.places == NULL or self.octets == NULL or self.in_ == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef uint32_t i
        if self.places != NULL:
            for i in range(self.mask + 1):
                free(self.places[i].letter)
        free(self.places)
        free(self.octets)
        free(self.in_)
        if self.fd >= 0:
            close(self.fd)

    cdef bint open(self, int fd) noexcept nogil:
        self.hang_up()
        if watch(self.epoll, EPOLL_CTL_ADD, fd, EPOLLIN, self.tag) < 0:
            close(fd)
            return False
        self.fd, self.watched = fd, EPOLLIN
        open_sink(&self.out, self.octets, OUT_OCTETS)
        self.in_len = 0
        self.unread.p, self.unread.n = self.in_, 0
        return True

    cdef void hang_up(self) noexcept nogil:
        if self.fd >= 0:
            close(self.fd)
        self.fd = -1

    cdef bint ask(self, Letter* letter, const AnswerQuery* query, uint64_t deadline) noexcept nogil:
        cdef PendingSignature* pending
        if self.fd < 0 or query.issuer_no == 0 or self.count > self.mask // 2 or sink_room(&self.out) < MAX_QUESTION:
            return False
        # half of the places are free
        while self.places[self.following & self.mask].letter != NULL:
            self.following += 1
        pending = &self.places[self.following & self.mask]
        pending.letter, pending.number, pending.deadline = letter, self.following, deadline
        pending.query = query[0]
        put_answer_query(&self.out, pending.number, query)
        self.following += 1
        self.count += 1
        return True

    cdef bint flush(self) noexcept nogil:
        cdef size_t n = sink_used(&self.out)
        cdef Py_ssize_t sent
        cdef uint32_t wanted
        if self.fd < 0 or n == 0:
            return True
        sent = send(self.fd, self.octets, n, MSG_NOSIGNAL)
        if sent < 0:
            if last_error() != EAGAIN and last_error() != EINTR:
                return False
            sent = 0
        n -= sent
        if n and sent:
            memmove(self.octets, self.octets + sent, n)
        open_sink(&self.out, self.octets, OUT_OCTETS)
        self.out.p += n
        # told of room only while some is wanted: each answered batch would wake the loop to say so
        wanted = EPOLLIN | EPOLLOUT if n else EPOLLIN
        if wanted != self.watched:
            self.watched = wanted
            return watch(self.epoll, EPOLL_CTL_MOD, self.fd, wanted, self.tag) == 0
        return True

    cdef bint receive(self) noexcept nogil:
        cdef Py_ssize_t got = recv(self.fd, self.in_ + self.in_len, IN_OCTETS - self.in_len, 0)
        if got <= 0:
            return got < 0 and (last_error() == EAGAIN or last_error() == EINTR)
        self.in_len += got
        self.unread.p, self.unread.n = self.in_, self.in_len
        return True

    cdef int next(self, Frame* frame) noexcept nogil:
        cdef int got = next_frame(&self.unread, frame)
        if got != 0:
            return got
        if self.unread.n == IN_OCTETS:
            return -1
        memmove(self.in_, self.unread.p, self.unread.n)
        self.in_len = self.unread.n
        self.unread.p = self.in_
        return 0

    cdef PendingSignature* find(self, uint32_t number) noexcept nogil:
        cdef PendingSignature* pending = &self.places[number & self.mask]
        return pending if pending.letter != NULL and pending.number == number else NULL

    cdef PendingSignature* overdue(self, uint64_t now_ns) noexcept nogil:
        cdef PendingSignature* pending
        while self.oldest != self.following:
            pending = self.find(self.oldest)
            if pending != NULL:
                return pending if now_ns > pending.deadline else NULL
            self.oldest += 1
        return NULL

    cdef Letter* settle(self, PendingSignature* pending) noexcept nogil:
        cdef Letter* letter = pending.letter
        pending.letter = NULL
        self.count -= 1
        return letter
