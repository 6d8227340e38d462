"""`fastocsp revoke` and `fastocsp unhold`. A restart of Postgres meanwhile is outlasted.

Exit status: 0 done (and confirmed, when --wait was asked), 1 failed, 2 usage, 3 committed but not confirmed within
--patience (BOUNDED), 4 the connection was lost while committing (UNKNOWN: repeat it, that is safe).
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import click

from cachewarm.cli.options import AsJson, DataDir, actor_name, given_by, run_with_ledger, settings_of
from cachewarm.cli.parameters import Option
from cachewarm.console import reported, say, show
from responder.domain.serial import serial_hex
from responder.domain.status import CRLReason

if TYPE_CHECKING:
    from cachewarm.config import Settings

Serial = Annotated[str | None, Option("--serial", metavar="HEX", help="Serial number, hexadecimal.")]
Cert = Annotated[Path | None, Option("--cert", help="The certificate, PEM or DER.", exists=True, dir_okay=False)]
IssuerId = Annotated[str | None, Option("--issuer", help="Issuer; found by itself when only one comes into question.")]
Wait = Annotated[bool, Option("--wait", help="Return when no edge can answer good any more.")]
Patience = Annotated[
    float | None,
    Option(
        min=0,
        help="Seconds to wait at most, for Postgres too; default: the horizon; Postgres: 15.",
        show_default=False,
    ),
]


def complete_reasons(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the reasons that begin so, for the shell."""
    names = (reason.name for reason in CRLReason if reason is not CRLReason.removeFromCRL)
    return [name for name in names if name.startswith(incomplete)]


Force = Annotated[
    bool,
    Option("--force", help="End the session that holds the ledger, if one does; the audit chain names it."),
]

EXIT_BOUNDED, EXIT_UNKNOWN = 3, 4


class Named(NamedTuple):
    """The words of the command line that name the certificate."""

    serial: str | None
    cert: Path | None
    issuer: str | None


