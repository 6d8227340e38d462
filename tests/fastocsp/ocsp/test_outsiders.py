"""Responses judged by others: cryptography, openssl, GnuTLS, pkilint."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from pkilint import loader
from pkilint.pkix import create_attribute_decoder, create_extension_decoder, extension, name
from pkilint.pkix.ocsp import create_pkix_ocsp_response_validator_container, create_response_decoder
from pkilint.validation import ValidationFindingSeverity

from _fastocsp.ocsp.record import FLAG_EXTENDED_REVOKE
from _fastocsp.ocsp.response import encode_signed
from _fastocsp.wire import codes
from _fastocsp.wire.types import Record
from tests.fastocsp.tools import ask
from tests.support.ca import NOW, Authority

SERIOUS = (ValidationFindingSeverity.FATAL, ValidationFindingSeverity.ERROR, ValidationFindingSeverity.WARNING)
SERIAL = bytes.fromhex("8a0102030405060708090a0b0c0d0e0f10111213")
CHANGES: dict[str, dict[str, object]] = {
    "good": {},
    "good-sha256": {"hash_algorithm": codes.SHA256},
    "good-sha512-no-null": {"hash_algorithm": codes.SHA512 | codes.PARAMETERS_ABSENT},
    "unknown": {"status": codes.UNKNOWN},
    "revoked": {"status": codes.REVOKED, "revocation_time": NOW - 60},
    "revoked-reason": {"status": codes.REVOKED, "revocation_time": NOW - 60, "reason": 1},
    "never-issued": {"status": codes.REVOKED, "reason": 6, "flags": FLAG_EXTENDED_REVOKE},
}


@pytest.fixture(params=CHANGES)
def record(request: pytest.FixtureRequest, authority: Authority) -> Record:
    """One record of each kind."""
    return authority.record(**CHANGES[request.param])


def test_cryptography_reads_and_verifies_what_we_write(authority: Authority, record: Record) -> None:
    """Status, times, reason, serial and signature are as the record says."""
    response = ocsp.load_der_ocsp_response(authority.answer(record, SERIAL))
    key = authority.delegate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))
    assert response.certificate_status.value == record.status
    assert response.serial_number == int.from_bytes(SERIAL)
    assert response.this_update_utc.timestamp() == record.this_update
    assert response.next_update_utc is not None
    assert response.next_update_utc.timestamp() == record.next_update
    assert response.produced_at_utc.timestamp() == record.produced_at
    if record.status == codes.REVOKED:
        assert response.revocation_time_utc is not None
        assert response.revocation_time_utc.timestamp() == record.revocation_time
        assert (response.revocation_reason is None) == (record.reason == codes.NO_REASON)


def test_cryptography_finds_the_nonce(authority: Authority) -> None:
    """The nonce is repeated byte for byte in responseExtensions, O-10."""
    template = authority.template(codes.SHA1)
    tbs = template.tbs(SERIAL, authority.record(), b"n" * 32)
    response = ocsp.load_der_ocsp_response(encode_signed(template, tbs, authority.sign(tbs)))
    assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * 32


def test_openssl_verifies_what_we_write(authority: Authority, record: Record, tmp_path: Path) -> None:
    """`openssl ocsp -respin` accepts chain and signature and prints our serial."""
    (tmp_path / "ca.pem").write_bytes(authority.root.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "response.der").write_bytes(authority.answer(record, SERIAL))
    options = ["-respin", "response.der", "-CAfile", "ca.pem", "-attime", str(NOW), "-resp_text"]
    ran = ask(tmp_path, "openssl", "ocsp", *options)
    assert "Response verify OK" in ran.stderr
    assert f"Serial Number: {SERIAL.hex().upper()}" in ran.stdout


def test_gnutls_reads_what_we_write(authority: Authority, record: Record, tmp_path: Path) -> None:
    """`ocsptool -j` prints the status."""
    (tmp_path / "response.der").write_bytes(authority.answer(record, SERIAL))
    text = ask(tmp_path, "ocsptool", "-j", "--infile", "response.der").stdout
    assert f"Certificate Status: {('good', 'revoked', 'unknown')[record.status]}" in text


def test_pkilint_finds_nothing(authority: Authority, record: Record) -> None:
    """L-1: no finding of severity WARNING or above."""
    decoders = [
        create_response_decoder(),
        create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
        create_extension_decoder(extension.EXTENSION_MAPPINGS),
    ]
    container = create_pkix_ocsp_response_validator_container(decoders, [])
    document = loader.RFC6960OCSPResponseDocumentLoader().load_der_document(
        authority.answer(record, SERIAL), "response"
    )
    found = [
        described.finding
        for result in container.validate(document.root)
        for described in result.finding_descriptions
        if described.finding.severity in SERIOUS
    ]
    assert found == []
