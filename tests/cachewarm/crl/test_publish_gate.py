"""The gate: what may be published, and the first rule that anything else breaks."""

import random
from datetime import UTC, datetime

import pytest
from asn1crypto import crl as asn1

from _fastocsp.crl.fields import Scope
from cachewarm.ca.responder_certificate import make
from cachewarm.crl.parse import peek_crl
from cachewarm.crl.parts import COMPLETE, DELTA, scope_of
from cachewarm.crl.plan import RevokedEntry
from cachewarm.crl.publish_gate import GROWTH_FREE, SHRINK_FREE, Expected, gate, size_problem
from cachewarm.crl.rules import CRLProblem, PreviousCRL, Rule
from cachewarm.keys.soft_key import KeyKind
from cachewarm.ledger.issuers import Issuer
from responder.domain.status import UnissuedPolicy
from tests.cachewarm.conftest import NOW, House, house_of
from tests.cachewarm.crl.test_build import ENTRIES, URL, crl_of
from tests.support.sampling import commit_seed

COUNT = len(ENTRIES)


def judged(
    house: House,
    new: bytes,
    old: bytes | None = None,
    *,
    now: int = NOW,
    revoked_count: int | None = COUNT,
    scope: Scope | None = None,
    base_number: int | None = None,
    freshest_url: str | None = None,
) -> CRLProblem | None:
    """The gate, for the issuing CA; what it lets through has the entries that were counted."""
    expected = Expected(
        scope=Scope(url=URL) if scope is None else scope,
        base_number=base_number,
        freshest_url=freshest_url,
        revoked_count=revoked_count,
    )
    before = None if old is None else peek_crl(old)
    previous = None if before is None else PreviousCRL(before.number, before.this_update)
    verdict = gate(new, previous, house.chain[1].cert_der, expected, now=now)
    if isinstance(verdict, CRLProblem):
        return verdict
    assert revoked_count in (None, verdict)
    return None


def rule_of(*args: object, **kwargs: object) -> Rule:
    """The rule that was broken."""
    refusal = judged(*args, **kwargs)  # type: ignore[arg-type]
    assert refusal is not None
    assert refusal.text
    return refusal.rule


def test_good_crls_pass(house: House) -> None:
    """The first, the next, the empty one, the one without URL; for every kind of key."""
    first, second = crl_of(house), crl_of(house, number=8)
    assert judged(house, first) is None
    assert judged(house, second, first) is None
    assert judged(house, crl_of(house, []), revoked_count=0) is None
    assert judged(house, crl_of(house, scope=Scope(url=None)), scope=Scope(url=None)) is None


@pytest.mark.parametrize("number", [6, 7])
def test_number_must_grow(p256: House, number: int) -> None:
    """The same number and a lower one are refused, also right after a restore."""
    assert rule_of(p256, crl_of(p256, number=number), crl_of(p256, number=7)) is Rule.NUMBER


def test_window_must_hold_now_and_move_on(p256: House) -> None:
    """Not in the future, not past, not before the published one."""
    assert rule_of(p256, crl_of(p256, this_update=NOW + 1)) is Rule.WINDOW
    assert rule_of(p256, crl_of(p256), now=NOW + 86400) is Rule.WINDOW
    assert rule_of(p256, crl_of(p256, number=8), crl_of(p256, this_update=NOW + 1), now=NOW + 9) is Rule.WINDOW


def test_distribution_point_must_be_the_url(p256: House) -> None:
    """Another URL, none, or one that nobody asked for."""
    assert rule_of(p256, crl_of(p256, scope=Scope(url="http://other.example/crl"))) is Rule.DISTRIBUTION_POINT
    assert rule_of(p256, crl_of(p256, scope=Scope(url=None))) is Rule.DISTRIBUTION_POINT
    assert rule_of(p256, crl_of(p256), scope=Scope(url=None)) is Rule.DISTRIBUTION_POINT


