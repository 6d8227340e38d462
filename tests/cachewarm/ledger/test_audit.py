"""The audit chain: append-only, gapless, and tampering is found."""

import hashlib
import struct
from datetime import UTC, datetime

import asyncpg
import pytest

from cachewarm.ledger.audit import AuditEvent, append_audit, audit_head, list_audit, settle_audit, verify_audit
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.inventory import add_certificates
from cachewarm.ledger.issuers import Issuer, change_issuer
from cachewarm.ledger.responders import NewResponderCert, add_responder_cert
from cachewarm.ledger.revocations import Revocation, bulk_revoke
from responder.domain.status import UnissuedPolicy
from tests.cachewarm.ledger.conftest import certificate, serial

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def chain(owner: Connection, issuer: Issuer) -> Connection:
    """A chain of 13 rows: the issuer, its certificates in two pieces, eight revocations, two notes."""
    await bulk_revoke(owner, "ca", [Revocation(serial(number)) for number in range(8)], actor="tests")
    assert await settle_audit(owner) == 0
    for word in ("ä", "b"):
        await append_audit(owner, "tests", "note", detail={"word": word})
    return owner


async def test_the_chain_holds(chain: Connection) -> None:
    """Untouched, every link holds, also when the walk begins in the middle."""
    verdict = await verify_audit(chain)
    assert (verdict.checked, verdict.broken_at, verdict.seq) == (13, None, 13)
    assert (await verify_audit(chain, start=5)).broken_at is None
    assert (await list_audit(chain, limit=1))[0].detail["word"] == "b"


@pytest.mark.parametrize(
    "sql", ["update audit_events set actor = 'x'", "delete from audit_events", "truncate audit_events"]
)
@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_rows_are_never_changed(chain: Connection, sql: str, role: str) -> None:
    """UPDATE, DELETE and TRUNCATE are refused, also to a superuser in replica role."""
    await chain.execute(f"set session_replication_role = {role}")
    with pytest.raises(asyncpg.PostgresError, match="forbidden"):
        await chain.execute(sql)


@pytest.mark.parametrize(
    ("tampering", "broken_at"),
    [
        ("update audit_events set actor = 'x' where seq = 4", 4),
        ("update audit_events set detail = detail || '{\"a\": 1}' where seq = 1", 1),
        ("update audit_events set at = at + interval '1 microsecond' where seq = 13", 13),
        ("update audit_events set issuer_id = null where seq = 6", 6),
        ("update audit_events set prev_hash = sha256('') where seq = 6", 6),
        ("delete from audit_events where seq = 4", 4),
        ("delete from audit_events where seq = 1", 1),
        ("delete from audit_events where seq = 13", 13),
        ("delete from audit_events where seq > 8", 9),
        ("delete from audit_events", 1),
        ("update audit_events set seq = 99 where seq = 13", 13),
        (
            """insert into audit_events select 14, at, actor, action, issuer_id, serial_number, detail, hash, hash
                 from audit_events where seq = 13""",
            14,
        ),
        (
            """update audit_events set actor = 'x', hash =
                 audit_hash(prev_hash, seq, at, ('x', action, issuer_id, serial_number, detail)::audit_entry)
            where seq = 4""",
            5,
        ),
        (
            """update audit_events set actor = 'x', hash =
                 audit_hash(prev_hash, seq, at, ('x', action, issuer_id, serial_number, detail)::audit_entry)
            where seq = 13""",
            13,
        ),
    ],
)
async def test_tampering_is_found_at_its_place(chain: Connection, tampering: str, broken_at: int) -> None:
    """With triggers off a superuser can change rows; the walk names the first that does not hold."""
    await chain.execute("alter table audit_events disable trigger all")
    await chain.execute(tampering)
    assert (await verify_audit(chain)).broken_at == broken_at


async def test_rows_of_one_statement_are_chained_as_the_format_says(owner: Connection, chain: Connection) -> None:
    """Every hash, computed here: previous hash, number, microseconds, and each field behind its length (-1: null)."""
    await owner.fetchval(
        """select audit_append_rows(array[('ä', 'b', null, '\\x00ff', '{"a": 1}')::audit_entry,
             ('', 'b', 'ca', null, '{}')::audit_entry, ('c', 'd', 'ca', '', '[]')::audit_entry])"""
    )
    rows = await owner.fetch(
        """select seq, (extract(epoch from at) * 1000000)::int8 as us, actor, action, issuer_id, serial_number,
                  detail::text, prev_hash, hash from audit_events order by seq"""
    )
    assert len(rows) == 16
    last = hashlib.sha256(b"").digest()
    for number, row in enumerate(rows, 1):
        covered = last + struct.pack(">qq", row["seq"], row["us"])
        for name in ("actor", "action", "issuer_id", "serial_number", "detail"):
            value = row[name]
            octets = value.encode() if isinstance(value, str) else value
            covered += struct.pack(">i", -1 if octets is None else len(octets)) + (octets or b"")
        assert (row["seq"], row["prev_hash"], row["hash"]) == (number, last, hashlib.sha256(covered).digest())
        last = row["hash"]


