"""`fastocsp orphans`: revocations that edges or CRLs know and the ledger lacks, after a restore or a failover.

An open orphan is answered `good` nowhere and stays in the CRLs. `confirm` makes it a revocation, `dismiss` ends it.
"""

from pathlib import Path
from typing import Annotated, Any

import click

from cachewarm.cli.options import AsJson, DataDir, actor_name, settings_of, with_ledger
from cachewarm.cli.parameters import Argument, Group, Option
from cachewarm.console import fail, reported, say, show_rows

app = Group(help="Revocations that the ledger lost: list, confirm, dismiss, limit.")

Serial = Annotated[str | None, Argument(metavar="[SERIAL]", help="Serial number, hexadecimal.")]
IssuerId = Annotated[str | None, Option("--issuer", help="Issuer; found by itself when only one has the orphan.")]


@app.command("list")
def list_command(
    issuer: IssuerId = None,
    everything: Annotated[bool, Option("--all", help="Decided ones too.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Open orphans: which edges reported them, and whether a CRL had them."""

    async def read(connection: Any) -> list[dict[str, Any]]:
        from cachewarm.ledger import orphans

        return [_row(each) for each in await orphans.list_orphans(connection, issuer_id=issuer, everything=everything)]

    with reported():
        show_rows(with_ledger(settings_of(data_dir), read), as_json=as_json, name="orphans")


@app.command("confirm")
def confirm_command(
    serial: Serial = None,
    issuer: IssuerId = None,
    evidence: Annotated[
        Path | None,
        Option(
            exists=True,
            dir_okay=False,
            help="A CRL or OCSP answer of the issuer, DER or PEM. Without SERIAL: every open orphan that it lists.",
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Revoke an orphan: time and reason are those of the evidence, else those that were reported. Audited."""
    if serial is None and evidence is None:
        raise click.BadParameter("name a SERIAL, or --evidence that lists them")
    document = None if evidence is None else evidence.read_bytes()

    async def act(connection: Any) -> list[dict[str, Any]]:
        from cachewarm.errors import Refused
        from cachewarm.ledger import issuers, orphans
        from cachewarm.orphans.evidence import read_evidence
        from cachewarm.records.keyring import domain_issuer

        done, refusals = [], []
        for orphan in await _chosen(connection, serial, issuer):
            entry, proof = None, "an operator's word"
            if document is not None:
                row = await issuers.require_issuer(connection, orphan.issuer_id)
                try:
                    proved = read_evidence(domain_issuer(row), document)
                except Refused as error:
                    refusals.append(error)
                    continue
                entry, proof = proved.entries.get(orphan.serial_number), proved.name
                if entry is None:
                    continue
            if await orphans.confirm(connection, orphan, entry, actor=actor_name(), evidence=proof):
                done.append(_row(orphan) | {"state": "confirmed", "evidence": proof})
        if not done and refusals:
            raise refusals[0]
        return done

    with reported():
        rows = with_ledger(settings_of(data_dir), act)
        show_rows(rows, as_json=as_json, name="orphans")
        if not rows:
            fail("the evidence lists no open orphan" if evidence else "no open orphan of that serial number")
        say(f"{len(rows)} revoked")


@app.command("dismiss")
def dismiss_command(
    serial: Annotated[str, Argument(metavar="SERIAL", help="Serial number, hexadecimal.")],
    why: Annotated[str, Option(help="The reason, for the audit chain.")],
    issuer: IssuerId = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """End an orphan without a revocation: edges forget it, `good` is answered again, the next CRL drops it. Audited."""

    async def act(connection: Any) -> list[dict[str, Any]]:
        from cachewarm.ledger import orphans

        return [
            _row(orphan) | {"state": "dismissed", "evidence": why}
            for orphan in await _chosen(connection, serial, issuer)
            if await orphans.dismiss(connection, orphan, actor=actor_name(), why=why)
        ]

    with reported():
        rows = with_ledger(settings_of(data_dir), act)
        show_rows(rows, as_json=as_json, name="orphans")
        if not rows:
            fail("no open orphan of that serial number")


@app.command("limit")
def limit_command(
    orphans: Annotated[int, Argument(min=1, max=1_000_000, help="Orphans per login.")],
    data_dir: DataDir = None,
) -> None:
    """Set how many orphans one edge's login may report per hour, or have open; 1000 at first."""

    async def act(connection: Any) -> None:
        from cachewarm.ledger.orphans import set_limit

        await set_limit(connection, orphans)

    with reported():
        with_ledger(settings_of(data_dir), act)
        say(f"one login may report {orphans} orphans")


async def _chosen(connection: Any, serial: str | None, issuer_id: str | None) -> list[Any]:
    """The open orphans that the command names; Refused when a serial number is one of several issuers'."""
    from cachewarm.errors import Refused
    from cachewarm.ledger import orphans
    from responder.domain.serial import parse_serial

    found = await orphans.list_orphans(connection, issuer_id=issuer_id)
    if serial is None:
        return found
    try:
        octets = parse_serial(serial)
    except ValueError as error:
        raise Refused(str(error)) from error
    found = [each for each in found if each.serial_number == octets]
    if len(found) > 1:
        raise Refused(f"several issuers have an orphan {serial}: say which with --issuer")
    return found


def _row(orphan: Any) -> dict[str, Any]:
    from responder.domain.status import CRLReason

    return {
        "issuer_id": orphan.issuer_id,
        "serial_number": orphan.serial_number.hex(),
        "revoked_at": orphan.revoked_at.isoformat(),
        "reason": CRLReason(orphan.reason).name,
        "invalidity_date": orphan.invalidity_date.isoformat() if orphan.invalidity_date else None,
        "in_crl": orphan.in_crl,
        "edges": ",".join(orphan.edges),
        "since": orphan.since.isoformat(timespec="seconds"),
        "state": orphan.state,
        "decided_by": orphan.decided_by,
        "decided_at": orphan.decided_at.isoformat(timespec="seconds") if orphan.decided_at else None,
        "evidence": orphan.evidence,
    }
