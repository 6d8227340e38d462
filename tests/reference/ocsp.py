"""OCSP on asn1crypto: the slow, independent twin of the compiled codec, used by tests only.

It reads by splitting whole levels instead of moving a cursor, names algorithms by dotted identifiers, and writes
through asn1crypto's own classes. It shares nothing with `_fastocsp` but the value and error types, so that results can
be compared with ==. Strictness is meant to be the same in every detail (docs/adr/0020); offsets are not compared.
"""

from datetime import UTC, datetime
from typing import ClassVar

from asn1crypto import algos, core, ocsp, x509

from _fastocsp.wire import codes
from _fastocsp.wire.errors import MalformedRequest
from _fastocsp.wire.types import CertID, OCSPRequest, Record
from tests.reference import tlv
from tests.reference.tlv import Element, explicit, require

HASHES = {
    "1.3.14.3.2.26": (codes.SHA1, 20),
    "2.16.840.1.101.3.4.2.1": (codes.SHA256, 32),
    "2.16.840.1.101.3.4.2.2": (codes.SHA384, 48),
    "2.16.840.1.101.3.4.2.3": (codes.SHA512, 64),
}
OIDS = {number: oid for oid, (number, _) in HASHES.items()}
NONCE = "1.3.6.1.5.5.7.48.1.2"
KNOWN_IN_REQUEST = {NONCE, "1.3.6.1.5.5.7.48.1.4", "1.3.6.1.5.5.7.48.1.8"}
KNOWN_IN_SINGLE = {"1.3.6.1.5.5.7.48.1.7"}
EXTENDED_REVOKE = "1.3.6.1.5.5.7.48.1.9"


