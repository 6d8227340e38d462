"""Delegated responders: the profile, the file, and every way a stored pair goes bad."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from cachewarm.ca.authority import Authority, init_root
from cachewarm.ca.certificate import parse_subject
from cachewarm.ca.responder_certificate import Fault, ResponderPair, Unusable, key_path, load_pair, make
from cachewarm.errors import Refused
from cachewarm.keys.soft_key import KeyKind, SoftKey
from tests.cachewarm.conftest import NOW, House, house_of
from tests.support.judges import lint_br_responder, lint_certificate, openssl

DAY_S = 86400


def test_profile_as_openssl_prints_it(house: House) -> None:
    """Exactly the extensions of O-19, with their criticality, on a P-256 key whatever the CA's is."""
    issued, _ = make(house.sub, "issuing", now=NOW)
    text = openssl("x509", "-inform", "DER", "-noout", "-text", stdin=issued.cert_der)
    assert "NIST CURVE: P-256" in text
    assert "X509v3 Key Usage: critical\n                Digital Signature\n" in text
    assert "X509v3 Extended Key Usage: \n                OCSP Signing\n" in text
    assert "OCSP No Check: \n" in text
    assert "Authority Key Identifier" in text
    assert text.count("X509v3 ") == 5, "key usage, extended key usage, two key identifiers and the heading"
    assert bytes.fromhex("06092b0601050507300105 0402 0500".replace(" ", "")) in issued.cert_der, "nocheck is NULL"
    assert "Subject: C = DE, O = Example, CN = OCSP responder issuing" in text


def test_responder_lints_clean(house: House) -> None:
    """RFC 5280 for every kind of CA key; the BR profile, where its signature algorithms allow one, too."""
    issued, _ = make(house.sub, "issuing", now=NOW)
    assert lint_certificate(issued.cert_der) == []
    findings = lint_br_responder(issued.cert_der)
    if house.kind is KeyKind.ED25519:  # docs/pkilint.md: BR 7.1.3.2 knows no Ed25519
        assert [finding.split()[1] for finding in findings] == [
            "cabf.serverauth.prohibited_signature_algorithm_encoding"
        ]
    else:
        assert findings == []


def test_openssl_takes_it_as_an_ocsp_helper(house: House, tmp_path: Path) -> None:
    """Chain and purpose hold for openssl."""
    issued, _ = make(house.sub, "issuing", now=NOW)
    root, sub = house.chain
    for name, pem in (("root", root.pem), ("sub", sub.pem), ("ocsp", issued.pem)):
        (tmp_path / f"{name}.pem").write_bytes(pem)
    chain = ("-CAfile", tmp_path / "root.pem", "-untrusted", tmp_path / "sub.pem")
    said = openssl("verify", "-attime", str(NOW), "-purpose", "ocsphelper", *chain, tmp_path / "ocsp.pem")
    assert "ocsp.pem: OK" in said


def test_window_is_five_minutes_back_and_within_the_ca(p256: House) -> None:
    """NotBefore is 5 minutes back; notAfter is 30 days on, or the CA's own last second."""
    issued, _ = make(p256.sub, "issuing", now=NOW)
    assert (issued.not_before, issued.not_after) == (NOW - 300, NOW + 30 * DAY_S)
    late = p256.sub.not_after - DAY_S
    issued, _ = make(p256.sub, "issuing", now=late)
    assert issued.not_after == p256.sub.not_after
    with pytest.raises(Refused, match="has expired"):
        make(p256.sub, "issuing", now=p256.sub.not_after)


def test_pair_comes_back_and_signs(p256: House, tmp_path: Path) -> None:
    """What was stored is loaded, and its signature holds under the certificate."""
    issued, key = make(p256.sub, "issuing", now=NOW)
    path = key_path(tmp_path, "issuing")
    assert path.name == "ocsp-responder-issuing.key"
    key.store(path, b"secret of this house")
    pair = load_pair(path, issued.cert_der, p256.sub.certificate, now=NOW, passphrase=b"secret of this house")
    assert isinstance(pair, ResponderPair)
    pair.certificate.verify(pair.key.sign(b"tbs"), b"tbs")


@pytest.mark.parametrize("issuer_id", ["../evil", "a/b", "", ".hidden", "a\n", "A", "x" * 64])
def test_issuer_id_cannot_leave_the_folder(issuer_id: str, tmp_path: Path) -> None:
    """An id that is no plain name never becomes a path."""
    with pytest.raises(Refused, match="not an issuer id"):
        key_path(tmp_path, issuer_id)