async def test_fields_cannot_be_shifted_into_each_other(owner: Connection) -> None:
    """Lengths are hashed: ('ab', 'c') and ('a', 'bc') differ, null and empty too."""
    hashes = await owner.fetch(
        """select audit_hash('', 1, now(), e) as h
             from unnest(array[('ab','c',null,null,'{}'), ('a','bc',null,null,'{}'),
           ('ab','c','',null,'{}'), ('ab','c',null,'','{}')]::audit_entry[]) e"""
    )
    assert len({row["h"] for row in hashes}) == 4


def details(events: list[AuditEvent]) -> list[tuple[str, str, bytes | None]]:
    """Who did what to which certificate, oldest first."""
    return [(event.actor, event.action, event.serial_number) for event in reversed(events)]


async def test_certificates_that_are_entered_leave_a_row_for_each_statement(writer: Connection, issuer: Issuer) -> None:
    """Of one its serial number, of several their count and a hash; by plain SQL too, with login and application."""
    await settle_audit(writer)
    at = (await audit_head(writer)).seq
    await add_certificates(writer, "ca", [certificate(20)])
    await writer.execute(
        """insert into certificates (issuer_id, serial_number, not_before, not_after)
             select 'ca', decode(n, 'hex'), now(), now() from unnest(array['77', '66']) n"""
    )
    await settle_audit(writer)
    one, two = [event for event in reversed(await list_audit(writer)) if event.seq > at]
    assert (one.action, one.serial_number) == ("certificate", serial(20))
    assert (two.action, two.actor, two.serial_number) == ("certificate", two.detail["login"], None)
    assert (two.detail["certificates"], two.detail["first"], two.detail["last"]) == (2, "66", "77")
    assert two.detail["serials_sha256"] == hashlib.sha256(b"66,77").hexdigest()
    assert two.detail["application"].startswith("fastocsp")


async def test_changed_and_deleted_certificates_leave_rows(owner: Connection, issuer: Issuer) -> None:
    """What changed is in it, before and after; a revocation leaves its own row alone."""
    await settle_audit(owner)
    await owner.execute("update certificates set subject = 'CN=Other' where serial_number = $1", serial(1))
    await owner.execute("update certificates set subject = 'CN=Other' where serial_number = $1", serial(1))
    await owner.execute("delete from certificates where serial_number = $1", serial(9))
    await settle_audit(owner)
    await bulk_revoke(owner, "ca", [Revocation(serial(2))], actor="ann")
    changed, gone, revoked = reversed(await list_audit(owner, limit=3))
    assert (changed.action, changed.serial_number, changed.detail["after"]) == (
        "certificate-change",
        serial(1),
        {"subject": "CN=Other"},
    )
    assert (gone.action, gone.serial_number) == ("certificate-delete", serial(9))
    assert (revoked.action, revoked.actor) == ("revoke", "ann")


async def test_changes_of_an_issuer_say_what_changed(writer: Connection, owner: Connection, issuer: Issuer) -> None:
    """By a command with the actor's name, by plain SQL with the login's; the same values again leave none."""
    await settle_audit(writer)
    made = (await list_audit(writer, limit=50))[-1]
    assert (made.action, made.actor, made.detail["after"]["unissued_policy"]) == ("issuer", "tests", "unauthorized")
    assert made.detail["after"]["cert_sha256"] == hashlib.sha256(b"the certificate of ca").hexdigest()
    await change_issuer(writer, "ca", unissued_policy=UnissuedPolicy.GOOD, actor="ann")
    await writer.execute("update issuers set unissued_policy = 'good'")
    await writer.execute("update issuers set unissued_policy = 'unknown'")
    await settle_audit(writer)
    by_hand, by_command = await list_audit(writer, limit=2)
    assert (by_command.actor, by_command.detail["before"], by_command.detail["after"]) == (
        "ann",
        {"unissued_policy": "unauthorized"},
        {"unissued_policy": "good"},
    )
    assert by_hand.actor == by_hand.detail["login"]
    assert by_hand.detail["after"] == {"unissued_policy": "unknown"}
    await owner.execute("insert into issuers (issuer_id, subject, cert_der) values ('gone', 'CN=Gone', '\\x00')")
    await owner.execute("delete from issuer_certificates where issuer_id = 'gone'")
    await owner.execute("delete from issuers where issuer_id = 'gone'")
    await settle_audit(owner)
    assert [event.action for event in await list_audit(owner, issuer_id="gone")] == ["issuer-delete", "issuer"]


