"""Issuers: the CAs whose certificates we answer for."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Required, TypedDict, Unpack

from cachewarm.errors import Refused
from cachewarm.ledger.audit import name_actor
from cachewarm.ledger.connect import Connection, translated
from responder.domain.status import UnissuedPolicy

_COLUMNS = """issuer_id, issuer_no, subject, cert_der, key_path, responder_mode, ocsp_url, crl_url, ca_issuers_url,
  unissued_policy, publishes_crl, created_at, delta_crl, crl_shards, crl_scope, crl_source, delta_source,
  accept_unnumbered, state"""


class Issuer(NamedTuple):
    """One row. `issuer_no` is its name in the feed; `key_path` is None for a CA whose key is not here.

    `crl_url` is where our CRL of it is served; `crl_source` is where a CRL that is made elsewhere is fetched from.
    `state` is "active" or "frozen" (issuer_states.py).
    """

    issuer_id: str
    issuer_no: int
    subject: str
    cert_der: bytes
    key_path: str | None
    responder_mode: str
    ocsp_url: str | None
    crl_url: str | None
    ca_issuers_url: str | None
    unissued_policy: UnissuedPolicy
    publishes_crl: bool
    created_at: datetime
    delta_crl: bool = False
    crl_shards: int = 0
    crl_scope: str = "all"
    crl_source: str | None = None
    delta_source: str | None = None
    accept_unnumbered: bool = False
    state: str = "active"


class CRLWish(NamedTuple):
    """CRLs of an issuer besides the complete one; None for no choice.

    scope         "all", or what the issuer issues and its CRLs say they are about: "user" or "ca" certificates alone
    source        where its CRL is fetched from, instead of being made here
    delta_source  the same for deltas, instead of where the CRL says they are
    unnumbered    whether CRLs without a number are accepted, ordered by thisUpdate
    """

    delta: bool | None = None
    shards: int | None = None
    scope: str | None = None
    source: str | None = None
    delta_source: str | None = None
    unnumbered: bool | None = None


ONLY_COMPLETE = CRLWish()


class NewIssuer(TypedDict, total=False):
    """Columns of an issuer (ca/issuer_rows.py); those left out have the defaults of `add_issuer`."""

    subject: Required[str]
    cert_der: Required[bytes]
    key_path: str | None
    responder_mode: str
    ocsp_url: str | None
    crl_url: str | None
    ca_issuers_url: str | None
    unissued_policy: UnissuedPolicy
    publishes_crl: bool
    crls: CRLWish


class IssuerChange(TypedDict, total=False):
    """Changes of an issuer; None and what is left out stay as they are."""

    key_path: str | None
    responder_mode: str | None
    ocsp_url: str | None
    crl_url: str | None
    unissued_policy: UnissuedPolicy | None
    publishes_crl: bool | None
    crls: CRLWish


async def add_issuer(connection: Connection, issuer_id: str, *, actor: str, **row: Unpack[NewIssuer]) -> Issuer:
    """Add an issuer, with its audit row. Refused: the id is malformed or taken, the certificate is another issuer's."""
    crls = row.get("crls", ONLY_COMPLETE)
    with translated():
        async with connection.transaction():
            await name_actor(connection, actor)
            added = await connection.fetchrow(
                f"""insert into issuers (issuer_id, subject, cert_der, key_path, responder_mode, ocsp_url, crl_url,
                      ca_issuers_url, unissued_policy, publishes_crl, delta_crl, crl_shards, crl_scope, crl_source,
                      delta_source, accept_unnumbered)
                    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, coalesce($11, false), coalesce($12, 0),
                      coalesce($13, 'all'), $14, $15, coalesce($16, false))
                    on conflict do nothing returning {_COLUMNS}""",  # noqa: S608 - our own constant
                issuer_id,
                row["subject"],
                row["cert_der"],
                row.get("key_path"),
                row.get("responder_mode", "delegated"),
                row.get("ocsp_url"),
                row.get("crl_url"),
                row.get("ca_issuers_url"),
                row.get("unissued_policy", UnissuedPolicy.UNAUTHORIZED),
                row.get("publishes_crl", True),
                crls.delta,
                crls.shards,
                crls.scope,
                crls.source,
                crls.delta_source,
                crls.unnumbered,
            )
            if added is None:
                raise Refused(await _why_not(connection, issuer_id, row["cert_der"]))
    return _issuer(added)


