"""Reports of edges that know revocations which the ledger lacks: bounded, no revocations, decided by an operator."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import Connection, connect
from cachewarm.ledger.edges import register_edge
from cachewarm.ledger.issuers import Issuer
from tests.cachewarm.ledger.conftest import NOW, serial
from tests.cachewarm.ledger.reading import FeedItem, items_of

REPORTED, RELEASED, REVOKED = 4, 2, 1
THEN = int(NOW.timestamp()) - 3600


async def report(reader: Connection, *numbers: int, at: int = THEN, reason: int = 1, edge: str = "a") -> list[bytes]:
    """As the edge's login; the serial numbers that the ledger says are no orphans."""
    rows = await reader.fetch(
        "select * from feed_report_orphans($5, 1, 0, $1, $2, $3, $4)",
        [1] * len(numbers),
        [serial(number) for number in numbers],
        [at] * len(numbers),
        [reason] * len(numbers),
        edge,
    )
    return [row["serial_number"] for row in rows]


async def items(connection: Connection) -> list[FeedItem]:
    """Of the whole feed."""
    rows = await connection.fetch("select payload from revocation_events order by seq")
    return [item for row in rows for item in items_of(row["payload"])]


async def settle(writer: Connection) -> int:
    """Take over what was reported; how many rows changed."""
    return int(await writer.fetchval("select orphans_settle()"))


async def state(writer: Connection, number: int) -> str | None:
    """Of that orphan."""
    found: str | None = await writer.fetchval("select state from orphans where serial_number = $1", serial(number))
    return found


async def test_a_report_is_blocked_in_the_feed_and_revokes_nothing(
    reader: Connection, writer: Connection, issuer: Issuer
) -> None:
    """One item however often it is reported; the view for snapshots has it; the audit chain names the login."""
    assert await report(reader, 1) == []
    assert await settle(writer) == 1
    assert await report(reader, 1) == []
    assert await settle(writer) == 0
    assert await items(writer) == [FeedItem(REPORTED, 1, serial(1), THEN, 1)]
    assert [tuple(row) for row in await reader.fetch("select issuer_no, serial_number, reason from feed_orphans")] == [
        (1, serial(1), 1)
    ]
    assert await writer.fetchval("select count(*) from certificate_revocations") == 0
    assert await writer.fetchval("select status from certificates where serial_number = $1", serial(1)) == "good"
    event = await writer.fetchrow("select action, detail from audit_events order by seq desc limit 1")
    assert event is not None
    assert event["action"] == "orphan open"
    assert "fastocsp_edge" in event["detail"]
    assert await writer.fetchval("select audit_verify()") is None


async def test_what_the_ledger_knows_is_no_orphan(reader: Connection, writer: Connection, issuer: Issuer) -> None:
    """Revoked, expired, a hold that was released, a serial number that cannot be, an issuer that is not there."""
    await writer.execute(
        "insert into certificate_revocations (issuer_id, serial_number, reason) values ('ca', $1, 1), ('ca', $2, 6)",
        serial(1),
        serial(2),
    )
    await writer.execute("delete from certificate_revocations where serial_number = $1", serial(2))
    assert await report(reader, 1) == []
    await report(reader, 2, reason=6)
    await report(reader, 9)
    await report(reader, 3, reason=8)
    await report(reader, 4, at=THEN + 7 * 86400)
    await reader.fetch(
        "select * from feed_report_orphans('a', 1, 0, '{1,7}', '{\"\\\\x0000\",\"\\\\x01\"}', '{1,1}', '{1,1}')"
    )
    assert await settle(writer) == 2
    assert await writer.fetch("select * from feed_orphans") == []
    assert await report(reader, 2, reason=6) == [serial(2)]
    assert await report(reader, 9) == [serial(9)]


