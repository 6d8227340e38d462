"""`fastocsp audit`: who did what, and whether the chain of these rows holds.

Exit status: 0 done, 1 the chain does not hold, 2 usage.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cachewarm.cli.options import AsJson, DataDir, given_by, settings_of, with_ledger
from cachewarm.cli.parameters import Group, Option
from cachewarm.console import fail, progress, reported, say, show, show_rows
from responder.domain.serial import parse_serial, serial_hex

if TYPE_CHECKING:
    from cachewarm.ledger.audit import AuditEvent, AuditFilter

app = Group(help="The audit chain: who did what, and whether it holds.")

Since = Annotated[str | None, Option("--since", metavar="TIME", help="Not before: 2026-05-04 or 2026-05-04T10:00:00Z.")]
Until = Annotated[str | None, Option("--until", metavar="TIME", help="Before this time.")]
IssuerId = Annotated[str | None, Option("--issuer", metavar="ISSUER_ID", help="Only rows about this issuer.")]
Serial = Annotated[str | None, Option("--serial", metavar="HEX", help="Only rows about this certificate.")]
Actor = Annotated[str | None, Option("--actor", help="Only what this name or login did.")]
Action = Annotated[list[str], Option("--action", help="Only this action; may be repeated.")]
Limit = Annotated[int, Option("--limit", min=1, max=10000, help="The latest rows, at most.")]
Out = Annotated[Path | None, Option("--out", metavar="FILE", help="Default: standard output.", show_default=False)]


@app.command("list")
def list_command(
    *,
    since: Since = None,
    until: Until = None,
    issuer: IssuerId = None,
    serial: Serial = None,
    actor: Actor = None,
    action: Action = [],  # noqa: B006 - never changed
    limit: Limit = 50,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the latest rows, oldest first: a timeline. What was issued: --action certificate."""
    from cachewarm.ledger.audit import list_audit, settle_audit

    with reported():
        wanted: AuditFilter = {
            "since": _moment("--since", since),
            "until": _moment("--until", until),
            "issuer_id": issuer,
            "serial_number": _serial(serial),
            "actor": actor,
            "actions": action,
        }

        async def read(connection: Any) -> "list[AuditEvent]":
            await settle_audit(connection)
            return await list_audit(connection, limit=limit, **wanted)

        events = with_ledger(settings_of(data_dir), read)[::-1]
        if as_json:
            show_rows([_object(event) for event in events], as_json=True, name="events")
        else:
            show_rows([_row(event) for event in events], as_json=False)


@app.command("verify")
def verify_command(
    export: Annotated[
        Path | None,
        Option("--export", metavar="FILE", help="Verify this export, without a ledger.", exists=True, dir_okay=False),
    ] = None,
    head: Annotated[
        str | None,
        Option("--head", metavar="SEQ:HASH", help="A head that was kept elsewhere: the chain must still have it."),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Verify every link of the chain, and print its head: keep it elsewhere. Exit status 1 when the chain is broken."""
    with reported():
        kept = _head(head)
        if export is not None:
            found = _verify_export(export, kept)
        else:
            found = with_ledger(settings_of(data_dir), lambda connection: _verify(connection, kept))
        has_head = kept is None or found.at_head == kept[1]
        result = {
            "holds": found.broken_at is None and has_head,
            "from": found.first,
            "broken_at": found.broken_at,
            "head": f"{found.seq}:{found.hash.hex()}",
        }
        show(result, as_json=as_json)
        if found.broken_at is not None:
            fail(f"the chain does not hold at row {found.broken_at}: rows were changed, deleted or added there")
        if kept is not None and not has_head:
            fail(
                f"row {kept[0]} is not the one of --head: the chain was rewritten or cut, or an older copy was restored"
            )


@app.command("export")
def export_command(
    out: Out = None,
    since: Since = None,
    until: Until = None,
    data_dir: DataDir = None,
) -> None:
    """Write rows as JSON lines, oldest first, with what their hashes are made of (`audit verify --export`)."""
    from cachewarm.audit.export import write_export, write_export_file
    from cachewarm.ledger.audit import settle_audit, walk_audit

    with reported():
        wanted: AuditFilter = {"since": _moment("--since", since), "until": _moment("--until", until)}

        async def write(connection: Any) -> int:
            await settle_audit(connection)
            events = walk_audit(connection, **wanted)
            with progress("exporting the audit chain", None) as meter:
                if out is None:
                    return await write_export(events, sys.stdout.write, meter.advance)
                return await write_export_file(out, events, meter.advance)

        count = with_ledger(settings_of(data_dir), write)
        say(f"{count} rows written")


class Found(NamedTuple):
    """The outcome of a verification; `at_head`: the hash of the row that --head names."""

    first: int
    broken_at: int | None
    seq: int
    hash: bytes
    at_head: bytes | None


async def _verify(connection: Any, kept: tuple[int, bytes] | None) -> Found:
    from cachewarm.ledger.audit import audit_head, row_hash, settle_audit, verify_audit

    await settle_audit(connection)
    with progress("verifying the audit chain", (await audit_head(connection)).seq) as meter:
        verdict = await verify_audit(connection, progress=meter.advance)
    there = None if kept is None else await row_hash(connection, kept[0])
    return Found(1, verdict.broken_at, verdict.seq, verdict.hash, there)


def _verify_export(export: Path, kept: tuple[int, bytes] | None) -> Found:
    from cachewarm.audit.export import verify_export

    with export.open(encoding="utf-8", errors="replace") as lines:
        verdict = verify_export(lines)
    there = None if kept is None else _hash_in(export, kept[0])
    return Found(verdict.first, verdict.broken_at, verdict.seq, verdict.hash, there)


def _hash_in(export: Path, seq: int) -> bytes | None:
    with export.open(encoding="utf-8") as lines:
        return next((bytes.fromhex(row["hash"]) for row in map(json.loads, lines) if row["seq"] == seq), None)


def _object(event: "AuditEvent") -> dict[str, Any]:
    from cachewarm.audit.export import fields_of

    return {name: value for name, value in fields_of(event).items() if name != "detail_text"} | {"detail": event.detail}


def _row(event: "AuditEvent") -> dict[str, Any]:
    login = event.detail.get("login")
    detail = {name: value for name, value in event.detail.items() if name not in ("login", "application")}
    return {
        "seq": event.seq,
        "at": event.at.astimezone(UTC).isoformat(sep=" ", timespec="seconds"),
        "actor": event.actor if login in (None, event.actor) else f"{event.actor} ({login})",
        "action": event.action,
        "issuer": event.issuer_id,
        "serial": None if event.serial_number is None else serial_hex(event.serial_number),
        "detail": json.dumps(detail, ensure_ascii=False) if detail else None,
    }


def _moment(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    with given_by(option):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"write 2026-05-04 or 2026-05-04T10:00:00Z, not {text!r}") from error
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _serial(text: str | None) -> bytes | None:
    if text is None:
        return None
    with given_by("--serial"):
        return parse_serial(text)


def _head(text: str | None) -> tuple[int, bytes] | None:
    if text is None:
        return None
    seq, _, digest = text.partition(":")
    with given_by("--head"):
        if not seq.isdigit() or len(digest) != 64:
            raise ValueError("write SEQ:HASH, as `fastocsp audit verify` prints it")
        return int(seq), bytes.fromhex(digest)