def test_entries_must_be_all(p256: House) -> None:
    """A CRL that lost an entry, or every one of them, does not get out."""
    assert rule_of(p256, crl_of(p256, ENTRIES[1:])) is Rule.ENTRIES
    assert rule_of(p256, crl_of(p256, [], number=8), crl_of(p256)) is Rule.ENTRIES


def test_scope_must_be_the_wanted_one(p256: House) -> None:
    """User or CA certificates alone: said when wanted, and not said otherwise."""
    user, ca = Scope(url=URL, only_user_certs=True), Scope(url=URL, only_ca_certs=True)
    assert judged(p256, crl_of(p256, scope=user), scope=user) is None
    assert judged(p256, crl_of(p256, scope=ca), scope=ca) is None
    for made, wanted in ((user, ca), (user, Scope(url=URL)), (Scope(url=URL), ca)):
        assert rule_of(p256, crl_of(p256, scope=made), scope=wanted) is Rule.DISTRIBUTION_POINT


def test_delta_and_complete_crl_are_not_taken_for_each_other(p256: House) -> None:
    """The base is the wanted one, and a complete CRL names its delta when there is one."""
    delta = crl_of(p256, base_number=5)
    assert judged(p256, delta, base_number=5) is None
    assert rule_of(p256, delta) is Rule.BASE
    assert rule_of(p256, delta, base_number=4) is Rule.BASE
    assert rule_of(p256, crl_of(p256), base_number=5) is Rule.BASE
    assert judged(p256, crl_of(p256, freshest_url=f"{URL}/delta"), freshest_url=f"{URL}/delta") is None
    assert rule_of(p256, crl_of(p256, freshest_url=f"{URL}/delta")) is Rule.FRESHEST
    assert rule_of(p256, crl_of(p256), freshest_url=f"{URL}/delta") is Rule.FRESHEST


@pytest.mark.parametrize(
    ("old", "new", "shrink", "growth", "refused"),
    [
        (SHRINK_FREE, 0, 0.5, 0, False),
        (400, 200, 0.5, 0, False),
        (400, 199, 0.5, 0, True),
        (400, 0, 1, 0, False),
        (400, 299, 0, 0, True),
        (1, GROWTH_FREE, 0.5, 2, False),
        (1, GROWTH_FREE + 2, 0.5, 2, True),
        (1, GROWTH_FREE + 2, 0.5, 0, False),
    ],
)
def test_size_stays_within_its_limits(old: int, new: int, shrink: float, growth: float, refused: bool) -> None:
    """So many may always go or come; beyond that a part of what there was, or times as many."""
    refusal = size_problem(new, old, shrink=shrink, growth=growth)
    assert (refusal is not None) is refused
    assert refusal is None or refusal.rule is Rule.SIZE


def test_other_signer_and_other_issuer_are_refused(p256: House) -> None:
    """A CRL of another CA, and one under our CA's name with another key."""
    assert rule_of(p256, crl_of(house_of(KeyKind.P384))) is Rule.ISSUER
    parsed = asn1.CertificateList.load(crl_of(p256))
    parsed["signature"] = p256.root.key.sign(parsed["tbs_cert_list"].dump())
    assert rule_of(p256, parsed.dump(force=True)) is Rule.SIGNATURE


def test_entry_that_does_not_parse_is_refused_even_under_a_good_signature(p256: House) -> None:
    """A serial number of 21 bytes, signed by the CA itself, stays inside."""
    parsed = asn1.CertificateList.load(crl_of(p256))
    parsed["tbs_cert_list"]["revoked_certificates"][0]["user_certificate"] = 1 << 160
    tbs = parsed["tbs_cert_list"].dump(force=True)
    parsed["signature"] = p256.sub.key.sign(tbs)
    assert rule_of(p256, parsed.dump(force=True)) is Rule.ENTRIES


