"""Responders that operators bring: what is taken, and the sentence for each that is not."""

from dataclasses import dataclass

import pytest
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from cachewarm.ca.authority import Authority, init_root
from cachewarm.ca.certificate import moment, new_serial, parse_subject
from cachewarm.ca.external_responder import validate
from cachewarm.ca.profiles import CA_KEY_USAGE, DIGITAL_SIGNATURE
from cachewarm.ca.responder_certificate import make
from cachewarm.errors import Refused
from cachewarm.keys.builders import sign_certificate
from cachewarm.keys.soft_key import KeyKind, SoftKey
from tests.cachewarm.conftest import NOW, House, house_of


@dataclass(frozen=True)
class ResponderDraft:
    """What an operator might bring: a certificate with these extensions."""

    usages: tuple[x509.ObjectIdentifier, ...] | None = (ExtendedKeyUsageOID.OCSP_SIGNING,)
    key_usage: x509.KeyUsage = DIGITAL_SIGNATURE
    nocheck: bool = True
    subject: str = "CN=Their responder"

    def signed(self, house: House, key: SoftKey, ca: House | None = None) -> bytes:
        signer = (ca or house).sub
        builder = x509.CertificateBuilder().public_key(key.public_key).serial_number(new_serial())
        builder = builder.subject_name(parse_subject(self.subject) if self.subject else x509.Name([]))
        builder = builder.issuer_name(signer.certificate.subject).not_valid_before(moment(NOW - 60))
        builder = builder.not_valid_after(moment(NOW + 86400)).add_extension(self.key_usage, critical=True)
        if self.usages is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(self.usages)), critical=False)
        if self.nocheck:
            builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
        return sign_certificate(builder, signer.key).public_bytes(Encoding.PEM)


def test_good_delegate_is_taken_without_remarks(house: House) -> None:
    """Our own profile passes, for every kind of CA key, as PEM and as DER."""
    issued, key = make(house.sub, "issuing", now=NOW)
    for octets in (issued.pem, issued.cert_der):
        found = validate(octets, key, house.sub.certificate, now=NOW)
        assert found.certificate.cert_der == issued.cert_der
        assert found.remarks == ()


def test_the_ca_itself_is_taken_only_with_digital_signature(p256: House) -> None:
    """A CA may sign answers itself when its keyUsage says so; the operator is told what that means."""
    with pytest.raises(Refused, match="lacks digitalSignature"):
        validate(p256.chain[1].pem, p256.sub.key, p256.sub.certificate, now=NOW)
    key = SoftKey.generate(KeyKind.P256)
    builder = x509.CertificateBuilder().public_key(key.public_key).serial_number(new_serial())
    builder = builder.subject_name(parse_subject("Old CA")).issuer_name(parse_subject("Old CA"))
    builder = builder.not_valid_before(moment(NOW)).not_valid_after(moment(NOW + 9))
    ca = sign_certificate(builder.add_extension(x509.BasicConstraints(True, None), True), key)
    found = validate(ca.public_bytes(Encoding.DER), key, ca, now=NOW)
    assert "CA's own key" in found.remarks[0]


@pytest.mark.parametrize(
    ("brought", "sentence"),
    [
        (ResponderDraft(usages=None), "lacks OCSPSigning"),
        (ResponderDraft(usages=(ExtendedKeyUsageOID.SERVER_AUTH,)), "lacks OCSPSigning"),
        (ResponderDraft(usages=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)), "lacks OCSPSigning"),
        (ResponderDraft(key_usage=CA_KEY_USAGE), "lacks digitalSignature"),
    ],
)
def test_what_clients_would_reject_is_refused(p256: House, brought: ResponderDraft, sentence: str) -> None:
    """Usages decide; anyExtendedKeyUsage is not OCSPSigning (RFC 6960 4.2.2.2)."""
    key = SoftKey.generate(KeyKind.P256)
    with pytest.raises(Refused, match=sentence):
        validate(brought.signed(p256, key), key, p256.sub.certificate, now=NOW)


@pytest.mark.parametrize(
    ("brought", "remark"),
    [(ResponderDraft(nocheck=False), "nocheck is missing"), (ResponderDraft(subject=""), "the subject is empty")],
)
def test_what_clients_dislike_is_remarked(p256: House, brought: ResponderDraft, remark: str) -> None:
    """Taken, but said."""
    key = SoftKey.generate(KeyKind.P256)
    found = validate(brought.signed(p256, key), key, p256.sub.certificate, now=NOW)
    assert remark in found.remarks[0]


def test_sha1_signature_is_refused() -> None:
    """Clients no longer accept it, though the chain is right in every other way."""
    private = ec.generate_private_key(ec.SECP256R1())
    ca = Authority(init_root(SoftKey(private), parse_subject("Old CA"), now=NOW).certificate, SoftKey(private))
    issued, key = make(ca, "old", now=NOW)
    parsed = asn1.Certificate.load(issued.cert_der)
    parsed["tbs_certificate"]["signature"] = parsed["signature_algorithm"] = {"algorithm": "sha1_ecdsa"}
    parsed["signature_value"] = private.sign(parsed["tbs_certificate"].dump(force=True), ec.ECDSA(hashes.SHA1()))
    with pytest.raises(Refused, match="with SHA-1 or MD5"):
        validate(parsed.dump(force=True), key, ca.certificate, now=NOW)


def test_other_key_other_ca_other_time_are_refused(p256: House) -> None:
    """Key mismatch, a CA that did not issue it (parent, stranger), not yet, no longer, rubbish."""
    key = SoftKey.generate(KeyKind.P256)
    pem = ResponderDraft().signed(p256, key)
    ca = p256.sub.certificate
    for args, now, sentence in (
        ((pem, SoftKey.generate(KeyKind.P256), ca), NOW, "key does not belong"),
        ((pem, key, p256.root.certificate), NOW, "not issued directly by CN=Test Root"),
        ((pem, key, house_of(KeyKind.RSA2048).sub.certificate), NOW, "not issued directly"),
        ((pem, key, ca), NOW - 61, "begins only at 2025-05-31T23:59:00"),
        ((pem, key, ca), NOW + 86401, "ended at 2025-06-02T00:00:00"),
        ((b"rubbish", key, ca), NOW, "cannot be read"),
    ):
        with pytest.raises(Refused, match=sentence):
            validate(*args, now=now)


def test_a_leaf_is_no_ca(p256: House) -> None:
    """The certificate named as the CA must be one."""
    issued, key = make(p256.sub, "issuing", now=NOW)
    with pytest.raises(Refused, match="is not a CA"):
        validate(issued.pem, key, issued.certificate, now=NOW)
