"""`fastocsp reconcile`: what it shows, which evidence covers what, and when it lifts the fence."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from cachewarm.ledger import issuer_states
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.crls import CRLBuild, log_crl_build
from cachewarm.ledger.feed import begin_generation
from cachewarm.ledger.inventory import NewCertificate, add_certificates
from cachewarm.ledger.issuers import CRLWish, add_issuer
from cachewarm.ledger.revocations import revoke
from cachewarm.recovery.fence import FenceWatch
from responder.domain.status import CRLReason
from tests.cachewarm.cli.conftest import Fastocsp
from tests.support.foreign_ca import HOLD, REVOKED_AT, STOLEN, ForeignCA, Source, serving

KNOWN, LOST, LATER, EXPIRED = (0x40 + number for number in range(4))
PART = x509.IssuingDistributionPoint(
    full_name=[x509.UniformResourceIdentifier("http://ca.example/crl/0")],
    relative_name=None,
    only_contains_user_certs=False,
    only_contains_ca_certs=False,
    only_some_reasons=None,
    indirect_crl=False,
    only_contains_attribute_certs=False,
)


def octets(number: int) -> bytes:
    """The serial number as the ledger has it."""
    return bytes((number,))


@pytest.fixture
async def ca(fastocsp: Fastocsp, writer: Connection) -> ForeignCA:
    """Issuer `ca` of a ledger that was restored: it has KNOWN, LATER with a later time, and not LOST."""
    made = ForeignCA()
    await add_issuer(writer, "ca", subject="CN=Foreign CA", cert_der=made.cert_der, actor="tests")
    await revoke(
        writer,
        "ca",
        octets(KNOWN),
        reason=CRLReason.superseded,
        revoked_at=REVOKED_AT,
        actor="tests",
        allow_unknown=True,
    )
    await begin_generation(writer)
    await revoke(writer, "ca", octets(LATER), reason=CRLReason.keyCompromise, actor="tests", allow_unknown=True)
    begun = datetime.fromtimestamp(0, UTC)
    ended = NewCertificate(serial_number=octets(EXPIRED), not_before=begun, not_after=REVOKED_AT)
    await add_certificates(writer, "ca", [ended])
    return made


@pytest.fixture
def source() -> Iterator[Source]:
    """A server of CRLs."""
    with serving() as made:
        yield made


def only(run: Any) -> dict[str, Any]:
    """The one fence that the command shows."""
    (fence,) = run.json["fences"]
    assert isinstance(fence, dict)
    return fence


async def revoked(writer: Connection) -> dict[int, tuple[datetime, int]]:
    """Time and reason by serial number."""
    rows = await writer.fetch("select serial_number, revoked_at, reason from certificate_revocations")
    return {int.from_bytes(row["serial_number"]): (row["revoked_at"], row["reason"]) for row in rows}


async def test_without_options_the_gap_is_shown(fastocsp: Fastocsp, writer: Connection, ca: ForeignCA) -> None:
    """And nothing is changed, though `--lift` fails; `fastocsp status` names the issuer."""
    shown = fastocsp("reconcile", "--json")
    fence = only(shown)
    assert (shown.status, fence["issuer_id"], fence["reason"], fence["is"]) == (0, "ca", "restored", "fenced")
    assert (fence["not_covered_from"], fence["not_covered_until"]) == (fence["gap_from"], fence["gap_until"])
    assert "ca" in fastocsp("reconcile").out
    asked = fastocsp("reconcile", "--lift")
    assert (asked.status, "still fenced: ca" in asked.err) == (1, True)
    assert "ca is fenced since" in fastocsp("status").err + fastocsp("status").out
    assert (fastocsp("reconcile", "nobody").status, fastocsp("reconcile", "--statement", " ").status) == (1, 2)
    assert await writer.fetchval("select count(*) from issuer_fences where lifted_at is null") == 1


async def test_a_crl_revokes_what_was_lost_and_covers_its_own_time(
    fastocsp: Fastocsp, writer: Connection, ca: ForeignCA, tmp_path: Path
) -> None:
    """With time and reason of the CRL, once; a statement covers the rest, and both are in the audit chain. A dry run
    writes nothing.
    """
    entries = {KNOWN: None, LOST: STOLEN, LATER: STOLEN, EXPIRED: None}
    (tmp_path / "old.crl").write_bytes(ca.pem(ca.crl(7, entries)))
    before = await revoked(writer)
    for words, is_changed in (("--dry-run",), False), ((), True):
        fence = only(fastocsp("reconcile", "ca", "--crl", "old.crl", *words, "--json"))
        assert {row["serial_number"]: row["reason"] for row in fence["revocations"]} == {
            octets(LOST).hex(): "keyCompromise",
            octets(LATER).hex(): "keyCompromise",
        }
        assert (fence["is"], fence["evidence"][0]["document"]) == ("fenced", "CRL 7")
        assert (await revoked(writer) != before) is is_changed
    found = await revoked(writer)
    assert found == before | {LOST: (REVOKED_AT, 1), LATER: (REVOKED_AT, 1)}
    assert only(fastocsp("reconcile", "--crl", "old.crl", "--json"))["revocations"] == []
    done = fastocsp("reconcile", "--statement", "the CA was down", "--json")
    assert (done.status, only(done)["is"]) == (0, "lifted")
    assert fastocsp("reconcile", "--lift", "--json").json["fences"] == []
    actions = await writer.fetch("select action from audit_events where action like 'fence%' order by seq")
    assert [row["action"] for row in actions] == ["fence set", *["fence evidence"] * 3, "fence lifted"]
    assert await revoked(writer) == found


async def test_a_crl_of_after_the_gap_lifts_the_fence_by_itself(
    fastocsp: Fastocsp, writer: Connection, ca: ForeignCA, source: Source
) -> None:
    """As that of a CA which lost nothing, from its URL."""
    source.put(ca.crl(8, {LOST: HOLD}, begins=2))
    fence = only(fastocsp("reconcile", "--crl", source.url(), "--json"))
    assert (fence["is"], fence["not_covered_from"]) == ("lifted", None)
    assert (await revoked(writer))[LOST] == (REVOKED_AT, 6)


async def test_the_current_crl_of_a_mirrored_ca_lifts_its_fence(fastocsp: Fastocsp, writer: Connection) -> None:
    """Though the ledger has it: the CA made it, which lost nothing."""
    ca = ForeignCA()
    wish = CRLWish(source="http://ca.example/crl")
    await add_issuer(writer, "far", subject="CN=Foreign CA", cert_der=ca.cert_der, crls=wish, actor="tests")
    await begin_generation(writer)
    await log_crl_build(writer, made_here(kind="mirror", issuer_id="far"))
    (fastocsp.folder / "far.crl").write_bytes(ca.crl(9, {LOST: STOLEN}, begins=2))
    assert only(fastocsp("reconcile", "far", "--crl", "far.crl", "--json"))["is"] == "lifted"


def made_here(*, kind: str = "complete", issuer_id: str = "ca") -> CRLBuild:
    """The build of CRL 9."""
    return CRLBuild(
        issuer_id=issuer_id,
        started_at=datetime.now(UTC),
        succeeded=True,
        error=None,
        duration_ms=1,
        crl_number=9,
        revoked_count=1,
        kind=kind,
    )


@pytest.mark.parametrize(
    ("number", "more", "why"),
    [
        (7, {"base": 6}, "a delta CRL"),
        (8, {"more": ((PART, True),)}, "its distribution point is of a part"),
        (9, {}, "this ledger made a CRL of that number"),
    ],
)
async def test_other_crls_revoke_and_cover_nothing(
    fastocsp: Fastocsp, writer: Connection, ca: ForeignCA, tmp_path: Path, number: int, more: Any, why: str
) -> None:
    """A delta, a shard, and a CRL that the restored ledger signed: it is new, and lists no more than the ledger has."""
    await log_crl_build(writer, made_here())
    (tmp_path / "new.crl").write_bytes(ca.crl(number, {LOST: None}, begins=600, **more))
    fence = only(fastocsp("reconcile", "--crl", "new.crl", "--json"))
    assert (fence["is"], fence["not_covered_from"]) == ("fenced", fence["gap_from"])
    assert why in fence["evidence"][0]["why_not"]
    assert LOST in await revoked(writer)


async def test_what_is_no_evidence_is_refused(fastocsp: Fastocsp, writer: Connection, ca: ForeignCA) -> None:
    """A CRL of another CA, no CRL, no file, no server: one sentence, and nothing is changed."""
    before = await revoked(writer)
    (fastocsp.folder / "foreign.crl").write_bytes(ForeignCA("Another CA").crl(7, {LOST: None}))
    (fastocsp.folder / "none.crl").write_bytes(b"nothing")
    for name in ("foreign.crl", "none.crl", "missing.crl", "http://127.0.0.1:1/crl"):
        refused = fastocsp("reconcile", "--crl", name, "--statement", "x")
        assert (refused.status, refused.err.count("\n")) == (1, 1), refused.err
    assert await revoked(writer) == before
    assert await writer.fetchval("select evidence::text from issuer_fences") == "[]"


async def test_the_warmer_logs_a_fence_once_and_its_end_once(
    fastocsp: Fastocsp, writer: Connection, ca: ForeignCA, capsys: pytest.CaptureFixture[str]
) -> None:
    """And counts it."""
    watch = FenceWatch()
    for _ in range(3):
        await watch.look(writer)
    assert [sample.value for metric in watch.metrics() for sample in metric.samples] == [1]
    assert fastocsp("reconcile", "--statement", "nothing was lost").status == 0
    for _ in range(3):
        await watch.look(writer)
    said = capsys.readouterr().out
    assert (said.count("fence set"), said.count("fence lifted")) == (1, 1)
    assert [sample.value for metric in watch.metrics() for sample in metric.samples] == [0]


async def test_removed_issuer_is_fenced_again_when_it_is_restored(
    fastocsp: Fastocsp, writer: Connection, ca: ForeignCA
) -> None:
    """Removed, it is neither listed nor alarmed about; nothing lifts its fence meanwhile."""
    watch = FenceWatch()
    await issuer_states.remove(writer, "ca", force=True, actor="tests")
    await watch.look(writer)
    assert [metric.samples[0].value for metric in watch.metrics()] == [0]
    assert fastocsp("reconcile", "--statement", "nothing was revoked").status == 0
    await issuer_states.restore(writer, "ca", actor="tests")
    await watch.look(writer)
    assert [metric.samples[0].value for metric in watch.metrics()] == [1]
