"""One attempt at a source: fetch, validate, import; the complete CRL and the delta on it. Every attempt is logged.

A pipeline of values: what a source sent (FetchedCRL), what passed (ValidatedCRL), what is to be written (MirrorUpdate),
with one write at the end. One attempt at a time per issuer, however many warmers and commands there are. Whatever
fails, the CRL that is here stays, with its entries and its window.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import structlog

from cachewarm.config import Settings
from cachewarm.crl.parse import ReadCRL
from cachewarm.crl.parts import DELTA
from cachewarm.crl.rules import CRLProblem, PreviousCRL, Rule
from cachewarm.errors import CachewarmError, Refused
from cachewarm.ledger import crls, mirrors
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.issuers import Issuer
from cachewarm.ledger.mirror_import import ImportResult, Incoming, MirrorUpdate, write_update
from cachewarm.mirror.deadline_socket import Watch
from cachewarm.mirror.faults import NotMirrored, SourceFault
from cachewarm.mirror.fetch import NO_VALIDATORS, FetchedCRL, Limits, Validators, fetch
from cachewarm.mirror.validate import ValidatedCRL, choose_crl, validate, validate_delta
from cachewarm.mirror.verify_published import acceptance_of

log = structlog.get_logger("mirror")
IDLE_S = 10.0


@dataclass(frozen=True)
class SyncContext:
    """State that attempts share: a connection, the limits of a fetch, threads for it; `mutex` guards the connection."""

    connection: Connection
    limits: Limits
    threads: Executor | None = None
    mutex: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True)
class SyncResult:
    """The CRLs that are here after an attempt, and what it changed; None for a CRL that was not new."""

    crl_number: int | None
    delta_number: int | None
    complete: ImportResult | None
    delta: ImportResult | None


@dataclass(frozen=True)
class _Found:
    """What one source has: a CRL that is new, or the DER of the one that is here, or neither."""

    new: ValidatedCRL | None = None
    same_der: bytes | None = None
    validators: Validators | None = None


def limits_of(settings: Settings) -> Limits:
    """Return the limits of a fetch under these settings."""
    return Limits(settings.crl_fetch_max_bytes, min(IDLE_S, settings.crl_fetch_timeout), settings.crl_fetch_timeout)


async def sync(context: SyncContext, issuer: Issuer, *, renumbered_by: str | None = None) -> SyncResult | None:
    """Import what is at the issuer's sources; None while another process does.

    Failures are logged in the ledger and raised: NotMirrored for what is wrong with source or CRL. `renumbered_by` is
    an operator who accepts a CRL with a number below the last one, this once.
    """
    connection, mutex = context.connection, context.mutex
    async with crls.crl_turn(connection, issuer.issuer_id, mutex) as ours:
        if not ours:
            return None
        started = datetime.now(UTC)
        async with mutex:
            mirror = await _mirror(connection, issuer)
            await mirrors.begin_try(connection, issuer.issuer_id)
        try:
            update, failure = await _look(context, issuer, mirror, started, renumbered_by)
            async with mutex:
                result = await write_update(connection, update)
                now = await _mirror(connection, issuer)
        except Exception as error:  # whatever it is, it is recorded
            async with mutex:
                await _record(connection, issuer, started, error)
            raise
    done = SyncResult(now.crl_number, now.delta_number, result.complete, result.delta)
    if done.complete or done.delta:
        changed = [vars(each) for each in (done.complete, done.delta) if each]
        log.info("CRL mirrored", issuer_id=issuer.issuer_id, number=now.crl_number, changed=changed)
    if failure or result.failure:
        raise failure or result.failure  # type: ignore[misc]
    return done


async def _mirror(connection: Connection, issuer: Issuer) -> mirrors.Mirror:
    found = await mirrors.mirrors(connection, issuer.issuer_id)
    if not found:
        raise Refused(f"{issuer.issuer_id} has no CRL source")
    return found[0]


async def _record(connection: Connection, issuer: Issuer, started: datetime, error: Exception) -> None:
    """Log an attempt of which nothing could be written."""
    failed = MirrorUpdate(
        issuer_id=issuer.issuer_id, started_at=started, error=f"{type(error).__name__}: {error}", fault=fault_of(error)
    )
    await write_update(connection, failed)


def fault_of(error: Exception) -> str | None:
    """Return the word for the metric: none for what is wrong with the ledger."""
    if isinstance(error, NotMirrored):
        return error.fault.value
    return None if isinstance(error, CachewarmError) else SourceFault.INTERNAL.value


async def _look(
    context: SyncContext, issuer: Issuer, mirror: mirrors.Mirror, started: datetime, renumbered_by: str | None
) -> tuple[MirrorUpdate, NotMirrored | None]:
    """Fetch and validate; the update to write and the first failure. A bad complete CRL does not stop the delta."""
    update, failure = MirrorUpdate(issuer_id=issuer.issuer_id, started_at=started), None
    previous, delta_url = _previous(mirror), mirror.delta_source or mirror.delta_url
    try:
        found = await _look_at_complete(context, issuer, mirror, previous, is_renumbered=renumbered_by is not None)
        if found.new is not None:
            incoming = _complete(issuer, found.new, previous, started, renumbered_by)
            previous = _after(previous, found.new, incoming)
            delta_url = mirror.delta_source or incoming.delta_url
            update = replace(update, complete=incoming)
        elif found.same_der is not None and not mirror.is_served:
            update = replace(update, complete_again=_cached(issuer, mirror, found.same_der))
        if found.validators is not None:
            update = replace(update, validators=(found.validators.etag, found.validators.last_modified))
    except NotMirrored as error:
        failure = error
    if delta_url is not None and previous.number is not None:
        try:
            update = await _look_at_delta(context, issuer, mirror, previous, delta_url, update)
        except NotMirrored as error:
            failure = failure or error
    if failure is not None:
        update = replace(update, error=str(failure), fault=failure.fault.value)
    return update, failure


async def _look_at_complete(
    context: SyncContext, issuer: Issuer, mirror: mirrors.Mirror, previous: PreviousCRL, *, is_renumbered: bool
) -> _Found:
    validators = Validators(mirror.etag, mirror.last_modified) if mirror.is_served else NO_VALIDATORS
    fetched = await _fetch(context, mirror.crl_source, validators)
    read = None if fetched.body is None else await _read(fetched.body, issuer, is_delta=False)
    if read is None or _sha256(read.der) == mirror.crl_sha256:
        _require_window(mirror)
        return _Found(same_der=read.der if read else None, validators=fetched.validators)
    accepted, now = acceptance_of(issuer, accept_renumbered=is_renumbered), int(time.time())
    checked = await asyncio.to_thread(validate, read, issuer.cert_der, accepted, previous, now=now)
    if isinstance(checked, CRLProblem):
        raise NotMirrored.of(checked)
    return _Found(new=checked, validators=fetched.validators)


async def _look_at_delta(
    context: SyncContext,
    issuer: Issuer,
    mirror: mirrors.Mirror,
    previous: PreviousCRL,
    url: str,
    update: MirrorUpdate,
) -> MirrorUpdate:
    """Return the update with what the delta's source has."""
    fetched = await _fetch(context, url, NO_VALIDATORS)
    assert fetched.body is not None  # a 304 to an unconditional request is a failure
    read = await _read(fetched.body, issuer, is_delta=True)
    is_known = _sha256(read.der) == mirror.delta_sha256
    if is_known and not mirror.lacks_delta:
        return update
    accepted, now = acceptance_of(issuer), int(time.time())
    before = replace(previous, delta_number=None) if is_known else previous
    checked = await asyncio.to_thread(validate_delta, read, issuer.cert_der, accepted, before, now=now)
    if isinstance(checked, CRLProblem):
        raise NotMirrored.of(checked)
    part = _part(issuer, checked)
    if is_known:
        return replace(update, delta_again=part)
    incoming = Incoming(
        delta=part,
        sha256=_sha256(checked.der),
        rows=_rows_of(checked),
        skipped=checked.skipped,
        remarks=checked.remarks,
    )
    return replace(update, delta=incoming)


