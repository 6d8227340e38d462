"""TBS certificates as the callers of the CA signer make them, and the same with one thing changed."""

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from cachewarm.ca.authority import Authority, authority_key_identifier
from cachewarm.ca.certificate import BACKDATE_S, moment, new_serial, parse_subject
from cachewarm.ca.profiles import CA_KEY_USAGE, DAY_S, DIGITAL_SIGNATURE
from cachewarm.keys.builders import sign_certificate
from cachewarm.keys.signing_key import SigningKey
from cachewarm.keys.soft_key import KeyKind, SoftKey

LEAF_KEY = SoftKey.generate(KeyKind.P256)
Extensions = dict[str, tuple[x509.ExtensionType, bool]]
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


def leaf_extensions(ca: Authority, key: SigningKey = LEAF_KEY) -> Extensions:
    """Return those of tls-server, by a short name, with whether they are critical."""
    return {
        "constraints": (x509.BasicConstraints(ca=False, path_length=None), True),
        "usage": (DIGITAL_SIGNATURE, True),
        "extended": (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        "names": (x509.SubjectAlternativeName([x509.DNSName("a.example")]), False),
        **_identifiers(ca, key),
    }


def sub_ca_extensions(ca: Authority, key: SigningKey = LEAF_KEY) -> Extensions:
    """Return those of a CA that has no CA below it."""
    return {
        "constraints": (x509.BasicConstraints(ca=True, path_length=0), True),
        "usage": (CA_KEY_USAGE, True),
        **_identifiers(ca, key),
    }


def responder_extensions(ca: Authority, key: SigningKey = LEAF_KEY) -> Extensions:
    """Return those of a delegated responder."""
    return {
        "usage": (DIGITAL_SIGNATURE, True),
        "extended": (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False),
        "nocheck": (x509.OCSPNoCheck(), False),
        **_identifiers(ca, key),
    }


def _identifiers(ca: Authority, key: SigningKey) -> Extensions:
    return {
        "own": (x509.SubjectKeyIdentifier.from_public_key(key.public_key), False),
        "above": (authority_key_identifier(ca.certificate), False),
    }


def tbs_of(
    ca: Authority,
    extensions: Extensions,
    *,
    now: int,
    issuer: x509.Name | None = None,
    subject: x509.Name | None = None,
    key: SigningKey = LEAF_KEY,
    window: tuple[int, int] = (-BACKDATE_S, 30 * DAY_S),
    signed_by: SigningKey | None = None,
) -> bytes:
    """Return the TBSCertificate. `window` is around `now`; `signed_by` has another algorithm than the CA's key."""
    builder = x509.CertificateBuilder().subject_name(subject or parse_subject("CN=a.example"))
    builder = builder.issuer_name(issuer or ca.certificate.subject).public_key(key.public_key)
    builder = builder.serial_number(new_serial())
    builder = builder.not_valid_before(moment(now + window[0])).not_valid_after(moment(now + window[1]))
    for extension, critical in extensions.values():
        builder = builder.add_extension(extension, critical)
    return sign_certificate(builder, signed_by or ca.key).tbs_certificate_bytes