def test_every_prefix_and_trailing_octet_is_refused(p256: House) -> None:
    """A CRL is taken whole or not at all."""
    der = crl_of(p256)
    for octets in [der[:end] for end in range(len(der))] + [der + b"\0"]:
        assert rule_of(p256, octets) is Rule.FORM


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.RSA2048, KeyKind.ED25519], ids=str)
def test_every_flipped_bit_is_refused(kind: KeyKind) -> None:
    """Wherever a bit turns, the gate says no, and says it as a value.

    Every bit under one kind of key; under the others one bit of every byte, another one per commit.
    """
    house, chosen = house_of(kind), random.Random(commit_seed())
    entries = [RevokedEntry(b"\x01", NOW - 5, 1, NOW - 9)]
    der = crl_of(house, entries)
    bits = range(8 * len(der))
    for bit in bits if kind is KeyKind.P256 else [at + chosen.randrange(8) for at in bits[::8]]:
        flipped = bytearray(der)
        flipped[bit // 8] ^= 1 << bit % 8
        assert judged(house, bytes(flipped), revoked_count=1) is not None, bit


@pytest.mark.parametrize("octets", [b"", b"\x30\x00", b"\x30\x80\x00\x00", b"\xff" * 40, b"-----BEGIN X509 CRL-----"])
def test_what_is_no_crl_is_a_value_error(p256: House, octets: bytes) -> None:
    """The reader raises one kind of error; a certificate is no CRL either."""
    for each in (octets, make(p256.sub, "issuing", now=NOW)[0].cert_der):
        with pytest.raises(ValueError, match=r"\S"):
            peek_crl(each)


@pytest.mark.parametrize(
    "url",
    [
        "http://PKI.example.com/crl",
        "http://xn--mnchen-3ya.example/crl",
        "http://pki.example.com/a%2Fb",
        "http://pki.example.com/a%2fb%C3%BC",
        "http://[2001:db8::1]:8080/crl",
        "http://pki.example.com:80/./crl/?x#y",
    ],
)
def test_urls_are_compared_byte_for_byte(p256: House, url: str) -> None:
    """In the distribution point and in freshestCRL, of shards, scoped CRLs and deltas; a normalized copy is another."""
    scope = Scope(url=url, only_user_certs=True)
    assert judged(p256, crl_of(p256, scope=scope), scope=scope) is None
    assert judged(p256, crl_of(p256, scope=scope, base_number=5), scope=scope, base_number=5) is None
    fresh = crl_of(p256, scope=Scope(), freshest_url=url)
    assert judged(p256, fresh, scope=Scope(), freshest_url=url) is None
    other = url.swapcase()
    assert rule_of(p256, crl_of(p256, scope=scope), scope=Scope(url=other, only_user_certs=True)) is (
        Rule.DISTRIBUTION_POINT
    )
    assert rule_of(p256, fresh, scope=Scope(), freshest_url=other) is Rule.FRESHEST


@pytest.mark.parametrize(("crl_scope", "has_point"), [("all", False), ("user", True), ("ca", True)])
def test_each_kind_of_crl_has_the_distribution_point_of_its_kind(crl_scope: str, has_point: bool) -> None:
    """A complete CRL of full scope has none; a scoped one has; a delta has that of its base; a shard has its own."""
    issuer = issuer_row(crl_scope)
    assert scope_of(issuer, COMPLETE).is_said is has_point
    assert scope_of(issuer, DELTA) == scope_of(issuer, COMPLETE)
    assert scope_of(issuer, "3").url == f"{URL}/3"


def issuer_row(crl_scope: str) -> Issuer:
    """An issuer of the ledger with deltas and shards."""
    return Issuer(
        issuer_id="issuing",
        issuer_no=1,
        subject="CN=x",
        cert_der=b"",
        key_path=None,
        responder_mode="delegated",
        ocsp_url=None,
        crl_url=URL,
        ca_issuers_url=None,
        unissued_policy=UnissuedPolicy.UNAUTHORIZED,
        publishes_crl=True,
        created_at=datetime.fromtimestamp(NOW, UTC),
        delta_crl=True,
        crl_shards=4,
        crl_scope=crl_scope,
    )
