"""Good answers, head and DER: of one shape the first is written, the others are copies with bytes of their own.

What two good answers of one template differ in are times, serial number, signature, entity tag, max-age and Date. How
wide the numbers among these are decides where everything stands: that is the shape, and there are few. So the writers
of head and DER run once a shape; then its bytes are copied and the values written over (ADR 0017). Nothing is answered
from here that the caller has no record of. What is revoked, and what is too long, is written anew each time. One thread
at a time; whoever changes templates calls `forget`.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from _fastocsp.wire.codes cimport GOOD
from _fastocsp.wire.gentime cimport TIME_CONTENT, TIME_TLV, Calendar, calendar_of, store_time
from _fastocsp.ocsp.record cimport put_signature_octets, read_or_raise, signature_size
from _fastocsp.http.response cimport (
    MAX_HEAD_OCTETS, NO_LIMIT, CacheValues, Freshness, fill_cache_values, max_age_of, put_ok_head, store_cache_values,
    tag_octets,
)
from _fastocsp.ocsp.response cimport Template, belongs, response_size, write_response
from _fastocsp.ocsp.single_response cimport EXPLICIT_TIME
from _fastocsp.wire.serial cimport serial_size, store_serial
from _fastocsp.wire.sink cimport claim, octets_of, open_sink, sink_used, tlv_size

from _fastocsp.wire.gentime import imf_fixdate

cdef enum:
    BELOW_SIGNATURE = 0x1FFFF     # of a shape, what is not the signature's length

cdef uint64_t ODD = 0x9E3779B97F4A7C15


cdef void find_places(const TemplateOctets* t, const Layout* layout, Places* out) noexcept nogil:
    """Where the values are in the answer of this layout, whose status is good."""
    cdef size_t signature = 1 + layout.signature_len
    cdef size_t behind = t.certs.n + tlv_size(signature) + t.signature_algorithm.n + layout.extensions.n
    # behind the SingleResponse; its nextUpdate, thisUpdate, status and serial number from there on
    out.signature, out.signature_len = t.certs.n + layout.signature_len, layout.signature_len
    out.produced_at = behind + tlv_size(layout.responses_len) + TIME_CONTENT
    out.next_update = behind + TIME_CONTENT
    behind += EXPLICIT_TIME
    out.this_update = behind + TIME_CONTENT
    out.serial_len = serial_size(layout.single.serial)
    out.serial = behind + TIME_TLV + tlv_size(layout.single.status_len) + out.serial_len


cdef void store_answer_values(uint8_t* end, const Places* at, Octets serial, const RecordHead* record,
                              const Calendar* this_update, const Calendar* next_update) noexcept nogil:
    """Over those of the answer that ends there, each as wide as the one before."""
    cdef Calendar produced_at
    cdef Sink s
    store_serial(end - at.serial, serial, at.serial_len)
    if record.produced_at == record.this_update:
        store_time(end - at.produced_at, this_update)
    else:
        produced_at = calendar_of(record.produced_at)
        store_time(end - at.produced_at, &produced_at)
    store_time(end - at.this_update, this_update)
    store_time(end - at.next_update, next_update)
    open_sink(&s, end - at.signature, at.signature_len)
    put_signature_octets(&s, record)


cdef class Stencils:

    def __cinit__(self):
        self.slots = <Stencil*>malloc(STENCILS * sizeof(Stencil))
        if self.slots == NULL:
            raise MemoryError
        self.forget()

    def __dealloc__(self):
        free(self.slots)

    cdef size_t measure(self, const TemplateOctets* template, Octets serial, const RecordHead* record, Freshness fresh,
                        int keep_alive, ResponsePlan* plan) noexcept nogil:
        plan.template, plan.serial, plan.record = template, serial, record
        plan.fresh, plan.keep_alive = fresh, keep_alive
        plan.slot = self.slot_of(plan)
        plan.known = plan.slot != NULL and plan.slot.template == template and plan.slot.shape == plan.shape
        if plan.known:
            return plan.slot.n
        plan.size = response_size(template, serial, record, &plan.layout)
        return plan.size + MAX_HEAD_OCTETS if plan.size else 0

    cdef void put(self, const ResponsePlan* plan, Sink* out, const uint8_t* date) noexcept nogil:
        if plan.known:
            self.put_over(plan, out, date)
        else:
            self.put_whole(plan, out, date)

    cdef Stencil* slot_of(self, ResponsePlan* plan) noexcept nogil:
        """The place of its shape, which is noted."""
        cdef const RecordHead* record = plan.record
        cdef size_t signature
        cdef uint64_t mixed
        if record.status != GOOD or record.signature_len == 0 or not belongs(plan.template, plan.serial, record):
            return NULL
        signature = signature_size(record)
        plan.max_age = max_age_of(record, plan.fresh, plan.digits)
        # each in bits of its own: 11, 5, 4, 5, 1 and 2
        plan.shape = <uint32_t>(signature << 17 | tag_octets(record).n << 12 | plan.max_age.n << 8
                                | serial_size(plan.serial) << 3 | <size_t>(record.flags << 2) | plan.keep_alive)
        # signatures of three successive lengths are what is common: these never share a place
        mixed = (<uint64_t>plan.template ^ (plan.shape & BELOW_SIGNATURE)) * ODD
        return &self.slots[(mixed >> 32 ^ signature & 7) & (STENCILS - 1)]

    cdef void put_over(self, const ResponsePlan* plan, Sink* out, const uint8_t* date) noexcept nogil:
        cdef const Stencil* kept = plan.slot
        cdef uint8_t* to = claim(out, kept.n)
        cdef CacheValues values
        if to == NULL:
            return
        memcpy(to, kept.octets, kept.n)
        values.max_age = plan.max_age
        fill_cache_values(&values, plan.record, date)
        store_cache_values(to + kept.head_n, &values, plan.keep_alive)
        store_answer_values(to + kept.n, &kept.places, plan.serial, plan.record, &values.this_update,
                            &values.next_update)

    cdef void put_whole(self, const ResponsePlan* plan, Sink* out, const uint8_t* date) noexcept nogil:
        cdef const uint8_t* begin = out.p
        cdef size_t head_n, n
        put_ok_head(out, plan.size, plan.record, plan.fresh, date, plan.keep_alive)
        head_n = out.p - begin
        write_response(plan.template, out, &plan.layout)
        n = out.p - begin
        if plan.slot == NULL or out.overflow or n > STENCIL_ROOM:
            return
        plan.slot.template, plan.slot.shape = plan.template, plan.shape
        plan.slot.n, plan.slot.head_n = <uint32_t>n, <uint32_t>head_n
        find_places(plan.template, &plan.layout, &plan.slot.places)
        memcpy(plan.slot.octets, begin, n)

    cdef void forget(self) noexcept nogil:
        cdef size_t i
        for i in range(STENCILS):
            self.slots[i].template = NULL

    def encode(self, Template template not None, bytes serial not None, bytes record not None, uint32_t now,
               int keep_alive=1, uint32_t max_age=0xFFFFFFFF):
        cdef RecordHead head
        cdef bytes date = imf_fixdate(now).encode()
        cdef bytearray room
        cdef ResponsePlan plan
        cdef Freshness fresh
        cdef Sink s
        read_or_raise(record, &head)
        fresh.now, fresh.limit = now, max_age
        size = self.measure(&template.octets, octets_of(serial), &head, fresh, keep_alive, &plan)
        if size == 0:
            raise ValueError("the record or the serial does not belong to this template")
        room = bytearray(size)
        open_sink(&s, room, size)
        self.put(&plan, &s, date)
        return bytes(room[:sink_used(&s)])

    def place(self, Template template not None, bytes serial not None, bytes record not None, uint32_t now):
        cdef RecordHead head
        cdef ResponsePlan plan
        cdef Freshness fresh
        read_or_raise(record, &head)
        fresh.now, fresh.limit = now, NO_LIMIT
        if self.measure(&template.octets, octets_of(serial), &head, fresh, True, &plan) == 0 or plan.slot == NULL:
            return None
        return plan.slot - self.slots

    def clear(self):
        self.forget()
