"""CRLs, judged by openssl, GnuTLS and pkilint, and read back by another library."""

import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from _fastocsp.crl.entry_buffer import EntryBuffer
from _fastocsp.crl.entry_writer import EntryWriter
from _fastocsp.crl.fields import Scope
from _fastocsp.wire.errors import WireError
from cachewarm.ca.issue import Terms, issue
from cachewarm.crl.build import CRLFields, EncodedEntries, build, encoded_entries
from cachewarm.crl.parse import peek_crl
from cachewarm.crl.plan import RevokedEntry
from cachewarm.errors import Refused
from responder.domain.issuer import Issuer
from responder.domain.status import CRLReason
from tests.cachewarm.conftest import NOW, POINTERS, House, house_of
from tests.reference.crl import Entry
from tests.support.copy_rows import stream
from tests.support.judges import certtool, lint_crl, openssl

DAY_S = 86400
URL = POINTERS.crl_url
REASONS = [reason for reason in CRLReason if reason is not CRLReason.removeFromCRL]
#: Baseline Requirements 7.2.2 and 4.9.1.1: the reasons of a subscriber certificate.
BR_REASONS = {
    CRLReason.unspecified,
    CRLReason.keyCompromise,
    CRLReason.affiliationChanged,
    CRLReason.superseded,
    CRLReason.cessationOfOperation,
    CRLReason.privilegeWithdrawn,
}
ENTRIES = [
    RevokedEntry(bytes([0x40 + reason]) * 16, NOW - 1000 - reason, reason, NOW - 9000 if reason % 2 else None)
    for reason in REASONS
]


def issuer_of(house: House) -> Issuer:
    """The issuing CA as the product knows it."""
    return Issuer.from_certificate(house.chain[1].cert_der, issuer_id="issuing", issuer_no=1)


def crl_of(
    house: House,
    entries: list[RevokedEntry] = ENTRIES,
    *,
    number: int = 7,
    this_update: int = NOW,
    next_update: int | None = None,
    scope: Scope | None = None,
    base_number: int | None = None,
    freshest_url: str | None = None,
) -> bytes:
    """A CRL of the issuing CA."""
    shape = CRLFields(
        number=number,
        this_update=this_update,
        next_update=next_update or this_update + DAY_S,
        scope=Scope(url=URL) if scope is None else scope,
        base_number=base_number,
        freshest_url=freshest_url,
    )
    found = encoded(entries, is_delta=base_number is not None)
    return build(issuer_of(house), house.sub.key, found.parts[0], found.latest, shape)


def encoded(entries: list[RevokedEntry], *, is_delta: bool = False) -> EncodedEntries:
    """As the ledger sends them: ascending."""
    writer = EntryWriter(is_delta=is_delta)
    writer.feed(stream(Entry(*entry) for entry in sorted(entries)))
    return encoded_entries(writer)


@pytest.mark.parametrize("entries", [[], ENTRIES], ids=["empty", "revoked"])
@pytest.mark.parametrize("crl_url", [None, URL], ids=["no URL", "URL"])
def test_crl_lints_clean(house: House, entries: list[RevokedEntry], crl_url: str | None) -> None:
    """RFC 5280 with every reason, BR with those it allows (docs/pkilint.md), for every kind of key."""
    assert lint_crl(crl_of(house, entries, scope=Scope(url=crl_url))) == []
    allowed = [entry for entry in entries if entry.reason in BR_REASONS]
    assert lint_crl(crl_of(house, allowed, scope=Scope(url=crl_url)), br=True) == []


def test_the_br_linter_can_fail(p256: House) -> None:
    """Three reasons, and more than ten days, are what BR forbids."""
    forbidden = [finding.split()[-1] for finding in lint_crl(crl_of(p256), br=True)]
    assert forbidden == ['"cACompromise"', '"certificateHold"', '"aACompromise"']
    assert lint_crl(crl_of(p256, [], next_update=NOW + 11 * DAY_S), br=True) != []


def test_openssl_and_gnutls_verify_it(house: House, tmp_path: Path) -> None:
    """Two other implementations accept the signature under the CA's certificate."""
    (tmp_path / "ca.pem").write_bytes(house.chain[1].pem)
    (tmp_path / "crl.der").write_bytes(crl_of(house))
    said = openssl(
        "crl", "-inform", "DER", "-in", tmp_path / "crl.der", "-CAfile", tmp_path / "ca.pem", "-verify", "-noout"
    )
    assert "verify OK" in said
    now = int(time.time())  # certtool knows no other time
    house = house_of(house.kind, now - now % 3600)
    (tmp_path / "ca.pem").write_bytes(house.chain[1].pem)
    (tmp_path / "crl.der").write_bytes(crl_of(house, this_update=now - 5))
    openssl("crl", "-inform", "DER", "-in", tmp_path / "crl.der", "-out", tmp_path / "crl.pem")
    options = ("--verify-crl", "--load-ca-certificate", tmp_path / "ca.pem", "--infile", tmp_path / "crl.pem")
    assert "verified" in certtool(*options).lower()


