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
from cachewarm.mirror.faults import Fault, NotMirrored
from cachewarm.mirror.fetch import Known, Limits, fetch
from cachewarm.mirror.validate import Before, judge
from tests.cachewarm.mirror.conftest import Mirrored
from tests.support.foreign_ca import REMOVED, STOLEN, ForeignCA, Source

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
BROKEN: dict[str, tuple[Callable[[], bytes], Fault]] = {
    "rubbish": (lambda: b"rubbish", Fault.FORM),
    "nothing": (lambda: b"", Fault.FORM),
    "cut": (lambda: CA.crl(2, {1: None})[:-1], Fault.FORM),
    "trailing": (lambda: CA.crl(2, {1: None}) + b"\0", Fault.FORM),
    "critical": (lambda: CA.crl(2, {}, more=((UNKNOWN, True),)), Fault.FORM),
    "other ca": (lambda: OTHER.crl(2, {}), Fault.ISSUER),
    "other key": (lambda: SAME_NAME.crl(2, {}), Fault.SIGNATURE),
    "flipped": (lambda: flipped(CA.crl(2, {})), Fault.SIGNATURE),
    "sha-1": (lambda: signed_by_sha1(CA), Fault.SIGNATURE),
    "foreign key id": (
        lambda: CA.crl(2, {}, more=((x509.AuthorityKeyIdentifier(b"x" * 20, None, None), False),)),
        Fault.ISSUER,
    ),
    "no number": (lambda: CA.crl(None, {}), Fault.NUMBER),
    "older number": (lambda: CA.crl(0, {}), Fault.NUMBER),
    "same number": (lambda: CA.crl(1, {5: None}), Fault.NUMBER),
    "delta": (lambda: CA.crl(2, {}, base=1), Fault.BASE),
    "ended": (lambda: CA.crl(2, {}, begins=-60, lasts=30), Fault.WINDOW),
    "ahead": (lambda: CA.crl(2, {}, begins=600), Fault.WINDOW),
    "before": (lambda: CA.crl(2, {}, begins=-9000, lasts=99999), Fault.WINDOW),
    "user certs": (lambda: CA.crl(2, {}, more=((point(user=True), True),)), Fault.SCOPE),
    "ca certs": (lambda: CA.crl(2, {}, more=((point(ca=True), True),)), Fault.SCOPE),
    "indirect": (lambda: CA.crl(2, {}, more=((point(indirect=True), True),)), Fault.SCOPE),
    "attributes": (lambda: CA.crl(2, {}, more=((point(attribute=True), True),)), Fault.SCOPE),
    "some reasons": (lambda: CA.crl(2, {}, more=((some_reasons(), True),)), Fault.SCOPE),
}
BEFORE = Before(1, NOW - 600)


@pytest.mark.parametrize("name", BROKEN)
def test_each_broken_rule_has_its_word(name: str) -> None:
    """And a CRL that breaks none passes."""
    made, fault = BROKEN[name]
    with pytest.raises(NotMirrored) as refused:
        judge(made(), CA.cert_der, "all", BEFORE, now=int(time.time()))
    assert refused.value.fault is fault, str(refused.value)
    assert judge(CA.crl(2, {1: None}), CA.cert_der, "all", BEFORE, now=int(time.time())).number == 2


def test_a_part_is_enough_for_an_issuer_of_that_part() -> None:
    """A CRL about user certificates, for a CA whose operator says that it issues no others."""
    crl = CA.crl(2, {}, more=((point(user=True), True),))
    assert judge(crl, CA.cert_der, "user", BEFORE, now=int(time.time())).scope == ("only_contains_user_certs",)
    with pytest.raises(NotMirrored):
        judge(crl, CA.cert_der, "ca", BEFORE, now=int(time.time()))


def test_memory_is_a_few_times_the_octets_and_nothing_for_each_entry(source: Source) -> None:
    """Fetched, judged and read to its end: at most five times its octets at once, and once its octets afterwards."""
    source.put(CA.crl(2, dict.fromkeys(range(1 << 100, (1 << 100) + 20_000), STOLEN)))
    tracemalloc.start()
    der = fetch(source.url(), Known(), Limits(1 << 24, 5, 30)).der or b""
    read = judge(der, CA.cert_der, "all", BEFORE, now=int(time.time()))
    entries = EntryReader(der, read.this_update)
    while entries.read():
        pass
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert entries.count == 20_000
    assert (kept < 1.5 * len(der), most < 5 * len(der)) == (True, True), (
        f"{len(der)} octets: {kept} kept, {most} at most"
    )


@pytest.mark.parametrize("what", ["critical", "issuer", "removed"])
async def test_entries_may_forbid_the_whole(mirrored: Mirrored, what: str) -> None:
    """A critical extension that is not understood, another issuer's entry, removeFromCRL outside a delta: nothing of
    it is taken, not even the entries before.
    """
    await mirrored.publish(1, {1: None})
    more: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    if what == "critical":
        more = ((UNKNOWN, True),)
    if what == "issuer":
        more = ((x509.CertificateIssuer([x509.DirectoryName(OTHER.name)]), True),)
    mirrored.source.put(mirrored.ca.crl(2, {1: None, 2: REMOVED if what == "removed" else None}, entry_more=more))
    with pytest.raises(NotMirrored) as refused:
        await mirrored.bring()
    assert refused.value.fault is Fault.ENTRIES
    assert (set(await mirrored.rows()), (await mirrored.mirror()).crl_number) == ({1}, 1)


async def test_a_time_ahead_is_this_update(mirrored: Mirrored) -> None:
    """Whoever is listed is revoked: no revocationTime lies in the future."""
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
    assert refused.value.fault is Fault.WINDOW
