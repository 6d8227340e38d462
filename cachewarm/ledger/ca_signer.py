"""Queries of the CA signer: where keys are, the states of issuers, the path above a CA, CRL numbers.

The functions answer logins of CA signers and writers alone (migration 0032).
"""

from collections.abc import Sequence
from typing import NamedTuple

from cachewarm.errors import Refused
from cachewarm.ledger.connect import Connection, Queries, translated


class SigningIssuer(NamedTuple):
    """A row of issuers, as far as signing needs it."""

    issuer_id: str
    subject: str
    cert_der: bytes
    key_path: str | None
    state: str
    crl_url: str | None


class CRLNumbers(NamedTuple):
    """The last number that was spent, and the number of each published CRL by its part ("": the complete one)."""

    spent: int
    published: dict[str, int]


async def signing_issuer(connection: Queries, issuer_id: str) -> SigningIssuer:
    """Return the issuer of that id, or the one that it was merged into. Refused when there is none."""
    found = await _issuers(connection, "select * from ca_signer_issuers($1)", issuer_id)
    if not found:
        raise Refused(f"there is no issuer {issuer_id!r}")
    return found[0]


async def signing_issuers(connection: Queries) -> Sequence[SigningIssuer]:
    """Return every issuer whose key is here, by id."""
    return await _issuers(connection, "select * from ca_signer_issuers(null)")


async def issuers_named(connection: Queries, subject: str) -> Sequence[SigningIssuer]:
    """Return the issuers with that subject (RFC 4514)."""
    return await _issuers(connection, "select * from ca_signer_named($1)", subject)


async def certificates_of(connection: Queries, issuer_id: str) -> list[bytes]:
    """Return the DER of every certificate of the issuer."""
    with translated():
        rows = await connection.fetch("select ca_signer_certificates($1) as cert_der", issuer_id)
    return [row["cert_der"] for row in rows]


async def revocation_reason(connection: Queries, issuer_id: str, serial: bytes) -> int | None:
    """Return the reason for which that serial number is revoked, None when it is not."""
    with translated():
        reason: int | None = await connection.fetchval("select ca_signer_revoked($1, $2)", issuer_id, serial)
    return reason


async def crl_numbers(connection: Queries, issuer_id: str) -> CRLNumbers:
    """Return the CRL numbers of an issuer; 0 is spent before the first CRL."""
    with translated():
        rows = await connection.fetch("select part, crl_number from ca_signer_crl_numbers($1)", issuer_id)
    numbers = {row["part"]: int(row["crl_number"]) for row in rows}
    return CRLNumbers(numbers.pop(None, 0), numbers)


async def register_ca_signer(connection: Connection, login: str, *, actor: str) -> None:
    """Let that login read what a CA signer needs. It is the owner who may."""
    with translated():
        await connection.execute("select ca_signer_register($1, $2)", login, actor)


async def _issuers(connection: Queries, sql: str, *arguments: str) -> list[SigningIssuer]:
    with translated():
        rows = await connection.fetch(sql, *arguments)
    return [SigningIssuer(**dict(row)) for row in rows]


async def ids_with_keys(connection: Queries) -> list[str]:
    """Return the ids of the issuers whose key is here."""
    with translated():
        rows = await connection.fetch(
            """select issuer_id from issuers
                where merged_into is null and state <> 'removed' and key_path is not null order by issuer_id"""
        )
    return [row["issuer_id"] for row in rows]
