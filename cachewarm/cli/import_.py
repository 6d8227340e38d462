"""`fastocsp import`: the inventory and the revocations of another CA's software, taken over.

Exit status: 0 done, 1 failed (a file with one bad line imports nothing), 2 usage. Repeat it as often as you like.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from cachewarm.cli.options import AsJson, DataDir, actor_name, settings_of
from cachewarm.cli.parameters import Argument, Group, Option
from cachewarm.console import fail, progress, reported, say, show
from responder.domain.serial import serial_hex
from responder.domain.status import CRLReason

if TYPE_CHECKING:
    from cachewarm.config import Settings
    from cachewarm.importer.import_index import ImportResult, StillRevoked, UnfitIndex

app = Group(help="Take over the inventory and the revocations of another CA.")
#: Lines of the same kind that are written out before only their number is said.
SAID = 50


@app.command("openssl")
def openssl_command(
    *,
    index: Annotated[
        Path, Argument(metavar="INDEX.TXT", help="Database of `openssl ca`.", exists=True, dir_okay=False)
    ],
    issuer: Annotated[str, Option("--issuer", metavar="ISSUER_ID", help="Whose certificates these are.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Import an index.txt: all of it or, when one line is wrong, nothing. A repeat takes what is new since."""
    import asyncio

    from cachewarm.importer.import_index import UnfitIndex

    with reported():
        begun = time.monotonic()
        try:
            done = asyncio.run(_import(settings_of(data_dir), issuer, index))
        except UnfitIndex as error:
            _complain(index, error)
        _warn(done.still_revoked, issuer)
        show(_result(issuer, done, time.monotonic() - begun), as_json=as_json)


async def _import(settings: "Settings", issuer_id: str, index: Path) -> "ImportResult":
    from cachewarm.importer.import_index import import_staged, stage
    from cachewarm.importer.openssl_index import blocks_of
    from cachewarm.ledger.connect import connected
    from cachewarm.ledger.issuers import require_issuer

    async with connected(settings.require_database(), name="fastocsp import") as connection:
        issuer = await require_issuer(connection, issuer_id)
        with index.open("rb") as file, progress("reading", None) as meter:
            staged = await stage(connection, blocks_of(file), progress=meter.advance)
        with progress("importing", staged.rows) as meter:
            return await import_staged(connection, issuer, staged, actor=actor_name(), progress=meter.advance)


def _complain(index: Path, unfit: "UnfitIndex") -> NoReturn:
    for problem in unfit.problems:
        say(f"{index}:{problem.line}: {problem.reason}")
    if unfit.count > len(unfit.problems):
        say(f"and {unfit.count - len(unfit.problems)} more")
    fail(f"{unfit.count} lines of {index} cannot be imported: nothing was")


def _warn(still: "Sequence[StillRevoked]", issuer: str) -> None:
    for one in still[:SAID]:
        said = f"{serial_hex(one.serial)} is valid in the file and stays revoked here ({one.reason.name})"
        if one.reason is CRLReason.certificateHold:
            said += f"; release it: fastocsp unhold --serial {serial_hex(one.serial)} --issuer {issuer}"
        say(said)
    if len(still) > SAID:
        say(f"and {len(still) - SAID} more are valid in the file and revoked here")


def _result(issuer: str, done: "ImportResult", took_s: float) -> dict[str, Any]:
    return {
        "issuer_id": issuer,
        "good": done.good,
        "revoked": done.revoked,
        "expired": done.expired,
        "new_certificates": done.new_certificates,
        "changed_revocations": done.changed_revocations,
        "invalidity_dates_left_out": done.dates_dropped,
        "still_revoked": [serial_hex(one.serial) for one in done.still_revoked],
        "took_s": round(took_s, 2),
    }