async def _why_not(connection: Connection, issuer_id: str, cert_der: bytes) -> str:
    other = await _id_of(connection, cert_der)
    if other is None or other == issuer_id:
        return f"there is an issuer {issuer_id} already"
    if await connection.fetchval("select exists (select from issuer_certificates where sha256 = sha256($1))", cert_der):
        return f"this certificate is issuer {other}'s already"
    return (
        f"issuer {other} has this name and this key: this is another certificate of the same CA;"
        f" add it with `fastocsp issuer add-cert {other} --cert FILE`"
    )


async def _id_of(connection: Connection, cert_der: bytes) -> str | None:
    return await connection.fetchval(  # type: ignore[no-any-return]
        "select issuer_id from issuers where merged_into is null and issuer_identity(cert_der) = issuer_identity($1)",
        cert_der,
    )


async def get_issuer(connection: Connection, issuer_id: str) -> Issuer | None:
    """Return the issuer of that id, or the one that it was merged into."""
    with translated():
        row = await connection.fetchrow(
            f"""select {_COLUMNS} from issuers
                 where issuer_id = (select coalesce(merged_into, issuer_id) from issuers where issuer_id = $1)""",  # noqa: S608
            issuer_id,
        )
    return _issuer(row) if row else None


async def merged_issuers(connection: Connection) -> dict[str, str]:
    """Return the ids that a migration made second names of another issuer, with that issuer's id."""
    with translated():
        rows = await connection.fetch(
            "select issuer_id, merged_into from issuers where merged_into is not null order by issuer_id"
        )
    return {row["issuer_id"]: row["merged_into"] for row in rows}


async def require_issuer(connection: Connection, issuer_id: str) -> Issuer:
    """The issuer of that id; Refused with the ids there are."""
    issuer = await get_issuer(connection, issuer_id)
    if issuer is None:
        ids = ", ".join(each.issuer_id for each in await list_issuers(connection)) or "none yet"
        raise Refused(f"there is no issuer {issuer_id!r}; there are: {ids}")
    return issuer


async def issuer_of_certificate(connection: Connection, cert_der: bytes) -> Issuer | None:
    """Return the issuer that has this CA certificate, the newest or another one."""
    with translated():
        row = await connection.fetchrow(
            f"""select {_COLUMNS} from issuers
                 where issuer_id = (select issuer_id from issuer_certificates where sha256 = sha256($1))""",  # noqa: S608
            cert_der,
        )
    return _issuer(row) if row else None


async def issuer_of_name_and_key(connection: Connection, cert_der: bytes) -> Issuer | None:
    """Return the issuer of this certificate's subject and public key, whatever certificates it has."""
    with translated():
        issuer_id = await _id_of(connection, cert_der)
    return None if issuer_id is None else await get_issuer(connection, issuer_id)


async def issuer_certificates(connection: Connection, issuer_id: str) -> list[bytes]:
    """Return the DER of every certificate of the issuer, the one that lasts longest first."""
    with translated():
        rows = await connection.fetch(
            """select cert_der from issuer_certificates where issuer_id = $1
                order by not_after desc nulls last, added_at desc""",
            issuer_id,
        )
    return [row["cert_der"] for row in rows]


