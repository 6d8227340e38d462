"""How CRLs of another CA are imported: each whole or not at all, all of one attempt in one write.

The entries are copied to a temporary table and compared there. Only differences touch the revoked set, a few thousand
per statement, and only for that the ledger's lock is held. What is gone from a complete CRL, or removed by a delta, is
released when it was a hold, purged when its certificate is known to have expired, and else stays revoked and is counted
(RFC 5280 3.3, 5.3.1). Rows that were revoked here are never taken away.

A serial number that is in a CRL twice, or in a complete CRL and its delta, has the strongest statement, whatever the
order: keyCompromise, another permanent reason, certificateHold, removeFromCRL; then the earliest time.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime

from cachewarm.errors import CachewarmError, Transient
from cachewarm.ledger import mirrors
from cachewarm.ledger.connect import Connection, changing
from cachewarm.ledger.crl_parts import publish
from cachewarm.ledger.crls import CachedCRL, CRLBuild, CRLPart, log_crl_build, raise_crl_number, write_crl
from cachewarm.ledger.revocations import nudge

#: The revoker in the audit chain, by which these rows are told from those revoked here.
ACTOR = "crl mirror"
_STEP = 5000
_TIMEOUT_S = 600.0
#: The strength of a statement by its reason, the strongest first.
_RANK = "case {} when 1 then 0 when 6 then 2 when 8 then 3 else 1 end"


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """Effect of an import on the revoked set. `kept_*`: gone from the CRL and still revoked here."""

    entries: int
    revoked: int
    released: int
    purged: int
    kept_live: int
    kept_unknown: int


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A CRL that passed: exactly one of `complete` and `delta`.

    sha256          of its DER
    delta_url       where it says its deltas are
    rows            makes a new COPY stream of its entries
    skipped         entries without a row
    remarks         what was left out of entries
    renumbered_by   who accepted a number that is not above the last one, for the audit chain
    """

    complete: CachedCRL | None = None
    delta: CRLPart | None = None
    sha256: bytes
    delta_url: str | None = None
    rows: Callable[[], AsyncIterator[bytes]]
    skipped: int = 0
    remarks: str | None = None
    renumbered_by: str | None = None

    @property
    def crl(self) -> CachedCRL | CRLPart:
        """The one that it is."""
        one = self.complete or self.delta
        assert one is not None
        return one


@dataclass(frozen=True, kw_only=True)
class MirrorUpdate:
    """Everything that one attempt found, to be written at once.

    complete, delta           CRLs that are new
    complete_again, .._again  CRLs that are here, for a row that was deleted
    validators                ETag and Last-Modified of the complete CRL's source; None when nothing was transferred
    error, fault              the first failure; what did not fail is written all the same
    """

    issuer_id: str
    started_at: datetime
    complete: Incoming | None = None
    delta: Incoming | None = None
    complete_again: CachedCRL | None = None
    delta_again: CRLPart | None = None
    validators: tuple[str | None, str | None] | None = None
    error: str | None = None
    fault: str | None = None


@dataclass(frozen=True, kw_only=True)
class MirrorResult:
    """Changes by an update; None for a CRL that was not new. `failure` is that of the delta's import."""

    complete: ImportResult | None
    delta: ImportResult | None
    failure: CachewarmError | None = None


async def write_update(connection: Connection, update: MirrorUpdate) -> MirrorResult:
    """Write CRLs, entries, windows, validators, the attempt and its event, in one transaction.

    A delta that cannot be imported does not cost the complete CRL.
    """
    with changing():
        async with connection.transaction():
            result = await _import(connection, update)
            if update.validators is not None:
                await mirrors.note_source(connection, update.issuer_id, *update.validators)
            error = update.error or (str(result.failure) if result.failure else None)
            await mirrors.end_try(connection, update.issuer_id, failed=error is not None)
            await _log(connection, update, error)
    if any(each and (each.revoked or each.released or each.purged) for each in (result.complete, result.delta)):
        await nudge(connection)
    return result


async def _import(connection: Connection, update: MirrorUpdate) -> MirrorResult:
    complete = delta = failure = None
    if update.complete is not None:
        complete = await _take_in(connection, update.complete)
    elif update.complete_again is not None:
        await write_crl(connection, update.complete_again)
    try:
        if update.delta is not None:
            with changing():
                async with connection.transaction():
                    delta = await _take_in(connection, update.delta)
        elif update.delta_again is not None:
            await publish(connection, None, [update.delta_again], bases=[])
    except CachewarmError as error:
        if connection.is_closed():
            raise
        failure = error
    return MirrorResult(complete=complete, delta=delta, failure=failure)


