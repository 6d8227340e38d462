"""No entry leaves a CRL without release or expiry: what the ledger lost is carried forward, alarmed, and decided."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from _fastocsp.crl.fields import Scope
from cachewarm.crl.carry_over import CarryOver
from cachewarm.crl.comparison import compare
from cachewarm.crl.earlier import held_crl
from cachewarm.crl.parse import peek_crl
from cachewarm.crl.publish_gate import Expected, gate
from cachewarm.crl.regenerate import regenerate, regenerate_delta
from cachewarm.crl.rules import CRLProblem, PreviousCRL, Rule
from cachewarm.crl.sign_and_check import Rules
from cachewarm.errors import Refused
from cachewarm.ledger import crls, faults, issuers, orphans
from cachewarm.ledger.connect import Connection, connect
from cachewarm.ledger.revocations import revoke, unhold
from cachewarm.orphans.evidence import read_evidence
from cachewarm.orphans.watch import OrphanWatch
from cachewarm.records.keyring import domain_issuer
from responder.domain.status import CRLReason
from tests.cachewarm.conftest import NOW, House
from tests.cachewarm.crl.test_build import ENTRIES, URL, crl_of, encoded
from tests.support.edges import register
from tests.support.plant import DAY, Plant
from tests.support.revocation_lists import combined, published, reasons

RULES = Rules(validity_s=DAY)
HOLD, COMPROMISE = CRLReason.certificateHold, CRLReason.keyCompromise


async def lose(plant: Plant, serials: Sequence[bytes], *, crl_too: bool = False) -> None:
    """As a rollback of the ledger does: no trigger sees it."""
    owner = await connect(plant.urls.owner)
    await owner.execute("set session_replication_role = replica")
    await owner.execute("alter table certificate_revocations disable trigger user")
    await owner.execute("delete from certificate_revocations where serial_number = any($1)", list(serials))
    await owner.execute("delete from crl_changes where serial_number = any($1)", list(serials))
    await owner.execute("alter table certificate_revocations enable trigger user")
    if crl_too:
        await owner.execute("delete from crl_cache")
    await owner.close()


async def listed(connection: Connection) -> dict[bytes, int]:
    """Of the complete CRL."""
    return reasons((await published(connection))[""])


async def test_an_entry_that_the_ledger_lost_stays_until_it_is_confirmed(plant: Plant) -> None:
    """With its time and reason, over more CRLs, beside new entries, in the shards too; a fault and one orphan."""
    first, second = (leaf.serial for leaf in plant.leaves[:2])
    wish = issuers.CRLWish(shards=3)
    issuer = await issuers.change_issuer(plant.connection, "ca", crls=wish, actor="tests")
    await revoke(plant.connection, "ca", first, reason=COMPROMISE, actor="tests")
    await regenerate(plant.connection, issuer, None, RULES)
    [before] = (await published(plant.connection))[""].entries()
    await lose(plant, [first])
    await revoke(plant.connection, "ca", second, reason=CRLReason.superseded, actor="tests")
    for _ in range(2):
        assert await regenerate(plant.connection, issuer, None, RULES) is not None
        assert await listed(plant.connection) == {first: COMPROMISE, second: CRLReason.superseded}
    found = await published(plant.connection)
    assert before in found[""].entries()
    assert {entry.serial for part in ("0", "1", "2") for entry in found[part].entries()} == {first, second}
    [orphan] = await orphans.list_orphans(plant.connection)
    assert (orphan.serial_number, orphan.in_crl, orphan.reason, orphan.edges) == (first, True, COMPROMISE, ())
    await OrphanWatch().look(plant.connection)
    [fault] = await faults.issuer_faults(plant.connection)
    assert (fault.work, fault.issuer_id) == (faults.ORPHANS, "ca")
    assert await orphans.confirm(plant.connection, orphan, None, actor="tests", evidence="tests")
    await OrphanWatch().look(plant.connection)
    assert await faults.issuer_faults(plant.connection) == []
    await regenerate(plant.connection, issuer, None, RULES)
    assert before in (await published(plant.connection))[""].entries()
    assert await plant.connection.fetchval("select count(*) from crl_carried") == 0


async def test_a_dismissed_orphan_leaves_the_next_crl(plant: Plant) -> None:
    """Only then; and it does not come back."""
    serial = plant.leaves[0].serial
    await revoke(plant.connection, "ca", serial, reason=COMPROMISE, actor="tests")
    await regenerate(plant.connection, plant.issuer, None, RULES)
    await lose(plant, [serial])
    await regenerate(plant.connection, plant.issuer, None, RULES)
    [orphan] = await orphans.list_orphans(plant.connection)
    assert await orphans.dismiss(plant.connection, orphan, actor="tests", why="never was")
    for _ in range(2):
        await regenerate(plant.connection, plant.issuer, None, RULES)
        assert await listed(plant.connection) == {}
    assert await orphans.list_orphans(plant.connection) == []


async def test_a_released_hold_leaves_the_crl_and_is_no_orphan(plant: Plant) -> None:
    """What is gone with a reason is gone."""
    serial = plant.leaves[0].serial
    await revoke(plant.connection, "ca", serial, reason=HOLD, actor="tests")
    await regenerate(plant.connection, plant.issuer, None, RULES)
    await unhold(plant.connection, "ca", serial, actor="tests")
    await regenerate(plant.connection, plant.issuer, None, RULES)
    assert await listed(plant.connection) == {}
    assert await orphans.list_orphans(plant.connection) == []


async def test_a_delta_never_takes_off_what_the_ledger_lost(plant: Plant) -> None:
    """Revoked after the base and on its delta; the next delta, and every combination, still has it."""
    wish = issuers.CRLWish(delta=True)
    issuer = await issuers.change_issuer(plant.connection, "ca", crls=wish, actor="tests")
    serial = plant.leaves[0].serial
    await regenerate(plant.connection, issuer, None, RULES)
    base = (await published(plant.connection))[""]
    await revoke(plant.connection, "ca", serial, reason=COMPROMISE, actor="tests")
    await regenerate_delta(plant.connection, issuer, None, RULES)
    assert set(combined(base, (await published(plant.connection))["delta"])) == {serial}
    await lose(plant, [serial])
    await regenerate_delta(plant.connection, issuer, None, RULES)
    assert set(combined(base, (await published(plant.connection))["delta"])) == {serial}
    await regenerate(plant.connection, issuer, None, RULES)
    assert await listed(plant.connection) == {serial: COMPROMISE}
    [orphan] = await orphans.list_orphans(plant.connection)
    assert await orphans.dismiss(plant.connection, orphan, actor="tests", why="never was")
    await regenerate_delta(plant.connection, issuer, None, RULES)
    found = await published(plant.connection)
    assert set(combined(found[""], found["delta"])) == set()


async def test_an_entry_that_only_the_delta_had_is_in_the_next_complete_crl(plant: Plant) -> None:
    """Revoked after the last complete CRL, lost before the next one: one build, without a failure."""
    wish = issuers.CRLWish(delta=True)
    issuer = await issuers.change_issuer(plant.connection, "ca", crls=wish, actor="tests")
    serial = plant.leaves[0].serial
    await regenerate(plant.connection, issuer, None, RULES)
    await revoke(plant.connection, "ca", serial, reason=COMPROMISE, actor="tests")
    await regenerate_delta(plant.connection, issuer, None, RULES)
    await lose(plant, [serial])
    await regenerate(plant.connection, issuer, None, RULES)
    assert await listed(plant.connection) == {serial: COMPROMISE}
    assert all(build.succeeded for build in await crls.crl_builds(plant.connection, "ca"))


async def test_a_crl_that_only_an_edge_has_keeps_its_entries(plant: Plant) -> None:
    """An old dump was restored: the edge sends what it serves. One that the issuer did not sign carries nothing."""
    serial, other = plant.leaves[0].serial, plant.leaves[1].serial
    await regenerate(plant.connection, plant.issuer, None, RULES)
    old = await crls.read_crl(plant.connection, "ca")
    assert old is not None
    await revoke(plant.connection, "ca", serial, reason=COMPROMISE, actor="tests")
    await crls.raise_crl_number(plant.connection, "ca", 1000)
    await regenerate(plant.connection, plant.issuer, None, RULES)
    later = await crls.read_crl(plant.connection, "ca")
    assert later is not None
    await lose(plant, [serial], crl_too=True)
    owner = await connect(plant.urls.owner)
    await owner.execute("update crl_numbers set last = 1")
    await owner.execute("delete from crl_generation_events")
    await owner.close()
    await crls.write_crl(plant.connection, old)
    await register(plant.urls, "edge")
    reader = await connect(plant.urls.edge, check=False)
    send = "select feed_report_crl('edge', 1::smallint, $1)"
    assert not await reader.fetchval(send, later.crl_der), "without a report"
    report = "select * from feed_report_orphans('edge', 1, 0, '{1,1}', $1, $2, '{1,1}')"
    await reader.fetch(report, [serial, other], [int(datetime.now(UTC).timestamp()) - 9] * 2)
    forged = bytearray(later.crl_der)
    forged[-1] ^= 1
    assert await reader.fetchval(send, bytes(forged))
    await regenerate(plant.connection, plant.issuer, None, RULES)
    assert await listed(plant.connection) == {}, "an unsigned CRL, or a mere report, is in a CRL"
    await plant.connection.execute("delete from crl_cache")
    assert await reader.fetchval(send, later.crl_der)
    await reader.close()
    number = await regenerate(plant.connection, plant.issuer, None, RULES)
    assert number is not None
    assert number > later.crl_number, "edges refuse a number below the one that they serve"
    assert await listed(plant.connection) == {serial: COMPROMISE}
    await orphans.settle(plant.connection)
    assert {each.serial_number: each.in_crl for each in await orphans.list_orphans(plant.connection)} == {
        serial: True,
        other: False,
    }
    proved = read_evidence(domain_issuer(plant.issuer), later.crl_der)
    assert set(proved.entries) == {serial}


async def test_the_gate_refuses_a_vanished_entry_whatever_the_ratio(p256: House) -> None:
    """One of many, with every other rule kept; with its release it passes, and only with the entries compared."""
    old = peek_crl(crl_of(p256, number=7))
    [difference] = await compare([held_crl(old)], encoded(ENTRIES[1:]).parts[0])
    [gone] = [entry[0] for entry in difference.gone]
    assert difference.count == len(ENTRIES)

    def judged(new: bytes, released: frozenset[bytes]) -> CRLProblem | int:
        expected = Expected(scope=Scope(url=URL), since=difference, released=released)
        return gate(new, PreviousCRL(old.number, old.this_update), p256.chain[1].cert_der, expected, now=NOW)

    new = crl_of(p256, ENTRIES[1:], number=8)
    refused = judged(new, frozenset())
    assert isinstance(refused, CRLProblem)
    assert refused.rule is Rule.VANISHED
    assert gone.hex() in refused.text
    assert judged(new, frozenset({gone})) == len(ENTRIES) - 1
    other = judged(crl_of(p256, ENTRIES[2:], number=8), frozenset({gone}))
    assert isinstance(other, CRLProblem)
    assert other.rule is Rule.ENTRIES


async def test_a_builder_that_carries_nothing_over_is_stopped_by_the_gate(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant "CRL without carry-over": the old CRL stays, with its entry, and the failure is logged."""
    serial = plant.leaves[0].serial
    await revoke(plant.connection, "ca", serial, reason=COMPROMISE, actor="tests")
    await regenerate(plant.connection, plant.issuer, None, RULES)
    await lose(plant, [serial])

    async def nothing(*_: object) -> CarryOver:
        return CarryOver(frozenset(), 0)

    monkeypatch.setattr("cachewarm.crl.regenerate.carry_over", nothing)
    with pytest.raises(Refused, match="vanished"):
        await regenerate(plant.connection, plant.issuer, None, RULES)
    assert await listed(plant.connection) == {serial: COMPROMISE}
    assert not (await crls.crl_builds(plant.connection, "ca"))[0].succeeded


@pytest.mark.parametrize("kept", [True, False])
async def test_nothing_is_carried_of_what_a_crl_never_had(plant: Plant, kept: bool) -> None:
    """Revoked and lost between two CRLs: only a report can tell, and a report is not in CRLs."""
    serial = plant.leaves[0].serial
    if kept:
        await regenerate(plant.connection, plant.issuer, None, RULES)
    await revoke(plant.connection, "ca", serial, reason=COMPROMISE, actor="tests")
    await lose(plant, [serial])
    await regenerate(plant.connection, plant.issuer, None, RULES)
    assert await listed(plant.connection) == {}
