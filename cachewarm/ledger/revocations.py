"""Revoke, release, revoke in bulk. Feed, status and audit row follow from the row itself, in one transaction (0004).

Everything here may be repeated: a revocation that is there already stays, with its earliest time, and the answer names
a position of the feed that holds it. A crash before COMMIT leaves nothing; after it, everything.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from cachewarm.errors import Refused
from cachewarm.ledger.chunks import chunks
from cachewarm.ledger.connect import Connection, Queries, changing, one_row, translated
from responder.domain.serial import serial_hex
from responder.domain.status import CRLReason
from responder.errors import LINK_FAILURES

#: Revocations of one transaction of many. The ledger is locked until it commits, and a single revocation waits for that
#: long: some 50 ms on two slow cores. One event of the feed has as many (feed_append).
REVOKE_CHUNK = 1000
#: What waits on this channel polls at once; polling is what correctness rests on.
CHANNEL = "fastocsp_feed"
_NUDGE_S = 2.0

# One statement, so that two who revoke at once cannot both be first. What is there changes only for the stronger: a
# hold becomes a permanent reason, any reason becomes keyCompromise, an earlier time and an earlier invalidity date win.
# The clock is read under the feed's lock (now() would be the start of the transaction, and of two at once the later one
# may have the earlier start). It commits by itself, so that the lock is held for no round trip; the actor is set within
# it, for the trigger that sees a change. `offset 0`: each is looked up in the index, and no plan reads the whole table.
_REVOKE = """
insert into certificate_revocations as r (issuer_id, serial_number, revoked_at, reason, invalidity_date, revoked_by)
select $1, u.serial_number, coalesce(u.revoked_at, (select clock_timestamp())), u.reason, u.invalidity_date,
       acting.actor
  from (select set_config('fastocsp.actor', $6, true)) acting(actor),
       unnest($2::bytea[], $3::smallint[], $4::timestamptz[], $5::timestamptz[])
       u(serial_number, reason, revoked_at, invalidity_date)
 where $7 or exists (select from certificates c where c.issuer_id = $1 and c.serial_number = u.serial_number
                      offset 0)
          or exists (select from certificate_revocations x where x.issuer_id = $1 and x.serial_number = u.serial_number
                      offset 0)
 order by u.serial_number
on conflict (issuer_id, serial_number) do update
   set reason = case when r.reason = 6 or excluded.reason = 1 then excluded.reason else r.reason end,
       revoked_at = least(r.revoked_at, excluded.revoked_at),
       invalidity_date = least(r.invalidity_date, excluded.invalidity_date)
 where (r.reason = 6 and excluded.reason <> 6) or (excluded.reason = 1 and r.reason <> 1)
    or excluded.revoked_at < r.revoked_at
    or excluded.invalidity_date < coalesce(r.invalidity_date, 'infinity')
