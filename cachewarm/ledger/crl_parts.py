"""CRLs beside the complete one, the bases of deltas, and how one build is published: whole or not at all."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from cachewarm.errors import Transient
from cachewarm.ledger.connect import Connection, translated
from cachewarm.ledger.crls import CachedCRL, CRLBase, CRLPart, write_crl

_PART = "issuer_id, part, crl_number, base_number, crl_der, this_update, next_update, generated_at, revoked_count"
_BASE = "issuer_id, crl_number, this_update, change_no, expired_before"
#: Numbers have up to 49 digits: they travel as text.
_SHOWN = _PART.replace("crl_number", "crl_number::text").replace("base_number", "base_number::text")


async def read_parts(connection: Connection, issuer_id: str) -> dict[str, CRLPart]:
    """The issuer's deltas and shards by name."""
    with translated():
        rows = await connection.fetch(f"select {_SHOWN} from crl_parts where issuer_id = $1", issuer_id)  # noqa: S608
    return {row["part"]: _part(row) for row in rows}


async def read_bases(connection: Connection, issuer_id: str) -> list[CRLBase]:
    """Bases of this very life of the ledger, oldest first: a restored copy has lost changes that others had seen."""
    with translated():
        rows = await connection.fetch(
            f"""select {_BASE.replace("crl_number", "crl_number::text")} from crl_bases b
                 join crl_epoch() e using (sysid, tli, generation) where issuer_id = $1 order by b.crl_number""",  # noqa: S608
            issuer_id,
        )
    return [CRLBase(**dict(row) | {"crl_number": int(row["crl_number"])}) for row in rows]


async def publish(
    connection: Connection,
    complete: CachedCRL | None,
    parts: Sequence[CRLPart],
    *,
    bases: Sequence[CRLBase],
) -> None:
    """Replace them in one transaction. With the complete CRL go all parts but these, and all bases but those.

    Transient, and nothing changed, when there are CRLs of a higher number by now, or when a base has gone meanwhile:
    deltas were off for a moment, and what changed then was not noted.
    """
    with translated():
        async with connection.transaction():
            await _require_bases(connection, [base for base in bases if not _is_new(base, complete)])
            if complete is not None:
                if not await write_crl(connection, complete):
                    raise Transient("a CRL with a higher number was published meanwhile")
                await connection.execute("delete from crl_parts where issuer_id = $1", complete.issuer_id)
            for part in parts:
                await _write_part(connection, part)
            if complete is not None:
                await _keep_bases(connection, complete.issuer_id, bases)


def _is_new(base: CRLBase, complete: CachedCRL | None) -> bool:
    return complete is not None and base.crl_number == complete.crl_number


async def _require_bases(connection: Connection, bases: Sequence[CRLBase]) -> None:
    """They are there, and stay until the transaction ends."""
    for base in bases:
        if not await connection.fetchval(
            "select true from crl_bases where issuer_id = $1 and crl_number = $2::text::numeric for update",
            base.issuer_id,
            str(base.crl_number),
        ):
            raise Transient(f"CRL {base.crl_number} is no longer a base for deltas: the next build starts new ones")


async def _write_part(connection: Connection, part: CRLPart) -> None:
    done = await connection.execute(
        f"""insert into crl_parts as c ({_PART})
            values ($1, $2, $3::text::numeric, $4::text::numeric, $5, $6, $7, $8, $9)
            on conflict (issuer_id, part) do update set crl_number = excluded.crl_number,
              base_number = excluded.base_number, crl_der = excluded.crl_der, this_update = excluded.this_update,
              next_update = excluded.next_update, generated_at = excluded.generated_at,
              revoked_count = excluded.revoked_count
            where c.crl_number < excluded.crl_number""",  # noqa: S608 - our own constant
        part.issuer_id,
        part.part,
        str(part.crl_number),
        None if part.base_number is None else str(part.base_number),
        part.crl_der,
        part.this_update,
        part.next_update,
        part.generated_at,
        part.revoked_count,
    )
    if not done.endswith(" 1"):
        raise Transient(f"CRL {part.part} with a higher number was published meanwhile")


async def _keep_bases(connection: Connection, issuer_id: str, bases: Sequence[CRLBase]) -> None:
    """These alone; and no change that the oldest of them had seen."""
    await connection.execute("delete from crl_bases where issuer_id = $1", issuer_id)
    for base in bases:
        await connection.execute(
            f"""insert into crl_bases ({_BASE}, sysid, tli, generation)
                select $1, $2::text::numeric, $3, $4, $5, e.sysid, e.tli, e.generation from crl_epoch() e""",  # noqa: S608
            issuer_id,
            str(base.crl_number),
            base.this_update,
            base.change_no,
            base.expired_before,
        )
    seen = min((base.change_no for base in bases), default=0)
    await connection.execute("select crl_changes_forget($1, $2)", issuer_id, seen)


def _part(row: asyncpg.Record) -> CRLPart:
    base = row["base_number"]
    numbers = {"crl_number": int(row["crl_number"]), "base_number": None if base is None else int(base)}
    return CRLPart(**dict(row) | numbers)


def next_bases(known: Sequence[CRLBase], new: CRLBase, age_s: float) -> list[CRLBase]:
    """The bases to keep once `new` is published, oldest first; the first is what the next deltas are based on.

    The oldest one stays until another is `age_s` old, so every complete CRL is a base for at least that long after it
    was replaced. A new one is taken in when the last is that old. A base that left out more as expired than today
    is none.
    """
    kept = [base for base in known if base.expired_before <= new.expired_before]
    if not kept or _age(kept[-1], new.this_update) >= age_s:
        kept.append(new)
    while len(kept) > 1 and _age(kept[1], new.this_update) >= age_s:
        del kept[0]
    return kept


def _age(base: CRLBase, now: datetime) -> float:
    return (now - base.this_update).total_seconds()
