"""The audit chain: append-only, gapless, and tampering is found."""

import hashlib
import struct

import asyncpg
import pytest

from cachewarm.ledger.audit import append_audit, list_audit, verify_audit
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.issuers import Issuer
from cachewarm.ledger.revocations import Revocation, bulk_revoke
from tests.cachewarm.ledger.conftest import serial


@pytest.fixture
async def chain(owner: Connection, issuer: Issuer) -> Connection:
    """A chain of eleven rows: the issuer, eight revocations, two notes."""
    await bulk_revoke(owner, "ca", [Revocation(serial(number)) for number in range(8)], actor="tests")
    for word in ("ä", "b"):
        await append_audit(owner, "tests", "note", detail={"word": word})
    return owner


async def test_the_chain_holds(chain: Connection) -> None:
    """Untouched, every link holds, also when the walk begins in the middle."""
    verdict = await verify_audit(chain)
    assert (verdict.checked, verdict.broken_at, verdict.seq) == (11, None, 11)
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
        ("update audit_events set at = at + interval '1 microsecond' where seq = 11", 11),
        ("update audit_events set issuer_id = null where seq = 6", 6),
        ("update audit_events set prev_hash = sha256('') where seq = 6", 6),
        ("delete from audit_events where seq = 4", 4),
        ("delete from audit_events where seq = 1", 1),
        ("delete from audit_events where seq = 11", 11),
        ("delete from audit_events where seq > 8", 9),
        ("delete from audit_events", 1),
        ("update audit_events set seq = 99 where seq = 11", 11),
        (
            """insert into audit_events select 12, at, actor, action, issuer_id, serial_number, detail, hash, hash
                 from audit_events where seq = 11""",
            12,
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
            where seq = 11""",
            11,
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
    assert len(rows) == 14
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