async def test_a_hostile_login_blocks_no_more_than_its_limit(
    reader: Connection, writer: Connection, owner: Connection, database: DatabaseURLs, issuer: Issuer
) -> None:
    """Thousands of reports over several connections: the rest is refused and counted, another login still reports."""
    await owner.execute("select orphans_set_limit(50)")
    hostile = [await connect(database.edge, check=False) for _ in range(4)]
    numbers = [range(1000 * at + 10, 1000 * at + 510) for at in range(8)]  # 9 has expired: it would be no orphan
    await asyncio.gather(*(report_all(each, numbers[2 * at : 2 * at + 2]) for at, each in enumerate(hostile)))
    assert await settle(writer) == 50
    assert await writer.fetchval("select count(*) from feed_orphans") == 50
    refused = await writer.fetchrow("select login, refused from orphan_reporters")
    assert refused is not None
    assert tuple(refused) == ("fastocsp_edge", 4000 - 50)
    assert await writer.fetchval("select count(*) from certificate_revocations") == 0
    for each in hostile:
        await each.close()
    await register_edge(owner, "another", "fastocsp", actor="tests")
    await report(owner, 8888, edge="another")
    assert await settle(writer) == 1


async def report_all(connection: Connection, numbers: list[range]) -> None:
    """One call after the other."""
    for each in numbers:
        await report(connection, *each)


async def test_dismissing_gives_no_new_room_within_the_hour(
    reader: Connection, writer: Connection, owner: Connection, issuer: Issuer
) -> None:
    """Or the operator would work for the attacker."""
    await owner.execute("select orphans_set_limit(3)")
    await report(reader, 1, 2, 3)
    await settle(writer)
    for number in (1, 2, 3):
        assert await writer.fetchval("select orphan_dismiss('tests', 'ca', $1, 'false')", serial(number))
    await report(reader, 4, 5)
    assert await settle(writer) == 0
    await owner.execute("update orphan_reports set first_seen = now() - interval '2 hours'")
    await report(reader, 4, 5)
    assert await settle(writer) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        "'', 1, 0, '{1}', '{\"\\\\x01\"}', '{1}', '{1}'",
        "null, 1, 0, '{1}', '{\"\\\\x01\"}', '{1}', '{1}'",
        "'a', 1, 0, '{1}', '{\"\\\\x01\"}', '{1}', '{1,1}'",
        "'a', 1, 0, '{1}', '{\"\\\\x01\",\"\\\\x02\"}', '{1}', '{1}'",
        "repeat('e', 300), 1, 0, '{1}', '{\"\\\\x01\"}', '{1}', '{1}'",
        "'a', 1, 0, array_fill(1::smallint, array[501]), array_fill('\\x01'::bytea, array[501]),"
        " array_fill(1::bigint, array[501]), array_fill(1::smallint, array[501])",
    ],
)
async def test_a_malformed_report_is_refused(reader: Connection, issuer: Issuer, arguments: str) -> None:
    """With a reason, before anything is written."""
    with pytest.raises((asyncpg.InvalidParameterValueError, asyncpg.InsufficientPrivilegeError), match="report"):
        await reader.fetch(f"select * from feed_report_orphans({arguments})")


async def test_a_login_reports_for_its_own_edge_alone(
    reader: Connection, database: DatabaseURLs, issuer: Issuer
) -> None:
    """Neither the signer's login nor that of another edge may report in its name."""
    signer = await connect(database.signer, check=False)
    for connection, edge in ((signer, "a"), (reader, "another")):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="may not report for edge"):
            await report(connection, 1, edge=edge)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="may not report for edge"):
            await connection.fetch("select feed_report_crl($1, 1::smallint, 'x')", edge)
    await signer.close()


async def test_an_open_report_delays_no_writer(reader: Connection, writer: Connection, issuer: Issuer) -> None:
    """The edge's login holds everything that a report takes: revoking, settling and deciding go on."""
    await report(reader, 1)
    await settle(writer)
    await writer.execute("set lock_timeout = '500ms'")
    async with reader.transaction():
        await report(reader, 1, 2)
        await writer.execute(
            "insert into certificate_revocations (issuer_id, serial_number) values ('ca', $1)", serial(3)
        )
        assert await settle(writer) == 0
        assert await writer.fetchval("select orphan_dismiss('tests', 'ca', $1, 'false')", serial(1))
    assert await settle(writer) == 1


