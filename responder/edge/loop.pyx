"""The connection loop of a worker: accept, read, answer, write, in a thread of its own that never takes the GIL.

What the hot lane can answer is answered here, in order, from one buffer by one send (RFC 9112 9.3.2). What it leaves goes
to Python as a letter, and what the client sent behind it waits until the answer has come back as a letter. The first
thing that is not a plain OCSP request hands the socket, with its octets, to uvicorn's own protocol, for good. Limits
live here: connections, pending octets, and the times to send a request, to read an answer and to be idle. So does the
clock of Date fields and windows: nothing that Python does, or does not do, holds up an answer or lets an old one pass.

Who may touch what: connections, buffers and the epoll set belong to the thread; letters cross under the mailboxes'
locks; the lane is used under its lock; flags and counters that both sides touch are atomic.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from _fastocsp.bucket cimport address_key
from _fastocsp.counters cimport count_more
from _fastocsp.proxies cimport Proxies
from _fastocsp.sink cimport Sink, open_sink, sink_used
from _fastocsp.wire cimport METHOD_GET, WIRE_NEED_MORE, WIRE_PASS_ON, WIRE_TAKEN, HttpRequest, Span, recognise
from responder.edge.connections cimport Connection, Connections, buffered, empty, fill, slot_of
from responder.edge.lane cimport LANE_ANSWERED, LANE_FULL, Lane
from responder.edge.mailbox cimport Letter, Mailbox, letter_octets, new_letter
from responder.edge.posix cimport (
    EAGAIN, ECONNABORTED, EINTR, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLERR, EPOLLET,
    EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, MSG_MORE, MSG_NOSIGNAL, SHUT_WR, accept_from, block_signals, close, epoll_create1,
    epoll_wait, epoch_seconds, event_tag, flag_load, flag_store, last_error, monotonic_ns, number_add, number_load,
    recv, reset_on_close, send, shutdown, watch,
)

from responder.edge.slow import SlowRequest
from responder.telemetry import INDEX

cdef enum:
    OUT_OCTETS = 65536
    IN_OCTETS = 65536
    HEAD_OCTETS = 8194            # the longest head of which the recogniser asks for more
    MANY_AT_ONCE = 64             # connections accepted in one turn
    LISTENER = 0                  # tags of the epoll set; a connection's has its generation, which is never 0
    BELL = 1
    TO_SLOW = 1                   # kinds of letters
    TO_COLD = 2
    IS_EMPTY = 3
    ANSWER = 4
    GIVE_UP = 5
    NOTHING = -2                  # nothing new was read
    GONE = -1
    ROUNDS = 4                    # buffers read from one connection before the others have their turn

TO_SLOW_LANE, TO_COLD_LANE, ALL_GONE = TO_SLOW, TO_COLD, IS_EMPTY

cdef uint64_t SECOND = 1_000_000_000
cdef uint64_t TICK_NS = 100_000_000
cdef size_t AT_OPENED = INDEX["connections_opened"]
cdef size_t AT_REFUSED = INDEX["connections_refused"]
cdef size_t AT_HANDED_OVER = INDEX["handed_over"]
cdef size_t AT_TIMED_OUT = INDEX["timed_out"]


cdef class Loop:
    """Made for a listening socket, whose descriptor it owns from then on."""

    def __cinit__(self, Lane lane not None, Proxies proxies not None, int listener, uint32_t max_connections,
                  double patience_s, double idle_s):
        self.lane, self.proxies, self.listener = lane, proxies, listener
        self.connections = Connections(max_connections)
        self.to_python, self.from_python = Mailbox(), Mailbox()
        self.patience_ns, self.idle_ns = <uint64_t>(patience_s * SECOND), <uint64_t>(idle_s * SECOND)
        self.in_octets = IN_OCTETS + HEAD_OCTETS + lane.max_body
        self.in_ = <uint8_t*>malloc(self.in_octets)
        self.out = <uint8_t*>malloc(OUT_OCTETS)
        if self.in_ == NULL or self.out == NULL:
            raise MemoryError
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if (self.epoll < 0 or watch(self.epoll, EPOLL_CTL_ADD, listener, EPOLLIN, LISTENER) < 0
                or watch(self.epoll, EPOLL_CTL_ADD, self.from_python.bell, EPOLLIN, BELL) < 0):
            raise OSError("epoll")
        self.accepting = True
        self.now_ns = monotonic_ns()

    def __dealloc__(self):
        free(self.in_)
        free(self.out)
        if self.epoll > 0:
            close(self.epoll)
        if self.listener >= 0:
            close(self.listener)

    def run(self):
        """Serve until `stop`, in a thread of its own. OSError when epoll itself fails."""
        cdef int failed = 0
        with nogil:
            block_signals()
            while failed == 0 and not flag_load(&self.stop_wanted):
                failed = self.turn()
        if failed:
            raise OSError(failed, "epoll_wait")

    def stop(self):
        """End `run`; connections that are open are closed with the loop."""
        flag_store(&self.stop_wanted, 1)
        self.from_python.ring()

    def drain(self):
        """Accept nobody any more, close who is idle, answer what is under way, then say ALL_GONE."""
        flag_store(&self.drain_wanted, 1)
        self.from_python.ring()

    def letters(self):
        """(kind, fd, slot, generation, octets) of all there is; to be called when `bell` is readable."""
        cdef Letter* letter = self.to_python.take_all()
        cdef Letter* following
        found = []
        while letter != NULL:
            found.append((letter.kind, letter.fd, letter.slot, letter.generation,
                          (<const char*>letter_octets(letter))[:letter.n]))
            following = letter.next
            free(letter)
            letter = following
        return found

    def answer(self, uint32_t slot, uint32_t generation, bytes octets):
        """The slow lane's answer; None gives the connection up."""
        cdef Letter* letter
        if octets is None:
            letter = new_letter(GIVE_UP, slot, generation, NULL, 0)
        else:
            letter = new_letter(ANSWER, slot, generation, octets, len(octets))
        if letter == NULL:
            raise MemoryError
        self.from_python.put(letter)

    def cold_gone(self):
        """A connection that was handed over has ended."""
        number_add(&self.elsewhere, -1)

    @property
    def bell(self):
        """Descriptor to watch for letters."""
        return self.to_python.bell

    @property
    def open_connections(self):
        """Connections that the loop has now, those handed over not counted."""
        return self.connections.count

    cdef void count(self, size_t index) noexcept nogil:
        count_more(self.lane.counters.values + index, 1)

    cdef int turn(self) noexcept nogil:
        """Wait at most until the next tick and do what there is; 0, or an errno that cannot be lived with."""
        cdef int n, i
        cdef uint64_t tag
        cdef Connection* c
        cdef int timeout_ms = 0
        if self.tick_ns > self.now_ns:
            timeout_ms = <int>((self.tick_ns - self.now_ns) // 1_000_000) + 1
        n = epoll_wait(self.epoll, self.events, MAX_EVENTS, timeout_ms)
        self.now_ns = monotonic_ns()
        if self.now_ns >= self.tick_ns:
            self.tick()
        if n < 0:
            return 0 if last_error() == EINTR else last_error()
        for i in range(n):
            tag = event_tag(&self.events[i])
            if tag == LISTENER:
                self.accept_some(MANY_AT_ONCE)
            elif tag == BELL:
                self.read_letters()
            else:
                c = self.connections.get(<uint32_t>tag, <uint32_t>(tag >> 32))
                if c != NULL:
                    self.on_event(c, self.events[i].events)
        if self.draining and self.connections.count == 0 and not self.told_empty:
            self.told_empty = self.to_python.put(new_letter(IS_EMPTY, 0, 0, NULL, 0))
        return 0

    cdef void tick(self) noexcept nogil:
        """Move the clock; cut off who is slow or idle; accept again after a shortage."""
        cdef uint32_t i
        cdef Connection* c
        self.tick_ns = self.now_ns + TICK_NS
        self.lane.lock.take()
        self.lane.move_clock(epoch_seconds())
        self.lane.lock.give()
        for i in range(self.connections.used_to):
            c = &self.connections.slots[i]
            if c.deadline != 0 and c.generation & 1 and self.now_ns > c.deadline:
                self.count(AT_TIMED_OUT)
                if buffered(&c.backlog):
                    reset_on_close(c.fd)
                self.drop(c)
        if not self.accepting and self.listener >= 0:
            self.accepting = watch(self.epoll, EPOLL_CTL_ADD, self.listener, EPOLLIN, LISTENER) == 0

    cdef void accept_some(self, int most) noexcept nogil:
        cdef uint8_t packed[16]
        cdef size_t n
        cdef int fd
        while most > 0 and self.listener >= 0:
            most -= 1
            n = accept_from(self.listener, &fd, packed)
            if fd >= 0:
                self.welcome(fd, packed, n)
                continue
            if last_error() == EINTR or last_error() == ECONNABORTED:
                continue
            if last_error() != EAGAIN:
                # out of descriptors or memory: the listener would stay ready and spin, the next tick tries again
                watch(self.epoll, EPOLL_CTL_DEL, self.listener, 0, LISTENER)
                self.accepting = False
            return

    cdef void welcome(self, int fd, const uint8_t* packed, size_t n) noexcept nogil:
        """A new connection; what its client has already sent is answered at once."""
        cdef Connection* c = NULL
        self.count(AT_OPENED)
        if self.connections.count + number_load(&self.elsewhere) < self.connections.room:
            c = self.connections.open(fd)
        if c == NULL:
            self.count(AT_REFUSED)
            close(fd)
            return
        if n:
            c.client = address_key(packed, n)
            c.behind_proxy = self.proxies.trusts(packed, n)
        c.deadline = self.now_ns + self.patience_ns
        c.partial = c.readable = True
        self.go_on(c, False)

    cdef void on_event(self, Connection* c, uint32_t events) noexcept nogil:
        cdef bint resumed = False
        if events & (EPOLLERR | EPOLLHUP):
            self.drop(c)
            return
        if events & (EPOLLIN | EPOLLRDHUP):
            c.readable = True
            c.eof_near = c.eof_near or events & EPOLLRDHUP
        if buffered(&c.backlog) and events & EPOLLOUT:
            if not self.send_backlog(c):
                return
            resumed = buffered(&c.backlog) == 0
        self.go_on(c, resumed)

    cdef void go_on(self, Connection* c, bint resumed) noexcept nogil:
        """Read and answer while there is something to read and nothing to wait for."""
        cdef Py_ssize_t n
        cdef int rounds = ROUNDS
        while not c.waiting and buffered(&c.backlog) == 0 and (c.readable or resumed):
            if rounds == 0:
                break
            rounds -= 1
            n = self.read_some(c, resumed)
            if n == GONE or (n >= 0 and not self.work(c, n)):
                return
            resumed = False
        if not c.watched:
            self.watch_for(c, EPOLLIN | EPOLLRDHUP)
        elif rounds == 0 and c.readable:
            # the others have their turn: asking anew has epoll tell anew
            self.watch_anew(c, c.watched)

    cdef Py_ssize_t read_some(self, Connection* c, bint resumed) noexcept nogil:
        """Octets in the buffer `in_`: those pending and what the socket has; NOTHING (unless resumed), or GONE."""
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

    cdef bint work(self, Connection* c, size_t n) noexcept nogil:
        """Answer the n octets in `in_`; False when the connection is gone."""
        cdef size_t at = 0
        cdef Sink out
        cdef HttpRequest http
        cdef int got = WIRE_NEED_MORE
        cdef int done = LANE_ANSWERED
        cdef size_t slow_at = 0
        # read for every batch: the limiter's other users, in other lanes, read the clock as well
        cdef uint64_t now_ns = monotonic_ns()
        self.now_ns = now_ns
        open_sink(&out, self.out, OUT_OCTETS)
        self.lane.lock.take()
        while at < n and done == LANE_ANSWERED and not c.close_after:
            got = recognise(self.in_ + at, n - at, self.lane.max_body, &http)
            if got != WIRE_TAKEN:
                break
            done = self.lane.answer(&http, self.client_of(c, &http), now_ns, &out)
            if done == LANE_FULL:
                self.lane.lock.give()
                if not self.write_out(c, &out):
                    return False
                self.lane.lock.take()
                if buffered(&c.backlog):
                    break
                done = LANE_ANSWERED
                continue
            slow_at = at
            at += http.consumed
            c.close_after = not http.keep_alive
        self.lane.lock.give()
        if sink_used(&out) and not self.write_out(c, &out):
            return False
        if done != LANE_ANSWERED and done != LANE_FULL:
            if not self.ask_slow(c, self.in_ + slow_at, at - slow_at):
                return False
        return self.settle(c, self.in_ + at, n - at, at != 0, got)

    cdef bint settle(self, Connection* c, const uint8_t* rest, size_t left, bint moved, int got) noexcept nogil:
        """What to do with the rest, and until when; False when the connection is gone."""
        cdef bint blocked = buffered(&c.backlog) != 0
        if not blocked and not c.waiting:
            if c.close_after or self.draining:
                self.drop(c)
                return False
            if got == WIRE_PASS_ON:
                self.hand_over(c, rest, left)
                return False
            if c.eof:
                self.drop(c)
                return False
        if left and fill(&c.pending, rest, left) < 0:
            self.drop(c)
            return False
        if c.waiting:
            c.deadline = 0
        elif not blocked:
            if left == 0:
                c.deadline = self.now_ns + self.idle_ns
            elif moved or not c.partial:
                c.deadline = self.now_ns + self.patience_ns
        c.partial = left != 0
        return True

    cdef uint64_t client_of(self, const Connection* c, const HttpRequest* http) noexcept nogil:
        cdef uint8_t packed[16]
        cdef size_t n
        if not c.behind_proxy or http.forwarded_for.n == 0:
            return c.client
        n = self.proxies.client(http.forwarded_for, packed)
        return address_key(packed, n) if n else c.client

    cdef bint write_out(self, Connection* c, Sink* out) noexcept nogil:
        cdef size_t n = sink_used(out)
        open_sink(out, self.out, OUT_OCTETS)
        return self.send_octets(c, self.out, n)

    cdef bint send_octets(self, Connection* c, const uint8_t* octets, size_t n) noexcept nogil:
        """Send what the socket takes and keep the rest; False when the connection is gone."""
        # the last answer leaves together with the end of the connection, in one segment
        cdef int flags = MSG_NOSIGNAL | MSG_MORE if c.close_after else MSG_NOSIGNAL
        cdef Py_ssize_t sent = send(c.fd, octets, n, flags)
        if sent == <Py_ssize_t>n:
            return True
        if sent < 0:
            if last_error() != EAGAIN and last_error() != EINTR:
                self.drop(c)
                return False
            sent = 0
        if fill(&c.backlog, octets + sent, n - sent) < 0:
            self.drop(c)
            return False
        # the client does not read: neither do we, and not for long
        c.deadline = self.now_ns + self.patience_ns
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

    cdef bint ask_slow(self, Connection* c, const uint8_t* octets, size_t n) noexcept nogil:
        """Python answers this request; False when the connection is gone."""
        cdef Letter* letter = new_letter(TO_SLOW, slot_of(self.connections, c), c.generation, octets, n)
        if not self.to_python.put(letter):
            self.drop(c)
            return False
        c.waiting = True
        return True

    cdef void hand_over(self, Connection* c, const uint8_t* rest, size_t n) noexcept nogil:
        """From here on the connection is uvicorn's."""
        cdef Letter* letter = new_letter(TO_COLD, slot_of(self.connections, c), c.generation, rest, n)
        if letter == NULL:
            self.drop(c)
            return
        self.count(AT_HANDED_OVER)
        number_add(&self.elsewhere, 1)
        if c.watched:
            watch(self.epoll, EPOLL_CTL_DEL, c.fd, 0, 0)
        letter.fd = c.fd
        self.connections.release(c)
        self.to_python.put(letter)

    cdef void drop(self, Connection* c) noexcept nogil:
        """Close; a slow request goes on, its record is worth keeping."""
        if c.close_after:
            # the answer first: octets that were not read make a mere close a reset, which drops what is still to be sent
            shutdown(c.fd, SHUT_WR)
        close(c.fd)
        self.connections.release(c)

    cdef void read_letters(self) noexcept nogil:
        cdef Letter* letter = self.from_python.take_all()
        cdef Letter* following
        while letter != NULL:
            following = letter.next
            self.on_answer(letter)
            free(letter)
            letter = following
        if flag_load(&self.drain_wanted) and not self.draining:
            self.begin_drain()

    cdef void on_answer(self, Letter* letter) noexcept nogil:
        cdef Connection* c = self.connections.get(letter.slot, letter.generation)
        if c == NULL or not c.waiting:
            return
        c.waiting = False
        self.now_ns = monotonic_ns()
        if letter.kind == GIVE_UP:
            self.drop(c)
        elif buffered(&c.backlog):
            # cannot be: nothing is asked while answers wait to be read
            self.drop(c)
        elif self.send_octets(c, letter_octets(letter), letter.n):
            self.go_on(c, True)

    cdef void begin_drain(self) noexcept nogil:
        """Who has already connected is answered; a listener that is closed resets those in its queue."""
        cdef uint32_t i
        cdef Connection* c
        self.accept_some(self.connections.room)
        self.draining = True
        close(self.listener)
        self.listener = -1
        for i in range(self.connections.used_to):
            c = &self.connections.slots[i]
            if c.generation & 1 and not c.waiting and buffered(&c.backlog) == 0:
                self.drop(c)


def slow_request(bytes octets not None, size_t max_body):
    """What the slow lane is told of the plain request in a TO_SLOW_LANE letter."""
    cdef HttpRequest http
    if recognise(octets, len(octets), max_body, &http) != WIRE_TAKEN:
        raise ValueError("not a plain request")
    return SlowRequest(
        http.method == METHOD_GET, span_bytes(http.issuer_id), span_bytes(http.rest), span_bytes(http.body),
        span_bytes(http.if_none_match), span_bytes(http.if_modified_since), http.keep_alive)


cdef inline bytes span_bytes(Span s):
    return (<const char*>s.p)[:s.n] if s.n else b""