async def test_responders_that_come_and_go_leave_rows(writer: Connection, issuer: Issuer) -> None:
    """A runbook deletes the row by psql; the chain has it."""
    row = NewResponderCert(
        cert_subject="CN=R",
        serial_number=serial(30),
        not_before=MOMENT,
        not_after=MOMENT,
        cert_der=b"der",
        key_path="/keys/r.key",
    )
    await add_responder_cert(writer, "ca", row, actor="warmer")
    await writer.execute("update ocsp_responder_certs set key_path = '/keys/s.key'")
    await writer.execute("delete from ocsp_responder_certs")
    await settle_audit(writer)
    gone, moved, made = await list_audit(writer, serial_number=serial(30))
    assert details([gone, moved, made]) == [
        ("warmer", "responder", serial(30)),
        (made.detail["login"], "responder", serial(30)),
        (made.detail["login"], "responder-delete", serial(30)),
    ]
    assert moved.detail["before"] == {"key_path": "/keys/r.key"}
    assert gone.detail["before"]["key_path"] == "/keys/s.key"


async def test_transaction_that_enters_certificates_delays_no_revocation(
    owner: Connection, writer: Connection, issuer: Issuer
) -> None:
    """Its rows come into the chain after its end; what it rolled back never does."""
    await settle_audit(owner)
    open_one = owner.transaction()
    await open_one.start()
    await add_certificates(owner, "ca", [certificate(40)])
    await owner.execute("update issuers set unissued_policy = 'unknown'")
    await writer.execute("set lock_timeout = '2s'")
    await bulk_revoke(writer, "ca", [Revocation(serial(1))], actor="ann")
    assert await settle_audit(writer) == 0
    await open_one.commit()
    assert await settle_audit(writer) == 2
    assert [event.action for event in await list_audit(writer, limit=3)] == ["issuer", "certificate", "revoke"]
    taken_back = owner.transaction()
    await taken_back.start()
    await add_certificates(owner, "ca", [certificate(41)])
    await taken_back.rollback()
    assert await settle_audit(writer) == 0
    assert (await verify_audit(writer)).broken_at is None


async def test_more_waiting_rows_than_one_call_takes_are_settled_in_their_order(
    owner: Connection, writer: Connection, issuer: Issuer
) -> None:
    """Every call takes the oldest ones, and no more than it was told to."""
    await settle_audit(writer)
    await owner.execute(
        """do $$ begin for n in 1..2100 loop
             update issuers set crl_url = 'http://ca.example/' || n where issuer_id = 'ca';
           end loop; end $$"""
    )
    assert await settle_audit(writer) == 2100
    urls = await writer.fetch(
        """select detail -> 'after' ->> 'crl_url' as url from audit_events
            where action = 'issuer' and detail ? 'before' order by seq"""
    )
    assert [row["url"] for row in urls] == [f"http://ca.example/{number}" for number in range(1, 2101)]


@pytest.mark.parametrize("sql", ["update audit_pending set id = 0", "truncate audit_pending"])
async def test_rows_that_wait_for_the_chain_are_never_changed(owner: Connection, issuer: Issuer, sql: str) -> None:
    """Not by a superuser in replica role either."""
    await owner.execute("set session_replication_role = replica")
    with pytest.raises(asyncpg.PostgresError, match=r"forbidden|can only be updated to DEFAULT"):
        await owner.execute(sql)


async def test_many_issuers_in_one_statement_are_settled_in_pieces(owner: Connection) -> None:
    """Each piece holds the lock of the ledger for a few milliseconds alone."""
    await owner.execute(
        """insert into issuers (issuer_id, subject, cert_der)
             select 'i' || n, 'CN=' || n, int4send(n) from generate_series(1, 2500) n"""
    )
    assert await owner.fetchval("select audit_settle()") == 1000
    assert await settle_audit(owner) == 1500
    verdict = await verify_audit(owner)
    assert (verdict.seq, verdict.broken_at) == (2500, None)


async def test_login_that_may_only_read_settles_nothing(reader: Connection, writer: Connection, issuer: Issuer) -> None:
    """It sees the chain as it is, without an error."""
    assert await settle_audit(reader) == 0
    assert await settle_audit(writer) == 3
