"""One page of an issuer's certificates: what Redis lacks of their records is signed and published.

What is stated is decided here, as of now. Where much is due, other processes sign (cachewarm/records/signing_pool.py).
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple
from zlib import crc32

import structlog

from _fastocsp.ocsp.record import Record, unpack_record
from _fastocsp.wire.codes import REVOKED
from _fastocsp.wire.errors import MalformedRecord
from cachewarm.ledger import inventory
from cachewarm.records.keyring import Keyring, Signing
from cachewarm.records.mint import check, mint, unsigned_octets
from cachewarm.records.publisher import Publisher
from cachewarm.records.signing_pool import SigningPool
from cachewarm.records.statement import Statement
from cachewarm.warmer.event_pipeline import Pipeline
from cachewarm.warmer.renewal import Renewals, Wake
from responder.domain.key import Key
from responder.domain.redis_layout import record_name
from responder.domain.status import PRESIGNED

log = structlog.get_logger("walk")
#: Signatures made before the loop gets its turn; of as many one, drawn by lot, is verified. The pipeline verifies all.
SIGNED_A_TURN = 64
#: Fewer than so many are signed here: other processes would take longer to be told.
POOLED_FROM = 256


class PageOutcome(NamedTuple):
    """Outcome for one page of certificates.

    `is_blocked`: of some of them nothing could be stated, or nothing that lasts longer than the record that is there,
    until the issuer has another responder or CRL.
    """

    inventory: int = 0
    covered: int = 0
    signed: int = 0
    is_blocked: bool = False
    wake: Wake = Wake()


class Due(NamedTuple):
    """A record that is to be signed: its name in Redis, what it is about and what it states."""

    name: bytes
    serial: bytes
    not_after: int | None
    statement: Statement
    algorithm: int


class PageSigner:
    """Signs what is due of pages; several may be under way."""

    def __init__(
        self,
        pipeline: Pipeline,
        publisher: Publisher,
        keyring: Callable[[], Keyring],
        now: Callable[[], int],
        pool: SigningPool,
    ) -> None:
        self._pipeline, self._publisher, self._keyring = pipeline, publisher, keyring
        self._now, self._pool = now, pool
        self._renewals = Renewals(pipeline.validity_s)

    async def sign(self, issuer_no: int, rows: Sequence[inventory.InventoryRow]) -> PageOutcome:
        """Return what was found and done; Transient when Redis is away, or when nothing may be stated now."""
        ring, now = self._keyring(), self._now()
        signing = ring.signing.get(issuer_no)
        rows = [row for row in rows if row.not_after is None or row.not_after > now]
        if signing is None or not rows:
            return PageOutcome(inventory=len(rows), is_blocked=bool(rows))
        statements = self._pipeline.statements_for(signing, rows)
        begins = [record_name(Key(issuer_no, algorithm, b"")) for algorithm in PRESIGNED]
        names = [begin + row.serial_number for row in rows for begin in begins]
        kept = await self._publisher.kept_under(names)
        responders = ring.responders[issuer_no]
        due: list[Due] = []
        rubbish: list[tuple[Key, bytes]] = []
        wake, is_limited = Wake(), False
        for number, (name, octets) in enumerate(zip(names, kept, strict=True)):
            at, which = divmod(number, len(PRESIGNED))
            (serial, not_after), statement = rows[at], statements[at]
            record = _record(octets) if octets else None
            if octets and record is None:
                rubbish.append((Key(issuer_no, PRESIGNED[which], serial), octets))
            if statement is None:
                continue
            found, longest = None, statement.next_update
            if record is not None and record.responder in responders and agrees(record, statement):
                last = longest if not_after is None else min(not_after, longest)
                found = self._renewals.wake(record.produced_at, record.next_update, last, name, now)
                is_limited = is_limited or (last != not_after and record.next_update >= longest)
            if found is None:
                due.append(Due(name, serial, not_after, statement, PRESIGNED[which]))
            elif found.at < wake.at:
                wake = found
        await self._drop(rubbish)
        records = await self._sign(due, signing)
        await self._publisher.publish_under([(each.name, record) for each, record in zip(due, records, strict=True)])
        wake = min(wake, self._first_wake(due, now), key=lambda each: each.at)
        covered = sum(statement is not None for statement in statements)
        return PageOutcome(len(rows), covered, len(records), is_limited or covered < len(rows), wake)

    async def _drop(self, rubbish: Sequence[tuple[Key, bytes]]) -> None:
        if rubbish:
            log.warning("not records, dropped", count=len(rubbish), first=record_name(rubbish[0][0]).hex())
            await self._publisher.discard(rubbish)

    def _first_wake(self, due: Sequence[Due], now: int) -> Wake:
        """Return when the first of the records that are signed now must be visited.

        Of those with the same life, names decide: only the earliest name is asked about.
        """
        earliest: dict[tuple[int, int | None], tuple[int, bytes]] = {}
        for each in due:
            end = each.statement.next_update
            last = each.not_after if each.not_after is not None and end >= each.not_after else None
            place = crc32(each.name)
            if (end, last) not in earliest or place < earliest[end, last][0]:
                earliest[end, last] = place, each.name
        wakes = [self._renewals.first_wake(now, end, last, name) for (end, last), (_, name) in earliest.items()]
        return min(wakes, key=lambda each: each.at, default=Wake())

    async def _sign(self, due: Sequence[Due], signing: Signing) -> list[bytes]:
        if len(due) < POOLED_FROM or not self._pool.signs_for(signing):
            return await self._sign_here(due, signing)
        now, templates = self._now(), signing.templates
        packed: dict[tuple[int, int], bytes] = {}
        unsigned = []
        for each in due:
            same = (id(each.statement), each.algorithm)
            record = packed.get(same)
            if record is None:
                record = packed[same] = unsigned_octets(each.statement, templates[each.algorithm], now)
            unsigned.append((each.serial, record))
        return await self._pool.sign(signing, unsigned)

    async def _sign_here(self, due: Sequence[Due], signing: Signing) -> list[bytes]:
        records = []
        for number, each in enumerate(due):
            if number % SIGNED_A_TURN == 0:
                await asyncio.sleep(0)
                drawn = number + secrets.randbelow(min(SIGNED_A_TURN, len(due) - number))
            template = signing.templates[each.algorithm]
            record = mint(each.statement, each.serial, template, signing.pair.key, self._now())
            if number == drawn:
                check(record, each.serial, template, signing.pair.certificate)
            records.append(record)
        return records


def _record(octets: bytes) -> Record | None:
    """None for bytes that are no record."""
    try:
        return unpack_record(octets)
    except MalformedRecord:
        return None


def agrees(record: Record, statement: Statement) -> bool:
    """The record says what the statement says; for revoked, with the same time and reason."""
    if record.status != statement.status:
        return False
    same = (record.revocation_time, record.reason) == (statement.revocation_time, statement.reason)
    return record.status != REVOKED or same
