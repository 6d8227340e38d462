"""pkilint on what is served: nothing at WARNING or above. It is shallow for OCSP (docs/pkilint.md): others verify."""

import secrets

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.e2e.wanted import Demo, demo_of
from tests.support import odd_requests as odd
from tests.support.http import Talk, get_octets, post_octets
from tests.support.instance import Instance
from tests.support.judges import lint_certificate, lint_crl, lint_ocsp_response


def asked(demo: Demo) -> dict[str, bytes]:
    """Questions whose answers differ in kind."""
    good, revoked = (odd.cert_id(demo.issuer, cert.serial_number) for cert in (demo.good_cert, demo.revoked_cert))
    nonce = odd.nonce(secrets.token_bytes(32))
    return {
        "good": odd.request(good),
        "good, SHA-256": odd.request(odd.cert_id(demo.issuer, demo.good_cert.serial_number, "sha256")),
        "revoked": odd.request(revoked),
        "nonce": odd.request(good, extensions=[nonce]),
        "revoked with nonce": odd.request(revoked, extensions=[nonce]),
        "several": odd.request(good, revoked),
        "several with nonce": odd.request(good, revoked, extensions=[nonce]),
    }


KINDS = ["good", "good, SHA-256", "revoked", "nonce", "revoked with nonce", "several", "several with nonce"]


@pytest.mark.parametrize("kind", KINDS)
def test_served_answers_are_clean(instance: Instance, kind: str) -> None:
    """The answer by pkilint, its responder certificate too; the responder is named by key (O-17)."""
    demo = demo_of(instance)
    with Talk(instance.port) as talk:
        _, _, body = talk.ask(post_octets(asked(demo)[kind]))
    answer = ocsp.load_der_ocsp_response(body)
    assert lint_ocsp_response(body) == []
    assert answer.responder_name is None
    (responder,) = answer.certificates
    assert answer.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(responder.public_key()).digest
    assert lint_certificate(responder.public_bytes(Encoding.DER)) == []


@pytest.mark.parametrize("octets", [b"bad", odd.request(odd.der(0x30))])
def test_error_answers_are_clean(instance: Instance, octets: bytes) -> None:
    """Five bytes."""
    with Talk(instance.port) as talk:
        _, _, body = talk.ask(post_octets(octets))
    assert lint_ocsp_response(body) == []


def test_the_served_crl_is_clean(instance: Instance) -> None:
    """By RFC 5280; and it lists the revoked certificate with the OCSP answer's time and reason (O-26)."""
    demo = demo_of(instance)
    with Talk(instance.port) as talk:
        _, _, der = talk.ask(get_octets("/.well-known/pki/crl/demo"))
        _, _, body = talk.ask(post_octets(demo.revoked))
    assert lint_crl(der) == []
    entry = x509.load_der_x509_crl(der).get_revoked_certificate_by_serial_number(demo.revoked_cert.serial_number)
    (single,) = ocsp.load_der_ocsp_response(body).responses
    assert entry is not None
    assert entry.revocation_date_utc == single.revocation_time_utc
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is single.revocation_reason
