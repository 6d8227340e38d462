"""Certificates of the delegated responders (RFC 6960 4.2.2.2). The reader role sees all but where the key is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cachewarm.ledger.audit import name_actor
from cachewarm.ledger.connect import Connection, one_row, translated

_COLUMNS = "issuer_id, cert_subject, serial_number, not_before, not_after, created_at, cert_der"


@dataclass(frozen=True, kw_only=True)
class ResponderCert:
    """One responder certificate in the ledger."""

    issuer_id: str
    cert_subject: str
    serial_number: bytes
    not_before: datetime
    not_after: datetime
    created_at: datetime
    cert_der: bytes


@dataclass(frozen=True, kw_only=True)
class NewResponderCert:
    """A responder certificate to be entered (ca/issuer_rows.py)."""

    cert_subject: str
    serial_number: bytes
    not_before: datetime
    not_after: datetime
    cert_der: bytes
    key_path: str | None


async def add_responder_cert(
    connection: Connection, issuer_id: str, cert: NewResponderCert, *, actor: str
) -> ResponderCert:
    """Enter a responder certificate, with its audit row."""
    with translated():
        async with connection.transaction():
            await name_actor(connection, actor)
            row = await one_row(
                connection,
                f"""insert into ocsp_responder_certs
                      (issuer_id, cert_subject, serial_number, not_before, not_after, cert_der, key_path)
                    values ($1, $2, $3, $4, $5, $6, $7) returning {_COLUMNS}""",  # noqa: S608 - our own constant
                issuer_id,
                cert.cert_subject,
                cert.serial_number,
                cert.not_before,
                cert.not_after,
                cert.cert_der,
                cert.key_path,
            )
    return ResponderCert(**dict(row))


async def lock_responders(connection: Connection, issuer_no: int) -> None:
    """Wait for the turn to change that issuer's responder; it lasts until the transaction ends."""
    with translated():
        await connection.execute("select from issuers where issuer_no = $1 for no key update", issuer_no)


async def try_lock_responders(connection: Connection, issuer_no: int) -> bool:
    """Take the same turn without waiting; False when another process has it."""
    with translated():
        ours = await connection.fetchval(
            "select true from issuers where issuer_no = $1 for no key update skip locked", issuer_no
        )
    return ours is not None


async def forget_responder_cert(connection: Connection, issuer_id: str, serial_number: bytes) -> None:
    """Drop one row, so that the same certificate can be added again as the newest."""
    with translated():
        await connection.execute(
            "delete from ocsp_responder_certs where issuer_id = $1 and serial_number = $2", issuer_id, serial_number
        )


async def responder_certs(connection: Connection, issuer_id: str | None = None) -> list[ResponderCert]:
    """Those of one issuer or of all, the one that lasts longest first."""
    return await _certs(connection, None if issuer_id is None else [issuer_id])


async def responder_certs_of(connection: Connection, issuer_ids: Sequence[str]) -> dict[str, list[ResponderCert]]:
    """Return those of some issuers, by issuer id, the newest last."""
    found: dict[str, list[ResponderCert]] = {}
    for cert in sorted(await _certs(connection, issuer_ids), key=lambda cert: cert.created_at):
        found.setdefault(cert.issuer_id, []).append(cert)
    return found


async def _certs(connection: Connection, issuer_ids: Sequence[str] | None) -> list[ResponderCert]:
    with translated():
        rows = await connection.fetch(
            f"""select {_COLUMNS} from ocsp_responder_certs where $1::text[] is null or issuer_id = any($1)
                order by issuer_id, not_after desc, created_at desc""",  # noqa: S608 - our own constant
            None if issuer_ids is None else list(issuer_ids),
        )
    return [ResponderCert(**dict(row)) for row in rows]


async def responder_key_path(connection: Connection, issuer_id: str, serial_number: bytes) -> str | None:
    """Where that certificate's key is; for the writer."""
    with translated():
        return await connection.fetchval(  # type: ignore[no-any-return]
            "select key_path from ocsp_responder_certs where issuer_id = $1 and serial_number = $2",
            issuer_id,
            serial_number,
        )


async def drop_responder_certs(connection: Connection, issuer_id: str, expired_before: datetime) -> int:
    """Forget those that ended before that moment; how many."""
    with translated():
        done = await connection.execute(
            "delete from ocsp_responder_certs where issuer_id = $1 and not_after < $2", issuer_id, expired_before
        )
    return int(done.rpartition(" ")[2])
