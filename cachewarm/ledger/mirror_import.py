"""How a CRL of another CA is taken in: whole or not at all.

The entries are copied to a temporary table and compared there; only differences touch the revoked set, a few thousand
a statement, and only for that the ledger's lock is held. What is gone from a complete CRL, or removed by a delta, is
released when it was a hold, purged when its certificate is known to have ended, and else stays revoked and is counted
(RFC 5280 3.3, 5.3.1). Rows that somebody else revoked here are never taken away.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from cachewarm.errors import Transient
from cachewarm.ledger.connect import Connection, changing
from cachewarm.ledger.crl_parts import publish
from cachewarm.ledger.crls import CachedCRL, CRLPart, raise_crl_number, write_crl
from cachewarm.ledger.revocations import nudge

#: Who revoked, for the audit chain and for telling these rows from those revoked here.
ACTOR = "crl mirror"
_STEP = 5000
_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class TakenIn:
    """What an import did to the revoked set. `kept_*`: gone from the CRL and still revoked here."""

    entries: int
    revoked: int
    released: int
    purged: int
    kept_live: int
    kept_unknown: int


@dataclass(frozen=True)
class Incoming:
    """A CRL that passed: exactly one of `complete` and `delta`, its hash, where it says its deltas are, its rows as a
    COPY stream.
    """

    complete: CachedCRL | None
    delta: CRLPart | None
    sha256: bytes
    delta_url: str | None
    rows: Callable[[], AsyncIterator[bytes]]

    @property
    def crl(self) -> CachedCRL | CRLPart:
        """The one that it is."""
        one = self.complete or self.delta
        assert one is not None
        return one


async def take_in(connection: Connection, incoming: Incoming) -> TakenIn:
    """Entries, CRL and window, in one transaction."""
    with changing():
        async with connection.transaction():
            await _stage(connection, incoming)
            entries = await connection.fetchval("select count(*) from crl_incoming", timeout=_TIMEOUT_S)
            released, purged, live, unknown = await _find_gone(connection, incoming)
            await _publish(connection, incoming)
            revoked = await _revoke(connection, incoming)
            if released or purged:  # a DELETE of nothing would take the ledger's lock as well
                await _let_go(connection, incoming)
            done = TakenIn(entries, revoked, released, purged, live, unknown)
            await _open_window(connection, incoming, done)
    if revoked or released or purged:
        await nudge(connection)
    return done


async def _stage(connection: Connection, incoming: Incoming) -> None:
    """Every entry once; a serial that comes twice, with its earliest time."""
    await connection.execute(
        """create temp table crl_copied (serial_number bytea not null, revoked_at int8 not null, reason int2 not null,
             invalidity_date int8) on commit drop"""
    )
    await connection.copy_to_table("crl_copied", source=incoming.rows(), format="binary", timeout=_TIMEOUT_S)
    await connection.execute(
        """create temp table crl_incoming on commit drop as
             select distinct on (serial_number) serial_number, to_timestamp(revoked_at) as revoked_at, reason,
                    to_timestamp(invalidity_date) as invalidity_date
               from crl_copied order by serial_number, revoked_at""",
        timeout=_TIMEOUT_S,
    )
    await connection.execute("drop table crl_copied")
    await connection.execute("analyze crl_incoming", timeout=_TIMEOUT_S)


async def _revoke(connection: Connection, incoming: Incoming) -> int:
    """What the CRL says and the ledger does not; how many."""
    crl = incoming.crl
    await connection.execute(
        """create temp table crl_due (n bigint, serial_number bytea, revoked_at timestamptz, reason int2,
             invalidity_date timestamptz) on commit drop"""
    )
    done = await connection.execute(
        """insert into crl_due
           select row_number() over (order by c.serial_number), c.*
             from crl_incoming c left join certificate_revocations r
               on r.issuer_id = $1 and r.serial_number = c.serial_number
            where c.reason <> 8 and (r.serial_number is null
               or ((r.revoked_at, r.reason, r.invalidity_date)
                     is distinct from (c.revoked_at, c.reason, c.invalidity_date)
                   and not (c.reason = 6 and r.reason <> 6)))""",
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
    """Rows to release, to purge, kept though live, kept as nobody knows their end. Before anything takes the lock."""
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
    """What may go, goes."""
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
    """The CRL to be served; before the entries, as a large one takes time and they hold the ledger's lock."""
    crl = incoming.crl
    if incoming.complete is not None:
        if not await write_crl(connection, incoming.complete):
            raise Transient("a CRL with a higher number is there by now")
        await connection.execute(
            "delete from crl_parts where issuer_id = $1 and crl_number < $2::text::numeric",
            crl.issuer_id,
            str(crl.crl_number),
        )
    else:
        assert incoming.delta is not None
        await publish(connection, None, [incoming.delta], bases=[])
    await raise_crl_number(connection, crl.issuer_id, crl.crl_number)


async def _open_window(connection: Connection, incoming: Incoming, done: TakenIn) -> None:
    """For who has heard the feed up to here, as the entries are before it."""
    crl = incoming.crl
    more = () if incoming.complete is None else (done.entries, incoming.delta_url)
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
  generation = h.generation, seq = h.seq, good_from = $4"""
_COMPLETE = f"""update crl_mirrors m set crl_number = $2::text::numeric, crl_sha256 = $3, this_update = $4,
  next_update = $5, good_until = $5, kept_live = $6, kept_unknown = $7, entries = $8, delta_url = $9, {_SHIFT}
  from feed_head h where issuer_id = $1"""  # noqa: S608 - our own constant
_DELTA = f"""update crl_mirrors m set delta_number = $2::text::numeric, delta_sha256 = $3, delta_this_update = $4,
  delta_next_update = $5, kept_live = kept_live + $6, kept_unknown = kept_unknown + $7, {_SHIFT}
  from feed_head h where issuer_id = $1"""  # noqa: S608 - our own constant
