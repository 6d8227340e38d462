"""Writes the golden vectors and index.toml anew: `python -m tests.vectors.make`.

Each vector has one line in the index: what it is, who made it, and what a parser must say (`request` or `malformed`).
Vectors by OpenSSL, GnuTLS and cryptography are outside opinions; those by hand are octets that no good tool writes.
Keys are made afresh, so the octets change from run to run; nothing depends on them but the fuzz corpus.
"""

import datetime
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from asn1crypto import core, ocsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp as pyca

from _fastocsp.certid import encode_cert_id
from _fastocsp.record import pack_record
from _fastocsp.sink import tlv
from _fastocsp.values import Record
from tests.reference import ocsp as reference

HERE = Path(__file__).parent
DER = serialization.Encoding.DER
NAME_HASH, KEY_HASH, SERIAL = b"N" * 20, b"K" * 20, bytes.fromhex("7a0102030405060708090a0b0c0d0e0f")
CERT_ID = encode_cert_id(1, NAME_HASH, KEY_HASH, SERIAL)
UNKNOWN_OID = bytes.fromhex("060453040506")
NONCE_OID = bytes.fromhex("06092b0601050507300102")
TRUE, NULL = bytes.fromhex("0101ff"), bytes.fromhex("0500")
INDEX: dict[str, list[str]] = {}


def put(group: str, name: str, octets: bytes, expect: str, by: str, what: str) -> None:
    """Write one vector and its line."""
    (HERE / group).mkdir(exist_ok=True)
    (HERE / group / name).write_bytes(octets)
    INDEX.setdefault(group, []).append(f'"{name}" = {{ expect = "{expect}", by = "{by}", what = "{what}" }}')


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