@pytest.mark.parametrize(
    ("fault", "now", "grace_s"),
    [
        (Fault.NOT_YET_VALID, NOW - 301, 0),
        (Fault.EXPIRED, NOW + 30 * DAY_S + 1, 0),
        (Fault.IN_GRACE, NOW + 23 * DAY_S + 1, 7 * DAY_S),
    ],
)
def test_window_faults(p256: House, tmp_path: Path, fault: Fault, now: int, grace_s: int) -> None:
    """One second before its beginning, after its end, and into the grace: unusable, and named."""
    issued, key = make(p256.sub, "issuing", now=NOW)
    key.store(tmp_path / "k")
    found = load_pair(tmp_path / "k", issued.cert_der, p256.sub.certificate, now=now, grace_s=grace_s)
    assert isinstance(found, Unusable)
    assert found.fault is fault


def test_window_is_usable_up_to_its_last_second(p256: House, tmp_path: Path) -> None:
    """Who passes no grace signs to the end; who passes one, up to its beginning."""
    issued, key = make(p256.sub, "issuing", now=NOW)
    key.store(tmp_path / "k")
    for now, grace_s in ((NOW - 300, 0), (issued.not_after, 0), (issued.not_after - 7 * DAY_S, 7 * DAY_S)):
        found = load_pair(tmp_path / "k", issued.cert_der, p256.sub.certificate, now=now, grace_s=grace_s)
        assert isinstance(found, ResponderPair)


def test_file_faults_are_values_not_crashes(p256: House, tmp_path: Path) -> None:
    """No file, another key, open mode, rubbish, a wrong passphrase: each is named, none raises."""
    issued, key = make(p256.sub, "issuing", now=NOW)
    path = key_path(tmp_path, "issuing")

    def fault(passphrase: bytes | None = None) -> Fault:
        found = load_pair(path, issued.cert_der, p256.sub.certificate, now=NOW, passphrase=passphrase)
        assert isinstance(found, Unusable)
        assert path.name in found.text
        return found.fault

    assert fault() is Fault.KEY_MISSING
    SoftKey.generate(KeyKind.P256).store(path)
    assert fault() is Fault.KEY_MISMATCH
    key.store(path)
    path.chmod(0o644)
    assert fault() is Fault.KEY_UNREADABLE
    key.store(path, b"right")
    assert fault(b"wrong") is Fault.KEY_UNREADABLE
    path.write_bytes(b"rubbish")
    assert fault() is Fault.KEY_UNREADABLE


def test_certificate_of_another_ca_key_is_named(p256: House, tmp_path: Path) -> None:
    """After a CA key rollover under the same name the old responder is of no use, and neither is rubbish in the row."""
    issued, key = make(p256.sub, "issuing", now=NOW)
    key.store(tmp_path / "k")
    new_key = SoftKey.generate(KeyKind.P256)
    same_name = init_root(new_key, p256.sub.certificate.subject, now=NOW).certificate
    for cert_der, ca, fault in (
        (issued.cert_der, same_name, Fault.OTHER_ISSUER),
        (issued.cert_der, house_of(KeyKind.RSA2048).sub.certificate, Fault.OTHER_ISSUER),
        (b"rubbish", p256.sub.certificate, Fault.CERTIFICATE_BROKEN),
        (issued.cert_der + b"\0", p256.sub.certificate, Fault.CERTIFICATE_BROKEN),
    ):
        found = load_pair(tmp_path / "k", cert_der, ca, now=NOW)
        assert isinstance(found, Unusable)
        assert found.fault is fault


def test_ca_without_country_still_gives_a_subject(tmp_path: Path) -> None:
    """The subject is never empty: Java 17 cannot parse such a responder; a long id is cut to 64 characters."""
    key = SoftKey.generate(KeyKind.P256)
    authority = Authority(init_root(key, parse_subject("Bare"), now=NOW).certificate, key)
    issued, _ = make(authority, "x" * 63, now=NOW)
    assert issued.subject == "CN=" + ("OCSP responder " + "x" * 63)[:64]


def test_a_ca_may_sign_its_answers_itself(p256: House, tmp_path: Path) -> None:
    """RFC 6960 4.2.2.2 (1): its own certificate is a responder's, for a subordinate CA as well as for a root."""
    for authority in (p256.root, p256.sub):
        path, cert_der = tmp_path / "ca.key", authority.certificate.public_bytes(Encoding.DER)
        assert isinstance(authority.key, SoftKey)
        authority.key.store(path)
        assert isinstance(load_pair(path, cert_der, authority.certificate, now=NOW), ResponderPair)
