"""The walk of the inventory: what Redis should have and has not, or has for too short a time, is signed and published.

Pre-signing, renewal and repair are one walk: it asks Redis, not its own memory, so an emptied Redis, a rotated
responder, a lost write and a new import all mend themselves the same way. A walk that is killed leaves what it had
published; the next one begins again and finds that done.

Where much is due, other processes sign (cachewarm/records/signing_pool.py), and several pages are under way at once:
one is signed while the next is read and the one before is published. What is said is decided here, as of now.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from _fastocsp.ocsp.record import Record, pack_record, unpack_record
from _fastocsp.wire.codes import REVOKED
from _fastocsp.wire.errors import MalformedRecord
from cachewarm.errors import Fatal, Transient
from cachewarm.ledger import coverage, inventory
from cachewarm.ledger.connect import Connection
from cachewarm.records.keyring import Keyring, Signing
from cachewarm.records.mint import check, mint, unsigned_record
from cachewarm.records.publisher import Publisher
from cachewarm.records.signing_pool import ProcessesLost, SigningPool
from cachewarm.records.statement import Statement
from cachewarm.warmer.event_pipeline import Pipeline
from responder.domain.key import Key
from responder.domain.redis_layout import record_name
from responder.domain.status import PRESIGNED
from responder.domain.window import renewal_due
from responder.process import end_tasks

log = structlog.get_logger("walk")
#: Signatures made before the loop gets its turn; of as many one, drawn by lot, is verified. The pipeline verifies all.
SIGNED_A_TURN = 64
#: Fewer than so many are signed here: other processes would take longer to be told.
POOLED_FROM = 256
#: Pages under way.
PAGES = 4


@dataclass(kw_only=True)
class Count:
    """How a walk went, and how far it has to go: about `total` certificates, as counted before it began.

    `faults`: what stopped it, by the id of the issuers whose walk failed; `errors`: the exceptions behind them.
    """

    inventory: int = 0
    covered: int = 0
    signed: int = 0
    total: int = 0
    faults: dict[str, str] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)


class Walk:
    """Walks one issuer's inventory at a time."""

    def __init__(
        self,
        pipeline: Pipeline,
        publisher: Publisher,
        keyring: Callable[[], Keyring],
        now: Callable[[], int],
        batch: int,
        pool: SigningPool,
    ) -> None:
        self._pipeline, self._publisher, self._keyring = pipeline, publisher, keyring
        self._now, self._batch, self._pool = now, batch, pool

    async def run(self, connection: Connection, progress: Callable[[Count], None]) -> Count:
        """Walk every issuer once; its coverage is written when its walk is over.

        What is wrong with one issuer's certificates or key stops its own walk alone.
        """
        whole = Count(total=await inventory.estimated_certificates(connection))
        for issuer_no, issuer in sorted(self._keyring().issuers.items()):
            before = replace(whole)
            try:
                await self._issuer(connection, issuer_no, issuer.issuer_id, whole, progress)
            except Exception as error:
                # whatever is wrong with this issuer, the next one must be walked
                ours = isinstance(error, ProcessesLost) or not isinstance(error, (Transient, Fatal))
                if not ours or connection.is_closed():
                    raise
                whole.errors[issuer.issuer_id] = error
                whole.faults[issuer.issuer_id] = str(error) or type(error).__name__
            counted = whole.inventory - before.inventory, whole.covered - before.covered
            await coverage.write_coverage(connection, issuer.issuer_id, *counted)
        return whole

    async def _issuer(
        self,
        connection: Connection,
        issuer_no: int,
        issuer_id: str,
        count: Count,
        progress: Callable[[Count], None],
    ) -> None:
        pages: set[asyncio.Task[None]] = set()
        after: bytes | None = b""
        try:
            while after is not None or pages:
                if after is not None and len(pages) < PAGES:
                    rows = await inventory.inventory_page(connection, issuer_id, after, limit=self._batch)
                    after = rows[-1].serial_number if len(rows) == self._batch else None
                    valid = [row for row in rows if not self._expired(row)]
                    pages.add(asyncio.create_task(self._page(issuer_no, valid, count)))
                else:
                    done, pages = await asyncio.wait(pages, return_when=asyncio.FIRST_COMPLETED)
                    for page in done:
                        page.result()
                    progress(count)
        finally:
            await end_tasks(pages)

    def _expired(self, row: inventory.InventoryRow) -> bool:
        return row.not_after is not None and row.not_after <= self._now()

    async def _page(self, issuer_no: int, rows: Sequence[inventory.InventoryRow], count: Count) -> None:
        count.inventory += len(rows)
        signing = self._keyring().signing.get(issuer_no)
        if signing is None or not rows:
            return
        stated = [(row.serial_number, self._state(signing, row)) for row in rows]
        keys = [Key(issuer_no, algorithm, serial) for serial, _ in stated for algorithm in PRESIGNED]
        kept = dict(zip(keys, await self._publisher.kept(keys), strict=True))
        due = [
            (key, statement)
            for serial, statement in stated
            if statement is not None
            for key in (Key(issuer_no, algorithm, serial) for algorithm in PRESIGNED)
            if self._is_due(key, kept[key], statement)
        ]
        await self._drop_rubbish(kept)
        records = await self._sign(due, signing)
        await self._publisher.publish(records)
        count.signed += len(records)
        count.covered += sum(statement is not None for _, statement in stated)

    def _state(self, signing: Signing, row: inventory.InventoryRow) -> Statement | None:
        return self._pipeline.statement_for(signing, row.serial_number, row.not_after)

    async def _drop_rubbish(self, kept: Mapping[Key, bytes | None]) -> None:
        rubbish = [(key, octets) for key, octets in kept.items() if octets is not None and _record(octets) is None]
        if rubbish:
            log.warning("not records, dropped", count=len(rubbish), first=record_name(rubbish[0][0]).hex())
            await self._publisher.discard(rubbish)

    def _is_due(self, key: Key, octets: bytes | None, statement: Statement) -> bool:
        """Missing, broken, of a responder that is gone, contradicted by the feed, or old enough."""
        record = _record(octets) if octets else None
        if record is None or record.responder not in self._keyring().responders[key.issuer_no]:
            return True
        return not agrees(record, statement) or self._now() >= renewal_due(
            record.produced_at, record.next_update, record_name(key)
        )

    async def _sign(self, due: Sequence[tuple[Key, Statement]], signing: Signing) -> list[tuple[Key, bytes]]:
        if len(due) < POOLED_FROM or not self._pool.signs_for(signing):
            return await self._sign_here(due, signing)
        now, templates = self._now(), signing.templates
        unsigned = [
            (key.serial, pack_record(unsigned_record(statement, templates[key.hash_algorithm], now)))
            for key, statement in due
        ]
        records = await self._pool.sign(signing, unsigned)
        return [(key, record) for (key, _), record in zip(due, records, strict=True)]

    async def _sign_here(self, due: Sequence[tuple[Key, Statement]], signing: Signing) -> list[tuple[Key, bytes]]:
        records = []
        for number, (key, statement) in enumerate(due):
            if number % SIGNED_A_TURN == 0:
                await asyncio.sleep(0)
                drawn = number + secrets.randbelow(min(SIGNED_A_TURN, len(due) - number))
            template = signing.templates[key.hash_algorithm]
            record = mint(statement, key.serial, template, signing.pair.key, self._now())
            if number == drawn:
                check(record, key.serial, template, signing.pair.certificate)
            records.append((key, record))
        return records


def _record(octets: bytes) -> Record | None:
    """None for octets that are no record."""
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
