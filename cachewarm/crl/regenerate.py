"""One CRL, from the ledger to crl_cache: plan, number, build, gate, write; the build is logged, failures too.

A number is spent before it is used, so a build that is killed leaves a gap and never two CRLs of one number; the old
CRL stays until the new one has passed the gate.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg
import structlog

from cachewarm.crl.build import build
from cachewarm.crl.plan import Revocation, RevokedEntry, entries, window
from cachewarm.crl.publish_gate import gate
from cachewarm.crl.read import peek_crl
from cachewarm.errors import CachewarmError, Refused
from cachewarm.keyring import domain_issuer
from cachewarm.ledger import crls, issuers
from cachewarm.ledger.connect import Connection
from cachewarm.responders import load_authority

log = structlog.get_logger("crl")
#: The end of a revoked certificate that the inventory never saw.
NEVER = 1 << 62


@dataclass(frozen=True)
class Built:
    """A CRL that passed the gate, and when its build began."""

    crl: crls.CachedCRL
    started_at: datetime


async def regenerate(
    connection: Connection, issuer: issuers.Issuer, passphrase: bytes | None, validity_s: float
) -> int | None:
    """The number of the new CRL, None when another builder is at it. Errors are logged in the ledger and raised."""
    async with crls.crl_turn(connection, issuer.issuer_id) as ours:
        if not ours:
            return None
        started = datetime.now(UTC)
        try:
            built = await _build(connection, issuer, passphrase, validity_s, started)
            await crls.write_crl(connection, built.crl)
        except CachewarmError as error:
            await crls.log_crl_build(
                connection,
                crls.CRLBuild(
                    issuer.issuer_id, started, False, f"{type(error).__name__}: {error}", _since_ms(started), None, None
                ),
            )
            raise
        crl = built.crl
        await crls.log_crl_build(
            connection,
            crls.CRLBuild(
                issuer.issuer_id, started, True, None, crl.generation_duration_ms, crl.crl_number, crl.revoked_count
            ),
        )
        log.info("CRL published", issuer_id=issuer.issuer_id, number=crl.crl_number, revoked=crl.revoked_count)
        return crl.crl_number


async def _build(
    connection: Connection, row: issuers.Issuer, passphrase: bytes | None, validity_s: float, started: datetime
) -> Built:
    issuer, authority = domain_issuer(row), load_authority(row, passphrase)
    last = await crls.read_crl(connection, row.issuer_id)
    last_der = last.crl_der if last is not None and _parses(last.crl_der) else None
    found, counted = await _revocations(connection, row.issuer_id)
    listed = list(entries(found, _this_update(last_der)))
    # after the rows: none of them lies ahead of thisUpdate
    now = int(time.time())
    number = await crls.next_crl_number(connection, row.issuer_id)
    this_update, end = window(issuer, now, int(validity_s))
    der = await asyncio.to_thread(
        build,
        issuer,
        authority.key,
        listed,
        number=number,
        this_update=this_update,
        next_update=end,
        crl_url=issuer.crl_url,
    )
    refusal = await asyncio.to_thread(
        gate,
        der,
        last_der,
        issuer.cert_der,
        now=int(time.time()),
        crl_url=issuer.crl_url,
        revoked_count=counted - (len(found) - len(listed)),
    )
    if refusal is not None:
        raise Refused(f"the new CRL is not published ({refusal.rule}): {refusal.text}")
    crl = crls.CachedCRL(
        row.issuer_id,
        number,
        der,
        datetime.fromtimestamp(this_update, UTC),
        datetime.fromtimestamp(end, UTC),
        datetime.now(UTC),
        _since_ms(started),
        len(listed),
    )
    return Built(crl, started)


async def _revocations(connection: Connection, issuer_id: str) -> tuple[list[Revocation], int]:
    """The revoked set of one moment, and its size counted apart from it."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        rows = await _rows(connection, issuer_id)
        counted = await connection.fetchval(
            "select count(*) from certificate_revocations where issuer_id = $1", issuer_id
        )
    return [_revocation(row) for row in rows], counted


async def _rows(connection: Connection, issuer_id: str) -> list[asyncpg.Record]:
    found: list[asyncpg.Record] = await connection.fetch(
        "select r.serial_number, r.revoked_at, r.reason, r.invalidity_date, r.created_at, c.not_after"
        " from certificate_revocations r left join certificates c using (issuer_id, serial_number)"
        " where r.issuer_id = $1 order by r.serial_number",
        issuer_id,
    )
    return found


def _revocation(row: asyncpg.Record) -> Revocation:
    since = row["invalidity_date"]
    entry = RevokedEntry(
        row["serial_number"],
        int(row["revoked_at"].timestamp()),
        row["reason"],
        int(since.timestamp()) if since else None,
    )
    not_after = int(row["not_after"].timestamp()) if row["not_after"] else NEVER
    return Revocation(entry, not_after, int(row["created_at"].timestamp()))


def _parses(der: bytes) -> bool:
    try:
        peek_crl(der)
    except ValueError:
        log.warning("the CRL in crl_cache does not parse; a new one replaces it")
        return False
    return True


def _this_update(der: bytes | None) -> int | None:
    return None if der is None else peek_crl(der).this_update


def _since_ms(started: datetime) -> int:
    return int((datetime.now(UTC) - started).total_seconds() * 1000)
