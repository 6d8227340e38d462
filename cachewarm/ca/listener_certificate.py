"""The certificate of the admin listener, when the operator brings none: ECDSA P-256, for the names it listens on.

Key and chain stand in one file, mode 0600, so that no crash leaves a key beside a certificate of another one. `ssl` and
uvicorn take the file as both certificate and key.
"""

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from cachewarm.ca.authority import Authority
from cachewarm.ca.certificate import BACKDATE_S, Issued, epoch, moment, new_serial, parse_subject
from cachewarm.ca.issue import Terms, issue
from cachewarm.ca.profiles import DAY_S, DIGITAL_SIGNATURE, Pointers, parse_names
from cachewarm.errors import Refused
from cachewarm.keys.builders import sign_certificate
from cachewarm.keys.key_file import read_secret, write_atomically
from cachewarm.keys.soft_key import KeyKind, SoftKey

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
#: The longest that common TLS clients take of a server certificate.
VALIDITY_S = 397 * DAY_S
RENEW_BEFORE_S = 30 * DAY_S


def ensure(
    path: Path,
    names: Sequence[str] = LOCAL_NAMES,
    *,
    now: int,
    authority: Authority | None = None,
    passphrase: bytes | None = None,
) -> Path:
    """Return the file, made again when it is missing, expires within 30 days, lacks a name, or cannot be used."""
    if not _is_usable(path, names, now, passphrase):
        issued, key = make(names, now=now, authority=authority)
        chain = b"" if authority is None else authority.certificate.public_bytes(Encoding.PEM)
        write_atomically(path, key.to_pem(passphrase) + issued.pem + chain)
    return path


def make(names: Sequence[str], *, now: int, authority: Authority | None = None) -> tuple[Issued, SoftKey]:
    """A server certificate for those names, issued by the CA, or by itself when there is none."""
    key = SoftKey.generate(KeyKind.P256)
    if authority is not None:
        return issue(authority, key.public_key, Terms(Pointers()), names=names, now=now), key
    return _self_signed(key, names, now), key


def _self_signed(key: SoftKey, names: Sequence[str], now: int) -> Issued:
    alternatives = parse_names(names)
    if not alternatives:
        raise Refused("a listener's certificate needs a name or an address")
    subject = parse_subject("fastocsp admin")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key)
    builder = builder.serial_number(new_serial())
    builder = builder.not_valid_before(moment(now - BACKDATE_S)).not_valid_after(moment(now + VALIDITY_S))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(DIGITAL_SIGNATURE, critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    builder = builder.add_extension(identifier, critical=False)
    identifier_of_issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    builder = builder.add_extension(identifier_of_issuer, critical=False)
    return Issued.of(sign_certificate(builder, key))


def _is_usable(path: Path, names: Sequence[str], now: int, passphrase: bytes | None) -> bool:
    try:
        pem = read_secret(path)
        certificate = x509.load_pem_x509_certificate(pem)
        key = SoftKey.from_pem(pem, passphrase)
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, Refused, ValueError, x509.ExtensionNotFound):
        return False
    if now < epoch(certificate.not_valid_before_utc) or now > epoch(certificate.not_valid_after_utc) - RENEW_BEFORE_S:
        return False
    return set(parse_names(names)) <= set(held) and certificate.public_key() == key.public_key
