"""A CA below one that is elsewhere, an offline root for example: its request, and the certificate that comes back.

PKCS#10 (RFC 2986). The request leaves nothing in the ledger: only the certificate makes an issuer of the key.
"""

from collections.abc import Iterable
from pathlib import Path

from asn1crypto import pem as asn1_pem
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cachewarm.ca.authority import Authority, check_ca, may_sign_crls
from cachewarm.ca.certificate import epoch, read_certificate
from cachewarm.ca.profiles import CA_KEY_USAGE
from cachewarm.ca.registry import ca_key_path, check_id
from cachewarm.ca.responder_certificate import issued_by
from cachewarm.errors import Refused
from cachewarm.keys.builders import sign_request
from cachewarm.keys.key_file import write_new
from cachewarm.keys.key_kind import KeyKind
from cachewarm.keys.pkcs11_key import existing_token_key, kind_of, new_token_key
from cachewarm.keys.signing_key import SigningKey
from cachewarm.keys.soft_key import SoftKey


def make_request(key: SigningKey, subject: x509.Name) -> bytes:
    """Return the PEM of a request for a CA certificate: CA:TRUE, keyCertSign and cRLSign, the key's identifier."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(CA_KEY_USAGE, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key), critical=False)
    return sign_request(builder, key).public_bytes(Encoding.PEM)


def file_key(keys: Path, issuer_id: str, kind: KeyKind | None, passphrase: bytes | None) -> tuple[SigningKey, str]:
    """Return the key of that CA and its path: the one of an earlier request, or a new one, which is written.

    Refused when the earlier one is of another kind than `kind`, or cannot be read.
    """
    check_id(issuer_id)
    path = ca_key_path(keys, issuer_id)
    if not path.exists():
        made = SoftKey.generate(kind or KeyKind.P256)
        write_new(path, made.file_content(path, passphrase))
        return made, str(path)
    key = SoftKey.load(path, passphrase)
    if kind is not None and kind_of(key.public_key) != kind:
        raise Refused(f"{path} exists and is {kind_of(key.public_key)}, not {kind}: move it away first")
    return key, str(path)


def token_request_key(key_uri: str, kind: KeyKind | None, earlier: Path, *, existing: bool) -> SigningKey:
    """Return the key in the token: new, or the one that is there if `existing` or if the request `earlier` has it."""
    if not existing and not earlier.exists():
        return new_token_key(key_uri, kind or KeyKind.P256)
    return existing_token_key(key_uri, kind)


def write_request(out: Path, key: SigningKey, subject: x509.Name) -> bool:
    """Write the request, readable for all. False, and nothing is changed, when `out` is that request already.

    Refused when `out` is anything else.
    """
    if not out.exists():
        write_new(out, make_request(key, subject), 0o644)
        return True
    try:
        there = x509.load_pem_x509_csr(out.read_bytes())
        is_same = there.public_key() == key.public_key and there.subject == subject
    except ValueError:
        is_same = False
    if not is_same:
        raise Refused(f"{out} exists and is not the request of this key and subject: nothing is overwritten")
    return False


def read_chain(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file. Refused when it has none."""
    blocks = asn1_pem.unarmor(path.read_bytes(), multiple=True)
    try:
        ders = [der for kind, _, der in blocks if kind == "CERTIFICATE"]
    except ValueError:
        ders = []
    if not ders:
        raise Refused(f"{path} has no certificate in PEM form")
    return [read_certificate(der, name=str(path)) for der in ders]


def check_returned(
    certificate: x509.Certificate, key: SigningKey, above: Iterable[x509.Certificate], *, now: int
) -> None:
    """Refused, in one sentence, unless the certificate makes a working CA of the key at `now` (epoch seconds).

    It must be of that key and for a CA that signs certificates and CRLs, be valid, and be issued by one of `above`.
    """
    name = certificate.subject.rfc4514_string()
    Authority(certificate, key)
    if not may_sign_crls(certificate):
        raise Refused(f"{name} may not sign CRLs: its keyUsage lacks cRLSign")
    if now < epoch(certificate.not_valid_before_utc):
        raise Refused(f"the certificate of {name} is valid only from {certificate.not_valid_before_utc.isoformat()}")
    if now > epoch(certificate.not_valid_after_utc):
        raise Refused(f"the certificate of {name} expired at {certificate.not_valid_after_utc.isoformat()}")
    issuer = next((each for each in above if each != certificate and issued_by(certificate, each)), None)
    if issuer is None:
        raise Refused(
            f"the issuer of {name}, {certificate.issuer.rfc4514_string()}, is not known here: give its certificate"
            " with --chain"
        )
    check_ca(issuer)
