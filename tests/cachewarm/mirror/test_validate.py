"""Which CRLs may replace the one that is mirrored: one broken rule each, by its word."""

import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import algos
from asn1crypto import crl as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from _fastocsp.crl.entry_reader import EntryReader
from cachewarm.crl.parse import ReadCRL
from cachewarm.crl.rules import CRLProblem, PreviousCRL, Rule
from cachewarm.mirror.faults import NotMirrored
from cachewarm.mirror.fetch import Limits, Validators, fetch
from cachewarm.mirror.validate import Acceptance, choose_crl, validate
from tests.cachewarm.mirror.conftest import Mirrored
from tests.support.foreign_ca import STOLEN, ForeignCA, Source

CA, OTHER, SAME_NAME = ForeignCA(), ForeignCA("Other CA"), ForeignCA()
NOW = int(time.time())


def point(
    *, user: bool = False, ca: bool = False, indirect: bool = False, attribute: bool = False
) -> x509.ExtensionType:
    """An issuing distribution point."""
    url = None if attribute else [x509.UniformResourceIdentifier("http://x.example/crl")]
    return x509.IssuingDistributionPoint(url, None, user, ca, None, indirect, attribute)


def some_reasons() -> x509.ExtensionType:
    """One of a CRL for a few reasons."""
    reasons = frozenset([x509.ReasonFlags.key_compromise])
    return x509.IssuingDistributionPoint(None, None, False, False, reasons, False, False)


def flipped(der: bytes) -> bytes:
    """The last bit turned."""
    return der[:-1] + bytes((der[-1] ^ 1,))


def signed_by_sha1(ca: ForeignCA) -> bytes:
    """A CRL whose signature is right, and by an algorithm that no client should take (ecdsa-with-SHA1)."""
    crl = asn1.CertificateList.load(ca.crl(2, {}))
    algorithm = {"algorithm": "sha1_ecdsa"}
    crl["tbs_cert_list"]["signature"] = crl["signature_algorithm"] = algos.SignedDigestAlgorithm(algorithm)
    crl["signature"] = ca.key.sign(crl["tbs_cert_list"].dump(), ec.ECDSA(hashes.SHA1()))
    return bytes(crl.dump())


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
BROKEN: dict[str, tuple[Callable[[], bytes], Rule]] = {
    "rubbish": (lambda: b"rubbish", Rule.FORM),
    "nothing": (lambda: b"", Rule.FORM),
    "cut": (lambda: CA.crl(2, {1: None})[:-1], Rule.FORM),
    "trailing": (lambda: CA.crl(2, {1: None}) + b"\0", Rule.FORM),
    "critical": (lambda: CA.crl(2, {}, more=((UNKNOWN, True),)), Rule.FORM),
    "other ca": (lambda: OTHER.crl(2, {}), Rule.ISSUER),
    "other key": (lambda: SAME_NAME.crl(2, {}), Rule.SIGNATURE),
    "flipped": (lambda: flipped(CA.crl(2, {})), Rule.SIGNATURE),
    "sha-1": (lambda: signed_by_sha1(CA), Rule.SIGNATURE),
    "foreign key id": (
        lambda: CA.crl(2, {}, more=((x509.AuthorityKeyIdentifier(b"x" * 20, None, None), False),)),
        Rule.ISSUER,
    ),
    "no number": (lambda: CA.crl(None, {}), Rule.NUMBER),
    "older number": (lambda: CA.crl(0, {}), Rule.NUMBER),
    "same number": (lambda: CA.crl(1, {5: None}), Rule.NUMBER),
    "delta": (lambda: CA.crl(2, {}, base=1), Rule.BASE),
    "ended": (lambda: CA.crl(2, {}, begins=-60, lasts=30), Rule.WINDOW),
    "ahead": (lambda: CA.crl(2, {}, begins=600), Rule.WINDOW),
    "before": (lambda: CA.crl(2, {}, begins=-9000, lasts=99999), Rule.WINDOW),
    "user certs": (lambda: CA.crl(2, {}, more=((point(user=True), True),)), Rule.SCOPE),
    "ca certs": (lambda: CA.crl(2, {}, more=((point(ca=True), True),)), Rule.SCOPE),
    "indirect": (lambda: CA.crl(2, {}, more=((point(indirect=True), True),)), Rule.SCOPE),
    "attributes": (lambda: CA.crl(2, {}, more=((point(attribute=True), True),)), Rule.SCOPE),
    "some reasons": (lambda: CA.crl(2, {}, more=((some_reasons(), True),)), Rule.SCOPE),
}
BEFORE = PreviousCRL(1, NOW - 600)


