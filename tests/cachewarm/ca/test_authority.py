"""The local CA, judged by openssl and pkilint."""

from pathlib import Path

import pytest
from cryptography import x509

from cachewarm.ca.authority import Authority, init_root, init_sub
from cachewarm.ca.certificate import new_serial, parse_subject
from cachewarm.ca.profiles import Pointers
from cachewarm.errors import Refused
from cachewarm.keys.soft_key import KeyKind, SoftKey
from tests.cachewarm.conftest import NOW, POINTERS, House
from tests.support.judges import lint_certificate, openssl


def test_chain_verifies_with_openssl(house: House, tmp_path: Path) -> None:
    """Openssl accepts the subordinate CA as a CA under the root, strictly."""
    root, sub = house.chain
    (tmp_path / "root.pem").write_bytes(root.pem)
    (tmp_path / "sub.pem").write_bytes(sub.pem)
    trust = ("-x509_strict", "-attime", str(NOW), "-CAfile", tmp_path / "root.pem")
    assert "sub.pem: OK" in openssl("verify", *trust, tmp_path / "sub.pem")


def test_ca_certificates_lint_clean(house: House) -> None:
    """Pkilint has nothing at WARNING or above to say of either, for every kind of key."""
    for issued in house.chain:
        assert lint_certificate(issued.cert_der) == []


def test_root_says_what_a_root_says(p256: House) -> None:
    """CA TRUE critical, keyCertSign and cRLSign alone, key identifier, and no pointers: nobody revokes a root."""
    text = openssl("x509", "-inform", "DER", "-noout", "-text", stdin=p256.chain[0].cert_der)
    assert "X509v3 Basic Constraints: critical\n                CA:TRUE\n" in text
    assert "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n" in text
    assert "Authority Information Access" not in text
    assert "CRL Distribution" not in text


def test_subordinate_ca_points_at_its_parent(p256: House) -> None:
    """Path length 0, the parent's key identifier, and where its own status is asked."""
    text = openssl("x509", "-inform", "DER", "-noout", "-text", stdin=p256.chain[1].cert_der)
    assert "CA:TRUE, pathlen:0" in text
    assert f"OCSP - URI:{POINTERS.ocsp_url}" in text
    assert f"CA Issuers - URI:{POINTERS.ca_issuers_url}" in text
    assert f"URI:{POINTERS.crl_url}" in text
    parent = p256.root.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    child = p256.sub.certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert child.key_identifier == parent.digest


def test_window_begins_five_minutes_back_and_never_outlives_the_parent(p256: House) -> None:
    """A client with a slow clock takes the certificate; a default length is cut to the parent's end."""
    late = p256.root.not_after - 86400
    sub = init_sub(SoftKey.generate(KeyKind.P256), parse_subject("Late CA"), p256.root, now=late, pointers=Pointers())
    assert (sub.not_before, sub.not_after) == (late - 300, p256.root.not_after)


def test_a_length_that_does_not_fit_is_refused(p256: House) -> None:
    """Who asks for more than the parent has left is told how much that is."""
    with pytest.raises(Refused, match=r"ends in 3650\.0 days"):
        init_sub(
            SoftKey.generate(KeyKind.P256),
            parse_subject("Eager CA"),
            p256.root,
            now=NOW,
            pointers=Pointers(),
            validity_s=4000 * 86400,
        )


def test_path_length_is_kept(p256: House) -> None:
    """Below pathLenConstraint 0 there is no CA; below 1 there is one with 0."""
    key = SoftKey.generate(KeyKind.P256)
    with pytest.raises(Refused, match="pathLenConstraint 0"):
        init_sub(key, parse_subject("Deep CA"), p256.sub, now=NOW, pointers=Pointers())
    one = Authority(init_root(key, parse_subject("One"), now=NOW, path_length=1).certificate, key)
    below = init_sub(
        SoftKey.generate(KeyKind.P256), parse_subject("Two"), one, now=NOW, pointers=Pointers(), path_length=5
    )
    constraints = below.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert constraints.path_length == 0


def test_subordinate_ca_with_its_parents_name_is_refused(p256: House) -> None:
    """It would look self-issued to every path builder."""
    with pytest.raises(Refused, match="subject of its own"):
        init_sub(SoftKey.generate(KeyKind.P256), p256.root.certificate.subject, p256.root, now=NOW, pointers=Pointers())


def test_authority_is_loaded_from_its_two_files(p256: House, tmp_path: Path) -> None:
    """PEM or DER certificate, and the key that belongs to it."""
    key = SoftKey.generate(KeyKind.P256)
    issued = init_root(key, parse_subject("Root"), now=NOW)
    key.store(tmp_path / "ca.key")
    for name, octets in (("ca.pem", issued.pem), ("ca.der", issued.cert_der)):
        (tmp_path / name).write_bytes(octets)
        assert Authority.load(tmp_path / name, tmp_path / "ca.key").certificate == issued.certificate
    SoftKey.generate(KeyKind.P256).store(tmp_path / "ca.key")
    with pytest.raises(Refused, match="does not belong"):
        Authority.load(tmp_path / "ca.pem", tmp_path / "ca.key")
    with pytest.raises(FileNotFoundError):
        Authority.load(tmp_path / "none.pem", tmp_path / "ca.key")
    (tmp_path / "ca.pem").write_bytes(b"rubbish")
    with pytest.raises(Refused, match=r"ca\.pem cannot be read"):
        Authority.load(tmp_path / "ca.pem", tmp_path / "ca.key")


def test_serial_numbers_are_positive_long_and_distinct() -> None:
    """16 bytes of DER content each (RFC 5280 4.1.2.2 allows 20), none negative, none twice."""
    serials = [new_serial() for _ in range(2000)]
    assert len(set(serials)) == 2000
    assert {len(serial.to_bytes((serial.bit_length() + 8) // 8, "big")) for serial in serials} == {16}
    assert min(serials) > 0


@pytest.mark.parametrize(
    ("text", "rfc4514"),
    [("Example Root", "CN=Example Root"), ("CN=A,O=B,C=DE", "CN=A,O=B,C=DE"), ("CN=A\\,B,O=C", "CN=A\\,B,O=C")],
)
def test_subjects_are_written_as_people_write_them(text: str, rfc4514: str) -> None:
    """RFC 4514, or a bare common name."""
    assert parse_subject(text).rfc4514_string() == rfc4514


@pytest.mark.parametrize("text", ["", "   ", "C=Germany", "NOSUCH=x", "CN=", "=x"])
def test_bad_subjects_are_refused(text: str) -> None:
    """An empty or impossible subject never reaches a certificate."""
    with pytest.raises(Refused, match="subject"):
        parse_subject(text)
