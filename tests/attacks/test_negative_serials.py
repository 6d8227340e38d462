"""Negative serial numbers, which RFC 5280 forbids and some CAs issue: what a CRL lists is answered `revoked`."""

import itertools
import subprocess
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import connected
from responder.domain.serial import serial_number, serial_octets
from tests.support import odd_requests as odd
from tests.support.breakage import eventually
from tests.support.foreign_ca import STOLEN, ForeignCA, name_of
from tests.support.http import Talk, get_octets, post_octets
from tests.support.instance import Instance

#: The longest that a CertID may name, one of two bytes, and the shortest, whose bytes as a magnitude are 255.
NEGATIVE = (-(1 << 159), -129, -1)
POSITIVE = tuple(int.from_bytes(number.to_bytes((~number).bit_length() // 8 + 1, signed=True)) for number in NEGATIVE)


@pytest.fixture(scope="module")
def ca(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> ForeignCA:
    """A CA that listed negative serial numbers, mirrored; it never issued the positive ones of the same bytes."""
    folder = tmp_path_factory.mktemp("negative")
    ca = ForeignCA("Negative CA")
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    responder = (
        x509.CertificateBuilder()
        .subject_name(name_of("Negative responder"))
        .issuer_name(ca.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .add_extension(x509.OCSPNoCheck(), critical=False)
        .sign(ca.key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(ca.certificate.public_bytes(Encoding.PEM))
    (folder / "responder.pem").write_bytes(responder.public_bytes(Encoding.PEM))
    key_file = folder / "responder.key"
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key_file.chmod(0o600)
    (folder / "crl").write_bytes(with_serials(ca, NEGATIVE))
    (folder / "crl").chmod(0o644)
    instance.command(
        *("issuer", "add", "--id", "negative", "--cert", str(folder / "ca.pem")),
        *("--responder-cert", str(folder / "responder.pem"), "--responder-key", str(key_file)),
        *("--unissued", "good", "--crl-source", (folder / "crl").as_uri()),
    )
    instance.command("crl", "fetch", "negative", check=False)  # the warmer may have been first
    eventually(lambda: all(is_answered(instance, ca, number) for number in (NEGATIVE[0], POSITIVE[0]) * 4), 30)
    return ca


def is_answered(instance: Instance, ca: ForeignCA, number: int) -> bool:
    """Some worker and the signer have the issuer, its revocations and the window of its CRL."""
    asked = post_octets(odd.request(odd.cert_id(ca.certificate, content_of(number), "sha256")))
    with Talk(instance.port) as talk:
        return bool(asn1.OCSPResponse.load(talk.ask(asked)[2])["response_status"].native == "successful")


def with_serials(ca: ForeignCA, serials: tuple[int, ...]) -> bytes:
    """A CRL of these; the builder of `cryptography` writes no negative ones."""
    crl = asn1_crl.CertificateList.load(ca.crl(1, dict.fromkeys(range(1, 1 + len(serials)), STOLEN)))
    for entry, serial in zip(crl["tbs_cert_list"]["revoked_certificates"], serials, strict=True):
        entry["user_certificate"] = serial
    crl["signature"] = ca.key.sign(crl["tbs_cert_list"].dump(force=True), ec.ECDSA(hashes.SHA256()))
    return bytes(crl.dump(force=True))


def content_of(number: int) -> bytes:
    """The content of that INTEGER."""
    return number.to_bytes((number if number >= 0 else ~number).bit_length() // 8 + 1, signed=True)


def stated(body: bytes) -> tuple[int, str, bytes]:
    """Serial number, status and DER of the CertID by `asn1crypto`."""
    response = asn1.OCSPResponse.load(body)
    assert response["response_status"].native == "successful", response["response_status"].native
    (single,) = response.response_data["responses"]
    cert_id = single["cert_id"]
    return cert_id["serial_number"].native, single["cert_status"].name, cert_id.dump()


@pytest.mark.e2e
def test_negative_serial_of_a_crl_is_answered_revoked(instance: Instance, ca: ForeignCA) -> None:
    """With and without a nonce, by GET and POST, from the signer and from the table; its positive twin stays good."""
    status = dict.fromkeys(NEGATIVE, "revoked") | dict.fromkeys(POSITIVE, "good")
    with Talk(instance.port) as talk:
        for number, digest in itertools.product((*status, *status), ("sha1", "sha256")):
            cert_id = odd.cert_id(ca.certificate, content_of(number), digest)
            for extensions in ((), (odd.nonce(b"n" * 16),)):
                asked = odd.request(cert_id, extensions=extensions)
                said = talk.ask(post_octets(asked))[2]
                assert stated(said) == (number, status[number], cert_id)
            said = talk.ask(get_octets(f"/ocsp/{quote(b64encode(odd.request(cert_id)), safe='')}"))[2]
            assert stated(said) == (number, status[number], cert_id)
        said = talk.ask(get_octets("/.well-known/pki/ocsp/negative/-01"))[2]
        assert stated(said)[:2] == (-1, "revoked")


@pytest.mark.e2e
def test_openssl_is_told_revoked_for_a_negative_serial(instance: Instance, ca: ForeignCA, tmp_path: Path) -> None:
    """It builds the request and verifies the answer."""
    pem = tmp_path / "issuer.pem"
    pem.write_bytes(ca.certificate.public_bytes(Encoding.PEM))
    for serial, expected in (("-1", "revoked"), ("255", "good"), (str(-(1 << 159)), "revoked")):
        done = subprocess.run(
            ["openssl", "ocsp", "-issuer", pem, "-CAfile", pem, "-serial", serial, "-url", f"{instance.base}/ocsp"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert "Response verify OK" in done.stdout + done.stderr
        assert f"{serial}: {expected}" in done.stdout, done.stdout + done.stderr


async def test_ledger_takes_one_spelling_of_a_serial_number(database: DatabaseURLs) -> None:
    """What the writers of CRLs and answers would refuse cannot be entered: one such row would cost the whole CRL."""
    ends = (0x00, 0x01, 0x7F, 0x80, 0xFF)
    spelt = [bytes(each) for length in range(5) for each in itertools.product(ends, repeat=length)]
    spelt += [b"\x01" * 20, b"\x01" * 21, b"\0" + b"\x80" * 20, b"\0" + b"\x80" * 21]
    async with connected(database.owner) as owner:
        query = "select array_agg(each) from unnest($1::bytea[]) each where is_serial_number(each)"
        taken = await owner.fetchval(query, spelt)
    assert set(taken) == {key for key in spelt if _is_key(key)}


def _is_key(spelt: bytes) -> bool:
    try:
        return spelt != b"" and serial_octets(serial_number(spelt)) == spelt
    except ValueError:
        return False
