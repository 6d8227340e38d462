"""`make bench-crl`: seconds to make one complete CRL, ours and others', and the bound that none can pass.

The bound is SHA-256 of the same TBSCertList and one ECDSA P-256 signature. Ours begins with the rows in memory, as
Postgres sends them; the others with whatever they take: cryptography's builder and asn1crypto with Python values,
`openssl ca -gencrl` with its index.txt. Best of several turns each, one after the other in one process.
"""

import datetime
import hashlib
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from asn1crypto import core
from asn1crypto import crl as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from _fastocsp.crl.entry_writer import EntryWriter
from _fastocsp.crl.fields import Fields, Scope, certificate_list, tbs_frame
from cachewarm.keys.signing_key import sign_parts
from cachewarm.keys.soft_key import SoftKey
from tests.reference.crl import ECDSA_SHA256, REASONS, Entry, moment
from tests.support.copy_rows import stream

SIZES = [int(size) for size in os.environ.get("BENCH_SIZES", "10000 100000 1000000").split()]
#: asn1crypto takes half a minute for these.
ASN1CRYPTO_LIMIT = 10_000
NOW = 1_800_000_000
RESULTS = Path(__file__).parent / "crl.json"
PRIVATE = ec.generate_private_key(ec.SECP256R1())
KEY = SoftKey(PRIVATE)
NAME = x509.Name.from_rfc4514_string("CN=Bench CA,O=Example,C=DE")
FIELDS = Fields(
    signature_algorithm=ECDSA_SHA256,
    issuer=NAME.public_bytes(),
    authority_key_identifier=b"k" * 20,
    number=1,
    this_update=NOW,
    next_update=NOW + 86400,
    scope=Scope(url="http://ocsp.example.com/.well-known/pki/crl/bench"),
)


def entries_of(size: int) -> list[Entry]:
    """Random serials of 16 bytes, dates over a year, five sixths with a reason."""
    serials = sorted(bytes((0x40 | octets[0] & 0x3F,)) + octets[1:] for octets in (os.urandom(16) for _ in range(size)))
    return [
        Entry(serial, NOW - 31_000_000 + 31 * n % 31_000_000, (0, 1, 3, 4, 5, 9)[n % 6])
        for n, serial in enumerate(serials)
    ]


def ours(rows: bytes) -> bytes:
    """The whole CRL from rows in memory."""
    writer = EntryWriter()
    writer.feed(rows)
    [entries] = writer.take_parts()
    frame = before, after = tbs_frame(FIELDS, len(entries))
    with memoryview(entries) as view:
        signature = sign_parts(KEY, [before, view, after])
    return certificate_list(frame, entries, ECDSA_SHA256, signature)


def encode_and_hash(rows: bytes) -> bytes:
    """Its TBSCertList, encoded and hashed, nothing more."""
    writer = EntryWriter()
    writer.feed(rows)
    digest = hashlib.sha256()
    [entries] = writer.take_parts()
    before, after = tbs_frame(FIELDS, len(entries))
    for part in (before, entries, after):
        digest.update(part)
    return digest.digest()


