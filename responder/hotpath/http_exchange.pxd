"""Requests and answers on the connections of one loop.

The connection loop is `Loop(Exchange(Sockets))`: Sockets reads, writes and closes; Exchange turns bytes into requests
and answers them by the Lane; Loop has the listener, epoll, the clock and the letters to and from Python. Its end of the
connection to the signer is a member, `signer`; the functions of `signer_answers` work on an Exchange.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastocsp.http.headers cimport KnownSections
from _fastocsp.ocsp.signer_wire cimport AnswerQuery
from _fastocsp.shared.bucket cimport ClientKey
from _fastocsp.http.proxies cimport Proxies
from _fastocsp.wire.sink cimport Sink
from _fastocsp.http.request cimport HttpRequest
from responder.hotpath.connections cimport Connection
from responder.hotpath.lane cimport Lane, RequestOutcome
from responder.hotpath.signer_client cimport SignerClient
from responder.hotpath.mailbox cimport Letter, Mailbox
from responder.hotpath.sockets cimport Sockets

cdef enum:
    TO_SLOW = 1                   # kinds of letters to Python
    TO_COLD = 2
    TO_SIGN = 6                   # a slow one with a nonce
    LINE_LOST = 7                 # another line to the signer is wanted


cdef class Exchange(Sockets):
    cdef readonly Lane lane
    cdef Proxies proxies
    cdef readonly Mailbox to_python
    cdef KnownSections known      # of requests on any of these connections
    cdef SignerClient signer
    cdef uint64_t asking_ns       # for the signer to answer
    cdef long long elsewhere      # open connections that were handed over; both sides count it
    cdef uint8_t ignored[16]      # packed address of the first peer whose X-Forwarded-For was ignored
    cdef size_t ignored_n         # 0: there was none; written after the address, once
    cdef uint32_t slow_under_way  # letters whose answer has not come back, whether their connection lives or not
    cdef uint32_t nonces_under_way
    cdef uint32_t slow_lane       # how many of each there may be
    cdef uint32_t nonce_lane

    # Read and answer while there is something to read and nothing to wait for
    cdef void go_on(self, Connection* c, bint resumed) noexcept nogil
    # These are False when the connection has ended, or is no longer ours
    cdef bint work(self, Connection* c, size_t n) noexcept nogil
    cdef bint settle(self, Connection* c, const uint8_t* rest, size_t left, bint moved,
                     RequestOutcome outcome) noexcept nogil
    cdef bint ask_slow(self, Connection* c, const uint8_t* octets, size_t n, const AnswerQuery* query) noexcept nogil
    cdef bint lane_full(self, RequestOutcome outcome) noexcept nogil
    # An unsigned answer that says so, tryLater or unauthorized; counted
    cdef void put_refusal(self, int status, int keep_alive, Sink* out) noexcept nogil
    # CONNECTION_* of the request in this letter
    cdef int keep_alive_of(self, const Letter* letter) noexcept nogil
    cdef void hand_over(self, Connection* c, const uint8_t* rest, size_t n) noexcept nogil
    # X-Forwarded-For of a peer that is no trusted proxy: count it, and note the first such peer
    cdef void ignore_forwarded(self, const Connection* c) noexcept nogil
    # The key of the request's client; `room` is for one that a proxy names
    cdef const ClientKey* client_of(self, const Connection* c, const HttpRequest* http,
                                    ClientKey* room) noexcept nogil
    cdef void count(self, size_t index) noexcept nogil
