"""End-entity certificates, judged by openssl, pkilint and GnuTLS."""

import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from cachewarm.ca.certificate import Issued, parse_subject
from cachewarm.ca.issue import Terms, issue, issue_request
from cachewarm.ca.profiles import PROFILES, TLS_CLIENT, TLS_SERVER, Pointers
from cachewarm.errors import Refused
from cachewarm.keys.builders import sign_request
from cachewarm.keys.soft_key import KeyKind, SoftKey
from tests.cachewarm.conftest import NOW, POINTERS, House, house_of
from tests.support.judges import certtool, lint_br_responder, lint_certificate, openssl

TERMS = Terms(POINTERS)
NAMES = ("www.example.com", "example.net", "192.0.2.7", "2001:db8::7")
PURPOSES = {TLS_SERVER.name: "sslserver", TLS_CLIENT.name: "sslclient"}


def leaf_of(house: House, terms: Terms = TERMS, names: tuple[str, ...] = NAMES) -> Issued:
    """A certificate of the issuing CA for a new key."""
    return issue(house.sub, SoftKey.generate(house.kind).public_key, terms, names=names, now=NOW)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
@pytest.mark.parametrize("must_staple", [False, True], ids=["", "must-staple"])
def test_leaf_lints_clean_and_verifies(house: House, tmp_path: Path, profile: object, must_staple: bool) -> None:
    """Pkilint finds nothing; openssl builds the chain, strictly, and accepts the purpose."""
    terms = Terms(POINTERS, profile, must_staple=must_staple)  # type: ignore[arg-type]
    leaf = leaf_of(house, terms)
    assert lint_certificate(leaf.cert_der) == []
    root, sub = house.chain
    for name, pem in (("root", root.pem), ("sub", sub.pem), ("leaf", leaf.pem)):
        (tmp_path / f"{name}.pem").write_bytes(pem)
    openssl(
        "verify", "-x509_strict", "-attime", str(NOW), "-purpose", PURPOSES[terms.profile.name],
        "-CAfile", tmp_path / "root.pem", "-untrusted", tmp_path / "sub.pem", tmp_path / "leaf.pem",
    )  # fmt: skip


def test_gnutls_trusts_the_chain(house: House, tmp_path: Path) -> None:
    """The second opinion; certtool knows no other time than now."""
    now = int(time.time())
    house = house_of(house.kind, now)
    leaf = issue(house.sub, SoftKey.generate(house.kind).public_key, TERMS, names=NAMES, now=now)
    root, sub = house.chain
    (tmp_path / "root.pem").write_bytes(root.pem)
    (tmp_path / "chain.pem").write_bytes(leaf.pem + sub.pem)
    said = certtool("--verify", "--load-ca-certificate", tmp_path / "root.pem", "--infile", tmp_path / "chain.pem")
    assert "Chain verification output: Verified. The certificate is trusted." in said


def test_leaf_says_what_was_asked(p256: House) -> None:
    """Names of every kind, pointers, usages, must-staple as feature 5, as openssl prints them."""
    leaf = leaf_of(p256, Terms(POINTERS, must_staple=True))
    text = openssl("x509", "-inform", "DER", "-noout", "-text", stdin=leaf.cert_der)
    for expected in (
        "DNS:www.example.com, DNS:example.net, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:7",
        "TLS Web Server Authentication\n",
        "TLS Feature: \n                status_request\n",
        f"OCSP - URI:{POINTERS.ocsp_url}",
        f"CA Issuers - URI:{POINTERS.ca_issuers_url}",
        f"URI:{POINTERS.crl_url}",
        "X509v3 Basic Constraints: critical\n                CA:FALSE\n",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "CN = www.example.com",
    ):
        assert expected in text
    assert bytes.fromhex("06082b0601050507011804053003020105") in leaf.cert_der


def test_left_out_pointers_leave_no_empty_extension(p256: House) -> None:
    """None leaves an extension out; an AIA with one of its two URLs has one entry."""
    bare = leaf_of(p256, Terms(Pointers()))
    assert lint_certificate(bare.cert_der) == []
    present = {type(each.value) for each in bare.certificate.extensions}
    assert not present & {x509.AuthorityInformationAccess, x509.CRLDistributionPoints}
    one = leaf_of(p256, Terms(Pointers(ocsp_url=POINTERS.ocsp_url)))
    assert len(one.certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value) == 1


@pytest.mark.parametrize("name", ["ocsp_url", "ca_issuers_url", "crl_url"])
@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("https://ocsp.example.com/", "http://"),
        ("ocsp.example.com", "http://"),
        ("http:///ocsp", "http://"),
        ("http://exämple.com/", "ASCII"),
        ("http://example.com/a b", "http://"),
        ("http://example.com/\n", "http://"),
        ("http://[::1/", "not a URL"),
        ("http://example.com:99999/", "not a URL"),
    ],
)
def test_bad_urls_are_refused_by_name(name: str, url: str, sentence: str) -> None:
    """An empty or unusable URL is an error that names its field, never an extension silently left out."""
    with pytest.raises(Refused, match=sentence) as caught:
        Pointers(**{name: url})  # type: ignore[arg-type]
    assert str(caught.value).startswith(name)


