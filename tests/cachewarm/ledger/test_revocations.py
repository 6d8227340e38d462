"""revoke, unhold and bulk_revoke: idempotent, honest about what changed, refused with a reason."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.errors import Refused
from cachewarm.ledger.audit import list_audit
from cachewarm.ledger.connect import Connection, OutcomeUnknown, connect
from cachewarm.ledger.inventory import get_certificate
from cachewarm.ledger.issuers import Issuer
from cachewarm.ledger.revocations import _REVOKE, CHANNEL, Revocation, bulk_revoke, purge_expired, revoke, unhold
from responder.domain.status import CRLReason
from tests.cachewarm.ledger.conftest import NOW, serial
from tests.cachewarm.ledger.reading import GENESIS, feed_read, items_of


async def test_a_repeat_changes_nothing_and_keeps_the_earliest_time(writer: Connection, issuer: Issuer) -> None:
    """The second call says changed=False and what stands; an earlier time given later wins, a later one does not."""
    first = await revoke(writer, "ca", serial(1), reason=CRLReason.keyCompromise, actor="ann")
    again = await revoke(writer, "ca", serial(1), reason=CRLReason.superseded, actor="bob")
    assert (first.changed, first.reason, first.generation, first.seq) == (True, CRLReason.keyCompromise, 1, 1)
    assert (again.changed, again.reason, again.revoked_at, again.seq) == (False, first.reason, first.revoked_at, 1)
    earlier = await revoke(writer, "ca", serial(1), revoked_at=NOW - timedelta(days=1), actor="bob")
    later = await revoke(writer, "ca", serial(1), revoked_at=NOW, actor="bob")
    assert (earlier.changed, later.changed) == (True, False)
    assert later.revoked_at == NOW - timedelta(days=1)
    events = await list_audit(writer, serial_number=serial(1))
    assert [(event.action, event.actor) for event in events] == [("amend", "bob"), ("revoke", "ann")]


async def test_eight_at_once_agree(database: DatabaseURLs, issuer: Issuer) -> None:
    """One changes, seven see it; there is one event."""
    connections = [await connect(database.cli) for _ in range(8)]
    results = await asyncio.gather(*(revoke(one, "ca", serial(1), actor="tests") for one in connections))
    assert sorted(result.changed for result in results) == [False] * 7 + [True]
    assert {(result.revoked_at, result.seq) for result in results} == {(results[0].revoked_at, 1)}
    for connection in connections:
        await connection.close()


async def test_a_hold_becomes_a_revocation_or_goes(writer: Connection, issuer: Issuer) -> None:
    """Hold -> real reason keeps the hold's time; real -> hold changes nothing; a release needs a hold."""
    hold = await revoke(writer, "ca", serial(1), reason=CRLReason.certificateHold, actor="ann")
    real = await revoke(writer, "ca", serial(1), reason=CRLReason.keyCompromise, actor="ann")
    assert (real.changed, real.reason, real.revoked_at) == (True, CRLReason.keyCompromise, hold.revoked_at)
    back = await revoke(writer, "ca", serial(1), reason=CRLReason.certificateHold, actor="ann")
    assert (back.changed, back.reason) == (False, CRLReason.keyCompromise)
    with pytest.raises(Refused, match="keyCompromise"):
        await unhold(writer, "ca", serial(1), actor="ann")
    await revoke(writer, "ca", serial(2), reason=CRLReason.certificateHold, actor="ann")
    released = await unhold(writer, "ca", serial(2), actor="bob")
    assert (released.changed, released.reason) == (True, None)
    assert (await unhold(writer, "ca", serial(2), actor="bob")).changed is False
    assert (await list_audit(writer, serial_number=serial(2)))[0].actor == "bob"
    certificate = await get_certificate(writer, "ca", serial(2))
    assert certificate is not None
    assert (certificate.status, certificate.revoked_at) == ("good", None)


