"""Requests that no good tool writes, byte by byte: those to be read, and those to be refused."""

# ruff: noqa: E501 - tables, one line each

from _fastocsp.ocsp.certid import encode_cert_id
from _fastocsp.wire.sink import tlv

NAME_HASH, KEY_HASH, SERIAL = b"N" * 20, b"K" * 20, bytes.fromhex("7a0102030405060708090a0b0c0d0e0f")
CERT_ID = encode_cert_id(1, NAME_HASH, KEY_HASH, SERIAL)
UNKNOWN_OID = bytes.fromhex("060453040506")
NONCE_OID = bytes.fromhex("06092b0601050507300102")
TRUE, NULL = bytes.fromhex("0101ff"), bytes.fromhex("0500")
SHA1_ALGORITHM = bytes.fromhex("300906052b0e03021a0500")


def seq(*parts: bytes) -> bytes:
    """A SEQUENCE of complete elements."""
    return tlv(0x30, b"".join(parts))


def request(*listed: bytes, before: bytes = b"", after: bytes = b"", signature: bytes = b"") -> bytes:
    """An OCSPRequest by hand, from complete elements."""
    return seq(seq(before, seq(*(listed or (seq(CERT_ID),))), after), signature)


def extensions(tag: int, *each: bytes) -> bytes:
    """Explicitly tagged Extensions."""
    return tlv(tag, seq(*each))


def nonce(inner: bytes, critical: bytes = b"") -> bytes:
    """A nonce extension around the content of its extnValue."""
    return seq(NONCE_OID, critical, tlv(4, inner))


def good_by_hand() -> dict[str, tuple[bytes, str]]:
    """Requests that tools do not write and that are to be read."""
    pref = bytes.fromhex("06092b0601050507300108")
    locator = bytes.fromhex("06092b0601050507300107")
    foreign = CERT_ID.replace(bytes.fromhex("06052b0e03021a"), bytes.fromhex("06052b0e03021b"))
    return {
        "explicit-v1": (request(before=bytes.fromhex("a003020100")), "version v1 written out (ADR 0020)"),
        "empty-extensions": (request(after=extensions(0xA2)), "requestExtensions without any (ADR 0020)"),
        "null-absent": (request(seq(encode_cert_id(0x81, NAME_HASH, KEY_HASH, SERIAL))), "SHA-1 without NULL"),
        "null-absent-sha256": (request(seq(encode_cert_id(0x82, b"N" * 32, b"K" * 32, SERIAL))), "SHA-256 without NULL"),
        "odd-parameters": (request(seq(CERT_ID.replace(NULL, bytes.fromhex("3000")))), "hash parameters are a SEQUENCE"),
        "unknown-hash": (request(seq(foreign)), "OID next to SHA-1"),
        "short-hashes": (request(seq(seq(SHA1_ALGORITHM, tlv(4, b"N" * 19), tlv(4, b"K" * 20), tlv(2, SERIAL)))), "name hash of 19 octets"),
        "negative-serial": (request(seq(CERT_ID.replace(SERIAL, b"\xfa" + SERIAL[1:]))), "serial below 0"),
        "high-bit-serial": (request(seq(encode_cert_id(1, NAME_HASH, KEY_HASH, b"\xff" * 20))), "magnitude of 20 octets and its sign octet"),
        "huge-serial": (request(seq(encode_cert_id(1, NAME_HASH, KEY_HASH, b"\x01" * 21))), "magnitude of 21 octets"),
        "nonce-empty": (request(after=extensions(0xA2, nonce(tlv(4, b"")))), "nonce of 0 octets"),
        "nonce-33": (request(after=extensions(0xA2, nonce(tlv(4, b"n" * 33)))), "nonce of 33 octets"),
        "nonce-1000": (request(after=extensions(0xA2, nonce(tlv(4, b"n" * 1000)))), "nonce of 1000 octets"),
        "nonce-bare": (request(after=extensions(0xA2, nonce(b"n" * 16))), "nonce without the inner OCTET STRING"),
        "nonce-trailing": (request(after=extensions(0xA2, nonce(tlv(4, b"n") + b"\0"))), "octet after the inner OCTET STRING"),
        "unknown-critical": (request(after=extensions(0xA2, seq(UNKNOWN_OID, TRUE, tlv(4, NULL)))), "unknown critical requestExtension"),
        "unknown-harmless": (request(after=extensions(0xA2, seq(UNKNOWN_OID, tlv(4, NULL)))), "unknown extension, not critical"),
        "single-critical": (request(seq(CERT_ID, extensions(0xA0, seq(UNKNOWN_OID, TRUE, tlv(4, NULL))))), "unknown critical singleRequestExtension"),
        "service-locator": (request(seq(CERT_ID, extensions(0xA0, seq(locator, TRUE, tlv(4, NULL))))), "critical ServiceLocator"),
        "preferred": (request(after=extensions(0xA2, seq(pref, TRUE, tlv(4, seq())))), "critical PreferredSignatureAlgorithms"),
        "requestor-mail": (request(before=tlv(0xA1, tlv(0x81, b"a@example.com"))), "requestorName is an rfc822Name"),
    }  # fmt: skip


