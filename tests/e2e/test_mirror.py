"""docs/mirror.md is true, with a CRL of `openssl ca` and one from a server that behaves like step-ca's."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.foreign_ca import STOLEN, ForeignCA, name_of, serving
from tests.support.instance import ROOT, Instance
from tests.support.pages import follow


def step_folder(folder: Path, ca: ForeignCA) -> None:
    """The files that step-ca's operator has."""
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    responder = (
        x509.CertificateBuilder()
        .subject_name(name_of("Step responder"))
        .issuer_name(ca.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .add_extension(x509.OCSPNoCheck(), critical=False)
        .sign(ca.key, hashes.SHA256())
    )
    (folder / "intermediate_ca.crt").write_bytes(ca.certificate.public_bytes(Encoding.PEM))
    (folder / "responder.crt").write_bytes(responder.public_bytes(Encoding.PEM))
    key_file = folder / "responder.key"
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key_file.chmod(0o600)


@pytest.mark.e2e
def test_the_page_about_mirrored_crls_does_what_it_says(instance: Instance, tmp_path: Path) -> None:
    """From two CAs that only publish CRLs to answers that `openssl ocsp` accepts, and metrics that say until when."""
    ca = ForeignCA("Step Intermediate")
    step_folder(tmp_path / "step", ca)
    with serving() as source:
        ends = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
        fields = {"Content-Type": "application/pkix-crl", "Expires": ends}
        source.put(ca.crl(1, {77: STOLEN}), fields=fields)
        assert follow(ROOT / "docs" / "mirror.md", tmp_path, instance, CRL_URL=source.url()) >= 6
    metrics = instance.metrics()
    assert 'fastocsp_crl_good_until_seconds{issuer_id="step"} 1.' in metrics
    assert 'fastocsp_crl_good_until_seconds{issuer_id="crl-only"} 1.' in metrics
