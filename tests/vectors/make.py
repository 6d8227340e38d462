"""Writes the golden vectors and index.toml anew: `python -m tests.vectors.make`.

Each vector has one line in the index: what it is, who made it, and what a parser must say (`request` or `malformed`).
Vectors by OpenSSL, GnuTLS and cryptography are outside opinions; those by hand are bytes that no good tool writes.
Keys are made afresh, so the bytes change from run to run; nothing depends on them but the fuzz corpus.
"""

import datetime
import subprocess
import tempfile
from pathlib import Path

from asn1crypto import core, ocsp
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509 import ocsp as pyca

from _fastocsp.ocsp.record import pack_record
from _fastocsp.wire.types import Record
from tests.reference import ocsp as reference
from tests.vectors.by_hand import KEY_HASH, NAME_HASH, SERIAL, bad_by_hand, good_by_hand

HERE = Path(__file__).parent
DER = serialization.Encoding.DER
INDEX: dict[str, list[str]] = {}
VERSION_1 = "01000100ff000047726573706f6e6472000000006955b90069570a806955b900000000010000000000000007" + "73" * 71


def put(group: str, name: str, octets: bytes, expect: str, by: str, what: str) -> None:
    """Write one vector and its line."""
    (HERE / group).mkdir(exist_ok=True)
    (HERE / group / name).write_bytes(octets)
    INDEX.setdefault(group, []).append(f'"{name}" = {{ expect = "{expect}", by = "{by}", what = "{what}" }}')


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
    subprocess.run([*tool, "gnutls.der"], cwd=folder, check=True, capture_output=True)
    put("request", "gnutls.der", (folder / "gnutls.der").read_bytes(), "request", "GnuTLS ocsptool", "SHA-1 CertID")
    entry = ("R", "350101000000Z", "260101000000Z,keyCompromise", SERIAL.hex().upper(), "unknown", "/CN=leaf.example")
    (folder / "index.txt").write_text("\t".join(entry) + "\n")
    args = ["-index", "index.txt", "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key", "-ndays", "7"]
    args += ["-reqin", "openssl-sha1-nonce.der", "-respout", "response.der"]
    subprocess.run(["openssl", "ocsp", *args], cwd=folder, check=True, capture_output=True)
    octets, what = (folder / "response.der").read_bytes(), "revoked, keyCompromise, nonce"
    put("response", "openssl-revoked.der", octets, "response", f"OpenSSL {version}", what)


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


def responses_by_cryptography(key: ec.EllipticCurvePrivateKey, root: x509.Certificate, leaf: x509.Certificate) -> None:
    """Responses written by pyca/cryptography, without nonce."""
    moment = datetime.datetime(2026, 2, 1, 12, 30, 59)  # noqa: DTZ001 - cryptography takes naive UTC
    statuses = [pyca.OCSPCertStatus.GOOD, pyca.OCSPCertStatus.UNKNOWN, pyca.OCSPCertStatus.REVOKED]
    for status, encoding in zip(
        statuses, [pyca.OCSPResponderEncoding.HASH, *[pyca.OCSPResponderEncoding.NAME] * 2], strict=True
    ):
        revoked = status is pyca.OCSPCertStatus.REVOKED
        builder = pyca.OCSPResponseBuilder().add_response(
            cert=leaf,
            issuer=root,
            algorithm=hashes.SHA256(),
            cert_status=status,
            this_update=moment,
            next_update=moment + datetime.timedelta(days=4),
            revocation_time=moment - datetime.timedelta(days=1) if revoked else None,
            revocation_reason=x509.ReasonFlags.superseded if revoked else None,
        )
        builder = builder.responder_id(encoding, root)
        builder = builder.certificates([root]) if revoked else builder
        octets = builder.sign(key, hashes.SHA256()).public_bytes(DER)
        what = f"{status.name.lower()}, SHA-256, responderID by {encoding.name.lower()}"
        put("response", f"pyca-{status.name.lower()}.der", octets, "response", "cryptography", what)


def by_asn1crypto() -> None:
    """Requests written by asn1crypto."""
    one = reference.cert_id(1, NAME_HASH, KEY_HASH, int.from_bytes(SERIAL))
    types = ocsp.AcceptableResponses(["basic_ocsp_response"])
    basic = {"extn_id": "acceptable_responses", "critical": True, "extn_value": types}
    nonce = {"extn_id": "nonce", "extn_value": core.OctetString(b"n" * 16)}
    name = asn1.GeneralName(name="uniform_resource_identifier", value="http://example.com/")
    tbs = {"requestor_name": name, "request_list": [{"req_cert": one}]}
    for stem, octets, what in [
        ("acceptable", reference.encode_request([one], [basic]), "critical AcceptableResponses"),
        ("nonce", reference.encode_request([one, one], [nonce, basic]), "two CertIDs, two extensions"),
        ("requestor", bytes(ocsp.OCSPRequest({"tbs_request": tbs}).dump()), "requestorName is a URI"),
    ]:
        put("request", f"asn1crypto-{stem}.der", octets, "request", "asn1crypto", what)


def records() -> None:
    """Compact records."""
    base = {"responder": b"respondr", "this_update": 1767225600, "next_update": 1767312000, "produced_at": 1767225600}
    for name, record in {
        "good": Record(1, 0, signature=encode_dss_signature(2**255, 2**250), seq=7, generation=1, **base),  # type: ignore[arg-type]
        "revoked": Record(2, 1, signature=b"s" * 72, reason=1, revocation_time=1767000000, **base),  # type: ignore[arg-type]
        "extended": Record(0x81, 1, signature=b"s" * 256, reason=6, flags=1, **base),  # type: ignore[arg-type]
        "wide": Record(2, 0, signature=encode_dss_signature(2**383, 1), seq=7, generation=1, **base),  # type: ignore[arg-type]
        "unknown": Record(4, 2, **base),  # type: ignore[arg-type]
    }.items():
        put("record", f"{name}.bin", pack_record(record), "record", "pack_record", name)
    good, revoked = ((HERE / "record" / name).read_bytes() for name in ("good.bin", "revoked.bin"))
    for name, octets, what in [
        ("version-1", bytes.fromhex(VERSION_1), "the layout before this one"),
        ("version-3", b"\x03" + good[1:], "unknown version"),
        ("reason-7", revoked[:32] + b"\x07" + revoked[33:], "CRLReason 7"),
        ("status-3", good[:1] + bytes((good[1] | 12,)) + good[2:], "no such status"),
        ("window", good[:25] + bytes(3) + good[28:], "next_update equals this_update"),
        ("too-old", good[:11] + bytes(4) + good[15:23] + b"\xff" * 2 + good[25:], "this_update before the epoch"),
        ("one-half", good[:60], "half of a signature"),
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
    responses_by_cryptography(key, root, leaf)
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