def checked(body: bytes, scope: str = "all") -> ReadCRL | CRLProblem:
    """What becomes of a CRL after BEFORE."""
    read = choose_crl(body, CA.cert_der)
    if isinstance(read, CRLProblem):
        return read
    found = validate(read, CA.cert_der, Acceptance(scope=scope), BEFORE, now=int(time.time()))
    return found if isinstance(found, CRLProblem) else found.read


def accepted(body: bytes, scope: str = "all") -> ReadCRL:
    """The CRL, which passes."""
    found = checked(body, scope)
    assert isinstance(found, ReadCRL), found
    return found


@pytest.mark.parametrize("name", BROKEN)
def test_each_broken_rule_has_its_word(name: str) -> None:
    """And a CRL that breaks none passes."""
    made, rule = BROKEN[name]
    problem = checked(made())
    assert isinstance(problem, CRLProblem)
    assert problem.rule is rule, str(problem)
    assert accepted(CA.crl(2, {1: None})).number == 2


def test_a_part_is_enough_for_an_issuer_of_that_part() -> None:
    """A CRL about user certificates, for a CA whose operator says that it issues no others."""
    crl = CA.crl(2, {}, more=((point(user=True), True),))
    assert accepted(crl, "user").scope == ("only_contains_user_certs",)
    assert isinstance(checked(crl, "ca"), CRLProblem)


def test_memory_is_a_few_times_the_octets_and_nothing_for_each_entry(source: Source) -> None:
    """Fetched, judged and read to its end: at most five times its bytes at once, and once its bytes afterwards."""
    source.put(CA.crl(2, dict.fromkeys(range(1 << 100, (1 << 100) + 20_000), STOLEN)))
    tracemalloc.start()
    der = fetch(source.url(), Validators(), Limits(1 << 24, 5, 30)).body or b""
    read = accepted(der)
    entries = EntryReader(der, read.this_update)
    while entries.read():
        pass
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert entries.count == 20_000
    assert (kept < 1.5 * len(der), most < 5 * len(der)) == (True, True), (
        f"{len(der)} octets: {kept} kept, {most} at most"
    )


@pytest.mark.parametrize("what", ["critical", "issuer"])
async def test_entries_may_forbid_the_whole(mirrored: Mirrored, what: str) -> None:
    """A critical extension that is not understood, another issuer's entry: not even the entries before are taken."""
    await mirrored.publish(1, {1: None})
    more: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    if what == "critical":
        more = ((UNKNOWN, True),)
    if what == "issuer":
        more = ((x509.CertificateIssuer([x509.DirectoryName(OTHER.name)]), True),)
    mirrored.source.put(mirrored.ca.crl(2, {1: None, 2: None}, entry_more=more))
    with pytest.raises(NotMirrored) as refused:
        await mirrored.bring()
    assert refused.value.fault is Rule.ENTRIES
    assert (set(await mirrored.rows()), (await mirrored.mirror()).crl_number) == ({1}, 1)


async def test_a_time_ahead_is_this_update(mirrored: Mirrored) -> None:
    """Every listed certificate is revoked, and no revocation time is in the future."""
    mirrored.source.put(mirrored.ca.crl(1, {1: None}, revoked_at=datetime.now(UTC) + timedelta(days=3)))
    await mirrored.bring()
    assert await mirrored.connection.fetchval(
        "select revoked_at = m.this_update from certificate_revocations join crl_mirrors m using (issuer_id)"
    )


async def test_a_source_that_keeps_an_ended_crl_is_a_failure(mirrored: Mirrored) -> None:
    """It answers, and the answer is worth nothing."""
    await mirrored.publish(1, {1: None})
    await mirrored.connection.execute("update crl_mirrors set next_update = now() - interval '1 second'")
    with pytest.raises(NotMirrored) as refused:
        await mirrored.bring()
    assert refused.value.fault is Rule.WINDOW
