"""The compact record, what Redis and the edge's table hold instead of an OCSPResponse.

    offset  0  version           u8, RECORD_VERSION
            1  flags             u8, FLAG_EXTENDED_REVOKE or 0
            2  hash_algorithm    u8, of the CertID that was signed
            3  status            u8, GOOD, REVOKED or UNKNOWN
            4  reason            u8, CRLReason or NO_REASON
            5  zero              u8
            6  signature length  u16
            8  responder         8 octets
           16  revocation_time, this_update, next_update, produced_at, generation   u32 each
           36  seq               u64
           44  signature         0..1024 octets, nothing after it

Big-endian. read_record accepts what can be true without a key at hand: whether the signature verifies and whether
the window holds now is for others.
"""

from libc.string cimport memcpy, memset

from _fastocsp.certid cimport hash_size
from _fastocsp.codes cimport GOOD, NO_REASON, REVOKED, UNKNOWN
from _fastocsp.der cimport (
    Cursor, Fault, Octets, fail_at, leave, open_cursor, read_octets, read_u8, read_u16, read_u32, read_big_endian,
    wire_error,
)
from _fastocsp.sink cimport bytes_sink, new_bytes, octets_of, put_big_endian, put_octet, put_octets

from _fastocsp.errors import MalformedRecord
from _fastocsp.values import Record


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
    return NULL


cdef int read_head(Cursor* c, RecordHead* out) noexcept nogil:
    cdef const uint8_t* start = c.p
    cdef uint8_t version = 0, zero = 0
    cdef Octets responder
    if (read_u8(c, &version) < 0 or read_u8(c, &out.flags) < 0 or read_u8(c, &out.hash_algorithm) < 0
            or read_u8(c, &out.status) < 0 or read_u8(c, &out.reason) < 0 or read_u8(c, &zero) < 0
            or read_u16(c, &out.signature_len) < 0 or read_octets(c, 8, &responder) < 0):
        return -1
    if version != RECORD_VERSION:
        return fail_at(c, start, "unknown version")
    if zero:
        return fail_at(c, start, "the reserved octet is not zero")
    memcpy(out.responder, responder.p, 8)
    if (read_u32(c, &out.revocation_time) < 0 or read_u32(c, &out.this_update) < 0
            or read_u32(c, &out.next_update) < 0 or read_u32(c, &out.produced_at) < 0
            or read_u32(c, &out.generation) < 0):
        return -1
    return read_big_endian(c, 8, &out.seq)


cdef int read_with_reason(Octets octets, RecordHead* out, Fault* fault) noexcept nogil:
    cdef Cursor c
    cdef Octets signature
    cdef const char* wrong
    open_cursor(&c, octets, fault)
    if read_head(&c, out) < 0:
        return -1
    if out.signature_len > MAX_SIGNATURE:
        return fail_at(&c, octets.p, "the signature is too long")
    if read_octets(&c, out.signature_len, &signature) < 0 or leave(&c) < 0:
        return -1
    out.signature = signature.p
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


cdef void put_record(Sink* s, const RecordHead* record) noexcept nogil:
    cdef Octets run
    put_octet(s, RECORD_VERSION)
    put_octet(s, record.flags)
    put_octet(s, record.hash_algorithm)
    put_octet(s, record.status)
    put_octet(s, record.reason)
    put_octet(s, 0)
    put_big_endian(s, record.signature_len, 2)
    run.p = &record.responder[0]
    run.n = 8
    put_octets(s, run)
    put_big_endian(s, record.revocation_time, 4)
    put_big_endian(s, record.this_update, 4)
    put_big_endian(s, record.next_update, 4)
    put_big_endian(s, record.produced_at, 4)
    put_big_endian(s, record.generation, 4)
    put_big_endian(s, record.seq, 8)
    run.p = record.signature
    run.n = record.signature_len
    put_octets(s, run)


cdef bytes packed(record):
    """The octets of the fields, each of which must fit its width."""
    cdef bytes responder = record.responder, signature = record.signature, octets
    cdef RecordHead head
    cdef Sink s
    if len(responder) != 8 or len(signature) > MAX_SIGNATURE:
        raise MalformedRecord("responder is not 8 octets, or the signature is too long")
    memset(&head, 0, sizeof(head))
    memcpy(head.responder, octets_of(responder).p, 8)
    head.flags, head.hash_algorithm, head.status = record.flags, record.hash_algorithm, record.status
    head.reason, head.revocation_time = record.reason, record.revocation_time
    head.this_update, head.next_update = record.this_update, record.next_update
    head.produced_at, head.generation, head.seq = record.produced_at, record.generation, record.seq
    head.signature, head.signature_len = octets_of(signature).p, <uint16_t>len(signature)
    octets = new_bytes(RECORD_HEAD + head.signature_len)
    bytes_sink(&s, octets)
    put_record(&s, &head)
    return octets


def pack_record(record):
    cdef RecordHead head
    try:
        octets = packed(record)
    except OverflowError:
        raise MalformedRecord("a field does not fit its width") from None
    read_or_raise(octets, &head)
    return octets


def seal_record(bytes octets not None, bytes signature not None):
    cdef RecordHead head
    cdef Sink s
    cdef bytes sealed
    read_or_raise(octets, &head)
    if len(signature) > MAX_SIGNATURE:
        raise MalformedRecord("the signature is too long")
    head.signature, head.signature_len = octets_of(signature).p, <uint16_t>len(signature)
    sealed = new_bytes(RECORD_HEAD + head.signature_len)
    bytes_sink(&s, sealed)
    put_record(&s, &head)
    return sealed


def unpack_record(bytes octets not None):
    cdef RecordHead head
    read_or_raise(octets, &head)
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
        head.signature[:head.signature_len],
    )