async def _read(body: bytes, issuer: Issuer, *, is_delta: bool) -> ReadCRL:
    read = await asyncio.to_thread(choose_crl, body, issuer.cert_der, is_delta=is_delta)
    if isinstance(read, CRLProblem):
        raise NotMirrored.of(read)
    return read


async def _fetch(context: SyncContext, url: str, validators: Validators) -> FetchedCRL:
    """Fetch in a thread; an attempt that is cancelled ends its connection."""
    watch, loop = Watch(), asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(context.threads, fetch, url, validators, context.limits, watch)
    except asyncio.CancelledError:
        watch.end()
        raise


def _require_window(mirror: mirrors.Mirror) -> None:
    """NotMirrored when the source answered with the CRL that is here, and that one has expired."""
    if mirror.next_update is not None and mirror.next_update <= datetime.now(UTC):
        raise NotMirrored(Rule.WINDOW, f"the source still has CRL {mirror.crl_number}, which has expired")


def _sha256(der: bytes) -> bytes:
    return hashlib.sha256(der).digest()


def _previous(mirror: mirrors.Mirror) -> PreviousCRL:
    """Return what a new CRL must follow; a CRL that was made here before has its number too."""
    number = mirror.served_number if mirror.crl_number is None else mirror.crl_number
    update = None if mirror.this_update is None else int(mirror.this_update.timestamp())
    return PreviousCRL(number, update, mirror.delta_number)