def test_must_staple_needs_an_ocsp_url() -> None:
    """Without a place to fetch the staple from, no server could ever use the certificate."""
    with pytest.raises(Refused, match="must-staple without an OCSP URL"):
        Terms(Pointers(crl_url=POINTERS.crl_url), must_staple=True)


@pytest.mark.parametrize(
    "bad", ["exämple.com", "-a.example", "a_b.example", "a..b", "www.*.example", "a b", "a@", "@b", "x" * 64, ""]
)
def test_bad_names_are_refused(p256: House, bad: str) -> None:
    """Names that are none, and no names at all."""
    with pytest.raises(Refused, match="not a name for a certificate"):
        leaf_of(p256, names=(bad,))
    with pytest.raises(Refused, match="needs a host name"):
        leaf_of(p256, names=())


@pytest.mark.parametrize("name", ["*.example.com", "localhost"])
def test_wildcards_and_single_labels_are_all_that_pkilint_minds(p256: House, name: str) -> None:
    """docs/pkilint.md says why this finding is wrong for these two; nothing else is found."""
    findings = lint_certificate(leaf_of(p256, names=(name,)).cert_der)
    assert findings == [f'ERROR pkix.invalid_domain_name_syntax Invalid domain name syntax: "{name}"']


def test_names_must_fit_the_profile(p256: House) -> None:
    """A server needs a host; a client may have a mail address or a URI alone; no name stands twice."""
    with pytest.raises(Refused, match="tls-server certificate needs a host name"):
        leaf_of(p256, names=("a@example.com",))
    client = leaf_of(p256, Terms(POINTERS, TLS_CLIENT), ("a@example.com", "spiffe://example.com/a"))
    text = openssl("x509", "-inform", "DER", "-noout", "-text", stdin=client.cert_der)
    assert "email:a@example.com, URI:spiffe://example.com/a" in text
    with pytest.raises(Refused, match="twice"):
        leaf_of(p256, names=("a.example", "a.example"))


def test_long_first_name_gives_an_empty_subject_and_a_critical_san(p256: House) -> None:
    """A common name has at most 64 characters; without subject the SAN is critical (RFC 5280 4.2.1.6)."""
    host = ".".join(["x" * 30] * 3)
    leaf = leaf_of(p256, names=(host,))
    assert leaf.subject == ""
    assert leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical is True
    assert lint_certificate(leaf.cert_der) == []


def test_validity_defaults_and_bounds(p256: House) -> None:
    """90 days, or what was asked, but never beyond the CA and never nothing."""
    assert leaf_of(p256).not_after == NOW + 90 * 86400
    assert leaf_of(p256, Terms(POINTERS, validity_s=3600)).not_after == NOW + 3600
    for validity_s, sentence in ((86400 * 5000, "itself ends in"), (0, "of no use"), (-5, "of no use")):
        with pytest.raises(Refused, match=sentence):
            leaf_of(p256, Terms(POINTERS, validity_s=validity_s))


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.RSA2048, KeyKind.ED25519], ids=str)
def test_request_is_issued_with_its_key_and_names(p256: House, tmp_path: Path, kind: KeyKind) -> None:
    """A request made by openssl is taken with key, subject and SAN, and nothing else it wishes for."""
    SoftKey.generate(kind).store(tmp_path / "k")
    openssl(
        "req", "-new", "-key", tmp_path / "k", "-subj", "/O=Example/CN=csr.example", "-out", tmp_path / "csr.pem",
        "-addext", "subjectAltName=DNS:csr.example,IP:192.0.2.9", "-addext", "basicConstraints=CA:TRUE",
    )  # fmt: skip
    request = (tmp_path / "csr.pem").read_bytes()
    issued = issue_request(p256.sub, request, TERMS, now=NOW)
    assert issued.certificate.public_key() == SoftKey.load(tmp_path / "k").public_key
    assert issued.subject == "CN=csr.example,O=Example"
    text = openssl("x509", "-inform", "DER", "-noout", "-text", stdin=issued.cert_der)
    assert "DNS:csr.example, IP Address:192.0.2.9" in text
    assert "CA:FALSE" in text
    renamed = issue_request(p256.sub, request, TERMS, now=NOW, names=("other.example",))
    assert "DNS:other.example" in openssl("x509", "-inform", "DER", "-noout", "-text", stdin=renamed.cert_der)


def test_request_with_a_broken_signature_is_refused(p256: House) -> None:
    """Whoever cannot sign the request has not shown that the key is theirs."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(parse_subject("a.example"))
    good = sign_request(builder, SoftKey.generate(KeyKind.ED25519)).public_bytes(Encoding.DER)
    broken = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(Refused, match="signature does not hold"):
        issue_request(p256.sub, broken, TERMS, now=NOW, names=("a.example",))
    with pytest.raises(Refused, match="not a certification request"):
        issue_request(p256.sub, b"rubbish", TERMS, now=NOW)


def test_foreign_key_is_refused(p256: House) -> None:
    """A key that no profile of ours knows gets no certificate."""
    with pytest.raises(Refused, match="do not sign here"):
        issue(p256.sub, ec.generate_private_key(ec.SECP521R1()).public_key(), TERMS, names=NAMES, now=NOW)


def test_the_linters_can_fail(p256: House) -> None:
    """The judges are no yes-men: a server certificate is a bad responder."""
    assert lint_br_responder(leaf_of(p256).cert_der) != []
