"""The compact record, what Redis and the edge's table hold instead of an OCSPResponse.

    offset  0  version           u8, RECORD_VERSION
            1  marks             1 FLAG_EXTENDED_REVOKE, 2 halves, 4 and 8 status, 16 and 32 hash algorithm of the
                                 CertID that was signed, its number less 1, 64 wide, 128 PARAMETERS_ABSENT
            2  generation        u24: one a promotion or restore of the ledger, one a minute lasts 31 years
            5  seq               u48: one a change of a status, 100,000 a second last 89 years
           11  produced_at       u32
           15  responder         8 bytes
           23  age               u16, or u32 if wide: produced_at - this_update
           25  life              u24, or u32 if wide: next_update - this_update, at least 1
           28  revocation_time   u32, if the status is revoked
               reason            u8, CRLReason or NO_REASON, if the status is revoked
     28 to 36  signature         0..1024 bytes, nothing after it

Big-endian. An ECDSA signature in DER is kept as its two numbers, 64 or 96 bytes, and marked as halves; any other as it
is. Wide are times that do not fit otherwise, such as those of a CRL of a year. Each record has one form. read_record
accepts what can be true without a key at hand: whether the signature verifies and whether the window holds now is for
others.
"""

from libc.string cimport memcpy, memset

from _fastocsp.ocsp.certid cimport hash_size
from _fastocsp.wire.codes cimport GOOD, HASH_MASK, NO_REASON, PARAMETERS_ABSENT, REVOKED, UNKNOWN
from _fastocsp.wire.der cimport (
    SEQUENCE, Cursor, Fault, Octets, fail_at, octets_left, open_cursor, read_big_endian, read_octets, read_u8, read_u32,
    wire_error,
)
from _fastocsp.wire.ecdsa cimport (
    LONG_HALF, SHORT_HALF, is_shortest, joined_size, put_joined, split_signature,
)
from _fastocsp.wire.sink cimport bytes_sink, new_bytes, octets_of, put_big_endian, put_octet, put_octets

from _fastocsp.wire.errors import MalformedRecord
from _fastocsp.wire.types import Record

cdef enum:
    MARK_HALVES = 2
    STATUS_SHIFT = 2
    HASH_SHIFT = 4
    MARK_WIDE = 64
    MAX_AGE = 0xFFFF              # of what is not wide
    MAX_LIFE = 0xFFFFFF

cdef uint64_t MAX_SEQ = 0xFFFFFFFFFFFF


cdef bint reason_fits(const RecordHead* record) noexcept nogil:
    """CRLReason, RFC 5280 5.3.1: 7 does not exist, and 8 belongs to delta CRLs (O-24)."""
    if record.reason == NO_REASON:
        return True
    return record.status == REVOKED and record.reason <= 10 and record.reason != 7 and record.reason != 8


cdef const char* contradiction(const RecordHead* record) noexcept nogil:
    """What cannot be true of any answer; NULL when nothing is wrong."""
    if record.flags & ~FLAG_EXTENDED_REVOKE:
        return "unknown flags"
    if hash_size(record.hash_algorithm) == 0:
        return "unknown hash algorithm"
    if record.status not in (GOOD, REVOKED, UNKNOWN):
        return "unknown status"
    if not reason_fits(record):
        return "the reason does not fit the status"
    if record.revocation_time > (record.produced_at if record.status == REVOKED else 0):
        return "the revocation time does not fit the status"
    if record.next_update <= record.this_update:
        return "next_update is not after this_update"
    if record.produced_at < record.this_update:
        return "produced_at is before this_update"
    if record.generation > MAX_GENERATION or record.seq > MAX_SEQ:
        return "a field does not fit its width"
    return NULL


cdef void read_marks(uint8_t marks, RecordHead* out) noexcept nogil:
    out.flags = marks & FLAG_EXTENDED_REVOKE
    out.half = marks & MARK_HALVES
    out.status = marks >> STATUS_SHIFT & 3
    out.hash_algorithm = ((marks >> HASH_SHIFT & 3) + 1) | (marks & PARAMETERS_ABSENT)


cdef bint is_wide(uint64_t age, uint64_t life) noexcept nogil:
    return age > MAX_AGE or life > MAX_LIFE