def authority() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate, x509.Certificate]:
    """A CA key, its certificate, and a certificate issued by it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Vector CA")])
    leaf_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "leaf.example")])
    start = datetime.datetime(2026, 1, 1)  # noqa: DTZ001 - cryptography takes naive UTC
    until = start + datetime.timedelta(days=3650)
    builder = x509.CertificateBuilder().issuer_name(name).public_key(key.public_key())
    builder = builder.not_valid_before(start).not_valid_after(until)
    ca = x509.BasicConstraints(ca=True, path_length=None)
    root = builder.subject_name(name).serial_number(1).add_extension(ca, critical=True).sign(key, hashes.SHA256())
    serial = int.from_bytes(SERIAL)
    return key, root, builder.subject_name(leaf_name).serial_number(serial).sign(key, hashes.SHA256())


def by_tools(folder: Path) -> None:
    """Requests written by OpenSSL and GnuTLS, and a response by OpenSSL."""
    version = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    pair = ["-issuer", "ca.pem", "-cert", "leaf.pem"]
    for name, args, what in [
        ("openssl-sha1-nonce.der", pair, "SHA-1 CertID with a nonce"),
        ("openssl-sha256.der", ["-sha256", *pair, "-no_nonce"], "SHA-256 CertID, no nonce"),
        ("openssl-sha512.der", ["-sha512", *pair, "-no_nonce"], "SHA-512 CertID, no nonce"),
        ("openssl-two.der", [*pair, "-serial", "0x1234", "-no_nonce"], "two CertIDs"),
        ("openssl-zero.der", ["-issuer", "ca.pem", "-serial", "0", "-no_nonce"], "serial number 0"),
        ("openssl-signed.der", [*pair, "-signer", "ca.pem", "-signkey", "ca.key"], "signed, with requestorName"),
    ]:
        subprocess.run(["openssl", "ocsp", *args, "-reqout", name], cwd=folder, check=True, capture_output=True)
        put("request", name, (folder / name).read_bytes(), "request", f"OpenSSL {version}", what)
    tool = ["ocsptool", "-q", "--load-issuer", "ca.pem", "--load-cert", "leaf.pem", "--outfile"]
    for name, flags, what in [
        ("gnutls.der", ["--no-nonce"], "no nonce"),
        ("gnutls-nonce.der", ["--nonce"], "with a nonce"),
    ]:
        subprocess.run([*tool, name, *flags], cwd=folder, check=True, capture_output=True)
        put("request", name, (folder / name).read_bytes(), "request", "GnuTLS ocsptool", what)
    (folder / "index.txt").write_text(f"R\t350101000000Z\t260101000000Z,keyCompromise\t{SERIAL.hex().upper()}\tx\t/CN=leaf\n")
    args = ["-index", "index.txt", "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key", "-ndays", "7"]
    args += ["-reqin", "openssl-sha1-nonce.der", "-respout", "response.der"]
    subprocess.run(["openssl", "ocsp", *args], cwd=folder, check=True, capture_output=True)
    what = "revoked, keyCompromise, nonce"
    put("response", "openssl-revoked.der", (folder / "response.der").read_bytes(), "response", f"OpenSSL {version}", what)


def by_cryptography(root: x509.Certificate, leaf: x509.Certificate) -> None:
    """Requests written by pyca/cryptography."""
    algorithms: list[hashes.HashAlgorithm] = [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]
    for algorithm in algorithms:
        built = pyca.OCSPRequestBuilder().add_certificate(leaf, root, algorithm).build().public_bytes(DER)
        what = f"{algorithm.name.upper()} CertID"
        put("request", f"pyca-{algorithm.name}.der", built, "request", "cryptography", what)
    builder = pyca.OCSPRequestBuilder().add_certificate(leaf, root, hashes.SHA256())
    built = builder.add_extension(x509.OCSPNonce(b"n" * 32), critical=True).build().public_bytes(DER)
    put("request", "pyca-nonce-critical.der", built, "request", "cryptography", "critical nonce of 32 octets")


def by_asn1crypto() -> None:
    """Requests written by asn1crypto."""
    one = reference.cert_id(1, NAME_HASH, KEY_HASH, int.from_bytes(SERIAL))
    basic = {"extn_id": "acceptable_responses", "critical": True, "extn_value": ocsp.AcceptableResponses(["basic_ocsp_response"])}
    made: Callable[..., bytes] = reference.encode_request
    put("request", "asn1crypto-acceptable.der", made([one], [basic]), "request", "asn1crypto", "critical AcceptableResponses")
    both = {"extn_id": "nonce", "extn_value": core.OctetString(b"n" * 16)}
    put("request", "asn1crypto-nonce.der", made([one, one], [both, basic]), "request", "asn1crypto", "two CertIDs, two extensions")
    tbs = {"requestor_name": x509_name(), "request_list": [{"req_cert": one}]}
    named = bytes(ocsp.OCSPRequest({"tbs_request": tbs}).dump())
    put("request", "asn1crypto-requestor.der", named, "request", "asn1crypto", "requestorName is a URI")


def x509_name() -> object:
    """A GeneralName."""
    from asn1crypto import x509 as asn1  # noqa: PLC0415 - the name is taken by cryptography here

    return asn1.GeneralName(name="uniform_resource_identifier", value="http://example.com/")


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
        "short-hashes": (request(seq(seq(bytes.fromhex("300906052b0e03021a0500"), tlv(4, b"N" * 19), tlv(4, b"K" * 20), tlv(2, SERIAL)))), "name hash of 19 octets"),
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
        "serial-empty": (request(seq(seq(bytes.fromhex("300906052b0e03021a0500"), tlv(4, NAME_HASH), tlv(4, KEY_HASH), bytes.fromhex("0200")))), "INTEGER of no octets"),
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


def records() -> None:
    """Compact records."""
    base = {"responder": b"respondr", "this_update": 1767225600, "next_update": 1767312000, "produced_at": 1767225600}
    for name, record in {
        "good": Record(1, 0, signature=b"s" * 71, seq=7, generation=1, **base),  # type: ignore[arg-type]
        "revoked": Record(2, 1, signature=b"s" * 72, reason=1, revocation_time=1767000000, **base),  # type: ignore[arg-type]
        "extended": Record(0x81, 1, signature=b"s" * 256, reason=6, flags=1, **base),  # type: ignore[arg-type]
        "unknown": Record(4, 2, **base),  # type: ignore[arg-type]
    }.items():
        put("record", f"{name}.bin", pack_record(record), "record", "pack_record", name)
    good = (HERE / "record" / "good.bin").read_bytes()
    for name, octets, what in [
        ("version-2", b"\x02" + good[1:], "unknown version"),
        ("reason-7", good[:3] + b"\x01\x07" + good[5:], "CRLReason 7"),
        ("good-with-reason", good[:4] + b"\x01" + good[5:], "good for a reason"),
        ("window", good[:24] + good[20:24] + good[28:], "next_update equals this_update"),
    ]:
        put("record", f"{name}.bin", octets, "malformed", "by hand", what)


def main() -> None:
    """Write everything."""
    key, root, leaf = authority()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pem = serialization.Encoding.PEM
        (folder / "ca.pem").write_bytes(root.public_bytes(pem))
        (folder / "leaf.pem").write_bytes(leaf.public_bytes(pem))
        plain = serialization.NoEncryption()
        (folder / "ca.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
        by_tools(folder)
    by_cryptography(root, leaf)
    by_asn1crypto()
    for name, (octets, what) in good_by_hand().items():
        put("request", f"{name}.der", octets, "request", "by hand", what)
    for name, (octets, what) in bad_by_hand().items():
        put("request", f"bad-{name}.der", octets, "malformed", "by hand", what)
    records()
    groups = (f"[{group}]\n" + "\n".join(lines) + "\n" for group, lines in INDEX.items())
    (HERE / "index.toml").write_text("# Golden vectors; written by make.py\n\n" + "\n".join(groups))


if __name__ == "__main__":
    main()