def bad_by_hand() -> dict[str, tuple[bytes, str]]:
    """What must be refused, O-1 .. O-5, O-9."""
    good = request()
    value = tlv(4, NULL)
    return {
        "empty": (b"", "no octets"),
        "text": (b"GET / HTTP/1.1\r\n\r\n", "an HTTP request"),
        "cut": (good[:-1], "last octet missing"),
        "trailing": (good + b"\0", "one octet too many"),
        "twice": (good + good, "two requests in a row"),
        "v2": (request(before=bytes.fromhex("a003020101")), "version 2"),
        "v1-long": (request(before=bytes.fromhex("a00402020000")), "version 0 in two octets"),
        "empty-list": (seq(seq(seq())), "requestList without a Request"),
        "missing-list": (seq(seq()), "no requestList"),
        "indefinite": (b"\x30\x80" + good[2:] + b"\0\0", "indefinite length"),
        "long-length": (b"\x30\x81" + good[1:], "length in two octets where one does"),
        "length-zeros": (b"\x30\x82\x00" + good[1:], "length with a leading zero"),
        "length-huge": (bytes.fromhex("3084ffffffff"), "length of 4 GiB"),
        "length-wide": (bytes.fromhex("30850000000001"), "length of five octets"),
        "high-tag": (bytes.fromhex("3f1001aa"), "tag number in a second octet"),
        "serial-zeros": (request(seq(CERT_ID.replace(b"\x02\x10" + SERIAL, b"\x02\x11\0" + SERIAL).replace(b"\x30\x49", b"\x30\x4a"))), "serial with a spare 00"),
        "serial-empty": (request(seq(seq(SHA1_ALGORITHM, tlv(4, NAME_HASH), tlv(4, KEY_HASH), bytes.fromhex("0200")))), "INTEGER of no octets"),
        "string-constructed": (request(seq(CERT_ID.replace(b"\x04\x14N", b"\x24\x14N"))), "constructed OCTET STRING"),
        "null-content": (request(seq(seq(bytes.fromhex("300a06052b0e03021a050100"), tlv(4, NAME_HASH), tlv(4, KEY_HASH), tlv(2, SERIAL)))), "NULL with content"),
        "oid-open": (request(seq(CERT_ID.replace(bytes.fromhex("2b0e03021a"), bytes.fromhex("2b0e03029a")))), "OID that does not end"),
        "boolean-01": (request(after=extensions(0xA2, seq(UNKNOWN_OID, bytes.fromhex("010101"), value))), "TRUE as 01"),
        "boolean-false": (request(after=extensions(0xA2, seq(UNKNOWN_OID, bytes.fromhex("010100"), value))), "FALSE written out"),
        "extension-bare": (request(after=extensions(0xA2, seq(UNKNOWN_OID))), "Extension without extnValue"),
        "extension-surplus": (request(after=extensions(0xA2, seq(UNKNOWN_OID, value, NULL))), "Extension with a fourth field"),
        "nonce-twice": (request(after=extensions(0xA2, nonce(value), nonce(value))), "two nonces"),
        "requestor-bad": (request(before=tlv(0xA1, NULL)), "requestorName is a NULL"),
        "signature-bad": (request(signature=tlv(0xA0, seq(seq()))), "Signature without BIT STRING"),
        "fields-swapped": (request(before=extensions(0xA2)), "requestExtensions before requestList"),
        "response": (bytes.fromhex("30030a0106"), "an OCSPResponse"),
    }  # fmt: skip
