"""Good answers of one shape: the first is written, the others are its copies with bytes of their own."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t

from _fastocsp.wire.der cimport Octets
from _fastocsp.ocsp.record cimport RecordHead
from _fastocsp.http.response cimport DECIMAL_OCTETS, Freshness
from _fastocsp.ocsp.response cimport Layout, TemplateOctets
from _fastocsp.wire.sink cimport Sink

cdef enum:
    STENCIL_ROOM = 2960           # bytes of head and answer; no Stencil begins where others do in a near cache
    STENCILS = 32                 # places, of which a shape has one by its hash

cdef struct Places:               # of what two good answers of one shape differ in, in bytes before the end
    size_t produced_at            # times: content of the GeneralizedTime
    size_t serial                 # content of the INTEGER
    size_t serial_len
    size_t this_update
    size_t next_update
    size_t signature
    size_t signature_len


cdef struct Stencil:
    const TemplateOctets* template    # NULL: none
    uint32_t shape
    uint32_t n                    # bytes that are kept
    uint32_t head_n               # and of these the head's
    Places places
    uint8_t octets[STENCIL_ROOM]


cdef struct ResponsePlan:         # of one answer, between `measure` and `put`; borrows template, record and serial
    Stencil* slot                 # of its shape; NULL: such an answer is not kept
    bint known                    # the slot has a stencil of it
    uint32_t shape
    const TemplateOctets* template
    const RecordHead* record
    Octets serial
    Freshness fresh
    int keep_alive
    size_t size                   # of the DER, when it is not known
    Layout layout                 # likewise
    Octets max_age                # in `digits`
    uint8_t digits[DECIMAL_OCTETS]


@cython.final
cdef class Stencils:
    cdef Stencil* slots
    # Bytes of head and answer, or a few more; 0 for what `response_size` refuses
    cdef size_t measure(self, const TemplateOctets* template, Octets serial, const RecordHead* record, Freshness fresh,
                        int keep_alive, ResponsePlan* plan) noexcept nogil
    # Write the planned answer, for which the sink must have the room
    cdef void put(self, const ResponsePlan* plan, Sink* out, const uint8_t* date) noexcept nogil
    # Templates that were known may be gone, or others
    cdef void forget(self) noexcept nogil
    cdef Stencil* slot_of(self, ResponsePlan* plan) noexcept nogil
    cdef void put_over(self, const ResponsePlan* plan, Sink* out, const uint8_t* date) noexcept nogil
    cdef void put_whole(self, const ResponsePlan* plan, Sink* out, const uint8_t* date) noexcept nogil