class BareAlgorithm(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    """AlgorithmIdentifier whose NULL may be absent; asn1crypto's own class always writes it."""

    _fields: ClassVar = [("algorithm", core.ObjectIdentifier), ("parameters", core.Null, {"optional": True})]


def parse_request(octets: bytes) -> OCSPRequest:
    """The OCSPRequest, or MalformedRequest."""
    level = tlv.split(tlv.only(octets, tlv.SEQUENCE).content)
    require(1 <= len(level) <= 2 and level[0].kind == tlv.SEQUENCE)
    fields = tlv.split(level[0].content)
    if fields and fields[0].kind == explicit(0):
        require(tlv.integer(tlv.only(fields.pop(0).content, tlv.INTEGER)) == 0, "not v1")
    name = requestor_name(fields.pop(0)) if fields and fields[0].kind == explicit(1) else None
    require(bool(fields) and fields[0].kind == tlv.SEQUENCE and fields[0].content != b"", "requestList")
    requests = [single_request(request) for request in tlv.split(fields[0].content)]
    extensions = read_extensions(fields[1:], explicit(2))
    values = [value for oid, _, value in extensions if oid == NONCE]
    require(len(values) <= 1, "two nonces")
    nonce = nonce_in(values[0]) if values else None
    return OCSPRequest(
        cert_ids=tuple(cert_id for cert_id, _ in requests),
        nonce=nonce,
        nonce_malformed=bool(values) and nonce is None,
        unknown_critical=any(critical for _, critical in requests)
        or any(critical and oid not in KNOWN_IN_REQUEST for oid, critical, _ in extensions),
        requestor_name=name,
        signature=signature_in(level[1]) if len(level) == 2 else None,
    )


def single_request(request: Element) -> tuple[CertID, bool]:
    """A Request: its CertID, and whether an unknown critical extension stands beside it."""
    require(request.kind == tlv.SEQUENCE)
    fields = tlv.split(request.content)
    require(bool(fields))
    extensions = read_extensions(fields[1:], explicit(0))
    return parse_cert_id(fields[0]), any(critical and oid not in KNOWN_IN_SINGLE for oid, critical, _ in extensions)


def parse_cert_id(element: Element) -> CertID:
    """The CertID, with HASH_NONE when it can mean no issuer."""
    require(element.kind == tlv.SEQUENCE)
    fields = tlv.split(element.content)
    kinds = [field.kind for field in fields]
    require(kinds == [tlv.SEQUENCE, tlv.OCTET_STRING, tlv.OCTET_STRING, tlv.INTEGER])
    algorithm, size = hash_algorithm(fields[0])
    name_hash, key_hash, serial = fields[1].content, fields[2].content, tlv.integer(fields[3])
    if algorithm == codes.HASH_NONE or {len(name_hash), len(key_hash)} != {size}:
        algorithm, name_hash, key_hash = codes.HASH_NONE, b"", b""
    return CertID(algorithm, name_hash, key_hash, serial_key(serial), element.der)


def serial_key(serial: int) -> bytes:
    """The key of a serial number; b"" over 20 bytes."""
    if serial < 0:
        content = serial.to_bytes((~serial).bit_length() // 8 + 1, signed=True)
        return b"\0" + content if len(content) <= codes.MAX_MAGNITUDE else b""
    length = max(1, (serial.bit_length() + 7) // 8)
    return serial.to_bytes(length) if length <= codes.MAX_MAGNITUDE else b""


def hash_algorithm(element: Element) -> tuple[int, int]:
    """The house's number and the bytes of the hash."""
    fields = tlv.split(element.content)
    require(1 <= len(fields) <= 2)
    number, size = HASHES.get(tlv.dotted(fields[0]), (codes.HASH_NONE, 0))
    if len(fields) == 1:
        return (number | codes.PARAMETERS_ABSENT if number else codes.HASH_NONE), size
    if fields[1].kind != tlv.NULL:
        return codes.HASH_NONE, 0
    require(fields[1].content == b"", "NULL has content")
    return number, size


def read_extensions(fields: list[Element], tag: tuple[int, int, int]) -> list[tuple[str, bool, bytes]]:
    """(extnID, critical, content of extnValue) of the last, optional field."""
    require(len(fields) <= 1)
    if not fields:
        return []
    require(fields[0].kind == tag)
    return [read_extension(one) for one in tlv.split(tlv.only(fields[0].content, tlv.SEQUENCE).content)]


def read_extension(element: Element) -> tuple[str, bool, bytes]:
    """One Extension; critical is TRUE as FF or absent."""
    require(element.kind == tlv.SEQUENCE)
    fields = tlv.split(element.content)
    require(len(fields) >= 2)
    critical = fields[1].kind == tlv.BOOLEAN
    require(not critical or fields.pop(1).content == b"\xff")
    require(len(fields) == 2 and fields[1].kind == tlv.OCTET_STRING)
    return tlv.dotted(fields[0]), critical, fields[1].content


def nonce_in(value: bytes) -> bytes | None:
    """The bytes inside, or None when the value is not one OCTET STRING."""
    try:
        return tlv.only(value, tlv.OCTET_STRING).content
    except MalformedRequest:
        return None


def requestor_name(element: Element) -> bytes:
    """The GeneralName, its inside not examined."""
    names = tlv.split(element.content)
    require(len(names) == 1 and names[0].kind[0] == tlv.CONTEXT and names[0].kind[2] <= 8)
    return names[0].der


def signature_in(element: Element) -> bytes:
    """The Signature, its inside not examined."""
    require(element.kind == explicit(0))
    signature = tlv.only(element.content, tlv.SEQUENCE)
    kinds = [field.kind for field in tlv.split(signature.content)]
    require(kinds in ([tlv.SEQUENCE, tlv.BIT_STRING], [tlv.SEQUENCE, tlv.BIT_STRING, explicit(0)]))
    if len(kinds) == 3:
        tlv.only(tlv.split(signature.content)[2].content, tlv.SEQUENCE)
    return signature.der


def cert_id(algorithm: int, name_hash: bytes, key_hash: bytes, serial: int) -> ocsp.CertId:
    """The CertID with or without the NULL of its algorithm."""
    identifier = BareAlgorithm({"algorithm": OIDS[algorithm & codes.HASH_MASK]})
    if not algorithm & codes.PARAMETERS_ABSENT:
        identifier["parameters"] = core.Null()
    return ocsp.CertId(
        {
            "hash_algorithm": algos.DigestAlgorithm.load(identifier.dump()),
            "issuer_name_hash": name_hash,
            "issuer_key_hash": key_hash,
            "serial_number": serial,
        }
    )


def encode_request(cert_ids: list[ocsp.CertId], extensions: list[dict[str, object]] | None = None) -> bytes:
    """An OCSPRequest without signature; extensions are dictionaries of TBSRequestExtension."""
    tbs = {"request_list": [{"req_cert": one} for one in cert_ids]}
    if extensions:
        tbs["request_extensions"] = extensions
    return bytes(ocsp.OCSPRequest({"tbs_request": tbs}).dump())


def moment(seconds: int) -> datetime:
    """Epoch seconds as a datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def certificate_status(record: Record) -> ocsp.CertStatus:
    """CertStatus; reason `unspecified` is left out."""
    if record.status != codes.REVOKED:
        return ocsp.CertStatus(name="good" if record.status == codes.GOOD else "unknown", value=core.Null())
    revoked: dict[str, object] = {"revocation_time": moment(record.revocation_time)}
    if record.reason not in (0, codes.NO_REASON):
        revoked["revocation_reason"] = record.reason
    return ocsp.CertStatus(name="revoked", value=revoked)


def response_data(
    asked: list[tuple[ocsp.CertId, Record]], responder_id: bytes, produced_at: int, nonce: bytes | None = None
) -> ocsp.ResponseData:
    """ResponseData for CertIDs and their records, in this order."""
    fields: dict[str, object] = {
        "responder_id": ocsp.ResponderId.load(responder_id),
        "produced_at": moment(produced_at),
        "responses": [
            {
                "cert_id": one,
                "cert_status": certificate_status(record),
                "this_update": moment(record.this_update),
                "next_update": moment(record.next_update),
            }
            for one, record in asked
        ],
    }
    extensions = [{"extn_id": "nonce", "extn_value": core.OctetString(nonce)}] if nonce is not None else []
    if any(record.flags for _, record in asked):
        extensions.append({"extn_id": EXTENDED_REVOKE, "extn_value": core.ParsableOctetString(core.Null().dump())})
    if extensions:
        fields["response_extensions"] = extensions
    return ocsp.ResponseData(fields)


def encode_response(tbs: ocsp.ResponseData, algorithm: bytes, signature: bytes, certs: list[bytes]) -> bytes:
    """The successful OCSPResponse around the ResponseData."""
    basic: dict[str, object] = {
        "tbs_response_data": tbs,
        "signature_algorithm": algos.SignedDigestAlgorithm.load(algorithm),
        "signature": signature,
    }
    if certs:
        basic["certs"] = [x509.Certificate.load(one) for one in certs]
    return bytes(
        ocsp.OCSPResponse(
            {
                "response_status": "successful",
                "response_bytes": {
                    "response_type": "basic_ocsp_response",
                    "response": ocsp.BasicOCSPResponse(basic),
                },
            }
        ).dump()
    )


def encode_error(status: int) -> bytes:
    """An OCSPResponse without responseBytes."""
    return bytes(ocsp.OCSPResponse({"response_status": status}).dump())