async def add_issuer_certificate(connection: Connection, issuer_id: str, cert_der: bytes, *, actor: str) -> Issuer:
    """Add a certificate of the same name and key; return the issuer, whose `cert_der` is the one that lasts longest.

    Repeating it is safe. Refused: there is no such issuer, or the certificate is of another name or key.
    """
    with translated():
        async with connection.transaction():
            same = await connection.fetchval(
                "select issuer_identity(cert_der) = issuer_identity($2) from issuers where issuer_id = $1 for update",
                issuer_id,
                cert_der,
            )
            if same is None:
                raise Refused(f"there is no issuer {issuer_id!r}")
            if not same:
                raise Refused(
                    f"this certificate has another name or another key than issuer {issuer_id}: it is another issuer"
                )
            new = await connection.fetchval(
                """insert into issuer_certificates values ($1, sha256($2), $2, certificate_not_after($2))
                   on conflict do nothing returning true""",
                issuer_id,
                cert_der,
            )
            row = await connection.fetchrow(
                f"""update issuers set cert_der = (
                      select c.cert_der from issuer_certificates c where c.issuer_id = $1
                       order by c.not_after desc nulls last, c.added_at desc limit 1)
                    where issuer_id = $1 returning {_COLUMNS}""",  # noqa: S608 - our own constant
                issuer_id,
            )
            if new:
                await connection.execute(
                    """select audit_append($1, 'issuer-certificate', $2, null,
                         jsonb_build_object('sha256', encode(sha256($3), 'hex')))""",
                    actor,
                    issuer_id,
                    cert_der,
                )
    return _issuer(row)


async def change_issuer(
    connection: Connection, issuer_id: str, *, actor: str, **change: Unpack[IssuerChange]
) -> Issuer:
    """Change an issuer, with an audit row; return it as it is then.

    Refused: there is none of that id, or live certificates name shards that would go.
    """
    crls = change.get("crls", ONLY_COMPLETE)
    with translated():
        async with connection.transaction():
            await name_actor(connection, actor)
            row = await connection.fetchrow(
                f"""update issuers set key_path = coalesce($2, key_path), responder_mode = coalesce($3, responder_mode),
                      ocsp_url = coalesce($4, ocsp_url), crl_url = coalesce($5, crl_url),
                      unissued_policy = coalesce($6, unissued_policy), publishes_crl = coalesce($7, publishes_crl),
                      delta_crl = coalesce($8, delta_crl), crl_shards = coalesce($9, crl_shards),
                      crl_scope = coalesce($10, crl_scope), crl_source = coalesce($11, crl_source),
                      delta_source = coalesce($12, delta_source),
                      accept_unnumbered = coalesce($13, accept_unnumbered)
                    where issuer_id = $1 returning {_COLUMNS}""",  # noqa: S608 - our own constant
                issuer_id,
                change.get("key_path"),
                change.get("responder_mode"),
                change.get("ocsp_url"),
                change.get("crl_url"),
                change.get("unissued_policy"),
                change.get("publishes_crl"),
                crls.delta,
                crls.shards,
                crls.scope,
                crls.source,
                crls.delta_source,
                crls.unnumbered,
            )
            if row is None:
                raise Refused(f"there is no issuer {issuer_id!r}")
    return _issuer(row)


async def hold_shards(connection: Connection, issuer_id: str, shards: int) -> None:
    """Keep the issuer unchanged until the transaction ends; Refused when it does not have that many shards."""
    with translated():
        found = await connection.fetchval("select crl_shards from issuers where issuer_id = $1 for share", issuer_id)
    if found != shards:
        raise Refused(f"{issuer_id} does not have {shards} shards any more: make the certificate again")


async def list_issuers(connection: Connection, only: Sequence[str] | None = None) -> list[Issuer]:
    """Return all of them, or those, by id; without those that were removed, or merged into another one."""
    with translated():
        rows = await connection.fetch(
            f"""select {_COLUMNS} from issuers
                 where merged_into is null and state <> 'removed' and ($1::text[] is null or issuer_id = any($1))
                order by issuer_id""",  # noqa: S608
            None if only is None else list(only),
        )
    return [_issuer(row) for row in rows]


async def issuer_ids(connection: Connection) -> list[str]:
    """Return the ids of all of them, in order."""
    with translated():
        rows = await connection.fetch(
            "select issuer_id from issuers where merged_into is null and state <> 'removed' order by issuer_id"
        )
    return [row["issuer_id"] for row in rows]


def _issuer(row) -> Issuer:  # type: ignore[no-untyped-def]
    values = dict(row)
    return Issuer(**values | {"unissued_policy": UnissuedPolicy(values["unissued_policy"])})
