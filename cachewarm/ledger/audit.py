"""The audit chain: append, look, verify. The chain is made in the database (0003), so that plain SQL is in it too."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from cachewarm.ledger.connect import Connection, one_row, translated

_VERIFY_ROWS = 50_000


@dataclass(frozen=True, kw_only=True)
class AuditEvent:
    """One row of the chain."""

    seq: int
    at: datetime
    actor: str
    action: str
    issuer_id: str | None
    serial_number: bytes | None
    detail: Mapping[str, Any]
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


async def list_audit(
    connection: Connection,
    *,
    issuer_id: str | None = None,
    serial_number: bytes | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[AuditEvent]:
    """The latest rows, newest first, of everything or of one certificate; `before` is exclusive."""
    with translated():
        rows = await connection.fetch(
            """select seq, at, actor, action, issuer_id, serial_number, detail, hash from audit_events
                where ($1::text is null or issuer_id = $1) and ($2::bytea is null or serial_number = $2)
                  and ($3::bigint is null or seq < $3) order by seq desc limit $4""",
            issuer_id,
            serial_number,
            before,
            limit,
        )
    return [AuditEvent(**dict(row) | {"detail": json.loads(row["detail"])}) for row in rows]


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
