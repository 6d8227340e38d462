"""Clients that are not ours agree with us."""

import subprocess
from pathlib import Path

import pytest

from tests.support.http import openssl_ocsp
from tests.support.instance import Instance


@pytest.mark.parametrize("nonce", [(), ("-no_nonce",)], ids=["nonce", "no nonce"])
@pytest.mark.parametrize("algorithm", ["-sha1", "-sha256", "-sha384", "-sha512"])
def test_openssl_sees_good_and_revoked(instance: Instance, algorithm: str, nonce: tuple[str, ...]) -> None:
    """`openssl ocsp` verifies both answers, with every hash, with and without nonce."""
    facts = instance.facts
    good = openssl_ocsp(facts, instance.ocsp_url, facts["good_cert"], algorithm, *nonce)
    revoked = openssl_ocsp(facts, instance.ocsp_url, facts["revoked_cert"], algorithm, *nonce)
    assert "Response verify OK" in good
    assert f"{facts['good_cert']}: good" in good
    assert "WARNING: no nonce" not in good
    assert "Response verify OK" in revoked
    assert f"{facts['revoked_cert']}: revoked" in revoked
    assert "Reason: keyCompromise" in revoked
    assert "Revocation Time: " in revoked


@pytest.mark.parametrize("path", ["/ocsp", "/ocsp/"])
def test_the_issuer_is_found_without_its_name_in_the_path(instance: Instance, path: str) -> None:
    """POST /ocsp finds the issuer by the CertID's hashes."""
    facts = instance.facts
    assert ": good" in openssl_ocsp(facts, instance.base + path, facts["good_cert"])


def test_gnutls_agrees(instance: Instance, tmp_path: Path) -> None:
    """GnuTLS `ocsptool` verifies the revoked answer and names the status."""
    facts = instance.facts
    answer = str(tmp_path / "answer.der")
    issuer = ["--load-issuer", facts["issuer_cert"]]
    ask = ["ocsptool", f"--ask={instance.ocsp_url}", "--load-cert", facts["revoked_cert"], *issuer, "--outfile", answer]
    subprocess.run(ask, capture_output=True, check=False, timeout=30)
    verify = ["ocsptool", "--verify-response", "--load-response", answer, *issuer, "--load-trust", facts["issuer_cert"]]
    said = subprocess.run(verify, capture_output=True, text=True, check=True, timeout=30).stdout
    assert "Verifying OCSP Response: Success" in said
    assert "Certificate Status: revoked" in said


def test_the_crl_verifies_and_lists_the_revoked(instance: Instance, tmp_path: Path) -> None:
    """Curl fetches it, `openssl crl` verifies it against the CA, and the revoked serial number is on it."""
    facts = instance.facts
    path = tmp_path / "demo.crl"
    subprocess.run(["curl", "-sf", "-o", path, f"{instance.base}/.well-known/pki/crl/demo"], check=True, timeout=30)
    crl = [
        "openssl",
        "crl",
        "-inform",
        "DER",
        "-in",
        path,
        "-CAfile",
        facts["issuer_cert"],
        "-verify",
        "-text",
        "-noout",
    ]
    done = subprocess.run(crl, capture_output=True, text=True, check=True, timeout=30)
    assert "verify OK" in done.stdout + done.stderr
    assert Path(facts["revoked_cert"]).stem.upper() in done.stdout
    assert Path(facts["good_cert"]).stem.upper() not in done.stdout


def test_the_issuer_certificate_is_served(instance: Instance) -> None:
    """AIA caIssuers points at the DER of the CA."""
    url = f"{instance.base}/.well-known/pki/issuer/demo"
    got = subprocess.run(["curl", "-sf", url], capture_output=True, check=True, timeout=30).stdout
    want = subprocess.run(
        ["openssl", "x509", "-in", instance.facts["issuer_cert"], "-outform", "DER"], capture_output=True, check=True
    ).stdout
    assert got == want
