"""Issuers and responder certificates: hashes over the certificate's own bytes."""

import hashlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from cachewarm.ca.responder_certificate import make
from cachewarm.keys.soft_key import KeyKind
from responder.domain.issuer import Issuer, check_issuer_id
from responder.domain.responder import ResponderCertificate
from responder.domain.status import HashAlgorithm, UnissuedPolicy
from tests.cachewarm.conftest import KINDS, NOW, house_of
from tests.support.judges import openssl

HASHES: dict[HashAlgorithm, hashes.HashAlgorithm] = {
    HashAlgorithm.SHA1: hashes.SHA1(),
    HashAlgorithm.SHA256: hashes.SHA256(),
    HashAlgorithm.SHA384: hashes.SHA384(),
    HashAlgorithm.SHA512: hashes.SHA512(),
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("algorithm", HashAlgorithm)
def test_hashes_are_those_of_cryptographys_requests(kind: KeyKind, algorithm: HashAlgorithm) -> None:
    """The CertID that pyca builds for a certificate of this issuer has our name and key hash, in every algorithm."""
    ca = house_of(kind).sub.certificate
    leaf, _ = make(house_of(kind).sub, "issuing", now=NOW)
    request = ocsp.OCSPRequestBuilder().add_certificate(leaf.certificate, ca, HASHES[algorithm]).build()
    issuer = Issuer.from_certificate(ca.public_bytes(Encoding.DER), issuer_id="issuing", issuer_no=7)
    assert issuer.name_hashes[algorithm] == request.issuer_name_hash
    assert issuer.key_hashes[algorithm] == request.issuer_key_hash


def test_issuer_holds_what_it_was_given() -> None:
    """Subject bytes as they stand in the certificate, its end, and the settings of the issuer."""
    sub = house_of(KINDS[0]).sub
    cert_der = sub.certificate.public_bytes(Encoding.DER)
    issuer = Issuer.from_certificate(
        cert_der, issuer_id="issuing", issuer_no=7, unissued_policy=UnissuedPolicy.UNKNOWN, publishes_crl=False
    )
    assert issuer.subject_der in cert_der
    assert issuer.subject_der == sub.certificate.subject.public_bytes()
    assert issuer.not_after == sub.not_after
    assert (issuer.issuer_id, issuer.issuer_no, issuer.unissued_policy) == ("issuing", 7, UnissuedPolicy.UNKNOWN)
    assert issuer.publishes_crl is False
    assert hash(issuer) == hash(issuer)


def test_unusual_string_types_are_hashed_as_they_stand(tmp_path: Path) -> None:
    """A TeletexString subject of another tool is hashed byte for byte; UTF8String would be another hash."""
    openssl("ecparam", "-genkey", "-name", "prime256v1", "-out", tmp_path / "k")
    (tmp_path / "c").write_text("[req]\ndistinguished_name=d\nstring_mask=MASK:4\n[d]\n")
    openssl(
        "req", "-new", "-x509", "-key", tmp_path / "k", "-subj", "/CN=Old@CA", "-config", tmp_path / "c",
        "-outform", "DER", "-out", tmp_path / "c.der",
    )  # fmt: skip
    issuer = Issuer.from_certificate((tmp_path / "c.der").read_bytes(), issuer_id="old", issuer_no=1)
    assert bytes.fromhex("1406") + b"Old@CA" in issuer.subject_der
    assert issuer.name_hashes[HashAlgorithm.SHA1] == hashlib.sha1(issuer.subject_der).digest()


@pytest.mark.parametrize("octets", [b"", b"rubbish", b"\x30\x00", b"\x30\x03\x02\x01\x01"])
def test_what_is_no_certificate_is_a_value_error(octets: bytes) -> None:
    """Rubbish never becomes an issuer or a responder, and never another kind of exception."""
    with pytest.raises(ValueError, match=r"\S"):
        Issuer.from_certificate(octets, issuer_id="issuing", issuer_no=1)
    with pytest.raises(ValueError, match=r"\S"):
        ResponderCertificate.from_der(octets)


def test_every_prefix_and_trailing_octet_is_a_value_error() -> None:
    """A certificate is taken whole or not at all."""
    cert_der = house_of(KINDS[0]).chain[1].cert_der
    for octets in [cert_der[:end] for end in range(len(cert_der))] + [cert_der + b"\0"]:
        with pytest.raises(ValueError, match=r"\S"):
            Issuer.from_certificate(octets, issuer_id="issuing", issuer_no=1)


@pytest.mark.parametrize("issuer_id", ["a", "issuing", "iss-1.eu_2", "0" * 63])
def test_issuer_ids_that_are_taken(issuer_id: str) -> None:
    """Lower-case letters, digits and three marks inside."""
    assert check_issuer_id(issuer_id) == issuer_id


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_responder_certificate_names_and_verifies(kind: KeyKind) -> None:
    """Its name in a record, its key hash and its byKey ResponderID are what RFC 6960 4.2.1 says of its key."""
    house = house_of(kind)
    cert_der = house.sub.certificate.public_bytes(Encoding.DER)
    responder = ResponderCertificate.from_der(cert_der)
    assert responder.responder == hashlib.sha256(cert_der).digest()[:8]
    assert responder.key_hash == x509.SubjectKeyIdentifier.from_public_key(house.sub.key.public_key).digest
    assert responder.responder_id == b"\xa2\x16\x04\x14" + responder.key_hash
    assert responder.signature_algorithm == house.sub.key.signature_algorithm
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert responder.public_key.public_bytes(*spki) == house.sub.key.public_key.public_bytes(*spki)
    signature = house.sub.key.sign(b"tbs")
    responder.verify(signature, b"tbs")
    for wrong, tbs in ((signature, b"tbt"), (b"", b"tbs"), (signature[:-1], b"tbs"), (b"\0" * len(signature), b"tbs")):
        with pytest.raises(InvalidSignature):
            responder.verify(wrong, tbs)


def test_window_of_the_responder_certificate_is_epoch_seconds() -> None:
    """Both ends are inclusive and the certificate's own."""
    issued, _ = make(house_of(KINDS[0]).sub, "issuing", now=NOW)
    responder = ResponderCertificate.from_der(issued.cert_der)
    assert (responder.not_before, responder.not_after) == (issued.not_before, issued.not_after)