async def _log(connection: Connection, update: MirrorUpdate, error: str | None) -> None:
    found = await mirrors.mirrors(connection, update.issuer_id)
    remarks = [each.remarks for each in (update.complete, update.delta) if each is not None and each.remarks]
    build = CRLBuild(
        issuer_id=update.issuer_id,
        started_at=update.started_at,
        succeeded=error is None,
        error=error,
        duration_ms=int((datetime.now(update.started_at.tzinfo) - update.started_at).total_seconds() * 1000),
        crl_number=found[0].crl_number if found and error is None else None,
        revoked_count=found[0].entries if found and error is None else None,
        kind="mirror",
        fault=update.fault,
        remarks="; ".join(remarks) or None,
    )
    await log_crl_build(connection, build)


async def _take_in(connection: Connection, incoming: Incoming) -> ImportResult:
    """Import one CRL within the caller's transaction."""
    await connection.execute("select mirror_begin($1)", incoming.crl.issuer_id)
    await _stage(connection, incoming)
    entries = await connection.fetchval("select count(*) from crl_incoming", timeout=_TIMEOUT_S)
    released, purged, live, unknown = await _find_gone(connection, incoming)
    await _publish(connection, incoming)
    revoked = await _revoke(connection, incoming)
    if released or purged:  # a DELETE of nothing would take the ledger's lock as well
        await _let_go(connection, incoming)
    done = ImportResult(
        entries=entries, revoked=revoked, released=released, purged=purged, kept_live=live, kept_unknown=unknown
    )
    await _open_window(connection, incoming, done)
    await connection.execute("drop table crl_incoming, crl_due, crl_gone")
    return done


async def _stage(connection: Connection, incoming: Incoming) -> None:
    """Copy every entry once; a serial number that is there twice has its strongest statement."""
    await connection.execute(
        """create temp table crl_copied (serial_number bytea not null, revoked_at int8 not null, reason int2 not null,
             invalidity_date int8) on commit drop"""
    )
    await connection.copy_to_table("crl_copied", source=incoming.rows(), format="binary", timeout=_TIMEOUT_S)
    rank = _RANK.format("reason")
    await connection.execute(
        f"""create temp table crl_incoming on commit drop as
             select distinct on (serial_number) serial_number, to_timestamp(revoked_at) as revoked_at, reason,
                    to_timestamp(invalidity_date) as invalidity_date
               from crl_copied order by serial_number, {rank}, revoked_at, reason, invalidity_date""",  # noqa: S608 - our own constant
        timeout=_TIMEOUT_S,
    )
    await connection.execute("drop table crl_copied")
    await connection.execute("analyze crl_incoming", timeout=_TIMEOUT_S)


async def _revoke(connection: Connection, incoming: Incoming) -> int:
    """Revoke what the CRL lists and the ledger does not have so; how many.

    A weaker statement never replaces a stronger one. A complete CRL may move the time of an equally strong one either
    way, a delta only to an earlier time.
    """
    crl = incoming.crl
    weaker = f"{_RANK.format('c.reason')} > {_RANK.format('r.reason')}"
    if incoming.delta is not None:
        same = f"{_RANK.format('c.reason')} = {_RANK.format('r.reason')}"
        weaker = f"({weaker} or ({same} and c.revoked_at > r.revoked_at))"
    await connection.execute(
        """create temp table crl_due (n bigint, serial_number bytea, revoked_at timestamptz, reason int2,
             invalidity_date timestamptz) on commit drop"""
    )
    done = await connection.execute(
        f"""insert into crl_due
           select row_number() over (order by c.serial_number), c.*
             from crl_incoming c left join certificate_revocations r
               on r.issuer_id = $1 and r.serial_number = c.serial_number
            where c.reason <> 8 and (r.serial_number is null
               or ((r.revoked_at, r.reason, r.invalidity_date)
                     is distinct from (c.revoked_at, c.reason, c.invalidity_date)
                   and not {weaker}))""",  # noqa: S608 - our own constants
        crl.issuer_id,
        timeout=_TIMEOUT_S,
    )
    due, changed = int(done.split()[-1]), 0  # "INSERT 0 n"
    await connection.execute("create index on crl_due (n)", timeout=_TIMEOUT_S)
    for first in range(1, due + 1, _STEP):
        changed += await connection.fetchval(
            """select mirror_revoke($1, $2, $3::text::numeric, $4, array_agg(serial_number order by n),
                 array_agg(revoked_at order by n), array_agg(reason order by n), array_agg(invalidity_date order by n))
                 from crl_due where n between $5 and $6""",
            ACTOR,
            crl.issuer_id,
            str(crl.crl_number),
            incoming.sha256,
            first,
            first + _STEP - 1,
            timeout=_TIMEOUT_S,
        )
    return changed


