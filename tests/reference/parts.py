"""A response taken apart by asn1crypto, so that a test can have it written again."""

from typing import NamedTuple

from asn1crypto import core, ocsp

from _fastocsp.wire import codes
from _fastocsp.wire.types import Record


class ResponseParts(NamedTuple):
    """A response taken apart: DER of its members, and the first SingleResponse as a record without feed position."""

    cert_ids: list[bytes]
    record: Record
    responder_id: bytes
    signature_algorithm: bytes
    certs: list[bytes]
    nonce: bytes | None


def response_parts(octets: bytes) -> ResponseParts:
    """The parts of a successful basic response; hash_algorithm and responder of the record are placeholders."""
    basic = ocsp.OCSPResponse.load(octets, strict=True).basic_ocsp_response
    tbs = basic["tbs_response_data"]
    single = tbs["responses"][0]
    status = single["cert_status"]
    revoked = status.name == "revoked"
    reason = status.chosen["revocation_reason"] if revoked else core.VOID
    nonces = [one["extn_value"].parsed.native for one in tbs["response_extensions"] if one["extn_id"].native == "nonce"]
    record = Record(
        hash_algorithm=codes.SHA1,
        status=["good", "revoked", "unknown"].index(status.name),
        responder=b"respondr",
        this_update=int(single["this_update"].native.timestamp()),
        next_update=int(single["next_update"].native.timestamp()),
        produced_at=int(tbs["produced_at"].native.timestamp()),
        reason=reason.contents[0] if reason.contents else codes.NO_REASON,
        revocation_time=int(status.chosen["revocation_time"].native.timestamp()) if revoked else 0,
        signature=basic["signature"].native,
    )
    return ResponseParts(
        [one["cert_id"].dump() for one in tbs["responses"]],
        record,
        tbs["responder_id"].dump(),
        basic["signature_algorithm"].dump(),
        [one.dump() for one in basic["certs"]] if basic["certs"].contents else [],
        nonces[0] if nonces else None,
    )
