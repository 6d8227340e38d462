"""The hot lane: one plain request in, a whole answer out, or "somebody else must answer"."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from _fastocsp.bucket cimport Bucket
from _fastocsp.counters cimport Counters
from _fastocsp.issuers cimport IssuerIndex
from _fastocsp.record cimport RecordHead
from _fastocsp.request cimport CertID, OCSPRequest
from _fastocsp.sink cimport Sink
from _fastocsp.table cimport Table
from _fastocsp.wire cimport HttpRequest, Span
from responder.edge.gate cimport Gate

cdef enum:
    LANE_SLOW = 0                 # not answered: the slow lane must
    LANE_ANSWERED = 1             # head and body are in the sink
    LANE_FULL = 2                 # the sink has no room: flush it and ask again

cdef class Lane:
    cdef public Table table
    cdef public IssuerIndex issuers
    cdef public Gate gate
    cdef public Bucket bucket
    cdef public Counters counters
    cdef public set due                   # keys whose record should be replaced ahead of its end
    cdef public size_t max_body
    cdef uint32_t now                     # epoch seconds, moved by the tick
    cdef uint8_t date[29]                 # the Date field's value of this second
    cdef uint8_t der[16384]               # a GET's request, decoded

    cdef int answer(self, const HttpRequest* http, uint64_t client, uint64_t now_ns, Sink* out)
    cdef int answer_cert(self, const CertID* cert_id, const HttpRequest* http, Sink* out)
    cdef int put_answer(self, uint16_t issuer_no, const CertID* cert_id, const RecordHead* record,
                        const HttpRequest* http, Sink* out)
    cdef int refuse(self, const HttpRequest* http, Sink* out)
