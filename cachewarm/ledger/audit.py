"""The audit chain: append, look, verify. It is written in the database (0003, 0029): plain SQL is in it too."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypedDict, Unpack

from cachewarm.ledger.connect import Connection, one_row, translated

_VERIFY_ROWS = 50_000
_WALK_ROWS = 5_000
#: Rows that one call of `audit_settle` takes: the lock is held for a few milliseconds.
SETTLED_AT_ONCE = 1_000


@dataclass(frozen=True, kw_only=True)
class AuditEvent:
    """One row of the chain; `detail_text` is the JSON as it was hashed."""

    seq: int
    at: datetime
    actor: str
    action: str
    issuer_id: str | None
    serial_number: bytes | None
    detail: Mapping[str, Any]
    detail_text: str
    prev_hash: bytes
    hash: bytes


@dataclass(frozen=True)
class AuditVerdict:
    """`broken_at`: the first number that does not hold, or None; `hash`: the head's, worth keeping elsewhere."""

    checked: int
    broken_at: int | None
    seq: int
    hash: bytes


class AuditHead(NamedTuple):
    """The last row of the chain: its number and hash."""

    seq: int
    hash: bytes


async def audit_head(connection: Connection) -> AuditHead:
    """Return where the chain ends, worth keeping elsewhere."""
    with translated():
        row = await one_row(connection, "select seq, hash from audit_head")
    return AuditHead(row["seq"], row["hash"])


async def name_actor(connection: Connection, actor: str) -> None:
    """Name who acts, for the audit rows that triggers write until the end of the transaction."""
    with translated():
        await connection.execute("select set_config('fastocsp.actor', $1, true)", actor)


async def append_audit(
    connection: Connection,
    actor: str,
    action: str,
    *,
    issuer_id: str | None = None,
    serial_number: bytes | None = None,
    detail: Mapping[str, Any] | None = None,
) -> int:
    """One more row; its number. It is there when the caller's transaction commits."""
    with translated():
        return await connection.fetchval(  # type: ignore[no-any-return]
            "select audit_append($1, $2, $3, $4, $5::jsonb)",
            actor,
            action,
            issuer_id,
            serial_number,
            json.dumps(detail or {}),
        )


async def settle_audit(connection: Connection) -> int:
    """Put rows that triggers left for it into the chain; return how many there were.

    Changes of certificates, issuers and responders are noted in their own transaction and settled afterwards, as the
    chain is written under the ledger's lock. A login that may only read, as that of backups, settles none.
    """
    count = 0
    with translated():
        may_settle = await connection.fetchval("select has_function_privilege('audit_settle(int)', 'execute')")
    while may_settle:
        with translated():
            done = int(await connection.fetchval("select audit_settle($1)", SETTLED_AT_ONCE))
        count += done
        if done < SETTLED_AT_ONCE:
            break
    return count


class AuditFilter(TypedDict, total=False):
    """Which rows are wanted; None and what is left out mean any. `since` is inclusive, `until` and `before` are not.

    `actor` is the name or the login; `before` a number of a row.
    """

    since: datetime | None
    until: datetime | None
    issuer_id: str | None
    serial_number: bytes | None
    actor: str | None
    actions: Sequence[str]
    before: int | None


_MATCHES = """($1::text is null or issuer_id = $1) and ($2::bytea is null or serial_number = $2)
   and ($3::bigint is null or seq < $3) and ($4::timestamptz is null or at >= $4)
   and ($5::timestamptz is null or at < $5) and ($6::text is null or actor = $6 or detail ->> 'login' = $6)
   and (cardinality($7::text[]) = 0 or action = any($7))"""
_COLUMNS = "seq, at, actor, action, issuer_id, serial_number, detail::text as detail_text, prev_hash, hash"


async def list_audit(connection: Connection, *, limit: int = 50, **wanted: Unpack[AuditFilter]) -> list[AuditEvent]:
    """Return the latest rows that match, newest first."""
    with translated():
        rows = await connection.fetch(
            f"select {_COLUMNS} from audit_events where {_MATCHES} order by seq desc limit $8",  # noqa: S608
            *_arguments(wanted),
            limit,
        )
    return [_event(row) for row in rows]


async def walk_audit(connection: Connection, **wanted: Unpack[AuditFilter]) -> AsyncIterator[AuditEvent]:
    """Yield every row that matches, oldest first, read in pieces."""
    after = 0
    while True:
        with translated():
            rows = await connection.fetch(
                f"select {_COLUMNS} from audit_events where {_MATCHES} and seq > $8 order by seq limit $9",  # noqa: S608
                *_arguments(wanted),
                after,
                _WALK_ROWS,
            )
        if not rows:
            return
        for row in rows:
            yield _event(row)
        after = rows[-1]["seq"]


async def row_hash(connection: Connection, seq: int) -> bytes | None:
    """Return the hash of that row; None when there is none."""
    with translated():
        return await connection.fetchval("select hash from audit_events where seq = $1", seq)  # type: ignore[no-any-return]


def _arguments(wanted: AuditFilter) -> tuple[object, ...]:
    names = ("issuer_id", "serial_number", "before", "since", "until", "actor")
    return (*(wanted.get(name) for name in names), list(wanted.get("actions", ())))


def _event(row) -> AuditEvent:  # type: ignore[no-untyped-def]
    return AuditEvent(**dict(row) | {"detail": json.loads(row["detail_text"])})


async def verify_audit(
    connection: Connection, *, start: int = 1, progress: Callable[[int], None] | None = None
) -> AuditVerdict:
    """Walk the chain from `start` to its end, in pieces."""
    at = start
    while True:
        head, last = await audit_head(connection), at + _VERIFY_ROWS - 1
        with translated():
            broken = await connection.fetchval("select audit_verify($1, $2)", at, last)
        if broken is not None or last >= head.seq:
            return AuditVerdict(max(0, min(last, head.seq) - start + 1), broken, head.seq, head.hash)
        if progress:
            progress(_VERIFY_ROWS)
        at = last + 1