def test_openssl_rejects_a_revoked_leaf_by_it(house: House, tmp_path: Path) -> None:
    """`openssl verify -crl_check`: the revoked certificate fails, the one beside it passes."""
    root, sub = house.chain
    leaves = [
        issue(house.sub, house.sub.key.public_key, Terms(POINTERS), names=[f"{n}.example.com"], now=NOW)
        for n in range(2)
    ]
    pems = {
        "root": root.pem,
        "sub": sub.pem,
        "revoked": leaves[0].pem,
        "good": leaves[1].pem,
        "crl": x509.load_der_x509_crl(crl_of(house, [RevokedEntry(leaves[0].serial, NOW - 5, 1)])).public_bytes(
            Encoding.PEM
        ),
    }
    for name, pem in pems.items():
        (tmp_path / f"{name}.pem").write_bytes(pem)
    options = (
        "verify", "-attime", str(NOW + 5), "-crl_check", "-extended_crl", "-CAfile", tmp_path / "root.pem",
        "-untrusted", tmp_path / "sub.pem", "-CRLfile", tmp_path / "crl.pem",
    )  # fmt: skip
    openssl(*options, tmp_path / "good.pem")
    with pytest.raises(AssertionError, match="certificate revoked"):
        openssl(*options, tmp_path / "revoked.pem")


def test_what_was_given_is_what_is_read(house: House) -> None:
    """Every field and every entry, by asn1crypto: unspecified has no reasonCode, dates are to the second."""
    crl_der = crl_of(house)
    found = peek_crl(crl_der)
    assert list(found.entries()) == ENTRIES
    assert (found.version, found.number, found.this_update, found.next_update) == (1, 7, NOW, NOW + DAY_S)
    assert found.issuer_der == issuer_of(house).subject_der
    assert found.urls == (URL,)
    assert found.critical == {"issuing_distribution_point"}
    assert found.signature_algorithm == found.inner_signature_algorithm == house.sub.key.signature_algorithm
    unspecified = x509.load_der_x509_crl(crl_der)[0]
    assert len(unspecified.extensions) == 0


def test_openssl_prints_it(p256: House) -> None:
    """As an operator would look at it."""
    text = openssl("crl", "-inform", "DER", "-noout", "-text", stdin=crl_of(p256))
    for expected in (
        "Version 2 (0x1)",
        "X509v3 CRL Number: \n                7\n",
        "X509v3 Issuing Distribution Point: critical\n                Full Name:\n                  URI:" + str(URL),
        "Invalidity Date: ",
        "Certificate Hold",
    ):
        assert expected in text


def test_empty_crl_has_no_revoked_certificates(p256: House) -> None:
    """RFC 5280 5.1.2.6: the field is absent, not an empty list."""
    assert "No Revoked Certificates." in openssl("crl", "-inform", "DER", "-noout", "-text", stdin=crl_of(p256, []))


def test_times_from_2050_are_generalized(p256: House) -> None:
    """RFC 5280 5.1.2.4: UTCTime up to 2049, GeneralizedTime from 2050; an invalidityDate is always generalized."""
    turn = 2524608000
    der = crl_of(p256, [RevokedEntry(b"\x01", turn - 1, 0), RevokedEntry(b"\x02", turn, 0)], this_update=turn + 60)
    assert b"\x17\x0d491231235959Z" in der
    assert b"\x18\x0f20500101000000Z" in der
    assert b"\x18\x0f20500101000100Z" in der
    assert b"\x18\x0f20250531213000Z" in crl_of(p256)
    assert [entry.revoked_at for entry in peek_crl(der).entries()] == [turn - 1, turn]


@pytest.mark.parametrize("reason", [7, 8, 11, -1])
def test_impossible_reasons_are_refused(p256: House, reason: int) -> None:
    """7 does not exist, removeFromCRL belongs to delta CRLs: the encoder writes neither."""
    with pytest.raises(WireError):
        crl_of(p256, [RevokedEntry(b"\x01", NOW, reason)])


def test_impossible_crls_are_refused(p256: House) -> None:
    """A serial twice, a revocation to come, numbers out of range, no time to live, a bad URL, a foreign key."""
    twice = [RevokedEntry(b"\x01", NOW, 0), RevokedEntry(b"\x01", NOW - 1, 1)]
    with pytest.raises(WireError, match="comes twice"):
        crl_of(p256, twice)
    with pytest.raises(Refused, match="after the CRL's thisUpdate"):
        crl_of(p256, [RevokedEntry(b"\x01", NOW + 1, 0)])
    for number in (-1, 1 << 159):
        with pytest.raises(Refused, match="CRL number"):
            crl_of(p256, number=number)
    with pytest.raises(Refused, match="nextUpdate must be after"):
        crl_of(p256, next_update=NOW)
    for url in ("", "https://example.com/crl"):
        with pytest.raises(Refused, match="crl_url"):
            crl_of(p256, scope=Scope(url=url))
    with pytest.raises(Refused, match="does not belong"):
        build(
            issuer_of(p256),
            p256.root.key,
            EntryBuffer(),
            0,
            CRLFields(number=1, this_update=NOW, next_update=NOW + 1, scope=Scope()),
        )


def test_largest_number_is_written(p256: House) -> None:
    """2^159 - 1 is 20 bytes of a positive INTEGER."""
    assert peek_crl(crl_of(p256, number=(1 << 159) - 1)).number == (1 << 159) - 1
