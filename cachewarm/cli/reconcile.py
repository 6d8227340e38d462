"""`fastocsp reconcile`: close the gap that a restore or a failover left, and lift the fence of issuers."""

from pathlib import Path
from typing import Annotated, Any

from cachewarm.cli.options import AsJson, DataDir, actor_name, settings_of, with_ledger
from cachewarm.cli.parameters import Argument, Option
from cachewarm.console import fail, reported, say, show, show_rows

#: Why an issuer is fenced.
REASONS = {
    "restored": "the ledger was restored (`fastocsp restore` or `fastocsp db restored`)",
    "new server": "the ledger is on another server than before",
    "diverged": "an edge, signer or warmer knows another history than the ledger",
    "promoted": "a standby was promoted, and no witness found its place",
}


def reconcile(
    issuers: Annotated[
        list[str] | None, Argument(metavar="[ISSUER]...", help="Issuers; all that are fenced when none is named.")
    ] = None,
    crl: Annotated[
        list[str] | None,
        Option(
            "--crl",
            metavar="FILE|URL",
            help="A CRL or OCSP answer that the issuer signed, of before the restore. It revokes what the ledger lacks,"
            " and a complete CRL covers the gap up to its thisUpdate. Several times.",
        ),
    ] = None,
    statement: Annotated[
        str | None,
        Option(help="Your word that nothing else was revoked, and why, for the audit chain. Covers the rest."),
    ] = None,
    lift: Annotated[
        bool, Option("--lift", help="Lift the fence where evidence covers the gap; exit status 1 else.")
    ] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Show what would happen, and write nothing.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the issuers that are fenced, why, and the interval that no evidence covers; with evidence, close it.

    While an issuer is fenced, nothing but `revoked` is answered for its certificates, and the others get tryLater. A
    fence is lifted once evidence covers its whole gap. Open orphans stay: `fastocsp orphans list`.
    """
    if statement is not None and not statement.strip():
        fail("--statement must not be empty: it is what the audit chain keeps", status=2)
    settings = settings_of(data_dir)

    async def act(connection: Any) -> Any:
        from cachewarm.recovery.reconcile import Document, reconcile

        documents = [Document(source, content) for source, content in read]
        return await reconcile(
            connection, issuers or (), documents, statement, lift=lift, dry_run=dry_run, actor=actor_name()
        )

    with reported():
        read = [(source, _read(source, settings)) for source in crl or ()]
        done = with_ledger(settings, act)
        _show(done, dry_run=dry_run, as_json=as_json)
        left = [each.fence.issuer_id for each in done if not each.is_lifted]
        if left and (lift or statement is not None):
            fail(f"still fenced: {', '.join(left)}")


def _read(source: str, settings: Any) -> bytes:
    from cachewarm.errors import Refused
    from cachewarm.mirror.faults import NotMirrored
    from cachewarm.mirror.fetch import NO_VALIDATORS, fetch
    from cachewarm.mirror.sync import limits_of

    if "://" not in source:
        return Path(source).read_bytes()
    try:
        return fetch(source, NO_VALIDATORS, limits_of(settings)).body or b""
    except NotMirrored as error:
        raise Refused(str(error)) from error


def _show(done: list[Any], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        show({"fences": [_as_json(each) for each in done], "dry_run": dry_run}, as_json=True)
        return
    show_rows([_row(each) for each in done], as_json=False)
    if not done:
        say("no issuer is fenced")
    for each in done:
        for piece in each.pieces:
            covers = f"covers up to {_text(piece.until)}" if piece.until else f"covers no time: {piece.why_not}"
            would = "would be revoked" if dry_run else "revoked"
            say(f"{each.fence.issuer_id}: {piece.name} ({piece.source}) {covers}; {len(piece.lost)} {would}")
        for lost in each.lost:
            say(f"  {lost.serial_number.hex()} {_text(lost.revoked_at)} {lost.reason.name}")


def _row(each: Any) -> dict[str, Any]:
    fence = each.fence
    return {
        "issuer_id": fence.issuer_id,
        "fenced_since": _text(fence.since),
        "why": REASONS[fence.reason],
        "not_covered_from": _text(fence.gap[0]) if fence.gap else None,
        "not_covered_until": _text(fence.gap[1]) if fence.gap else None,
        "open_orphans": fence.orphans,
        "is": "lifted" if each.is_lifted else "fenced",
    }


def _as_json(each: Any) -> dict[str, Any]:
    fence = each.fence
    return _row(each) | {
        "reason": fence.reason,
        "generation": fence.generation,
        "gap_from": _text(fence.gap_from),
        "gap_until": _text(fence.gap_until),
        "evidence": [
            {
                "source": piece.source,
                "document": piece.name,
                "covers_until": _text(piece.until) if piece.until else None,
                "why_not": piece.why_not,
            }
            for piece in each.pieces
        ],
        "revocations": [
            {
                "serial_number": lost.serial_number.hex(),
                "revoked_at": _text(lost.revoked_at),
                "reason": lost.reason.name,
                "evidence": lost.evidence,
            }
            for lost in each.lost
        ],
    }


def _text(moment: Any) -> str:
    return str(moment.isoformat(timespec="seconds"))
