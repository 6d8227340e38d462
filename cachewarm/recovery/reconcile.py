"""Closing the gap that a restore or a failover left: evidence in, revocations and covered time out, the fence lifted.

Evidence of a time covers what was revoked up to that time and no further. A CRL that this ledger made itself lists no
more than the ledger has, so it covers nothing, however new it is. What no document covers is covered by a person's
statement. Everything may be repeated: revocations keep their earliest time, and evidence only adds up.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from cachewarm.crl import rules
from cachewarm.crl.parts import COMPLETE, scope_of
from cachewarm.crl.plan import SETTLED_S
from cachewarm.errors import Refused
from cachewarm.ledger import fences, issuers, orphans
from cachewarm.ledger.chunks import chunks
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.fences import ALWAYS, Fence
from cachewarm.ledger.orphans import CRLEntry
from cachewarm.ledger.revocations import REVOKE_CHUNK, Revocation, bulk_revoke
from cachewarm.orphans.evidence import Evidence, read_evidence
from cachewarm.records.keyring import domain_issuer
from responder.domain.status import CRLReason


@dataclass(frozen=True)
class Document:
    """A CRL or OCSP answer, and where it came from."""

    source: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A revocation that the evidence proves, and that the ledger lacks or has with a later time."""

    serial_number: bytes
    revoked_at: datetime
    reason: CRLReason
    invalidity_date: datetime | None
    evidence: str


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One document as evidence for one issuer: `until` is the time that it covers, None for nothing and `why_not`."""

    source: str
    name: str
    until: datetime | None
    why_not: str | None
    lost: tuple[Lost, ...]


@dataclass(frozen=True)
class Reconciled:
    """One issuer: its fence as it is now, the evidence that was added, and whether the fence is lifted."""

    fence: Fence
    pieces: tuple[Piece, ...] = ()
    is_lifted: bool = False

    @property
    def lost(self) -> tuple[Lost, ...]:
        """Every revocation that the evidence brings back, once."""
        return tuple({each.serial_number: each for piece in self.pieces for each in piece.lost}.values())


async def reconcile(
    connection: Connection,
    issuer_ids: Sequence[str],
    documents: Sequence[Document],
    statement: str | None,
    *,
    lift: bool,
    dry_run: bool,
    actor: str,
) -> list[Reconciled]:
    """Add the evidence to the fences of these issuers, of all when none is named, and lift those that it closes.

    Refused where an issuer is not known or a document is no evidence for any of them. With `dry_run` nothing is
    written, and the results are what would be. Fences are lifted where there is new evidence, or `lift`.
    """
    for issuer_id in issuer_ids:
        await issuers.require_issuer(connection, issuer_id)
    found = [fence for fence in await fences.open_fences(connection) if not issuer_ids or fence.issuer_id in issuer_ids]
    proved = await _assigned(connection, found, documents)
    done = []
    for fence in found:
        pieces = proved[fence.issuer_id]
        if not dry_run:
            await _apply(connection, fence, pieces, statement, actor)
        closed = _closed_by(fence, pieces, statement)
        may_lift = closed.gap is None and bool(lift or pieces or statement)
        is_lifted = may_lift and (dry_run or await fences.lift(connection, fence.issuer_id, actor=actor))
        done.append(Reconciled(closed, pieces, is_lifted))
    return done


async def _assigned(
    connection: Connection, found: Iterable[Fence], documents: Sequence[Document]
) -> Mapping[str, tuple[Piece, ...]]:
    """Return the documents of each issuer as evidence; Refused when one is of none of them."""
    rows = {fence.issuer_id: await issuers.require_issuer(connection, fence.issuer_id) for fence in found}
    pieces: dict[str, list[Piece]] = {issuer_id: [] for issuer_id in rows}
    for document in documents:
        refusals = []
        for issuer_id, row in rows.items():
            try:
                evidence = read_evidence(domain_issuer(row), document.content)
            except Refused as error:
                refusals.append(str(error))
                continue
            pieces[issuer_id].append(await _judged(connection, row, document, evidence))
            break
        else:
            raise Refused(f"{document.source}: {refusals[0] if refusals else 'no issuer is fenced'}")
    return {issuer_id: tuple(each) for issuer_id, each in pieces.items()}


async def _judged(connection: Connection, issuer: issuers.Issuer, document: Document, evidence: Evidence) -> Piece:
    until, why_not = await _coverage(connection, issuer, evidence)
    lost = [each async for each in _lost(connection, issuer.issuer_id, evidence)]
    return Piece(source=document.source, name=evidence.name, until=until, why_not=why_not, lost=tuple(lost))


async def _coverage(
    connection: Connection, issuer: issuers.Issuer, evidence: Evidence
) -> tuple[datetime | None, str | None]:
    crl = evidence.crl
    if crl is None:
        return None, "an OCSP answer proves the revocations that it states, and covers no time"
    if crl.base_number is not None:
        return None, "a delta CRL lists what changed since its base, and covers no time by itself"
    if rules.first_problem(rules.distribution_point_problems(crl, scope_of(issuer, COMPLETE))) is not None:
        return None, "it is not the issuer's complete CRL: its distribution point is of a part"
    is_ours = issuer.crl_source is None  # the CRL of another CA, though served here, was not made of this ledger
    if is_ours and crl.number is not None and await fences.is_made_here(connection, issuer.issuer_id, crl.number):
        return None, "this ledger made a CRL of that number: it may list no more than the ledger has"
    return min(datetime.fromtimestamp(crl.this_update, UTC), datetime.now(UTC)), None


async def _lost(connection: Connection, issuer_id: str, evidence: Evidence) -> AsyncIterator[Lost]:
    since = datetime.fromtimestamp(max(0, evidence.crl.this_update - SETTLED_S if evidence.crl else 0), UTC)
    for chunk in chunks(evidence.entries.values(), REVOKE_CHUNK):
        wanted = await orphans.vanished(connection, issuer_id, [entry[0] for entry in chunk], since)
        wanted |= await fences.with_later_time(connection, issuer_id, chunk)
        for each in _as_lost((entry for entry in chunk if entry[0] in wanted), evidence.name):
            yield each


def _as_lost(entries: Iterable[CRLEntry], name: str) -> Iterator[Lost]:
    for serial, at, reason, invalidity in entries:
        yield Lost(
            serial_number=serial,
            revoked_at=_moment(at),
            reason=CRLReason(reason),
            invalidity_date=None if invalidity is None else _moment(invalidity),
            evidence=name,
        )


async def _apply(
    connection: Connection, fence: Fence, pieces: Sequence[Piece], statement: str | None, actor: str
) -> None:
    """Enter what the pieces bring, revocations first: a fence that is lifted later cannot be before them."""
    for piece in pieces:
        revocations = [
            Revocation(each.serial_number, each.reason, each.revoked_at, each.invalidity_date) for each in piece.lost
        ]
        await bulk_revoke(connection, fence.issuer_id, revocations, actor=actor, allow_unknown=True)
        detail = {"document": piece.name, "source": piece.source, "revocations": len(piece.lost)}
        await fences.cover(connection, fence.issuer_id, piece.until or fence.gap_from, detail, actor=actor)
    if statement is not None:
        await fences.cover(connection, fence.issuer_id, ALWAYS, {"statement": statement}, actor=actor)


def _closed_by(fence: Fence, pieces: Sequence[Piece], statement: str | None) -> Fence:
    covered = [fence.covered_until, *(piece.until for piece in pieces if piece.until is not None)]
    return replace(fence, covered_until=ALWAYS if statement is not None else max(covered))


def _moment(epoch_s: int) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
