"""OCSPRequests put together by hand (RFC 6960 4.1.1), for what no client library writes."""

import hashlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

OIDS = {"sha1": "06052b0e03021a", "sha256": "0609608648016503040201", "sha384": "0609608648016503040202"}
OIDS |= {"sha512": "0609608648016503040203", "md5": "06082a864886f70d0205"}
NONCE, HARMLESS = bytes.fromhex("06092b0601050507300102"), bytes.fromhex("06032a0304")
NULL, TRUE = b"\x05\x00", b"\x01\x01\xff"


def der(tag: int, *parts: bytes) -> bytes:
    """One element."""
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def cert_id(
    issuer: x509.Certificate, serial: bytes | int, digest: str = "sha1", *, parameters: bytes = NULL, **hashes: bytes
) -> bytes:
    """A CertID; `name` and `key` replace the hashes, bytes as `serial` are the INTEGER's content."""
    key = issuer.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    parts = {
        "name": hashlib.new(digest, issuer.subject.public_bytes()).digest(),
        "key": hashlib.new(digest, key).digest(),
    } | hashes
    if isinstance(serial, int):
        serial = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return der(
        0x30,
        der(0x30, bytes.fromhex(OIDS[digest]), parameters),
        der(4, parts["name"]),
        der(4, parts["key"]),
        der(2, serial),
    )


def extension(oid: bytes, value: bytes, *, critical: bool = False) -> bytes:
    """An Extension; `value` is the content of extnValue."""
    return der(0x30, oid, TRUE if critical else b"", der(4, value))


def nonce(octets: bytes, *, critical: bool = False) -> bytes:
    """The nonce extension, RFC 9654 2.1."""
    return extension(NONCE, der(4, octets), critical=critical)


def request(
    *cert_ids: bytes,
    extensions: Sequence[bytes] = (),
    single_extensions: Sequence[bytes] = (),
    requestor_name: bytes = b"",
    signature: bytes = b"",
) -> bytes:
    """An OCSPRequest; requestor_name is a GeneralName, signature a Signature."""
    inside = der(0xA0, der(0x30, *single_extensions)) if single_extensions else b""
    singles = [der(0x30, one, inside) for one in cert_ids]
    name = der(0xA1, requestor_name) if requestor_name else b""
    last = der(0xA2, der(0x30, *extensions)) if extensions else b""
    return der(0x30, der(0x30, name, der(0x30, *singles), last), der(0xA0, signature) if signature else b"")