def by_cryptography(entries: list[Entry]) -> bytes:
    """Cryptography's builder, the list of entries given at once."""
    builder = x509.CertificateRevocationListBuilder(
        NAME, moment(NOW), moment(NOW + 86400), revoked_certificates=[_revoked(entry) for entry in entries]
    )
    builder = builder.add_extension(x509.CRLNumber(1), critical=False)
    return builder.sign(PRIVATE, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _revoked(entry: Entry) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder(int.from_bytes(entry.serial, "big"), moment(entry.revoked_at))
    if entry.reason:
        builder = builder.add_extension(x509.CRLReason(REASONS[entry.reason]), critical=False)
    return builder.build()


def by_asn1crypto(entries: list[Entry]) -> bytes:
    """Asn1crypto, its dump signed."""
    tbs = asn1.TbsCertList(
        {
            "version": "v2",
            "signature": {"algorithm": "sha256_ecdsa"},
            "issuer": asn1.Name.load(NAME.public_bytes()),
            "this_update": asn1.Time({"utc_time": moment(NOW)}),
            "next_update": asn1.Time({"utc_time": moment(NOW + 86400)}),
            "revoked_certificates": [_asn1_entry(entry) for entry in entries],
            "crl_extensions": [{"extn_id": "crl_number", "critical": False, "extn_value": core.Integer(1)}],
        }
    )
    signed = asn1.CertificateList()
    signed["tbs_cert_list"] = tbs
    signed["signature_algorithm"] = {"algorithm": "sha256_ecdsa"}
    signed["signature"] = KEY.sign(tbs.dump())
    return bytes(signed.dump())


def _asn1_entry(entry: Entry) -> asn1.RevokedCertificate:
    made = {
        "user_certificate": int.from_bytes(entry.serial, "big"),
        "revocation_date": asn1.Time({"utc_time": moment(entry.revoked_at)}),
    }
    if entry.reason:
        reason = {"extn_id": "crl_reason", "critical": False, "extn_value": asn1.CRLReason(entry.reason)}
        made["crl_entry_extensions"] = [reason]
    return asn1.RevokedCertificate(made)


def openssl_ca(folder: Path, entries: list[Entry]) -> Callable[[], object]:
    """`openssl ca -gencrl` over an index.txt of the same entries."""
    names = {0: "", 1: ",keyCompromise", 3: ",affiliationChanged", 4: ",superseded", 5: ",cessationOfOperation", 9: ""}
    with (folder / "index.txt").open("w") as index:
        for entry in entries:
            at = moment(entry.revoked_at).strftime("%y%m%d%H%M%SZ")
            index.write(f"R\t400101000000Z\t{at}{names[entry.reason]}\t{entry.serial.hex().upper()}\tunknown\t/CN=x\n")
    pem = PRIVATE.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.key").write_bytes(pem)
    now = datetime.datetime.now(datetime.UTC)
    ca = x509.CertificateBuilder(NAME, NAME, PRIVATE.public_key(), 1, now, now + datetime.timedelta(days=9))
    (folder / "ca.pem").write_bytes(ca.sign(PRIVATE, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    (folder / "crlnumber").write_text("01\n")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index.txt\ncrlnumber={folder}/crlnumber\ndefault_md=sha256\n"
        f"certificate={folder}/ca.pem\nprivate_key={folder}/ca.key\ndefault_crl_days=1\nunique_subject=no\n"
    )
    command = ["openssl", "ca", "-config", str(folder / "ca.cnf"), "-gencrl", "-out", str(folder / "crl.pem")]
    return lambda: subprocess.run(command, check=True, capture_output=True)


def best(work: Callable[[], object], turns: int) -> float:
    """Seconds of the fastest turn."""
    found = []
    for _ in range(turns):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return min(found)


def measure(size: int) -> dict[str, float]:
    """Seconds by name."""
    entries = entries_of(size)
    rows = stream(entries)
    tbs = x509.load_der_x509_crl(ours(rows)).tbs_certlist_bytes
    few = 1 if size > 100_000 else 3
    found: dict[str, float] = {
        "octets of the TBSCertList": len(tbs),
        "SHA-256 alone": best(lambda: hashlib.sha256(tbs).digest(), 7),
        "bound: SHA-256 and one signature": best(lambda: sign_parts(KEY, [tbs]), 7),
        "ours: encoded and hashed": best(lambda: encode_and_hash(rows), 7),
        "ours: the whole signed CRL": best(lambda: ours(rows), 7),
        "cryptography's builder": best(lambda: by_cryptography(entries), few),
    }
    if size <= ASN1CRYPTO_LIMIT:
        found["asn1crypto"] = best(lambda: by_asn1crypto(entries), 1)
    with tempfile.TemporaryDirectory() as folder:
        found["openssl ca -gencrl"] = best(openssl_ca(Path(folder), entries), few)
    return found


def main() -> None:
    """Measure, print a table, keep the figures."""
    results = {str(size): measure(size) for size in SIZES}
    for size, found in results.items():
        hashed = found["SHA-256 alone"]
        print(f"{size} entries, {found.pop('octets of the TBSCertList'):.0f} octets")
        for name, seconds in found.items():
            print(f"  {name:34} {1000 * seconds:10.2f} ms {seconds / hashed:8.1f} x SHA-256")
    said = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True).stdout.strip()
    about = {"python": platform.python_version(), "openssl": said, "machine": platform.machine()}
    RESULTS.write_text(json.dumps({"about": about, "seconds": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