async def _find_gone(connection: Connection, incoming: Incoming) -> tuple[int, int, int, int]:
    """Count rows to release, to purge, kept though live, kept as their end is unknown; before the lock is taken."""
    gone = (
        "not exists (select from crl_incoming c where c.serial_number = r.serial_number)"
        if incoming.complete is not None
        else "exists (select from crl_incoming c where c.serial_number = r.serial_number and c.reason = 8)"
    )
    await connection.execute(
        "create temp table crl_gone (serial_number bytea, reason int2, not_after timestamptz) on commit drop"
    )
    await connection.execute(
        f"""insert into crl_gone
            select r.serial_number, r.reason, x.not_after
              from certificate_revocations r left join certificates x using (issuer_id, serial_number)
             where r.issuer_id = $1 and r.revoked_by = $2 and {gone}""",  # noqa: S608 - our own constants
        incoming.crl.issuer_id,
        ACTOR,
        timeout=_TIMEOUT_S,
    )
    row = await connection.fetchrow(
        """select count(*) filter (where reason = 6),
                  count(*) filter (where reason <> 6 and not_after <= now()),
                  count(*) filter (where reason <> 6 and not_after > now()),
                  count(*) filter (where reason <> 6 and not_after is null) from crl_gone"""
    )
    assert row is not None
    released, purged, live, unknown = row
    return released, purged, live, unknown


async def _let_go(connection: Connection, incoming: Incoming) -> None:
    """Delete the rows that may be released or purged."""
    await connection.execute("select set_config('fastocsp.actor', $1, true)", ACTOR)
    await connection.execute(
        """delete from certificate_revocations r using crl_gone g
            where r.issuer_id = $1 and r.serial_number = g.serial_number and r.revoked_by = $2
              and (g.reason = 6 or g.not_after <= now())""",
        incoming.crl.issuer_id,
        ACTOR,
        timeout=_TIMEOUT_S,
    )


async def _publish(connection: Connection, incoming: Incoming) -> None:
    """Store the CRL to be served; before the entries, because a large one takes time and they hold the lock."""
    crl = incoming.crl
    if incoming.renumbered_by is not None:
        await _begin_numbering_again(connection, incoming, incoming.renumbered_by)
    if incoming.complete is not None:
        if not await write_crl(connection, incoming.complete):
            raise Transient("a CRL with a higher number was published meanwhile")
        await connection.execute(
            "delete from crl_parts where issuer_id = $1 and crl_number < $2::text::numeric",
            crl.issuer_id,
            str(crl.crl_number),
        )
    else:
        assert incoming.delta is not None
        await publish(connection, None, [incoming.delta], bases=[])
    await raise_crl_number(connection, crl.issuer_id, crl.crl_number)


async def _begin_numbering_again(connection: Connection, incoming: Incoming, actor: str) -> None:
    """Drop the CRLs with the old numbers, so that lower ones may follow, and audit who accepted that."""
    issuer_id = incoming.crl.issuer_id
    await connection.execute("delete from crl_cache where issuer_id = $1", issuer_id)
    await connection.execute("delete from crl_parts where issuer_id = $1", issuer_id)
    await connection.execute(
        "update crl_mirrors set delta_number = null, delta_sha256 = null, delta_this_update = null,"
        " delta_next_update = null, renumberings = renumberings + 1 where issuer_id = $1",
        issuer_id,
    )
    await connection.execute(
        """select audit_append($1, 'crl renumbered', $2, null,
             jsonb_build_object('crl_number', $3::text, 'crl_sha256', encode($4::bytea, 'hex')))""",
        actor,
        issuer_id,
        str(incoming.crl.crl_number),
        incoming.sha256,
    )


async def _open_window(connection: Connection, incoming: Incoming, done: ImportResult) -> None:
    """Let `good` be answered by everyone who has heard the feed up to here, because the entries are before it."""
    crl = incoming.crl
    more: tuple[object, ...] = ()
    if incoming.complete is not None:
        more = (incoming.skipped, incoming.remarks, done.entries, incoming.delta_url)
    await connection.execute(
        _DELTA if incoming.complete is None else _COMPLETE,
        crl.issuer_id,
        str(crl.crl_number),
        incoming.sha256,
        crl.this_update,
        crl.next_update,
        done.kept_live,
        done.kept_unknown,
        *more,
    )


_SHIFT = """former_from = good_from, former_until = good_until, former_generation = m.generation, former_seq = m.seq,
  generation = h.generation, seq = h.seq, good_from = least($4, now())"""
_COMPLETE = f"""update crl_mirrors m set crl_number = $2::text::numeric, crl_sha256 = $3, this_update = $4,
  next_update = $5, good_until = $5, kept_live = $6, kept_unknown = $7, skipped = $8, remarks = $9, entries = $10,
  delta_url = $11, {_SHIFT}
  from feed_head h where issuer_id = $1"""  # noqa: S608 - our own constant
_DELTA = f"""update crl_mirrors m set delta_number = $2::text::numeric, delta_sha256 = $3, delta_this_update = $4,
  delta_next_update = $5, kept_live = kept_live + $6, kept_unknown = kept_unknown + $7, {_SHIFT}
  from feed_head h where issuer_id = $1"""  # noqa: S608 - our own constant