@pytest.mark.parametrize(
    ("issuer_id", "octets", "values", "words"),
    [
        ("ca", b"\x77", {}, "no certificate 77"),
        ("none", serial(1), {}, "no issuer 'none'"),
        ("none", serial(1), {"allow_unknown": True}, "issuer"),
        ("ca", serial(1), {"revoked_at": datetime.now(UTC) + timedelta(days=1)}, "60 s ahead"),
        ("ca", serial(1), {"revoked_at": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001
        ("ca", serial(1), {"reason": CRLReason.removeFromCRL}, "delta"),
        ("ca", b"\x00\x01", {"allow_unknown": True}, "serial_number"),
    ],
)
async def test_refusals_say_why(
    writer: Connection, issuer: Issuer, *, issuer_id: str, octets: bytes, values: dict[str, Any], words: str
) -> None:
    """Nothing is written and the sentence names the reason."""
    with pytest.raises(Refused, match=words):
        await revoke(writer, issuer_id, octets, actor="tests", **values)
    assert (await feed_read(writer, 0, 0, GENESIS)).head == 0


async def test_an_unknown_certificate_can_be_revoked_on_purpose(writer: Connection, issuer: Issuer) -> None:
    """allow_unknown is for mirrored CRLs; a repeat does not need it."""
    assert (await revoke(writer, "ca", b"\x77", actor="tests", allow_unknown=True)).changed
    assert not (await revoke(writer, "ca", b"\x77", actor="tests")).changed


async def test_bulk_goes_in_chunks_and_resumes(writer: Connection, issuer: Issuer) -> None:
    """12,000 in twelve transactions; stopped after the first, a second run does the rest; duplicates count once."""
    wanted = [Revocation(serial(n), CRLReason.superseded, NOW - timedelta(hours=1)) for n in range(12_000)]
    seen: list[int] = []

    def stop(count: int) -> None:
        seen.append(count)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        await bulk_revoke(writer, "ca", wanted, actor="tests", allow_unknown=True, progress=stop)
    result = await bulk_revoke(
        writer, "ca", [*wanted, wanted[0]], actor="tests", allow_unknown=True, progress=seen.append
    )
    assert seen == [1000] * 13 + [1]
    assert (result.asked, result.changed, result.unknown) == (12_001, 11_000, ())
    answer = await feed_read(writer, 0, 0, GENESIS)
    assert (answer.head, result.seq) == (12, 12)
    assert len({item.serial_number for event in answer.rows for item in items_of(event.payload)}) == 12_000


async def test_bulk_leaves_unknown_certificates_alone_and_names_them(writer: Connection, issuer: Issuer) -> None:
    """Without allow_unknown the known ones are revoked and the others reported."""
    result = await bulk_revoke(writer, "ca", [Revocation(serial(n)) for n in (1, 2, 500)], actor="tests")
    assert (result.changed, result.unknown) == (2, (serial(500),))


async def test_a_bulk_revocation_locks_the_ledger_for_one_event_at_a_time(writer: Connection, issuer: Issuer) -> None:
    """A single revocation beside it waits for a transaction of at most 1,000 rows, which is one event of the feed."""
    wanted = [Revocation(serial(number)) for number in range(3500)]
    await bulk_revoke(writer, "ca", wanted, actor="tests", allow_unknown=True)
    rows = await writer.fetch("select count(*) as n from certificate_revocations group by xmin::text order by 1")
    assert [row["n"] for row in rows] == [500, 1000, 1000, 1000]
    assert await writer.fetchval("select array_agg(n order by seq) from revocation_events") == [1000, 1000, 1000, 500]


async def test_a_bulk_revocation_never_reads_the_whole_revoked_set(writer: Connection, issuer: Issuer) -> None:
    """Unknown serial numbers are looked up in the index, however many certificates are revoked."""
    wanted = [Revocation(serial(number)) for number in range(4000)]
    await bulk_revoke(writer, "ca", wanted, actor="tests", allow_unknown=True)
    serials = [serial(number) for number in range(10_000, 11_000)]
    nothing = [None] * len(serials)
    plan = await writer.fetch("explain " + _REVOKE, "ca", serials, [0] * len(serials), nothing, nothing, "tests", False)
    assert not [row[0] for row in plan if "Seq Scan on certificate" in row[0]]


async def test_purging_takes_only_what_has_expired(writer: Connection, issuer: Issuer) -> None:
    """Certificate 9 has ended, 1 has not; a date ahead does not help."""
    await bulk_revoke(writer, "ca", [Revocation(serial(n)) for n in (1, 9)], actor="tests")
    assert await purge_expired(writer, "ca", NOW + timedelta(days=999), actor="tests") == 1
    assert await writer.fetchval("select count(*) from certificate_revocations") == 1


async def test_a_revocation_nudges_after_its_commit(database: DatabaseURLs, writer: Connection, issuer: Issuer) -> None:
    """Whoever listens is woken and then finds the event; a vain repeat wakes nobody."""
    listener, heard = await connect(database.cli), asyncio.Queue[str]()
    await listener.add_listener(CHANNEL, lambda *words: heard.put_nowait(words[2]))
    await revoke(writer, "ca", serial(1), actor="tests")
    assert await asyncio.wait_for(heard.get(), 2) == CHANNEL
    assert (await feed_read(listener, 0, 0, GENESIS)).head == 1
    await revoke(writer, "ca", serial(1), actor="tests")
    await asyncio.sleep(0.1)
    assert heard.empty()
    await listener.close()


async def test_a_lost_connection_leaves_the_outcome_unknown(
    database: DatabaseURLs, owner: Connection, issuer: Issuer
) -> None:
    """Killed in the middle, the revoker says that it does not know; the repeat is safe."""
    victim, blocker = await connect(database.cli), await connect(database.cli)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("insert into certificate_revocations (issuer_id, serial_number) values ('ca', '\\x77')")
    revoking = asyncio.create_task(revoke(victim, "ca", serial(1), actor="tests"))
    await asyncio.sleep(0.2)
    await owner.execute("select pg_terminate_backend($1)", victim.get_server_pid())
    with pytest.raises(OutcomeUnknown):
        await revoking
    await transaction.rollback()
    await blocker.close()
    victim.terminate()


async def test_a_time_slightly_ahead_is_set_to_now_and_kept_beside(writer: Connection, issuer: Issuer) -> None:
    """Clocks of CAs differ by seconds: no host sees a revocation time in the future."""
    ahead = datetime.now(UTC) + timedelta(seconds=50)
    done = await revoke(writer, "ca", serial(1), revoked_at=ahead, actor="ann")
    assert done.revoked_at is not None
    assert done.revoked_at <= datetime.now(UTC)
    row = await writer.fetchrow("select revoked_at, stated_time from certificate_revocations")
    assert tuple(row or ()) == (done.revoked_at, ahead)
    (event,) = (await feed_read(writer, 0, 0, GENESIS)).rows
    assert items_of(event.payload)[0].revoked_at == int(done.revoked_at.timestamp())


async def test_a_mirrored_crl_that_repeats_a_time_ahead_changes_nothing(writer: Connection, issuer: Issuer) -> None:
    """Each issue of the CRL states the same time; the one that was set stays, also when the stated one has come."""
    ahead = datetime.now(UTC) + timedelta(seconds=50)
    first = await revoke(writer, "ca", serial(1), revoked_at=ahead, actor="ann")
    for stated in (ahead, ahead - timedelta(seconds=49)):
        await writer.execute("update certificate_revocations set revoked_at = $1", stated)
    row = await writer.fetchrow("select revoked_at, stated_time from certificate_revocations")
    assert tuple(row or ()) == (first.revoked_at, ahead)
    assert (await feed_read(writer, 0, 0, GENESIS)).head == 1