async def test_confirm_makes_an_ordinary_revocation_with_the_earliest_time(
    reader: Connection, writer: Connection, issuer: Issuer
) -> None:
    """Of the report, or of the evidence; audited; once."""
    await report(reader, 1, 2)
    await settle(writer)
    earlier = NOW - timedelta(days=2)
    assert await confirm(writer, 1)
    assert await confirm(writer, 2, earlier, 4)
    assert not await confirm(writer, 2)
    assert not await confirm(writer, 3)
    rows = await writer.fetch(
        "select serial_number, revoked_at, reason, revoked_by from certificate_revocations order by serial_number"
    )
    assert [tuple(row) for row in rows] == [
        (serial(1), datetime.fromtimestamp(THEN, UTC), 1, "tests"),
        (serial(2), earlier, 4, "tests"),
    ]
    heard = await items(writer)
    assert [item.op for item in heard] == [REPORTED, REPORTED, REVOKED, REVOKED]
    actions = [row["action"] for row in await writer.fetch("select action from audit_events order by seq desc limit 4")]
    assert actions == ["orphan confirmed", "revoke"] * 2
    assert await state(writer, 1) == "confirmed"


async def confirm(writer: Connection, number: int, at: datetime | None = None, reason: int | None = None) -> bool:
    """By evidence of that time and reason; False when no such orphan is open."""
    return bool(
        await writer.fetchval(
            "select orphan_confirm('tests', 'ca', $1, $2, $3, null, 'a CRL')", serial(number), at, reason
        )
    )


async def test_dismissed_is_told_to_the_edge_and_not_opened_again(
    reader: Connection, writer: Connection, issuer: Issuer
) -> None:
    """But a revocation after the decision, which the ledger lost too, is an orphan of its own."""
    await report(reader, 1)
    await settle(writer)
    assert await writer.fetchval("select orphan_dismiss('tests', 'ca', $1, 'a mistake')", serial(1))
    assert (await items(writer))[-1].op == RELEASED
    assert await report(reader, 1) == [serial(1)]
    assert await settle(writer) == 0
    assert await state(writer, 1) == "dismissed"
    await writer.execute("select pg_sleep(1.1)")
    assert await report(reader, 1, at=int(datetime.now(UTC).timestamp()) + 1) == []
    assert await settle(writer) == 1
    assert await state(writer, 1) == "open"


async def test_revoked_in_the_ledger_is_no_orphan_any_more(
    reader: Connection, writer: Connection, issuer: Issuer
) -> None:
    """Whoever revoked it."""
    await report(reader, 1)
    await settle(writer)
    await writer.execute("insert into certificate_revocations (issuer_id, serial_number) values ('ca', $1)", serial(1))
    assert await reader.fetch("select * from feed_orphans") == []
    assert await settle(writer) == 1
    assert await state(writer, 1) == "confirmed"


async def test_evidence_that_an_edge_holds_delays_no_writer(
    reader: Connection, writer: Connection, owner: Connection, issuer: Issuer
) -> None:
    """Its report of another CRL is never committed: the evidence is dropped the next time."""
    await report(reader, 1)
    assert await reader.fetchval("select feed_report_crl('a', 1::smallint, 'one')")
    await owner.execute("update orphan_evidence set at = now() - interval '2 minutes'")
    await writer.execute("set lock_timeout = '500ms'")
    transaction = reader.transaction()
    await transaction.start()
    assert await reader.fetchval("select feed_report_crl('a', 1::smallint, 'two')")
    await writer.execute("select orphan_evidence_forget('fastocsp_edge', 1::smallint)")
    assert await owner.fetchval("select count(*) from orphan_evidence") == 1
    await transaction.rollback()
    await writer.execute("select orphan_evidence_forget('fastocsp_edge', 1::smallint)")
    assert await owner.fetchval("select count(*) from orphan_evidence") == 0