returning serial_number
"""


class Revocation(NamedTuple):
    """One certificate to revoke; `revoked_at` None is the moment of the transaction."""

    serial_number: bytes
    reason: CRLReason = CRLReason.unspecified
    revoked_at: datetime | None = None
    invalidity_date: datetime | None = None


class RevokeResult(NamedTuple):
    """State after a change: an edge that acknowledged (generation, seq) has it. `reason` None: not revoked."""

    changed: bool
    revoked_at: datetime | None
    reason: CRLReason | None
    invalidity_date: datetime | None
    generation: int
    seq: int


class BulkResult(NamedTuple):
    """How a bulk revocation went; `unknown` were not in the inventory and were left alone."""

    asked: int
    changed: int
    generation: int
    seq: int
    unknown: Sequence[bytes] = ()


async def revoke(
    connection: Connection,
    issuer_id: str,
    serial_number: bytes,
    *,
    reason: CRLReason = CRLReason.unspecified,
    revoked_at: datetime | None = None,
    invalidity_date: datetime | None = None,
    actor: str,
    allow_unknown: bool = False,
) -> RevokeResult:
    """Revoke one certificate. Refused: the inventory does not know it (see `allow_unknown`), a value is not allowed."""
    wanted = [Revocation(serial_number, reason, revoked_at, invalidity_date)]
    with changing():
        changed = await _write(connection, issuer_id, wanted, actor, allow_unknown=allow_unknown)
        stands = await _standing(connection, issuer_id, serial_number, changed=bool(changed))
        if stands.reason is None and not changed:
            raise Refused(await _unknown(connection, issuer_id, serial_number))
    if changed:
        await nudge(connection)
    return stands


async def unhold(connection: Connection, issuer_id: str, serial_number: bytes, *, actor: str) -> RevokeResult:
    """Release a certificateHold; a certificate that is not revoked is left as it is. Refused for every other reason."""
    with changing():
        gone = await connection.fetchval(
            """delete from certificate_revocations r using (select set_config('fastocsp.actor', $3, true)) acting
                where r.issuer_id = $1 and r.serial_number = $2 and r.reason = 6 returning true""",
            issuer_id,
            serial_number,
            actor,
        )
        stands = await _standing(connection, issuer_id, serial_number, changed=bool(gone))
        if stands.reason is not None and not gone:
            words = f"{serial_hex(serial_number)} is revoked for {stands.reason.name}"
            raise Refused(f"{words}: only a certificateHold is ever released")
    if gone:
        await nudge(connection)
    return stands


async def bulk_revoke(
    connection: Connection,
    issuer_id: str,
    revocations: Iterable[Revocation],
    *,
    actor: str,
    allow_unknown: bool = False,
    progress: Callable[[int], None] | None = None,
) -> BulkResult:
    """Revoke many, a transaction and a nudge per chunk. After a crash run it again: what was done is skipped."""
    asked = changed = 0
    unknown: list[bytes] = []
    for chunk in chunks(revocations, REVOKE_CHUNK):
        wanted = list({one.serial_number: one for one in chunk}.values())
        with changing():
            done = await _write(connection, issuer_id, wanted, actor, allow_unknown=allow_unknown)
            if not allow_unknown and len(done) < len(wanted):
                unchanged = {one.serial_number for one in wanted}.difference(done)
                unknown += await _missing(connection, issuer_id, sorted(unchanged))
        if done:
            await nudge(connection)
        asked, changed = asked + len(chunk), changed + len(done)
        if progress:
            progress(len(chunk))
    with translated():
        generation, seq = await _position(connection)
    return BulkResult(asked=asked, changed=changed, generation=generation, seq=seq, unknown=tuple(unknown))


async def count_revoked(connection: Queries, issuer_id: str, serials: Sequence[bytes]) -> int:
    """How many of these are revoked now."""
    with translated():
        found: int = await connection.fetchval(
            "select count(*) from certificate_revocations where issuer_id = $1 and serial_number = any($2::bytea[])",
            issuer_id,
            serials,
        )
    return found


async def purge_expired(connection: Connection, issuer_id: str, expired_before: datetime, *, actor: str) -> int:
    """Take up to one chunk of revocations away whose certificates ended before that moment; how many."""
    with changing():
        gone: int = await connection.fetchval(
            """with old as (
                 select r.serial_number
                   from certificate_revocations r join certificates c using (issuer_id, serial_number)
                  where r.issuer_id = $1 and c.not_after < least($2, now()) limit 5000),
               gone as (
                 delete from certificate_revocations r
                  using old, (select set_config('fastocsp.actor', $3, true)) acting
                  where r.issuer_id = $1 and r.serial_number = old.serial_number returning 1)
               select count(*) from gone""",
            issuer_id,
            expired_before,
            actor,
        )
    return gone


async def nudge(connection: Connection) -> None:
    """Wake listeners, in a transaction of its own after the commit: a full NOTIFY queue must fail no revocation."""
    if connection.is_in_transaction():
        return
    with suppress(*LINK_FAILURES):
        await connection.execute(f"notify {CHANNEL}", timeout=_NUDGE_S)


async def _write(
    connection: Connection, issuer_id: str, wanted: Sequence[Revocation], actor: str, *, allow_unknown: bool
) -> list[bytes]:
    for one in wanted:
        _require_sound(one)
    rows = await connection.fetch(
        _REVOKE,
        issuer_id,
        [one.serial_number for one in wanted],
        [int(one.reason) for one in wanted],
        [one.revoked_at for one in wanted],
        [one.invalidity_date for one in wanted],
        actor,
        allow_unknown,
    )
    return [row["serial_number"] for row in rows]


def _require_sound(one: Revocation) -> None:
    if one.reason is CRLReason.removeFromCRL:
        raise Refused("removeFromCRL belongs to delta CRLs: release a hold instead (RFC 5280 5.3.1)")
    for moment in (one.revoked_at, one.invalidity_date):
        if moment is not None and moment.tzinfo is None:
            raise Refused(f"{moment} has no time zone: {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} would be a moment")


async def _standing(connection: Connection, issuer_id: str, serial_number: bytes, *, changed: bool) -> RevokeResult:
    """One round trip, as the feed's lock is held meanwhile."""
    row = await one_row(
        connection,
        """select r.revoked_at, r.reason, r.invalidity_date, h.generation, h.seq from feed_head h
             left join certificate_revocations r on r.issuer_id = $1 and r.serial_number = $2""",
        issuer_id,
        serial_number,
    )
    reason = None if row["reason"] is None else CRLReason(row["reason"])
    return RevokeResult(changed=changed, **dict(row) | {"reason": reason})


async def _unknown(connection: Connection, issuer_id: str, serial_number: bytes) -> str:
    if not await connection.fetchval("select exists (select from issuers where issuer_id = $1)", issuer_id):
        return f"there is no issuer {issuer_id!r}"
    return f"issuer {issuer_id} has no certificate {serial_hex(serial_number)} in the inventory"


async def _missing(connection: Connection, issuer_id: str, serials: list[bytes]) -> list[bytes]:
    rows = await connection.fetch(
        """select s from unnest($2::bytea[]) s
            where not exists (select from certificates c where c.issuer_id = $1 and c.serial_number = s)
              and not exists (select from certificate_revocations r where r.issuer_id = $1 and r.serial_number = s)""",
        issuer_id,
        serials,
    )
    return [row["s"] for row in rows]


async def _position(connection: Connection) -> tuple[int, int]:
    row = await one_row(connection, "select generation, seq from feed_head")
    return row["generation"], row["seq"]
