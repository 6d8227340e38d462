"""Revoking and releasing one certificate, from what a person names it by to the word of the edges."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cachewarm.errors import Refused
from cachewarm.ledger import inventory, issuers, revocations
from cachewarm.ledger.connect import Connection, OutcomeUnknown, Queries, lent
from cachewarm.ledger.holders import watched
from cachewarm.revocation.confirmation import NO_WAIT, Confirmation, Outcome, Waiting, confirm
from responder.domain.serial import parse_serial, serial_octets
from responder.domain.status import CRLReason

if TYPE_CHECKING:
    from cryptography import x509


class Target(NamedTuple):
    """A certificate, by issuer and serial number."""

    issuer_id: str
    serial: bytes


class RevocationOutcome(NamedTuple):
    """Result in the ledger, None when that is unknown, and the confirmation by the edges.

    `remark`: a sentence for the operator when the ledger keeps another reason than the one that was asked for.
    """

    target: Target
    result: revocations.RevokeResult | None
    waited: Confirmation
    remark: str | None = None


#: What certificate_revocations takes (0004); both ends exclusive.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


def check_moment(moment: datetime, name: str) -> datetime:
    """Return the moment, in UTC when it names no zone; ValueError names `name` and its range."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        fits = EARLIEST < aware < LATEST
    except OverflowError:
        fits = False
    if not fits:
        raise ValueError(f"{name} must be after {EARLIEST:%Y-%m-%d} and before {LATEST:%Y-%m-%d}, not {moment}")
    return aware


async def find_target(
    connection: Connection, *, serial: str | None, cert: Path | None, issuer_id: str | None
) -> Target:
    """Return the certificate that a hex serial number or a file names; the issuer is found if only one is possible."""
    if cert is not None:
        from cachewarm.ca.certificate import read_certificate  # most commands name a serial number

        certificate = read_certificate(cert.read_bytes(), name=str(cert))
        issuer = issuer_id or await _issuer_of(connection, certificate)
        return Target(issuer, serial_octets(certificate.serial_number))
    try:
        octets = parse_serial(serial or "")
    except ValueError as error:
        raise Refused(str(error)) from error
    if issuer_id is not None:
        return Target((await issuers.require_issuer(connection, issuer_id)).issuer_id, octets)
    return Target(await inventory.find_issuer_of(connection, octets), octets)


async def _issuer_of(connection: Connection, certificate: "x509.Certificate") -> str:
    from cachewarm.ca.odd_names import load_certificate
    from cachewarm.ca.responder_certificate import issued_by
    from cachewarm.records.keyring import domain_issuer

    for issuer in await issuers.list_issuers(connection):
        ca = load_certificate(domain_issuer(issuer).cert_der)
        if issued_by(certificate, ca):
            return issuer.issuer_id
    raise Refused("none of our issuers issued this certificate: see `fastocsp issuer list`")


async def revoke(
    ledger: Queries,
    target: Target,
    *,
    reason: CRLReason,
    invalidity_date: datetime | None,
    actor: str,
    waiting: Waiting = NO_WAIT,
) -> RevocationOutcome:
    """Revoke, or make a revocation stronger: keyCompromise replaces any reason, an earlier date any later one.

    Repeating it is safe and keeps the earliest time.
    """

    async def act(connection: Connection) -> revocations.RevokeResult:
        return await revocations.revoke(
            connection, target.issuer_id, target.serial, reason=reason, invalidity_date=invalidity_date, actor=actor
        )

    async def still_so() -> bool:
        found = await inventory.get_certificate(waiting.ledger or ledger, target.issuer_id, target.serial)
        return found is not None and found.revoked_at is not None

    done = await _carry_out(ledger, target, act, still_so, waiting)
    return done._replace(remark=_remark(done, reason))


def _remark(done: RevocationOutcome, asked: CRLReason) -> str | None:
    kept = done.result.reason if done.result else None
    if kept is None or asked in (kept, CRLReason.unspecified):
        return None
    return (
        f"the certificate is revoked for {kept.name} already, and that stays: of the permanent reasons only"
        f" keyCompromise replaces another one, {asked.name} does not"
    )


async def unhold(ledger: Queries, target: Target, *, actor: str, waiting: Waiting = NO_WAIT) -> RevocationOutcome:
    """Release a certificate from certificateHold."""

    async def act(connection: Connection) -> revocations.RevokeResult:
        return await revocations.unhold(connection, target.issuer_id, target.serial, actor=actor)

    async def still_so() -> bool:
        found = await inventory.get_certificate(waiting.ledger or ledger, target.issuer_id, target.serial)
        return found is not None and found.revoked_at is None

    return await _carry_out(ledger, target, act, still_so, waiting)


async def _carry_out(
    ledger: Queries,
    target: Target,
    act: Callable[[Connection], Awaitable[revocations.RevokeResult]],
    still_so: Callable[[], Awaitable[bool]],
    waiting: Waiting,
) -> RevocationOutcome:
    try:
        async with lent(ledger) as connection, watched(connection, waiting.holders):
            result = await act(connection)
    except OutcomeUnknown:
        return RevocationOutcome(target, None, Confirmation(Outcome.UNKNOWN))
    confirmed = await confirm(waiting.ledger or ledger, result.generation, result.seq, waiting, still_so)
    return RevocationOutcome(target, result, confirmed)
