"""An issuer's CRLs, from the ledger to crl_cache: number, read, build, gate, publish; each build is logged.

A complete build makes the complete CRL, its shards and its delta of one moment, under one number (RFC 5280 5.2.3); they
are published together or not at all. Between two of them a delta alone may follow. A number is spent before it is used,
so a build that is killed leaves a gap and never two CRLs of one number; the old ones stay until the new have passed the
gate.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog

from cachewarm.ca.registry import load_authority
from cachewarm.crl.parts import DELTA
from cachewarm.crl.plan import expired_before
from cachewarm.crl.sign_and_check import Bench, Made, Rules, make_complete, make_delta, make_shard, parsed_update
from cachewarm.crl.snapshot import read_changes, read_snapshot
from cachewarm.errors import CachewarmError, Refused, Transient
from cachewarm.ledger import crl_parts, crls, issuers
from cachewarm.ledger.connect import Connection
from cachewarm.records.keyring import domain_issuer

log = structlog.get_logger("crl")


async def regenerate(
    connection: Connection, issuer: issuers.Issuer, passphrase: bytes | None, rules: Rules
) -> int | None:
    """The number of the new complete CRL and all that belongs to it; None when another builder is at it.

    Errors are logged in the ledger and raised.
    """
    return await _in_turn(connection, issuer, passphrase, rules, "complete", _complete)


async def regenerate_delta(
    connection: Connection, issuer: issuers.Issuer, passphrase: bytes | None, rules: Rules
) -> int | None:
    """The same for a delta alone, on the bases that there are; a complete build when there are none."""
    bases = await crl_parts.read_bases(connection, issuer.issuer_id)
    complete = await crls.read_crl(connection, issuer.issuer_id) if bases else None
    if complete is None or parsed_update(complete.crl_der) is None:
        return await regenerate(connection, issuer, passphrase, rules)
    return await _in_turn(connection, issuer, passphrase, rules, "delta", _delta)


async def _in_turn(
    connection: Connection,
    issuer: issuers.Issuer,
    passphrase: bytes | None,
    rules: Rules,
    kind: str,
    work: Callable[[Connection, Bench], Awaitable[Made]],
) -> int | None:
    async with crls.crl_turn(connection, issuer.issuer_id) as ours:
        if not ours:
            return None
        started = datetime.now(UTC)
        try:
            authority = load_authority(issuer, passphrase)
            made = await work(connection, Bench(issuer, domain_issuer(issuer), authority, rules, started))
        except CachewarmError as error:
            why = f"{type(error).__name__}: {error}"
            await _log(connection, crls.CRLBuild(issuer.issuer_id, started, False, why, 0, None, None, kind))
            raise
        await _log(connection, crls.CRLBuild(issuer.issuer_id, started, True, None, 0, made.number, made.count, kind))
        log.info("CRL published", issuer_id=issuer.issuer_id, kind=kind, number=made.number, entries=made.count)
        return made.number


async def _log(connection: Connection, event: crls.CRLBuild) -> None:
    await crls.log_crl_build(connection, crls.CRLBuild(**vars(event) | {"duration_ms": since_ms(event.started_at)}))


async def _complete(connection: Connection, bench: Bench) -> Made:
    issuer_id = bench.row.issuer_id
    last = await crls.read_crl(connection, issuer_id)
    update = None if last is None else parsed_update(last.crl_der)
    if update is not None:
        await asyncio.sleep(min(bench.rules.apart_s, max(0.0, update.timestamp() + bench.rules.apart_s - time.time())))
    last_der = None if last is None or update is None else last.crl_der
    old = await crl_parts.read_parts(connection, issuer_id)
    known = await crl_parts.read_bases(connection, issuer_id)
    number = await crls.next_crl_number(connection, issuer_id)
    seen = await read_snapshot(connection, bench.row, number, update, known, bench.rules.base_age_s)
    whole = await asyncio.to_thread(make_complete, bench, number, seen.entries, seen.count, last_der)
    parts = await _shards(bench, whole, seen.entries.parts[1:], old)
    if seen.changes is not None:
        base = seen.bases[0].crl_number
        made = await asyncio.to_thread(make_delta, bench, number, seen.changes, base, _der(old, DELTA), whole)
        parts.append(_part(bench, DELTA, made, base))
    cached = crls.CachedCRL(
        issuer_id,
        number,
        whole.der,
        datetime.fromtimestamp(whole.this_update, UTC),
        datetime.fromtimestamp(whole.next_update, UTC),
        datetime.now(UTC),
        since_ms(bench.started),
        whole.count,
        seen.place.generation,
        seen.place.seq,
    )
    await crl_parts.publish(connection, cached, parts, bases=seen.bases)
    return whole


async def _shards(
    bench: Bench, whole: Made, parts: list[bytearray], old: dict[str, crls.CRLPart]
) -> list[crls.CRLPart]:
    made = []
    for shard, entries in enumerate(parts):
        one = await asyncio.to_thread(make_shard, bench, whole, shard, entries, _der(old, str(shard)))
        made.append(_part(bench, str(shard), one))
    if made and sum(part.revoked_count for part in made) != whole.count:
        raise Refused("the shards together do not have the entries of the complete CRL")
    return made


async def _delta(connection: Connection, bench: Bench) -> Made:
    issuer_id = bench.row.issuer_id
    bases = await crl_parts.read_bases(connection, issuer_id)
    complete = await crls.read_crl(connection, issuer_id)
    if complete is None or not bases:
        raise Transient("the complete CRL that the delta belongs to is gone: a new one comes first")
    old = await crl_parts.read_parts(connection, issuer_id)
    number = await crls.next_crl_number(connection, issuer_id)
    limit = max(expired_before(complete.this_update), bases[0].expired_before)
    changes = await read_changes(connection, issuer_id, bases[0], limit)
    base = bases[0].crl_number
    made = await asyncio.to_thread(make_delta, bench, number, changes, base, _der(old, DELTA), None)
    await crl_parts.publish(connection, None, [_part(bench, DELTA, made, base)], bases=bases[:1])
    return made


def _part(bench: Bench, part: str, made: Made, base_number: int | None = None) -> crls.CRLPart:
    return crls.CRLPart(
        bench.row.issuer_id,
        part,
        made.number,
        base_number,
        made.der,
        datetime.fromtimestamp(made.this_update, UTC),
        datetime.fromtimestamp(made.next_update, UTC),
        datetime.now(UTC),
        made.count,
    )


def _der(parts: dict[str, crls.CRLPart], part: str) -> bytes | None:
    """The published CRL of that name when it parses: one that somebody damaged is replaced."""
    found = parts.get(part)
    return None if found is None or parsed_update(found.crl_der) is None else found.crl_der


def since_ms(started: datetime) -> int:
    """Milliseconds since then."""
    return int((datetime.now(UTC) - started).total_seconds() * 1000)
