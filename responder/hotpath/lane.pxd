"""The hot lane: one plain request in, a whole answer out, or "somebody else must answer"."""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from _fastocsp.ocsp.signer_wire cimport AnswerQuery
from _fastocsp.shared.bucket cimport Bucket, ClientKey
from _fastocsp.shared.counters cimport Counters
from _fastocsp.http.not_modified cimport CRLTags
from _fastocsp.ocsp.issuers cimport IssuerHashes, IssuerIndex
from _fastocsp.shared.lock cimport Lock
from _fastocsp.ocsp.record cimport RecordHead
from _fastocsp.ocsp.request cimport CertID, OCSPRequest
from _fastocsp.wire.codes cimport MAX_MAGNITUDE
from _fastocsp.wire.sink cimport Sink
from _fastocsp.cache.response_patches cimport Stencils
from _fastocsp.table.table cimport Table
from _fastocsp.table.entry cimport TableKey
from _fastocsp.cache.request_targets cimport Targets
from _fastocsp.http.request cimport HttpRequest
from responder.hotpath.gate cimport Gate

cdef enum RequestOutcome:         # what became of the bytes of a request
    ANSWERED = 1                  # head and body are in the sink
    NEED_MORE = 2                 # the request is not whole yet
    SINK_FULL = 3                 # the sink has no room: flush it and ask again
    TO_PYTHON = 4                 # the slow lane must answer
    TO_SIGNER = 5                 # the signer must answer: `query` says what, issuer_no 0 that only Python can say
    TO_PARSER = 6                 # the full HTTP parser must answer

cdef struct DueKey:
    uint16_t issuer_no
    uint8_t hash_algorithm
    uint8_t serial_len
    uint8_t serial[MAX_MAGNITUDE]     # the connection loop answers no negative number


@cython.final
cdef class Lane:
    cdef readonly Lock lock
    cdef readonly Table table
    cdef readonly Gate gate
    cdef readonly Bucket bucket
    cdef readonly Counters counters
    cdef readonly IssuerIndex issuers
    cdef readonly CRLTags crls
    cdef Targets targets
    cdef Stencils stencils
    cdef readonly size_t max_body
    cdef readonly uint32_t max_age        # seconds that caches may keep an answer at most
    cdef uint32_t now                     # epoch seconds, moved by whoever drives the lane
    cdef uint8_t date[29]                 # the Date field's value of this second
    cdef uint8_t* der                     # a GET's request, decoded
    cdef DueKey* due                      # keys whose record should be replaced ahead of its end
    cdef size_t due_count

    # All of these: the caller holds the lock
    cdef void move_clock(self, uint32_t now) noexcept nogil
    # Ask for the memory that answering this request will read, if it is one that was answered a moment ago
    cdef void expect(self, const uint8_t* request, size_t n) noexcept nogil
    cdef RequestOutcome answer(self, const HttpRequest* http, const ClientKey* client, uint64_t now_ns, Sink* out,
                               AnswerQuery* query) noexcept nogil
    cdef RequestOutcome answer_crl(self, const HttpRequest* http, Sink* out) noexcept nogil
    cdef void fill_query(self, const OCSPRequest* request, const HttpRequest* http, AnswerQuery* query) noexcept nogil
    cdef const IssuerHashes* issuer_asked(self, const CertID* cert_id, const HttpRequest* http) noexcept nogil
    cdef RequestOutcome answer_cert(self, const CertID* cert_id, const HttpRequest* http, Sink* out) noexcept nogil
    cdef RequestOutcome answer_key(self, TableKey* key, const HttpRequest* http, Sink* out) noexcept nogil
    cdef RequestOutcome put_answer(self, const TableKey* key, const RecordHead* record, const HttpRequest* http,
                                   Sink* out) noexcept nogil
    cdef void note_due(self, const TableKey* key) noexcept nogil
    cdef RequestOutcome refuse(self, const HttpRequest* http, Sink* out) noexcept nogil