def _after(previous: PreviousCRL, new: ValidatedCRL, incoming: Incoming) -> PreviousCRL:
    """Return what a delta on the new complete CRL must follow."""
    delta_number = None if incoming.renumbered_by is not None else previous.delta_number
    return PreviousCRL(new.number, new.read.this_update, delta_number)


def _complete(
    issuer: Issuer, new: ValidatedCRL, previous: PreviousCRL, started: datetime, renumbered_by: str | None
) -> Incoming:
    crl = crls.CachedCRL(
        issuer_id=issuer.issuer_id,
        crl_number=new.number,
        crl_der=new.der,
        this_update=_moment(new.read.this_update),
        next_update=_moment(new.next_update),
        generated_at=datetime.now(UTC),
        generation_duration_ms=int((datetime.now(UTC) - started).total_seconds() * 1000),
        revoked_count=new.entries,
    )
    last = max((each for each in (previous.number, previous.delta_number) if each is not None), default=-1)
    return Incoming(
        complete=crl,
        sha256=_sha256(new.der),
        delta_url=next((url for url in new.read.freshest if _is_fetchable(url)), None),
        rows=_rows_of(new),
        skipped=new.skipped,
        remarks=new.remarks,
        renumbered_by=(renumbered_by or "crl mirror") if new.number <= last else None,
    )


def _is_fetchable(url: str) -> bool:
    return url.startswith(("http://", "https://")) and url.isascii() and url.isprintable() and " " not in url


def _part(issuer: Issuer, new: ValidatedCRL) -> crls.CRLPart:
    return crls.CRLPart(
        issuer_id=issuer.issuer_id,
        part=DELTA,
        crl_number=new.number,
        base_number=new.read.base_number,
        crl_der=new.der,
        this_update=_moment(new.read.this_update),
        next_update=_moment(new.next_update),
        generated_at=datetime.now(UTC),
        revoked_count=new.entries,
    )


def _cached(issuer: Issuer, mirror: mirrors.Mirror, der: bytes) -> crls.CachedCRL:
    """Return the CRL that is mirrored already, for a row of the cache that was deleted."""
    assert mirror.crl_number is not None
    assert mirror.this_update is not None
    assert mirror.next_update is not None
    return crls.CachedCRL(
        issuer_id=issuer.issuer_id,
        crl_number=mirror.crl_number,
        crl_der=der,
        this_update=mirror.this_update,
        next_update=mirror.next_update,
        generated_at=datetime.now(UTC),
        generation_duration_ms=0,
        revoked_count=mirror.entries or 0,
    )


def _moment(epoch: int) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)


def _rows_of(crl: ValidatedCRL) -> Callable[[], AsyncIterator[bytes]]:
    """Return a maker of COPY streams of the entries."""

    async def rows() -> AsyncIterator[bytes]:
        reader = crl.rows()
        while piece := reader.read():
            yield piece
            await asyncio.sleep(0)

    return rows
