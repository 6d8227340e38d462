"""One look at a source: fetch, judge, take in; the complete CRL first, then the delta on it. Every look is logged.

One at a time for an issuer, however many warmers and commands there are. Whatever fails, the CRL that is here stays,
with its entries and its window; nothing is written before the CRL has passed and all of its entries have parsed.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from _fastocsp.crl.entry_reader import EntryReader
from _fastocsp.wire.errors import WireError
from cachewarm.config import Settings
from cachewarm.crl.parse import ReadCRL, peek_crl
from cachewarm.crl.parts import DELTA
from cachewarm.crl.regenerate import since_ms
from cachewarm.errors import CachewarmError, Refused
from cachewarm.ledger import crls, mirrors
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.crl_parts import publish
from cachewarm.ledger.issuers import Issuer
from cachewarm.ledger.mirror_import import Incoming, TakenIn, take_in
from cachewarm.mirror.faults import Fault, NotMirrored
from cachewarm.mirror.fetch import Fetched, Known, Limits, fetch
from cachewarm.mirror.validate import Before, judge, judge_delta

log = structlog.get_logger("mirror")
IDLE_S = 10.0


@dataclass(frozen=True)
class Brought:
    """The CRLs that are here after a look, and what it changed; None: that one was not new."""

    crl_number: int | None
    delta_number: int | None
    complete: TakenIn | None
    delta: TakenIn | None


def limits_of(settings: Settings) -> Limits:
    """Under these settings."""
    return Limits(settings.crl_fetch_max_bytes, min(IDLE_S, settings.crl_fetch_timeout), settings.crl_fetch_timeout)


async def bring(connection: Connection, issuer: Issuer, limits: Limits) -> Brought | None:
    """What is at the issuer's source, taken over; None when somebody else is at it.

    Errors are logged in the ledger and raised: NotMirrored for what is wrong with source or CRL.
    """
    async with crls.crl_turn(connection, issuer.issuer_id) as ours:
        if not ours:
            return None
        started = datetime.now(UTC)
        try:
            complete = await _complete(connection, issuer, await _mirror(connection, issuer), limits)
            delta = await _delta(connection, issuer, await _mirror(connection, issuer), limits)
            now = await _mirror(connection, issuer)
            _require_window(now)
        except CachewarmError as error:
            fault = error.fault.value if isinstance(error, NotMirrored) else None
            await mirrors.note_try(connection, issuer.issuer_id, failed=True)
            await _log(connection, issuer, started, None, str(error), fault)
            raise
        await mirrors.note_try(connection, issuer.issuer_id, failed=False)
        await _log(connection, issuer, started, now, None, None)
        if complete or delta:
            changed = [vars(each) for each in (complete, delta) if each]
            log.info("CRL mirrored", issuer_id=issuer.issuer_id, number=now.crl_number, changed=changed)
        return Brought(now.crl_number, now.delta_number, complete, delta)


async def _mirror(connection: Connection, issuer: Issuer) -> mirrors.Mirror:
    found = await mirrors.mirrors(connection, issuer.issuer_id)
    if not found:
        raise Refused(f"{issuer.issuer_id} has no CRL source")
    return found[0]


async def _log(
    connection: Connection,
    issuer: Issuer,
    started: datetime,
    mirror: mirrors.Mirror | None,
    error: str | None,
    fault: str | None,
) -> None:
    number, entries = (None, None) if mirror is None else (mirror.crl_number, mirror.entries)
    build = crls.CRLBuild(
        issuer.issuer_id, started, error is None, error, since_ms(started), number, entries, "mirror", fault
    )
    await crls.log_crl_build(connection, build)


def _require_window(mirror: mirrors.Mirror) -> None:
    """The source answered, but with the CRL that is here, and that has ended."""
    if mirror.next_update is not None and mirror.next_update <= datetime.now(UTC):
        raise NotMirrored(Fault.WINDOW, f"the source still has CRL {mirror.crl_number}, which has ended")


async def _complete(connection: Connection, issuer: Issuer, mirror: mirrors.Mirror, limits: Limits) -> TakenIn | None:
    is_served = mirror.crl_number is not None and mirror.served_number == mirror.crl_number
    known = Known(mirror.etag, mirror.last_modified) if is_served else Known()
    fetched = await asyncio.to_thread(fetch, mirror.crl_source, known, limits)
    if fetched.der is None:
        return None
    sha256 = hashlib.sha256(fetched.der).digest()
    taken = None
    if sha256 != mirror.crl_sha256:
        taken = await _take_complete(connection, issuer, _before(mirror), fetched.der, sha256)
    elif not is_served:
        await crls.write_crl(connection, _cached(issuer, mirror, fetched.der))
    await mirrors.note_source(connection, issuer.issuer_id, fetched.known.etag, fetched.known.last_modified)
    return taken


async def _take_complete(connection: Connection, issuer: Issuer, before: Before, der: bytes, sha256: bytes) -> TakenIn:
    started = datetime.now(UTC)
    scope, now = issuer.crl_scope, int(time.time())
    read = await asyncio.to_thread(judge, der, issuer.cert_der, scope, before, now=now)
    count = await asyncio.to_thread(_count, der, read)
    assert read.number is not None
    assert read.next_update is not None
    crl = crls.CachedCRL(
        issuer.issuer_id,
        read.number,
        der,
        datetime.fromtimestamp(read.this_update, UTC),
        datetime.fromtimestamp(read.next_update, UTC),
        datetime.now(UTC),
        since_ms(started),
        count,
    )
    urls = [url for url in read.freshest if url.startswith(("http://", "https://"))]
    incoming = Incoming(crl, None, sha256, urls[0] if urls else None, lambda: _rows(der, read))
    return await take_in(connection, incoming)


async def _delta(connection: Connection, issuer: Issuer, mirror: mirrors.Mirror, limits: Limits) -> TakenIn | None:
    url = mirror.delta_source or mirror.delta_url
    if url is None:
        return None
    fetched: Fetched = await asyncio.to_thread(fetch, url, Known(), limits)
    der = fetched.der
    assert der is not None
    sha256 = hashlib.sha256(der).digest()
    if sha256 == mirror.delta_sha256:
        if mirror.lacks_delta:
            await publish(connection, None, [await _part(issuer, der, peek_crl(der))], bases=[])
        return None
    scope, now = issuer.crl_scope, int(time.time())
    read = await asyncio.to_thread(judge_delta, der, issuer.cert_der, scope, _before(mirror), now=now)
    part = await _part(issuer, der, read)
    return await take_in(connection, Incoming(None, part, sha256, None, lambda: _rows(der, read)))


async def _part(issuer: Issuer, der: bytes, read: ReadCRL) -> crls.CRLPart:
    count = await asyncio.to_thread(_count, der, read)
    assert read.number is not None
    assert read.next_update is not None
    return crls.CRLPart(
        issuer.issuer_id,
        DELTA,
        read.number,
        read.base_number,
        der,
        datetime.fromtimestamp(read.this_update, UTC),
        datetime.fromtimestamp(read.next_update, UTC),
        datetime.now(UTC),
        count,
    )


def _before(mirror: mirrors.Mirror) -> Before:
    """What the new one must not fall behind; a CRL that was made here before has its number too."""
    number = mirror.served_number if mirror.crl_number is None else mirror.crl_number
    update = None if mirror.this_update is None else int(mirror.this_update.timestamp())
    return Before(number, update, mirror.delta_number)


def _cached(issuer: Issuer, mirror: mirrors.Mirror, der: bytes) -> crls.CachedCRL:
    """The CRL that is mirrored already, for the cache that somebody emptied."""
    assert mirror.crl_number is not None
    assert mirror.this_update is not None
    assert mirror.next_update is not None
    return crls.CachedCRL(
        issuer.issuer_id,
        mirror.crl_number,
        der,
        mirror.this_update,
        mirror.next_update,
        datetime.now(UTC),
        0,
        mirror.entries or 0,
    )


def _count(der: bytes, read: ReadCRL) -> int:
    """Entries; NotMirrored when one does not parse, or forbids the CRL."""
    reader = _reader(der, read)
    try:
        while reader.read():
            pass
    except WireError as error:
        raise NotMirrored(Fault.ENTRIES, f"entry {reader.count + 1}: {error}") from error
    return reader.count


def _reader(der: bytes, read: ReadCRL) -> EntryReader:
    return EntryReader(der, read.this_update, read.base_number is not None)


async def _rows(der: bytes, read: ReadCRL) -> AsyncIterator[bytes]:
    reader = _reader(der, read)
    while piece := reader.read():
        yield piece
        await asyncio.sleep(0)
