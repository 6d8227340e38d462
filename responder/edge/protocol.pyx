"""One connection of the edge: octets in, answers out, in order.

The hot lane answers while it can; a request it leaves goes to the slow lane as one task, and what the client sent
behind it waits, so that pipelined answers keep their order (RFC 9112 9.3.2). The first thing that is not a plain
OCSP request hands the socket, with its octets, to uvicorn's own protocol, and there it stays. Limits live here:
connections, pending octets, and the times to send a request, to read an answer and to be idle.
"""

import socket as socket_module

from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc

from _fastocsp.bucket cimport address_key
from _fastocsp.sink cimport Sink, open_sink, sink_used
from _fastocsp.wire cimport METHOD_GET, WIRE_NEED_MORE, WIRE_PASS_ON, HttpRequest, Span, recognise
from responder.edge.lane cimport LANE_ANSWERED, LANE_FULL, Lane

from responder.edge.slow import SlowRequest
from responder.telemetry import INDEX

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    static inline uint64_t monotonic_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    """
    uint64_t monotonic_ns() noexcept nogil

cdef enum:
    OUT_OCTETS = 65536
    MAX_PENDING = 65536           # octets kept unread behind a slow request

cdef uint64_t SECOND = 1_000_000_000
cdef size_t AT_OPENED = INDEX["connections_opened"]
cdef size_t AT_REFUSED = INDEX["connections_refused"]
cdef size_t AT_HANDED_OVER = INDEX["handed_over"]
cdef size_t AT_TIMED_OUT = INDEX["timed_out"]


cdef inline bytes span_bytes(Span s):
    return (<const char*>s.p)[:s.n] if s.n else b""


cdef class Shop:
    """What the connections of one worker share: the lane, one output buffer, the limits."""
    cdef readonly Lane lane
    cdef readonly object edge
    cdef uint8_t* out
    cdef readonly size_t max_connections
    cdef uint64_t patience_ns             # for a request to arrive or an answer to be read
    cdef uint64_t idle_ns
    cdef public uint64_t now_ns           # monotonic, moved by the tick

    def __cinit__(self, Lane lane not None, edge, size_t max_connections, double patience_s, double idle_s):
        self.out = <uint8_t*>malloc(OUT_OCTETS)
        if self.out == NULL:
            raise MemoryError
        self.lane = lane
        self.edge = edge
        self.max_connections = max_connections
        self.patience_ns = <uint64_t>(patience_s * SECOND)
        self.idle_ns = <uint64_t>(idle_s * SECOND)

    def __dealloc__(self):
        free(self.out)


cdef class EdgeProtocol:
    """asyncio.Protocol; uvicorn makes one a connection."""
    cdef Shop shop
    cdef object transport
    cdef object state                     # uvicorn's ServerState: its shutdown asks every connection in it
    cdef object make_full                 # makes uvicorn's protocol for a hand-over
    cdef object waiting                   # the slow request under way
    cdef object peer
    cdef bytes pending
    cdef uint64_t client
    cdef uint64_t deadline
    cdef bint close_after
    cdef bint eof
    cdef bint write_blocked
    cdef bint behind_proxy
    cdef bint partial                     # a request has begun to arrive: its deadline stands

    def __init__(self, Shop shop not None, state, make_full):
        self.shop = shop
        self.state = state
        self.make_full = make_full
        self.pending = b""

    def connection_made(self, transport):
        """Count, note the peer, or close at once when there are too many."""
        self.transport = transport
        self.state.connections.add(self)
        self.shop.lane.counters.values[AT_OPENED] += 1
        self.deadline = self.shop.now_ns + self.shop.patience_ns
        self.partial = True
        self._note_peer(transport.get_extra_info("peername"))
        if <size_t>len(self.state.connections) > self.shop.max_connections:
            self.shop.lane.counters.values[AT_REFUSED] += 1
            transport.abort()

    cdef _note_peer(self, peername):
        cdef bytes packed
        self.peer = peername[0] if peername else None
        if self.peer is None:
            return
        family = socket_module.AF_INET6 if ":" in self.peer else socket_module.AF_INET
        packed = socket_module.inet_pton(family, self.peer.partition("%")[0])
        self.client = address_key(packed, len(packed))
        self.behind_proxy = self.shop.edge.is_trusted(self.peer)

    def data_received(self, bytes data not None):
        """Answer all that is there."""
        if self.pending:
            data = self.pending + data
            self.pending = b""
        self._work(data)

    cdef _work(self, bytes data):
        cdef const uint8_t* p = data
        cdef size_t n = len(data)
        cdef size_t at = 0
        cdef Sink out
        cdef HttpRequest http
        cdef int got = WIRE_NEED_MORE
        cdef int done
        # the tick's time is up to a tenth of a second old: the limiter's other users, in other lanes, read the clock
        cdef uint64_t asked_ns = monotonic_ns()
        open_sink(&out, self.shop.out, OUT_OCTETS)
        while at < n and self.waiting is None and not self.close_after and not self.write_blocked:
            got = recognise(p + at, n - at, self.shop.lane.max_body, &http)
            if got == WIRE_NEED_MORE or got == WIRE_PASS_ON:
                break
            done = self.shop.lane.answer(&http, self._client_of(&http), asked_ns, &out)
            if done == LANE_FULL:
                self._flush(&out)
                continue
            at += http.consumed
            if not http.keep_alive:
                self.close_after = True
            if done != LANE_ANSWERED:
                self._flush(&out)
                self._go_slow(&http)
        self._flush(&out)
        self._settle(data, at, got)

    cdef _settle(self, bytes data, size_t at, int got):
        """What to do with the rest, and until when."""
        cdef size_t left = len(data) - at
        if self.waiting is None and self.close_after:
            self.transport.close()
            return
        if got == WIRE_PASS_ON and self.waiting is None and not self.write_blocked:
            self._hand_over(data[at:])
            return
        if left:
            self.pending = data[at:] if at else data
            if left > MAX_PENDING + self.shop.lane.max_body:
                self.transport.pause_reading()
        if self.waiting is not None or left == 0:
            self.deadline = 0 if self.waiting is not None else self.shop.now_ns + self.shop.idle_ns
        elif at or not self.partial:
            self.deadline = self.shop.now_ns + self.shop.patience_ns
        self.partial = left != 0
        if self.eof and self.waiting is None:
            self.transport.close()

    cdef uint64_t _client_of(self, const HttpRequest* http):
        cdef bytes packed
        if not self.behind_proxy or http.forwarded_for.n == 0:
            return self.client
        packed = self.shop.edge.forwarded(span_bytes(http.forwarded_for), self.peer)
        return address_key(packed, len(packed))

    cdef _flush(self, Sink* out):
        cdef size_t n = sink_used(out)
        if n:
            self.transport.write((<const char*>self.shop.out)[:n])
            open_sink(out, self.shop.out, OUT_OCTETS)

    cdef _go_slow(self, const HttpRequest* http):
        request = SlowRequest(
            http.method == METHOD_GET, span_bytes(http.issuer_id), span_bytes(http.rest), span_bytes(http.body),
            span_bytes(http.if_none_match), span_bytes(http.if_modified_since), http.keep_alive)
        self.waiting = self.shop.edge.start_slow(request)
        self.waiting.add_done_callback(self._slow_done)

    def _slow_done(self, task):
        self.waiting = None
        if self.transport is None or self.transport.is_closing() or task.cancelled():
            return
        self.transport.write(task.result())
        data = self.pending
        self.pending = b""
        if len(data) > MAX_PENDING + self.shop.lane.max_body and not self.write_blocked:
            self.transport.resume_reading()
        self._work(data)

    cdef _hand_over(self, bytes rest):
        """From here on the connection is uvicorn's."""
        self.shop.lane.counters.values[AT_HANDED_OVER] += 1
        transport = self.transport
        self.state.connections.discard(self)
        full = self.make_full()
        transport.set_protocol(full)
        full.connection_made(transport)
        full.data_received(rest)
        if self.eof:
            full.eof_received()

    def eof_received(self):
        """A client that has said all may still be answered (H-24)."""
        self.eof = True
        return self.waiting is not None

    def connection_lost(self, exc):
        """The peer is gone; a slow request goes on, its record is worth keeping."""
        self.state.connections.discard(self)
        self.transport = None
        self.pending = b""

    def pause_writing(self):
        """The client does not read: neither do we, and not for long."""
        self.write_blocked = True
        self.deadline = self.shop.now_ns + self.shop.patience_ns
        self.transport.pause_reading()

    def resume_writing(self):
        """Go on where it stopped."""
        self.write_blocked = False
        self.deadline = self.shop.now_ns + self.shop.idle_ns
        self.transport.resume_reading()
        if self.pending and self.waiting is None:
            data = self.pending
            self.pending = b""
            self._work(data)

    def check_deadline(self):
        """Called by the tick: cut off who is slow or idle."""
        if self.deadline and self.shop.now_ns > self.deadline and self.transport is not None:
            self.shop.lane.counters.values[AT_TIMED_OUT] += 1
            self.transport.abort()

    def shutdown(self):
        """uvicorn is stopping: close now, or after the answer under way."""
        if self.waiting is None:
            self.transport.close()
        else:
            self.close_after = True
