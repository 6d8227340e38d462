"""The connection loop of a worker: accept, read, answer, write, in a thread of its own that never takes the GIL.

Limits live here: connections, and the times to send a request, to read an answer and to be idle. So does the clock of
Date fields and windows: nothing that Python does, or does not do, holds up an answer or lets an old one pass.

Who may touch what: connections, buffers and the epoll set belong to the thread. Letters cross under the locks of the
mailboxes. Table, index of issuers and image of the revoked set are read under the lane's lock, for one buffer full of
requests at a time, and changed under it by Python, which swaps whole objects and frees the old ones afterwards. The
thread never asks for the GIL, so neither side can wait for the other in a circle. Flags and counters are atomic.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free

from _fastocsp.shared.bucket cimport ClientKey
from _fastocsp.http.proxies cimport Proxies
from responder.hotpath.connections cimport Connection, buffered, slot_of
from responder.hotpath.http_exchange cimport LINE_LOST, TO_COLD, TO_SIGN, TO_SLOW
from responder.hotpath.lane cimport Lane
from responder.hotpath.signer_client cimport SignerClient
from responder.hotpath.signer_answers cimport flush_queries, read_signer, refuse_overdue, take_signer_socket
from responder.hotpath.mailbox cimport Letter, Mailbox, letter_octets, new_letter
from responder.hotpath.posix cimport (
    EAGAIN, ECONNABORTED, EINTR, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP,
    accept_from, block_signals, close, epoll_wait, epoch_seconds, event_tag, flag_load, flag_store, last_error,
    monotonic_ns, number_add, number_load, reset_on_close, watch,
)

from responder.telemetry import INDEX

cdef enum:
    LISTENER = 0                  # tags of the epoll set; a connection's has its generation, which is never 0
    BELL = 1
    SIGNER = 2
    IS_EMPTY = 3                  # kinds of letters, besides those of the exchange
    ANSWER = 4
    GIVE_UP = 5
    PAUSE_TICKS = 10
    SEARCHES_PER_TICK = 100       # for the longest idle of all connections: each reads every slot
    MOST_LEAVING = 16             # connections of an address above its limit, while Python gives up as many
    NEW_LINE = 16
    SIGNED = 8                    # set in the kind of an answer to a nonce
    OF_COLD = 32                  # to Python: give up one of its address; from Python: it has ended

TO_SLOW_LANE, TO_NONCE_LANE, TO_COLD_LANE, ALL_GONE = TO_SLOW, TO_SIGN, TO_COLD, IS_EMPTY
NO_LINE, GIVE_UP_COLD = LINE_LOST, OF_COLD

cdef uint64_t TICK_NS = 100_000_000
cdef size_t AT_OPENED = INDEX["connections_opened"]
cdef size_t AT_REFUSED = INDEX["connections_refused"]
cdef size_t AT_EVICTED = INDEX["connections_evicted"]
cdef size_t AT_TIMED_OUT = INDEX["timed_out"]


cdef class Loop(Exchange):
    """Made for a listening socket, whose descriptor it owns from then on."""

    def __cinit__(self, Lane lane not None, Proxies proxies not None, int listener, limits not None):
        self.lane, self.proxies, self.listener = lane, proxies, listener
        self.to_python, self.from_python = Mailbox(), Mailbox()
        self.slow_lane, self.nonce_lane = limits.slow_lane, limits.nonce_lane
        self.per_address, self.searches = limits.per_address, SEARCHES_PER_TICK
        self.open_sockets(limits.connections, lane.max_body, limits.patience_s, limits.reading_s, limits.idle_s,
                          limits.read_ahead)
        self.signer = SignerClient(self.epoll, SIGNER, limits.nonce_lane)
        self.asking_ns = <uint64_t>(limits.asking_s * 1e9)
        if (watch(self.epoll, EPOLL_CTL_ADD, listener, EPOLLIN, LISTENER) < 0
                or watch(self.epoll, EPOLL_CTL_ADD, self.from_python.bell, EPOLLIN, BELL) < 0):
            raise OSError("epoll_ctl")
        self.accepting = True

    def __dealloc__(self):
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
        """Accept no more connections, close idle ones, answer what is under way, then send ALL_GONE."""
        flag_store(&self.drain_wanted, 1)
        self.from_python.ring()

    def answer(self, int kind, uint32_t slot, uint32_t generation, bytes octets):
        """The slow lane's answer to a letter of that kind, once for each; None gives the connection up."""
        cdef Letter* letter
        cdef int signed_ = SIGNED if kind == TO_SIGN else 0
        if octets is None:
            letter = new_letter(GIVE_UP | signed_, slot, generation, NULL, 0)
        else:
            letter = new_letter(ANSWER | signed_, slot, generation, octets, len(octets))
        if letter == NULL:
            raise MemoryError
        self.from_python.put(letter)

    def take_signer(self, int fd):
        """Ask the signer over this Unix socket, which is the loop's from then on; NO_LINE is said when it breaks."""
        cdef Letter* letter = new_letter(NEW_LINE, 0, 0, NULL, 0)
        if letter == NULL:
            raise MemoryError
        letter.fd = fd
        self.from_python.put(letter)

    def cold_gone(self, uint32_t slot, uint32_t generation):
        """The connection that was handed over with that slot and generation has ended."""
        cdef Letter* letter = new_letter(OF_COLD, slot, generation, NULL, 0)
        if letter == NULL:
            raise MemoryError
        self.from_python.put(letter)

    @property
    def open_connections(self):
        """Connections that the loop has now, those handed over not counted."""
        return number_load(&self.connections.count)

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
                # one: the listener says so again if there are more, and asking in vain costs a socket made and unmade
                self.accept_some(1)
            elif tag == BELL:
                self.read_letters()
            elif tag == SIGNER:
                read_signer(self)
            else:
                c = self.connections.get(<uint32_t>tag, <uint32_t>(tag >> 32))
                if c != NULL:
                    self.on_event(c, self.events[i].events)
        flush_queries(self)
        if self.draining and self.connections.count == 0 and not self.told_empty:
            self.told_empty = self.to_python.put(new_letter(IS_EMPTY, 0, 0, NULL, 0))
        return 0

    cdef void tick(self) noexcept nogil:
        """Move the clock; cut off who is slow or idle; accept again after a shortage."""
        cdef uint32_t i
        cdef Connection* c
        self.tick_ns = self.now_ns + TICK_NS
        self.tick_number += 1
        self.searches = SEARCHES_PER_TICK
        self.lane.lock.take()
        self.lane.move_clock(epoch_seconds())
        self.lane.lock.give()
        refuse_overdue(self)
        for i in range(self.connections.used_to):
            c = &self.connections.slots[i]
            if c.generation & 1 == 0:
                continue
            if c.deadline != 0 and self.now_ns > c.deadline:
                self.count(AT_TIMED_OUT)
                if buffered(&c.backlog):
                    reset_on_close(c.fd)
                self.drop(c)
            elif c.paused and (self.tick_number + i) % PAUSE_TICKS == 0:
                # a part of them at each tick: all at once would be a burst that hits wait behind
                c.paused = False
                self.go_on(c, True)
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
        cdef ClientKey client
        cdef bint trusted = n != 0 and self.proxies.trusts(packed, n)
        self.count(AT_OPENED)
        client.address = client.network = 0
        if n and not trusted:
            client = self.lane.bucket.key_of(packed, n)
        if self.make_room(client.address):
            c = self.connections.open(fd)
        if c == NULL:
            self.count(AT_REFUSED)
            close(fd)
            return
        c.behind_proxy = trusted
        c.client = client
        self.connections.note_client(c)
        if trusted:
            # not filed under it: a proxy may have any number of connections
            c.client = self.lane.bucket.key_of(packed, n)
        c.deadline = self.now_ns + self.patience_ns
        c.partial = c.readable = True
        self.go_on(c, False)

    cdef bint make_room(self, uint64_t address) noexcept nogil:
        """Give idle connections up, of this address and then of any, until one more is within the limits."""
        cdef Connection* idle
        cdef Connection* away
        cdef uint32_t had = self.connections.of_address(address, &idle, &away) if address else 0
        if had >= self.per_address:
            if idle != NULL:
                self.count(AT_EVICTED)
                self.drop(idle)
            elif away == NULL or had >= self.per_address + MOST_LEAVING:
                return False
            else:
                # Python gives up the longest idle one of this address, a moment later
                away.leaving = True
                self.to_python.put(new_letter(OF_COLD, slot_of(self.connections, away), away.generation, NULL, 0))
        if self.connections.count + number_load(&self.elsewhere) < self.connections.room:
            return True
        if self.searches == 0:
            return False
        self.searches -= 1
        idle = self.connections.idlest()
        if idle == NULL:
            return False
        self.count(AT_EVICTED)
        self.drop(idle)
        return self.connections.count + number_load(&self.elsewhere) < self.connections.room

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

    cdef void read_letters(self) noexcept nogil:
        cdef Letter* letter = self.from_python.take_all()
        cdef Letter* following
        while letter != NULL:
            following = letter.next
            if letter.kind == NEW_LINE:
                take_signer_socket(self, letter.fd)
            elif letter.kind == OF_COLD:
                self.end_away(self.connections.get(letter.slot, letter.generation))
            else:
                self.on_answer(letter)
            free(letter)
            letter = following
        if flag_load(&self.drain_wanted) and not self.draining:
            self.begin_drain()

    cdef void on_answer(self, Letter* letter) noexcept nogil:
        cdef Connection* c = self.connections.get(letter.slot, letter.generation)
        self.slow_under_way -= 1
        if letter.kind & SIGNED:
            self.nonces_under_way -= 1
        if c == NULL or c.away or not c.waiting:
            return
        c.waiting = False
        self.now_ns = monotonic_ns()
        if letter.kind & ~SIGNED == GIVE_UP:
            self.drop(c)
        elif self.send_octets(c, letter_octets(letter), letter.n):
            self.go_on(c, True)

    cdef void end_away(self, Connection* c) noexcept nogil:
        if c != NULL and c.away:
            self.connections.release(c)
            number_add(&self.elsewhere, -1)

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
