"""The compact record: a signed answer in RECORD_HEAD + 0..MAX_SIGNATURE octets, big-endian, layout in record.pyx."""

from typing import Final

from _fastocsp.values import Record as Record

RECORD_VERSION: Final = 1
RECORD_HEAD: Final = 44  # octets before the signature
MAX_SIGNATURE: Final = 1024  # octets
FLAG_EXTENDED_REVOKE: Final = 1  # the answer carries id-pkix-ocsp-extended-revoke, RFC 6960 4.4.8

def pack_record(record: Record) -> bytes:
    """The octets of the record. Raises MalformedRecord when a field does not fit its width or unpack_record would."""

def seal_record(octets: bytes, signature: bytes) -> bytes:
    """The same record with that signature. Raises MalformedRecord for octets that unpack_record would not take."""

def unpack_record(octets: bytes) -> Record:
    """The record in `octets`, consistent in itself but neither verified nor compared with a clock.

    Raises MalformedRecord unless: the version is RECORD_VERSION, the length is exact, flags, hash_algorithm and status
    are known, the reason is NO_REASON or (revoked) a CRLReason other than 7 and 8, revocation_time is 0 or (revoked)
    not after produced_at, this_update < next_update and this_update <= produced_at.
    """