def revoke(
    serial: Serial = None,
    cert: Cert = None,
    issuer: IssuerId = None,
    reason: Annotated[
        str, Option(help="One of the RFC 5280 reasons by its name.", shell_complete=complete_reasons)
    ] = "unspecified",
    invalidity_date: Annotated[
        str | None,
        Option(help="Since when the key is suspect: 2026-05-04 or 2026-05-04T10:00:00Z. The earliest counts."),
    ] = None,
    wait: Wait = False,
    patience: Patience = None,
    force: Force = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a certificate, or change its reason to keyCompromise. Repeating it is safe and keeps the earliest time."""
    with reported():
        _one_of(serial, cert)
        because, since = reason_of(reason), _moment(invalidity_date)
        settings = settings_of(data_dir)

        async def act(connection: Any, target: Any, waiting: Any) -> Any:
            from cachewarm.revocation.revoke import revoke

            return await revoke(
                connection, target, reason=because, invalidity_date=since, actor=actor_name(), waiting=waiting
            )

        named = Named(serial, cert, issuer)
        done = _carry_out(settings, named, act, wait=wait, patience=patience, force=force)
        _report(done, "revoked", wait=wait, as_json=as_json)


def unhold(
    serial: Serial = None,
    cert: Cert = None,
    issuer: IssuerId = None,
    wait: Wait = False,
    patience: Patience = None,
    force: Force = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Release a certificate from certificateHold; no other revocation can be undone."""
    with reported():
        _one_of(serial, cert)
        settings = settings_of(data_dir)

        async def act(connection: Any, target: Any, waiting: Any) -> Any:
            from cachewarm.revocation.revoke import unhold

            return await unhold(connection, target, actor=actor_name(), waiting=waiting)

        named = Named(serial, cert, issuer)
        done = _carry_out(settings, named, act, wait=wait, patience=patience, force=force)
        _report(done, "good", wait=wait, as_json=as_json)


#: Connection, target, waiting: what is done with them in one attempt.
Act = Callable[[Any, Any, Any], Awaitable[Any]]


def _carry_out(settings: "Settings", named: Named, act: Act, *, wait: bool, patience: float | None, force: bool) -> Any:
    """Do it, again while Postgres is away: that is safe, and what the first attempt did stays."""
    import asyncio

    from cachewarm.ledger.connect import OutcomeUnknown
    from cachewarm.revocation import revoke
    from cachewarm.revocation.confirmation import Confirmation, Outcome, Waiting

    target: Any = None

    async def attempt(connection: Any) -> Any:
        nonlocal target
        target = await revoke.find_target(connection, serial=named.serial, cert=named.cert, issuer_id=named.issuer)
        waiting = Waiting(wait, patience, holders=holder_watch(settings, force=force))
        done = await act(connection, target, waiting)
        if done.result is None:
            raise OutcomeUnknown("the connection was lost during the change")
        return done

    try:
        return asyncio.run(run_with_ledger(settings, attempt, name="fastocsp revoke", patience_s=patience))
    except OutcomeUnknown:
        if target is None:
            raise
        return revoke.RevocationOutcome(target, None, Confirmation(Outcome.UNKNOWN))


def holder_watch(settings: "Settings", *, force: bool) -> Any:
    """Return the watch of a command over sessions that hold the ledger: report them, and end them with `force`."""
    from cachewarm.ledger.connect import connected
    from cachewarm.ledger.holders import HolderWatch

    def connect() -> Any:
        return connected(settings.require_database(), name="fastocsp holders")

    return HolderWatch(connect=connect, tell=say, force=force, actor=actor_name())


def _one_of(serial: str | None, cert: Path | None) -> None:
    if (serial is None) == (cert is None):
        raise click.BadParameter("name the certificate by --serial or by --cert")


def reason_of(text: str) -> CRLReason:
    """The reason of that name, a usage error when there is none that one may give."""
    try:
        reason = CRLReason.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--reason") from error
    if reason is CRLReason.removeFromCRL:
        raise click.BadParameter(
            "removeFromCRL takes a certificate off hold in a delta CRL: use `fastocsp unhold`", param_hint="--reason"
        )
    return reason


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    from cachewarm.revocation.revoke import check_moment

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter("write 2026-05-04 or 2026-05-04T10:00:00Z", param_hint="--invalidity-date") from error
    with given_by("--invalidity-date"):
        return check_moment(moment, "the date")


def _report(done: Any, status: str, *, wait: bool, as_json: bool) -> None:
    result, waited = done.result, done.waited
    show(
        {
            "result": waited.outcome.value,
            "issuer_id": done.target.issuer_id,
            "serial_number": serial_hex(done.target.serial),
            "status": status if result else None,
            "changed": result.changed if result else None,
            "revoked_at": result.revoked_at.isoformat() if result and result.revoked_at else None,
            "reason": result.reason.name if result and result.reason is not None else None,
            "invalidity_date": result.invalidity_date.isoformat() if result and result.invalidity_date else None,
            "remark": done.remark,
            "generation": result.generation if result else None,
            "seq": result.seq if result else None,
            "until": waited.until.isoformat() if waited.until else None,
            "edges": list(waited.edges),
            "waited_ms": round(waited.waited_s * 1000, 1),
        },
        as_json=as_json,
    )
    if done.remark:
        say(done.remark)
    leave(waited, wait=wait)


def leave(waited: Any, *, wait: bool) -> None:
    """Say what is not confirmed, and end with the status that tells it."""
    match waited.outcome.value:
        case "UNKNOWN":
            say("the connection was lost while committing: repeat the command, that is safe")
            raise click.exceptions.Exit(EXIT_UNKNOWN)
        case "BOUNDED" if wait:
            edges = ", ".join(waited.edges)
            say(f"committed; not confirmed yet, but by {waited.until:%H:%M:%S} UTC at the latest: {edges}")
            raise click.exceptions.Exit(EXIT_BOUNDED)