cdef int read_times(Cursor* c, bint wide, RecordHead* out) noexcept nogil:
    cdef const uint8_t* start = c.p
    cdef uint64_t age = 0, life = 0
    if read_big_endian(c, 4 if wide else 2, &age) < 0 or read_big_endian(c, 4 if wide else 3, &life) < 0:
        return -1
    if wide and not is_wide(age, life):
        return fail_at(c, start, "the times are wide for no reason")
    if age > out.produced_at or life > <uint32_t>0xFFFFFFFF - (out.produced_at - age):
        return fail_at(c, start, "a time does not fit 32 bits")
    out.this_update = out.produced_at - <uint32_t>age
    out.next_update = out.this_update + <uint32_t>life
    out.revocation_time, out.reason = 0, NO_REASON
    if out.status == REVOKED:
        return -1 if read_u32(c, &out.revocation_time) < 0 or read_u8(c, &out.reason) < 0 else 0
    return 0


cdef int read_head(Cursor* c, RecordHead* out) noexcept nogil:
    cdef const uint8_t* start = c.p
    cdef uint8_t version = 0, marks = 0
    cdef uint64_t generation = 0
    cdef Octets responder
    if read_u8(c, &version) < 0:
        return -1
    if version != RECORD_VERSION:
        return fail_at(c, start, "unknown version")
    if (read_u8(c, &marks) < 0 or read_big_endian(c, 3, &generation) < 0 or read_big_endian(c, 6, &out.seq) < 0
            or read_u32(c, &out.produced_at) < 0 or read_octets(c, 8, &responder) < 0):
        return -1
    read_marks(marks, out)
    out.generation = <uint32_t>generation
    memcpy(out.responder, responder.p, 8)
    return read_times(c, marks & MARK_WIDE != 0, out)


