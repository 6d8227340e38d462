"""Orphans: revocations that an edge or a published CRL knows and the ledger lacks. Reports, decisions, evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cachewarm.ledger.connect import Connection, changing, translated

#: An entry of a CRL: serial, revocation time, reason, invalidity date; epoch seconds.
CRLEntry = tuple[bytes, int, int, int | None]


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """One orphan. `in_crl`: a CRL that the issuer signed had it, and the next ones have it too. `edges` reported it."""

    issuer_id: str
    serial_number: bytes
    revoked_at: datetime
    reason: int
    invalidity_date: datetime | None
    in_crl: bool
    since: datetime
    state: str
    decided_by: str | None
    decided_at: datetime | None
    evidence: str | None
    edges: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class OpenOrphans:
    """How many orphans of an issuer are open, and how many of them its CRLs carry."""

    issuer_id: str
    open: int
    in_crl: int


@dataclass(frozen=True, kw_only=True)
class Reporter:
    """A login that reported more orphans than it may."""

    login: str
    edge: str
    refused: int


async def settle(connection: Connection) -> int:
    """Take over what edges reported since; return how many orphans changed."""
    with translated():
        return int(await connection.fetchval("select orphans_settle()"))


async def open_orphans(connection: Connection) -> list[OpenOrphans]:
    """Return, by issuer, how many are open."""
    with translated():
        rows = await connection.fetch(
            """select issuer_id, count(*) as open, count(*) filter (where in_crl) as in_crl
                 from orphans where state = 'open' group by issuer_id order by issuer_id"""
        )
    return [OpenOrphans(**dict(row)) for row in rows]


async def refused_reporters(connection: Connection) -> list[Reporter]:
    """Return the logins whose reports were beyond the limit."""
    with translated():
        rows = await connection.fetch(
            "select login, edge, refused from orphan_reporters where refused > 0 order by login"
        )
    return [Reporter(**dict(row)) for row in rows]


async def list_orphans(
    connection: Connection, *, issuer_id: str | None = None, everything: bool = False
) -> list[Orphan]:
    """Return the open orphans, or all that were ever reported, oldest first."""
    with translated():
        rows = await connection.fetch(
            """select o.issuer_id, o.serial_number, o.revoked_at, o.reason, o.invalidity_date, o.in_crl, o.since,
                      o.state, o.decided_by, o.decided_at, o.evidence, array(
                        select distinct r.edge from orphan_reports r join issuers i using (issuer_no)
                         where (i.issuer_id, r.serial_number) = (o.issuer_id, o.serial_number) order by 1) as edges
                 from orphans o where ($1 or o.state = 'open') and ($2::text is null or o.issuer_id = $2)
                order by o.since, o.issuer_id, o.serial_number""",
            everything,
            issuer_id,
        )
    return [Orphan(**dict(row) | {"edges": tuple(row["edges"])}) for row in rows]


async def confirm(connection: Connection, orphan: Orphan, entry: CRLEntry | None, *, actor: str, evidence: str) -> bool:
    """Make it a revocation, with time and reason of the evidence where there is one; False: it is no longer open."""
    _, at, reason, since = entry or (b"", None, None, None)
    with changing():
        return bool(
            await connection.fetchval(
                "select orphan_confirm($1, $2, $3, $4, $5, $6, $7)",
                actor,
                orphan.issuer_id,
                orphan.serial_number,
                _moment(at),
                reason,
                _moment(since),
                evidence,
            )
        )


async def dismiss(connection: Connection, orphan: Orphan, *, actor: str, why: str) -> bool:
    """End it without a revocation: `good` may be answered again; False: it is no longer open."""
    with changing():
        return bool(
            await connection.fetchval(
                "select orphan_dismiss($1, $2, $3, $4)", actor, orphan.issuer_id, orphan.serial_number, why
            )
        )


async def set_limit(connection: Connection, limit: int) -> None:
    """Set how many orphans one login may report per hour, or have open."""
    with translated():
        await connection.execute("select orphans_set_limit($1)", limit)


async def vanished(connection: Connection, issuer_id: str, serials: Sequence[bytes], since: datetime) -> set[bytes]:
    """Return which of these entries of a CRL of that time the ledger lacks without release, expiry or dismissal."""
    with translated():
        rows = await connection.fetch("select crl_vanished($1, $2, $3) as serial", issuer_id, list(serials), since)
    return {row["serial"] for row in rows}


async def carry(connection: Connection, issuer_id: str, crl_number: int, entries: Sequence[CRLEntry]) -> int:
    """Open orphans for these entries of a CRL that the issuer signed; return how many are new."""
    with changing():
        return int(
            await connection.fetchval(
                "select orphans_from_crl($1, $2::text::numeric, $3, $4, $5, $6)",
                issuer_id,
                str(crl_number),
                [serial for serial, _, _, _ in entries],
                [_moment(at) for _, at, _, _ in entries],
                [reason for _, _, reason, _ in entries],
                [_moment(since) for _, _, _, since in entries],
            )
        )


async def reported_crls(connection: Connection, issuer_no: int) -> list[tuple[str, bytes]]:
    """Return the CRLs of that issuer that edges say they served, by login. Not checked."""
    with translated():
        rows = await connection.fetch("select login, crl_der from orphan_evidence where issuer_no = $1", issuer_no)
    return [(row["login"], row["crl_der"]) for row in rows]


async def forget_reported_crl(connection: Connection, login: str, issuer_no: int) -> None:
    """Drop a CRL that was looked at."""
    with translated():
        await connection.execute("select orphan_evidence_forget($1, $2)", login, issuer_no)


def _moment(epoch_s: int | None) -> datetime | None:
    return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC)
