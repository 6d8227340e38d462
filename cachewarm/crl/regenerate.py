"""An issuer's CRLs, from the ledger to crl_cache: number, read, build, gate, publish; each build is logged.

A complete build makes the complete CRL, its shards and its delta of one moment, under one number (RFC 5280 5.2.3); they
are published together or not at all. Between two of them a delta alone may follow. A number is spent before it is used,
so a build that is killed leaves a gap and never two CRLs of one number; the old ones stay until the new have passed the
gate. What the ledger lost and a published CRL had is carried forward (carry_over.py).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import structlog

from _fastocsp.crl.entry_buffer import EntryBuffer
from cachewarm.ca.ca_keys import CAKeys, Purpose
from cachewarm.ca.registry import load_authority
from cachewarm.crl.carry_over import CarryOver, carry_over, forget_reported_crls, reported_crls
from cachewarm.crl.comparison import Difference, compare
from cachewarm.crl.earlier import EarlierCRL, earlier_crl
from cachewarm.crl.parts import COMPLETE, DELTA
from cachewarm.crl.plan import expired_before
from cachewarm.crl.rules import CAFacts, PreviousCRL, first_problem, key_usage_problems
from cachewarm.crl.sign_and_check import (
    BuildContext,
    Changes,
    Replaced,
    Rules,
    SignedCRL,
    make_complete,
    make_delta,
    make_shard,
)
from cachewarm.crl.snapshot import Snapshot, read_changes, read_snapshot
from cachewarm.errors import Refused, Transient
from cachewarm.ledger import crl_parts, crls, issuers
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.crl_pieces import StoredCRL, stored_crls
from cachewarm.ledger.issuer_states import REMOVED
from cachewarm.records.keyring import domain_issuer

log = structlog.get_logger("crl")


async def regenerate(connection: Connection, issuer: issuers.Issuer, keys: CAKeys | None, rules: Rules) -> int | None:
    """The number of the new complete CRL and all that belongs to it; None when another builder is at it.

    Errors are logged in the ledger and raised.
    """
    return await _in_turn(connection, issuer, keys, rules, "complete", _complete)


async def regenerate_delta(
    connection: Connection, issuer: issuers.Issuer, keys: CAKeys | None, rules: Rules
) -> int | None:
    """The same for a delta alone, on the bases that there are; a complete build when there are none."""
    bases = await crl_parts.read_bases(connection, issuer.issuer_id)
    stored = await stored_crls(connection, issuer.issuer_id) if bases else {}
    if await earlier_crl(connection, stored.get(COMPLETE)) is None:
        return await regenerate(connection, issuer, keys, rules)
    return await _in_turn(connection, issuer, keys, rules, "delta", _delta)


async def _in_turn(
    connection: Connection,
    issuer: issuers.Issuer,
    keys: CAKeys | None,
    rules: Rules,
    kind: str,
    work: Callable[[Connection, BuildContext], Awaitable[SignedCRL]],
) -> int | None:
    if issuer.state == REMOVED:
        raise Refused(f"{issuer.issuer_id} is removed: nothing is signed for it")
    async with crls.crl_turn(connection, issuer.issuer_id) as ours:
        if not ours:
            return None
        started = datetime.now(UTC)
        try:
            _require_crl_sign(issuer)
            context = BuildContext(
                row=issuer,
                issuer=domain_issuer(issuer),
                authority=await asyncio.to_thread(load_authority, issuer, keys, Purpose.CRL),
                rules=rules,
                started=started,
            )
            made = await work(connection, context)
        except Exception as error:  # whatever it is, it is recorded
            await _record(connection, issuer, started, kind, f"{type(error).__name__}: {error}", None)
            raise
        await _record(connection, issuer, started, kind, None, made)
        log.info("CRL published", issuer_id=issuer.issuer_id, kind=kind, number=made.number, entries=made.count)
        return made.number


def _require_crl_sign(issuer: issuers.Issuer) -> None:
    """Refused before a number is spent: no verifier would accept the CRL."""
    problem = first_problem(key_usage_problems(CAFacts.of(issuer.cert_der)))
    if problem is not None:
        raise Refused(f"no CRL is published ({problem.rule}): {problem.text}")


async def _record(
    connection: Connection,
    issuer: issuers.Issuer,
    started: datetime,
    kind: str,
    error: str | None,
    made: SignedCRL | None,
) -> None:
    build = crls.CRLBuild(
        issuer_id=issuer.issuer_id,
        started_at=started,
        succeeded=error is None,
        error=error,
        duration_ms=since_ms(started),
        crl_number=made.number if made else None,
        revoked_count=made.count if made else None,
        kind=kind,
    )
    await crls.log_crl_build(connection, build)


async def _complete(connection: Connection, context: BuildContext) -> SignedCRL:
    issuer_id = context.row.issuer_id
    stored = await stored_crls(connection, issuer_id)
    last = await earlier_crl(connection, stored.get(COMPLETE))
    if last is not None:
        due = last.fields.this_update + context.rules.apart_s
        await asyncio.sleep(min(context.rules.apart_s, max(0.0, due - time.time())))
    update = None if last is None else datetime.fromtimestamp(last.fields.this_update, UTC)
    known = await crl_parts.read_bases(connection, issuer_id)
    last_delta = await earlier_crl(connection, stored.get(DELTA))
    others = await _reported(connection, context.row, last) + ([] if last_delta is None else [last_delta])
    number = await crls.next_crl_number(connection, issuer_id)

    async def read() -> Snapshot:
        return await read_snapshot(connection, context.row, number, update, known, context.rules.base_age_s)

    seen = await read()
    before = ([] if last is None else [last]) + others
    differences = await compare(before, seen.entries.parts[0])
    kept = await carry_over(connection, context.row, differences)
    if kept.new_orphans:
        seen = await read()
        differences = await compare(before, seen.entries.parts[0])
        kept = await carry_over(connection, context.row, differences)
    replaced = _replaced(last, differences, kept)
    whole = await asyncio.to_thread(make_complete, context, number, seen.entries, seen.count, replaced)
    parts = await _shards(connection, context, whole, seen.entries.parts[1:], stored)
    if seen.changes is not None:
        base = seen.bases[0].crl_number
        differences = await compare([] if last_delta is None else [last_delta], seen.changes.parts[0])
        replaced = _replaced(last_delta, differences, await carry_over(connection, context.row, differences))
        made = await asyncio.to_thread(make_delta, context, number, Changes(seen.changes, base), replaced, whole)
        parts.append(_part(context, DELTA, made, base))
    cached = crls.CachedCRL(
        issuer_id=issuer_id,
        crl_number=number,
        crl_der=whole.der,
        this_update=datetime.fromtimestamp(whole.this_update, UTC),
        next_update=datetime.fromtimestamp(whole.next_update, UTC),
        generated_at=datetime.now(UTC),
        generation_duration_ms=since_ms(context.started),
        revoked_count=whole.count,
        generation=seen.place.generation,
        seq=seen.place.seq,
    )
    await crl_parts.publish(connection, cached, parts, bases=seen.bases)
    await forget_reported_crls(connection, context.row)
    return whole


async def _reported(connection: Connection, issuer: issuers.Issuer, last: EarlierCRL | None) -> list[EarlierCRL]:
    """Later CRLs that only edges have: the next number is above theirs too."""
    reported = await reported_crls(connection, issuer, None if last is None else last.fields.number)
    for crl in reported:
        await crls.raise_crl_number(connection, issuer.issuer_id, crl.number)
    return reported


def _replaced(old: EarlierCRL | None, differences: Sequence[Difference], kept: CarryOver) -> Replaced:
    """The CRL to replace, if there is one, which is the first that was compared."""
    return Replaced(None) if old is None else Replaced(_facts(old), differences[0], kept.released)


def _facts(crl: EarlierCRL | None) -> PreviousCRL | None:
    """What the next CRL must be newer than."""
    return None if crl is None else PreviousCRL(crl.fields.number, crl.fields.this_update)


async def _shards(
    connection: Connection,
    context: BuildContext,
    whole: SignedCRL,
    parts: list[EntryBuffer],
    stored: dict[str, StoredCRL],
) -> list[crls.CRLPart]:
    made = []
    for shard, entries in enumerate(parts):
        old = _facts(await earlier_crl(connection, stored.get(str(shard))))
        one = await asyncio.to_thread(make_shard, context, whole, shard, entries, old)
        made.append(_part(context, str(shard), one))
    if made and sum(part.revoked_count for part in made) != whole.count:
        raise Refused("the shards together do not have the entries of the complete CRL")
    return made


async def _delta(connection: Connection, context: BuildContext) -> SignedCRL:
    issuer_id = context.row.issuer_id
    bases = await crl_parts.read_bases(connection, issuer_id)
    stored = await stored_crls(connection, issuer_id)
    complete = await earlier_crl(connection, stored.get(COMPLETE))
    if complete is None or not bases:
        raise Transient("the complete CRL that the delta belongs to is gone: a new one comes first")
    last_delta = await earlier_crl(connection, stored.get(DELTA))
    number = await crls.next_crl_number(connection, issuer_id)
    complete_update = datetime.fromtimestamp(complete.fields.this_update, UTC)
    limit = max(expired_before(complete_update), bases[0].expired_before)
    base = bases[0].crl_number
    entries = await read_changes(connection, issuer_id, bases[0], limit)
    before = [] if last_delta is None else [last_delta]
    differences = await compare(before, entries.parts[0])
    kept = await carry_over(connection, context.row, differences)
    if kept.new_orphans:
        entries = await read_changes(connection, issuer_id, bases[0], limit)
        differences = await compare(before, entries.parts[0])
        kept = await carry_over(connection, context.row, differences)
    replaced = _replaced(last_delta, differences, kept)
    made = await asyncio.to_thread(make_delta, context, number, Changes(entries, base), replaced, None)
    await crl_parts.publish(connection, None, [_part(context, DELTA, made, base)], bases=bases[:1])
    return made


def _part(context: BuildContext, part: str, made: SignedCRL, base_number: int | None = None) -> crls.CRLPart:
    return crls.CRLPart(
        issuer_id=context.row.issuer_id,
        part=part,
        crl_number=made.number,
        base_number=base_number,
        crl_der=made.der,
        this_update=datetime.fromtimestamp(made.this_update, UTC),
        next_update=datetime.fromtimestamp(made.next_update, UTC),
        generated_at=datetime.now(UTC),
        revoked_count=made.count,
    )


def since_ms(started: datetime) -> int:
    """Return the milliseconds since then."""
    return int((datetime.now(UTC) - started).total_seconds() * 1000)
