"""The compact record on `struct`, the independent twin of _fastocsp.record."""

import struct

from _fastocsp import codes
from _fastocsp.errors import MalformedRecord
from _fastocsp.values import Record

LAYOUT = struct.Struct(">BBBBBBH8sIIIIIQ")
REASONS = {0, 1, 2, 3, 4, 5, 6, 9, 10}
HASHES = {n | absent for n in (1, 2, 3, 4) for absent in (0, codes.PARAMETERS_ABSENT)}


def unpack_record(octets: bytes) -> Record:
    """The record, or MalformedRecord."""
    if len(octets) < LAYOUT.size:
        raise MalformedRecord("too short")
    head, signature = LAYOUT.unpack(octets[: LAYOUT.size]), octets[LAYOUT.size :]
    version, flags, algorithm, status, reason, zero, length, responder, revoked, this, until, produced, era, seq = head
    record = Record(algorithm, status, responder, this, until, produced, reason, revoked, era, seq, flags, signature)
    if (version, zero, length) != (1, 0, len(signature)) or not is_consistent(record):
        raise MalformedRecord("contradiction")
    return record


def is_consistent(record: Record) -> bool:
    """Whether the fields can be true together."""
    revoked = record.status == codes.REVOKED
    return (
        record.flags in (0, 1)
        and record.hash_algorithm in HASHES
        and record.status in (codes.GOOD, codes.REVOKED, codes.UNKNOWN)
        and (record.reason == codes.NO_REASON or (revoked and record.reason in REASONS))
        and record.revocation_time <= (record.produced_at if revoked else 0)
        and record.this_update < record.next_update
        and record.this_update <= record.produced_at
        and len(record.signature) <= 1024
    )


def pack_record(record: Record) -> bytes:
    """The octets of a record that is consistent."""
    r = record
    head = (1, r.flags, r.hash_algorithm, r.status, r.reason, 0, len(r.signature), r.responder, r.revocation_time)
    return LAYOUT.pack(*head, r.this_update, r.next_update, r.produced_at, r.generation, r.seq) + r.signature
