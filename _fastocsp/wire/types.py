"""The immutable values that Python sees of the codec: OCSPRequest, CertID and Record.

They are filled by the compiled parsers and hold copies, never views into the input. The structs of the same names
in the .pxd files are their nogil counterparts and borrow their bytes.
"""

from typing import NamedTuple

from _fastocsp.wire.codes import NO_REASON


class CertID(NamedTuple):
    """CertID, RFC 6960 4.1.1, as asked.

    hash_algorithm    codes.SHA1 .. SHA512, or-ed with PARAMETERS_ABSENT; HASH_NONE when no issuer can be meant by it
    issuer_name_hash  as long as the hash says; b"" with HASH_NONE
    issuer_key_hash   as long as the hash says; b"" with HASH_NONE
    serial_number     its key (wire/serial.pxd): the big-endian magnitude without leading zeros (0 is one byte 00), or
                      00 and the content of a negative INTEGER; b"" when either has more than MAX_MAGNITUDE bytes
    der               the whole CertID TLV as it came
    """

    hash_algorithm: int
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial_number: bytes
    der: bytes


class OCSPRequest(NamedTuple):
    """OCSPRequest, RFC 6960 4.1.1.

    cert_ids          one or more, in the order asked
    nonce             bytes inside the inner OCTET STRING, of any length; None when absent or nonce_malformed
    nonce_malformed   the extension is there, but its value is not one OCTET STRING
    unknown_critical  an unknown critical extension stands in the request or in one of its single requests
    requestor_name    the GeneralName TLV, not read
    signature         the Signature TLV, never verified
    """

    cert_ids: tuple[CertID, ...]
    nonce: bytes | None
    nonce_malformed: bool
    unknown_critical: bool
    requestor_name: bytes | None
    signature: bytes | None


class Record(NamedTuple):
    """A signed answer without the DER around it; the layout stands in record.pyx. Times are epoch seconds.

    hash_algorithm   of the CertID that was signed, codes.SHA1 .. SHA512, or-ed with PARAMETERS_ABSENT
    status           codes.GOOD, REVOKED, UNKNOWN
    responder        first 8 bytes of SHA-256 over the responder certificate
    this_update      inclusive; not after produced_at
    next_update      exclusive; after this_update
    produced_at      when it was signed
    reason           CRLReason, RFC 5280 5.3.1, or NO_REASON
    revocation_time  0 unless revoked; not after produced_at
    generation, seq  the feed position at which the status was read; at most 2**24 - 1 and 2**48 - 1
    flags            FLAG_EXTENDED_REVOKE or 0
    signature        0..1024 bytes over the ResponseData that these fields stand for
    """

    hash_algorithm: int
    status: int
    responder: bytes
    this_update: int
    next_update: int
    produced_at: int
    reason: int = NO_REASON
    revocation_time: int = 0
    generation: int = 0
    seq: int = 0
    flags: int = 0
    signature: bytes = b""


#: Op of an item: an edge reported that the serial is revoked, which the ledger does not know.
REPORTED_ITEM = 4
#: Or-ed on the reason of a serial in the revoked set that is only reported to be revoked. No record agrees with such an
#: entry, so the gate lets no answer for it pass.
REPORTED = 0x40

#: A change of the revoked set: op (1 revoked, 2 released, 3 purged, 4 reported), issuer_no, serial, revocation_time,
#: reason. An empty serial, which no certificate has, is the fence of the issuer: op 1 sets it, op 2 lifts it.
Item = tuple[int, int, bytes, int, int]

#: The revoked set laid out: {(issuer_no, serial_len): ascending rows of serial | revocation time u32 | reason u8}.
Groups = dict[tuple[int, int], bytes]
