"""Requests and answers on one connection, in order (RFC 9112 9.3.2).

What the hot lane can answer is written into one buffer and leaves by one send, at once: nothing comes between the gate
and the socket. What it leaves goes to Python as a letter, and what the client sent behind it waits for that answer. The
first thing that is not a plain OCSP request hands the socket, with its bytes, to uvicorn's own protocol, for good.

Python is never asked for more than it can have under way: beyond that the answer is `tryLater`, written here at the
price of a hit, and what that client sends next is not looked at for up to a second (a trusted proxy's is: it speaks for
many). So a flood of what only Python can answer takes its time from itself, and little from others.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from _fastocsp.shared.bucket cimport ClientKey
from _fastocsp.ocsp.response cimport put_error_response
from _fastocsp.ocsp.signer_wire cimport AnswerQuery
from _fastocsp.wire.codes cimport ERROR_BYTES, TRY_LATER, TRY_LATER_S
from _fastocsp.shared.counters cimport count_more
from _fastocsp.http.headers cimport CONNECTION_KEPT, WIRE_NEED_MORE, WIRE_TAKEN, KnownSections, Span
from _fastocsp.http.response cimport put_no_store_head
from _fastocsp.wire.sink cimport Sink, open_sink, sink_used
from _fastocsp.http.request cimport METHOD_GET, HttpRequest, recognise
from responder.hotpath.connections cimport Connection, buffered, fill, slot_of
from responder.hotpath.lane cimport (
    ANSWERED, NEED_MORE, SINK_FULL, TO_PARSER, TO_PYTHON, TO_SIGNER, RequestOutcome,
)
from responder.hotpath.mailbox cimport Letter, new_letter
from responder.hotpath.posix cimport EPOLL_CTL_DEL, EPOLLIN, EPOLLRDHUP, number_add, peer_of, watch
from responder.hotpath.sockets cimport GONE, OUT_OCTETS, Sockets

from responder.hotpath.slow_request import SlowRequest
from responder.telemetry import INDEX

cdef enum:
    ROUNDS = 4                    # buffers read from one connection before the others have their turn

cdef size_t AT_HANDED_OVER = INDEX["handed_over"]
cdef size_t AT_TRY_LATER = INDEX["answers:try_later"]
cdef size_t AT_UNAUTHORIZED = INDEX["answers:unauthorized"]
cdef size_t AT_FORWARDED_IGNORED = INDEX["forwarded_ignored"]

cdef class Exchange(Sockets):
    """Requests and answers on the connections of one loop."""

    def __cinit__(self, *_):
        self.known = KnownSections()

    cdef void go_on(self, Connection* c, bint resumed) noexcept nogil:
        """Read and answer while there is something to read and nothing to wait for."""
        cdef Py_ssize_t n
        cdef int rounds = ROUNDS
        while not c.waiting and not c.paused and buffered(&c.backlog) == 0 and (c.readable or resumed):
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

    cdef bint work(self, Connection* c, size_t n) noexcept nogil:
        """Answer the n bytes in `in_`; False when the connection is gone."""
        cdef size_t at = 0
        cdef Sink out
        cdef HttpRequest http
        cdef AnswerQuery query
        cdef ClientKey named
        cdef RequestOutcome outcome = ANSWERED
        cdef int got
        cdef size_t slow_at = 0
        open_sink(&out, self.out, OUT_OCTETS)
        self.lane.lock.take()
        while at < n and outcome == ANSWERED and not c.close_after and not c.paused:
            self.lane.expect(self.in_ + at, n - at)
            got = recognise(self.in_ + at, n - at, self.lane.max_body, self.known.places, &http)
            if got != WIRE_TAKEN:
                outcome = NEED_MORE if got == WIRE_NEED_MORE else TO_PARSER
                break
            outcome = self.lane.answer(&http, self.client_of(c, &http, &named), self.now_ns, &out, &query)
            if outcome == TO_PARSER:
                break
            if outcome == SINK_FULL:
                self.lane.lock.give()
                if not self.write_out(c, &out):
                    return False
                self.lane.lock.take()
                if buffered(&c.backlog):
                    break
                outcome = ANSWERED
                continue
            if outcome != ANSWERED and self.lane_full(outcome):
                self.put_refusal(TRY_LATER, http.keep_alive, &out)
                outcome = ANSWERED
                c.paused = http.keep_alive != 0 and not c.behind_proxy
            slow_at = at
            at += http.consumed
            c.close_after = not http.keep_alive
        self.lane.lock.give()
        # known to the send: the answers before this one do not wait for it
        c.waiting = outcome == TO_PYTHON or outcome == TO_SIGNER
        if sink_used(&out) and not self.write_out(c, &out):
            return False
        if c.waiting:
            c.keep_alive = http.keep_alive
            if not self.ask_slow(c, self.in_ + slow_at, at - slow_at, &query if outcome == TO_SIGNER else NULL):
                return False
        return self.settle(c, self.in_ + at, n - at, at != 0, outcome)

    cdef bint settle(self, Connection* c, const uint8_t* rest, size_t left, bint moved,
                     RequestOutcome outcome) noexcept nogil:
        """What to do with the rest, and until when; False when the connection is gone."""
        cdef bint blocked = buffered(&c.backlog) != 0
        if not blocked and not c.waiting and (self.draining or not c.paused):
            if c.close_after or self.draining:
                self.drop(c)
                return False
            if outcome == TO_PARSER:
                self.hand_over(c, rest, left)
                return False
            if c.eof:
                self.drop(c)
                return False
        if left and fill(&c.pending, rest, left) < 0:
            self.drop(c)
            return False
        if c.waiting or (c.paused and not blocked):
            c.deadline = 0
        elif not blocked:
            if left == 0:
                c.deadline = self.now_ns + self.idle_ns
            elif moved or not c.partial or c.deadline == 0:
                c.deadline = self.now_ns + self.patience_ns
        c.partial = left != 0
        return True

    cdef void ignore_forwarded(self, const Connection* c) noexcept nogil:
        cdef uint8_t packed[16]
        cdef size_t n
        self.count(AT_FORWARDED_IGNORED)
        if self.ignored_n == 0:
            n = peer_of(c.fd, packed)
            memcpy(self.ignored, packed, n)
            self.ignored_n = n

    @property
    def ignored_proxy(self):
        """Packed address of the first peer whose X-Forwarded-For was ignored; None while there is none."""
        return <bytes>(<const char*>self.ignored)[:self.ignored_n] if self.ignored_n else None

    cdef const ClientKey* client_of(self, const Connection* c, const HttpRequest* http,
                                    ClientKey* room) noexcept nogil:
        cdef uint8_t packed[16]
        cdef size_t n
        if http.forwarded_for.n == 0:
            return &c.client
        if not c.behind_proxy:
            self.ignore_forwarded(c)
            return &c.client
        n = self.proxies.client(http.forwarded_for, packed)
        if n == 0:
            return &c.client
        room[0] = self.lane.bucket.key_of(packed, n)
        return room

    cdef bint ask_slow(self, Connection* c, const uint8_t* octets, size_t n, const AnswerQuery* query) noexcept nogil:
        """Leave this request to Python, or to the signer when there is a query; False when the connection is gone."""
        cdef int kind = TO_SIGN if query != NULL else TO_SLOW
        cdef Letter* letter = new_letter(kind, slot_of(self.connections, c), c.generation, octets, n)
        if letter == NULL:
            self.drop(c)
            return False
        if query == NULL or not self.signer.ask(letter, query, self.now_ns + self.asking_ns):
            self.to_python.put(letter)
        self.slow_under_way += 1
        if query != NULL:
            self.nonces_under_way += 1
        return True

    cdef bint lane_full(self, RequestOutcome outcome) noexcept nogil:
        return self.slow_under_way >= self.slow_lane or (
            outcome == TO_SIGNER and self.nonces_under_way >= self.nonce_lane)

    cdef void put_refusal(self, int status, int keep_alive, Sink* out) noexcept nogil:
        """The answer that Python would give (responder/errors.py); the caller holds the lock, for the date."""
        put_no_store_head(out, ERROR_BYTES, TRY_LATER_S if status == TRY_LATER else 0, self.lane.date, keep_alive)
        put_error_response(out, status)
        self.count(AT_TRY_LATER if status == TRY_LATER else AT_UNAUTHORIZED)

    cdef int keep_alive_of(self, const Letter* letter) noexcept nogil:
        cdef Connection* c = self.connections.get(letter.slot, letter.generation)
        return CONNECTION_KEPT if c == NULL else c.keep_alive

    cdef void hand_over(self, Connection* c, const uint8_t* rest, size_t n) noexcept nogil:
        """From here on the connection is uvicorn's; its slot is kept until `cold_gone`."""
        cdef Letter* letter = new_letter(TO_COLD, slot_of(self.connections, c), c.generation, rest, n)
        if letter == NULL:
            self.drop(c)
            return
        self.count(AT_HANDED_OVER)
        number_add(&self.elsewhere, 1)
        if c.watched:
            watch(self.epoll, EPOLL_CTL_DEL, c.fd, 0, 0)
        letter.fd = c.fd
        self.connections.give_away(c)
        self.to_python.put(letter)

    cdef void count(self, size_t index) noexcept nogil:
        count_more(self.lane.counters.values + index, 1)


def slow_request(bytes octets not None, size_t max_body):
    """What the slow lane is told of the plain request in a TO_SLOW_LANE letter."""
    cdef HttpRequest http
    if recognise(octets, len(octets), max_body, NULL, &http) != WIRE_TAKEN:
        raise ValueError("not a plain request")
    return SlowRequest(
        http.method == METHOD_GET, span_bytes(http.issuer_id), span_bytes(http.rest), span_bytes(http.body),
        span_bytes(http.if_none_match), span_bytes(http.if_modified_since), http.keep_alive)


cdef inline bytes span_bytes(Span s):
    return (<const char*>s.p)[:s.n] if s.n else b""
