"""The compact record on integers and `cryptography`, the independent twin of _fastocsp.ocsp.record."""

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from _fastocsp.wire import codes
from _fastocsp.wire.errors import MalformedRecord
from _fastocsp.wire.types import Record

HEAD = (("version", 1), ("marks", 1), ("generation", 3), ("seq", 6), ("produced_at", 4), ("responder", 8))
TIMES, WIDE_TIMES = (("age", 2), ("life", 3)), (("age", 4), ("life", 4))
REVOKED = (("revocation_time", 4), ("reason", 1))
REASONS = {0, 1, 2, 3, 4, 5, 6, 9, 10}
HASHES = {n | absent for n in (1, 2, 3, 4) for absent in (0, codes.PARAMETERS_ABSENT)}
HALVES, WIDE, P256, P384 = 2, 64, 32, 48


def fields(marks: int) -> tuple[tuple[str, int], ...]:
    """Names and widths of what stands before the signature."""
    revoked = REVOKED if marks >> 2 & 3 == codes.REVOKED else ()
    return (*HEAD, *(WIDE_TIMES if marks & WIDE else TIMES), *revoked)


def unpack_record(octets: bytes) -> Record:
    """The record, or MalformedRecord."""
    read, rest = {"revocation_time": 0, "reason": codes.NO_REASON}, octets
    for name, width in fields(octets[1] if len(octets) > 1 else 0):
        if len(rest) < width:
            raise MalformedRecord("too short")
        read[name], rest = int.from_bytes(rest[:width]), rest[width:]
    marks, this_update = read["marks"], read["produced_at"] - read["age"]
    if read["version"] != 2 or (marks & HALVES and len(rest) not in (2 * P256, 2 * P384)):
        raise MalformedRecord("another version, or not two halves")
    record = Record(
        hash_algorithm=(marks >> 4 & 3) + 1 | marks & codes.PARAMETERS_ABSENT,
        status=marks >> 2 & 3,
        responder=read["responder"].to_bytes(8),
        this_update=this_update,
        next_update=this_update + read["life"],
        produced_at=read["produced_at"],
        reason=read["reason"],
        revocation_time=read["revocation_time"],
        generation=read["generation"],
        seq=read["seq"],
        flags=marks & 1,
        signature=joined(rest) if marks & HALVES else rest,
    )
    if not is_consistent(record) or pack_record(record) != octets:
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
        and 0 <= record.this_update < record.next_update < 2**32
        and record.this_update <= record.produced_at
        and len(record.signature) <= 1024
    )


def pack_record(record: Record) -> bytes:
    """The bytes of a record that is consistent."""
    r, halves, age = record, in_halves(record.signature), record.produced_at - record.this_update
    life = r.next_update - r.this_update
    marks = r.flags | (HALVES if halves else 0) | r.status << 2 | ((r.hash_algorithm & 15) - 1) << 4
    marks |= r.hash_algorithm & codes.PARAMETERS_ABSENT | (WIDE if age >= 2**16 or life >= 2**24 else 0)
    numbers = [2, marks, r.generation, r.seq, r.produced_at, int.from_bytes(r.responder), age, life]
    numbers += [r.revocation_time, r.reason] if r.status == codes.REVOKED else []
    head = b"".join(number.to_bytes(width) for number, (_, width) in zip(numbers, fields(marks), strict=True))
    return head + (halves or r.signature)


def in_halves(signature: bytes) -> bytes:
    """Both numbers of an ECDSA signature, each in 32 or 48 bytes; empty when it is none, or not in DER."""
    try:
        r, s = decode_dss_signature(signature)
    except ValueError:
        return b""
    if r < 0 or s < 0 or encode_dss_signature(r, s) != signature:
        return b""
    half = next((width for width in (P256, P384) if max(r, s) < 1 << 8 * width), 0)
    return r.to_bytes(half) + s.to_bytes(half) if half else b""


def joined(halves: bytes) -> bytes:
    """The signature of these halves."""
    half = len(halves) // 2
    return encode_dss_signature(int.from_bytes(halves[:half]), int.from_bytes(halves[half:]))