cdef int read_signature(Cursor* c, RecordHead* out) noexcept nogil:
    """All that is left."""
    cdef const uint8_t* start = c.p
    cdef uint8_t halves[2 * LONG_HALF]
    cdef Octets signature
    cdef size_t n = octets_left(c)
    if n > MAX_SIGNATURE:
        return fail_at(c, start, "the signature is too long")
    if read_octets(c, n, &signature) < 0:
        return -1
    out.signature, out.signature_len = signature.p, <uint16_t>n
    if out.half:
        out.half = <uint8_t>(n // 2)
        if (n != 2 * SHORT_HALF and n != 2 * LONG_HALF) or not is_shortest(signature.p, out.half):
            return fail_at(c, start, "not the two halves of a signature")
    elif n and signature.p[0] == SEQUENCE and split_signature(signature, halves):
        return fail_at(c, start, "the signature is not in halves")
    return 0


cdef int read_with_reason(Octets octets, RecordHead* out, Fault* fault) noexcept nogil:
    cdef Cursor c
    cdef const char* wrong
    open_cursor(&c, octets, fault)
    if read_head(&c, out) < 0 or read_signature(&c, out) < 0:
        return -1
    wrong = contradiction(out)
    return 0 if wrong == NULL else fail_at(&c, octets.p, wrong)


cdef int read_record(const uint8_t* p, size_t n, RecordHead* out) noexcept nogil:
    cdef Octets octets
    cdef Fault fault
    octets.p = p
    octets.n = n
    return read_with_reason(octets, out, &fault)


cdef int read_or_raise(bytes octets, RecordHead* out) except -1:
    cdef Octets whole = octets_of(octets)
    cdef Fault fault
    if read_with_reason(whole, out, &fault) < 0:
        raise wire_error(MalformedRecord, &fault, whole.p)
    return 0


cdef size_t signature_size(const RecordHead* record) noexcept nogil:
    return joined_size(record.signature, record.half) if record.half else record.signature_len


cdef void put_signature_octets(Sink* s, const RecordHead* record) noexcept nogil:
    cdef Octets whole
    if record.half:
        put_joined(s, record.signature, record.half)
        return
    whole.p, whole.n = record.signature, record.signature_len
    put_octets(s, whole)


cdef bint has_wide_times(const RecordHead* record) noexcept nogil:
    return is_wide(record.produced_at - record.this_update, record.next_update - record.this_update)


cdef size_t record_size(const RecordHead* record) noexcept nogil:
    return (RECORD_HEAD + (MORE_WIDE if has_wide_times(record) else 0)
            + (MORE_REVOKED if record.status == REVOKED else 0) + record.signature_len)


cdef void put_record(Sink* s, const RecordHead* record) noexcept nogil:
    cdef Octets run
    cdef bint wide = has_wide_times(record)
    put_octet(s, RECORD_VERSION)
    put_octet(s, record.flags | (MARK_HALVES if record.half else 0) | record.status << STATUS_SHIFT
              | (MARK_WIDE if wide else 0) | ((record.hash_algorithm & HASH_MASK) - 1) << HASH_SHIFT
              | (record.hash_algorithm & PARAMETERS_ABSENT))
    put_big_endian(s, record.generation, 3)
    put_big_endian(s, record.seq, 6)
    put_big_endian(s, record.produced_at, 4)
    run.p, run.n = &record.responder[0], 8
    put_octets(s, run)
    put_big_endian(s, record.produced_at - record.this_update, 4 if wide else 2)
    put_big_endian(s, record.next_update - record.this_update, 4 if wide else 3)
    if record.status == REVOKED:
        put_big_endian(s, record.revocation_time, 4)
        put_octet(s, record.reason)
    run.p, run.n = record.signature, record.signature_len
    put_octets(s, run)


cdef bytes with_signature(RecordHead* head, bytes signature):
    """The record's bytes with this signature, in halves when it can be."""
    cdef uint8_t halves[2 * LONG_HALF]
    cdef bytes octets
    cdef Sink s
    if len(signature) > MAX_SIGNATURE:
        raise MalformedRecord("the signature is too long")
    head.half = <uint8_t>split_signature(octets_of(signature), halves)
    head.signature, head.signature_len = octets_of(signature).p, <uint16_t>len(signature)
    if head.half:
        head.signature, head.signature_len = halves, 2 * head.half
    octets = new_bytes(record_size(head))
    bytes_sink(&s, octets)
    put_record(&s, head)
    return octets


cdef int fill_head(record, RecordHead* head) except -1:
    """Everything but the signature; OverflowError for a number too wide."""
    cdef bytes responder = record.responder
    if len(responder) != 8:
        raise MalformedRecord("responder is not 8 octets")
    memset(head, 0, sizeof(head[0]))
    memcpy(head.responder, octets_of(responder).p, 8)
    head.flags, head.hash_algorithm, head.status = record.flags, record.hash_algorithm, record.status
    head.reason, head.revocation_time = record.reason, record.revocation_time
    head.this_update, head.next_update = record.this_update, record.next_update
    head.produced_at, head.generation, head.seq = record.produced_at, record.generation, record.seq
    return 0


def pack_record(record):
    cdef RecordHead head
    cdef const char* wrong
    try:
        fill_head(record, &head)
    except OverflowError:
        raise MalformedRecord("a field does not fit its width") from None
    wrong = contradiction(&head)
    if wrong != NULL:
        raise MalformedRecord(wrong.decode("ascii"))
    return with_signature(&head, record.signature)


def seal_record(bytes octets not None, bytes signature not None):
    cdef RecordHead head
    read_or_raise(octets, &head)
    return with_signature(&head, signature)


def hash_algorithm_of(bytes octets not None):
    cdef RecordHead head
    read_or_raise(octets, &head)
    return head.hash_algorithm


def next_update_of(bytes octets not None):
    cdef RecordHead head
    read_or_raise(octets, &head)
    return head.next_update


def unpack_record(bytes octets not None):
    cdef RecordHead head
    cdef Sink s
    cdef bytes signature
    read_or_raise(octets, &head)
    signature = new_bytes(signature_size(&head))
    bytes_sink(&s, signature)
    put_signature_octets(&s, &head)
    return Record(
        head.hash_algorithm,
        head.status,
        head.responder[:8],
        head.this_update,
        head.next_update,
        head.produced_at,
        head.reason,
        head.revocation_time,
        head.generation,
        head.seq,
        head.flags,
        signature,
    )
