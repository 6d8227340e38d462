"""The sockets of the connection loop: what they say, what they are told, and what epoll is asked to tell of them.

Each is watched edge-triggered, so a socket is read until it is empty, or asked about anew. What a socket does not take
is kept, and nothing more is answered to it until that is gone. A method that ends a connection says so: its struct must
not be used any more. Owned by one thread.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from _fastocsp.wire.sink cimport Sink, open_sink, sink_used
from responder.hotpath.connections cimport Connection, Connections, append, buffered, empty, slot_of
from responder.hotpath.posix cimport (
    EAGAIN, EINTR, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLET, EPOLLIN, EPOLLOUT, EPOLLRDHUP, MSG_MORE,
    MSG_NOSIGNAL, SHUT_WR, close, epoll_create1, last_error, monotonic_ns, recv, send, shutdown, watch,
)

cdef enum:
    HEAD_OCTETS = 8194            # the longest head of which the recogniser asks for more

cdef uint64_t SECOND = 1_000_000_000


cdef class Sockets:
    """Of one loop; times in seconds."""

    def __cinit__(self, *_):
        self.epoll = -1

    def __dealloc__(self):
        free(self.in_)
        free(self.out)
        if self.epoll >= 0:
            close(self.epoll)

    cdef int open_sockets(self, uint32_t max_connections, size_t max_body, double patience_s, double reading_s,
                          double idle_s, size_t read_ahead) except -1:
        """For the constructor."""
        self.connections = Connections(max_connections)
        self.patience_ns, self.idle_ns = <uint64_t>(patience_s * SECOND), <uint64_t>(idle_s * SECOND)
        self.reading_ns = <uint64_t>(reading_s * SECOND)
        # a request that is not whole yet, and what is read ahead behind it
        self.in_octets = read_ahead + HEAD_OCTETS + max_body
        self.in_ = <uint8_t*>malloc(self.in_octets)
        self.out = <uint8_t*>malloc(OUT_OCTETS)
        if self.in_ == NULL or self.out == NULL:
            raise MemoryError
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError("epoll_create1")
        self.now_ns = monotonic_ns()
        return 0

    cdef Py_ssize_t read_some(self, Connection* c, bint resumed) noexcept nogil:
        """Bytes in the buffer `in_`: those pending and what the socket has; NOTHING (unless resumed), or GONE."""
        cdef size_t n = buffered(&c.pending)
        cdef Py_ssize_t got = 0
        if c.readable and n < self.in_octets:
            got = recv(c.fd, self.in_ + n, self.in_octets - n, 0)
            if got > 0:
                # a socket that was emptied tells of what comes next by an event of its own
                c.readable = c.eof_near or <size_t>got == self.in_octets - n
            elif got == 0:
                c.eof = True
                c.readable = False
            elif last_error() == EAGAIN or last_error() == EINTR:
                c.readable = last_error() == EINTR
                if not resumed:
                    return NOTHING
                got = 0
            else:
                self.drop(c)
                return GONE
        if n:
            memcpy(self.in_, c.pending.octets + c.pending.at, n)
            empty(&c.pending)
        return n + got

    cdef bint write_out(self, Connection* c, Sink* out) noexcept nogil:
        cdef size_t n = sink_used(out)
        open_sink(out, self.out, OUT_OCTETS)
        return self.send_octets(c, self.out, n)

    cdef bint send_octets(self, Connection* c, const uint8_t* octets, size_t n) noexcept nogil:
        """Send what the socket takes and keep the rest; False when the connection is gone."""
        # the last answer leaves together with the end of the connection, in one segment
        cdef int flags = MSG_NOSIGNAL | MSG_MORE if c.close_after and not c.waiting else MSG_NOSIGNAL
        # behind answers that wait to be read this one waits as well
        cdef Py_ssize_t sent = send(c.fd, octets, n, flags) if buffered(&c.backlog) == 0 else 0
        if sent == <Py_ssize_t>n:
            return True
        if sent < 0:
            if last_error() != EAGAIN and last_error() != EINTR:
                self.drop(c)
                return False
            sent = 0
        if append(&c.backlog, octets + sent, n - sent) < 0:
            self.drop(c)
            return False
        # the client does not read: neither do we, and not for long
        c.deadline = self.now_ns + self.reading_ns
        return self.watch_for(c, EPOLLIN | EPOLLRDHUP | EPOLLOUT)

    cdef bint send_backlog(self, Connection* c) noexcept nogil:
        """Send more of the backlog; False when the connection is gone."""
        cdef Py_ssize_t sent = send(c.fd, c.backlog.octets + c.backlog.at, buffered(&c.backlog), MSG_NOSIGNAL)
        if sent < 0:
            if last_error() == EAGAIN or last_error() == EINTR:
                return True
            self.drop(c)
            return False
        c.backlog.at += sent
        if buffered(&c.backlog) == 0:
            empty(&c.backlog)
            c.deadline = 0 if c.waiting else self.now_ns + self.idle_ns
            if not c.waiting and (c.close_after or self.draining):
                self.drop(c)
                return False
        return True

    cdef bint watch_for(self, Connection* c, uint32_t events) noexcept nogil:
        """Have epoll tell, once a change; False when it cannot, and the connection is gone."""
        return c.watched == events or self.watch_anew(c, events)

    cdef bint watch_anew(self, Connection* c, uint32_t events) noexcept nogil:
        cdef uint64_t tag = <uint64_t>c.generation << 32 | slot_of(self.connections, c)
        if watch(self.epoll, EPOLL_CTL_MOD if c.watched else EPOLL_CTL_ADD, c.fd, events | EPOLLET, tag) < 0:
            self.drop(c)
            return False
        c.watched = events
        return True

    cdef void drop(self, Connection* c) noexcept nogil:
        """Close; a slow request goes on, its record is worth keeping."""
        if c.close_after:
            # the answer first: bytes that were not read make a mere close a reset, which drops what is not sent yet
            shutdown(c.fd, SHUT_WR)
        close(c.fd)
        self.connections.release(c)
