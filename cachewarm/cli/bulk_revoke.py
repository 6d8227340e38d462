"""`fastocsp bulk-revoke`: the serial numbers of a file, one a line, in chunks with progress.

Exit status as `fastocsp revoke`: 0 done (and confirmed, when --wait was asked), 1 failed, 2 usage, 3 BOUNDED,
4 UNKNOWN.
Run it again after any failure: what was done is skipped, with its earliest time.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cachewarm.cli.options import AsJson, DataDir, actor_name, run_with_ledger, settings_of
from cachewarm.cli.parameters import Argument, Option
from cachewarm.cli.revoke import Force, Patience, Wait, complete_reasons, holder_watch, leave, reason_of
from cachewarm.console import progress, reported, say, show
from cachewarm.errors import Refused
from responder.domain.serial import serial_hex
from responder.domain.status import CRLReason

if TYPE_CHECKING:
    from cachewarm.config import Settings
    from cachewarm.revocation.bulk_revoke import BulkOutcome
    from cachewarm.revocation.confirmation import Waiting

SAID = 50


def bulk_revoke(
    serials: Annotated[
        Path, Argument(metavar="FILE", help="Serial numbers, hexadecimal, one a line; # comments; - reads stdin.")
    ],
    issuer: Annotated[str, Option("--issuer", metavar="ISSUER_ID", help="Whose certificates these are.")],
    reason: Annotated[
        str,
        Option(help="One of the RFC 5280 reasons by its name, for all of them.", shell_complete=complete_reasons),
    ] = ("unspecified"),
    wait: Wait = False,
    patience: Patience = None,
    force: Force = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Revoke many certificates. Repeating it is safe; one line that cannot be read revokes none."""
    import asyncio

    from cachewarm.revocation.bulk_revoke import parse_serials
    from cachewarm.revocation.confirmation import Waiting

    with reported():
        because = reason_of(reason)
        wanted = parse_serials(_lines(serials))
        settings = settings_of(data_dir)
        waiting = Waiting(wait, patience, holders=holder_watch(settings, force=force))
        done = asyncio.run(_revoke(settings, issuer, wanted, because, waiting))
        show(done.facts(), as_json=as_json)
        for serial in done.result.unknown[:SAID] if done.result else ():
            say(f"{serial_hex(serial)}: {issuer} has no such certificate in the inventory, left alone")
        leave(done.waited, wait=wait)


def _lines(path: Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text()
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is not text: one hexadecimal serial number a line is wanted") from error
    return [line.partition("#")[0].strip() for line in text.splitlines() if line.partition("#")[0].strip()]


async def _revoke(
    settings: "Settings",
    issuer_id: str,
    serials: Sequence[bytes],
    reason: CRLReason,
    waiting: "Waiting",
) -> "BulkOutcome":
    from cachewarm.ledger.connect import OutcomeUnknown
    from cachewarm.revocation.bulk_revoke import BulkOutcome, revoke_many
    from cachewarm.revocation.confirmation import Confirmation, Outcome

    async def attempt(connection: Any) -> "BulkOutcome":
        with progress("revoking", len(serials)) as meter:
            done = await revoke_many(
                connection,
                issuer_id,
                serials,
                reason=reason,
                actor=actor_name(),
                waiting=waiting,
                progress=meter.advance,
            )
        if done.result is None:
            raise OutcomeUnknown("the connection was lost during the change")
        return done

    try:
        return await run_with_ledger(settings, attempt, name="fastocsp bulk-revoke", patience_s=waiting.patience_s)
    except OutcomeUnknown:
        return BulkOutcome(issuer_id, None, Confirmation(Outcome.UNKNOWN))
