"""The compact record: a signed answer in few bytes, layout in record.pyx.

A signature given or returned is what is served, in DER where it is ECDSA; how the record keeps it is its own affair.
"""

from typing import Final

from _fastocsp.wire.types import Record as Record

RECORD_VERSION: Final = 2
RECORD_HEAD: Final = 28  # bytes before the signature
MORE_WIDE: Final = 3  # and of wide times
MORE_REVOKED: Final = 5  # and of a revoked certificate
MAX_SIGNATURE: Final = 1024  # bytes
MAX_RECORD: Final = 1060  # bytes of all of these
MAX_GENERATION: Final = 0xFFFFFF
FLAG_EXTENDED_REVOKE: Final = 1  # the answer carries id-pkix-ocsp-extended-revoke, RFC 6960 4.4.8

def pack_record(record: Record) -> bytes:
    """The bytes of the record. MalformedRecord when a field does not fit its width or fields contradict each other.

    generation has 24 bits, seq 48, every other number what its field in Record says.
    """

def seal_record(octets: bytes, signature: bytes) -> bytes:
    """The same record with that signature. Raises MalformedRecord for bytes that unpack_record would not take."""

def next_update_of(octets: bytes) -> int:
    """Epoch seconds of the record's nextUpdate. Raises MalformedRecord."""

def hash_algorithm_of(octets: bytes) -> int:
    """Of the CertID that was signed, with PARAMETERS_ABSENT. Raises MalformedRecord as unpack_record does."""

def unpack_record(octets: bytes) -> Record:
    """The record in `octets`, consistent in itself but neither verified nor compared with a clock.

    Raises MalformedRecord unless: the version is RECORD_VERSION, hash_algorithm and status are known, the reason is
    NO_REASON or (revoked) a CRLReason other than 7 and 8, revocation_time is 0 or (revoked) not after produced_at,
    this_update < next_update and this_update <= produced_at, and the bytes are those that pack_record writes.
    """
