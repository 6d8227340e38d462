"""`fastocsp crl`: what is published, making it now, taking it to a file, looking at it as a client would.

Exit status: 0 done, 1 failed (a build that is refused; a CRL that no client could use), 2 usage.
"""

import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from cachewarm.cli.options import AsJson, DataDir, actor_name, settings_of, with_ledger
from cachewarm.cli.parameters import Argument, Group, Option
from cachewarm.console import fail, progress, reported, say, show, show_rows

if TYPE_CHECKING:
    from cachewarm.config import Settings

app = Group(help="CRLs: list, show, generate, fetch, verify.")

IssuerId = Annotated[str, Argument(metavar="ISSUER_ID", help="As `fastocsp issuer list` names it.")]
Part = Annotated[
    str, Option("--part", metavar="NAME", help="`delta`, or a shard's number; the complete CRL without it.")
]
_TURN_S = 0.2
_PATIENCE_S = 300.0


class Form(StrEnum):
    """Of the file that --out writes."""

    DER = "der"
    PEM = "pem"


@app.command("list")
def list_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """The CRL of every issuer; --json has the last builds too, as the admin listener says it."""

    async def read(connection: Any) -> dict[str, Any]:
        from cachewarm.status.crl_cache import cache_rows

        return await cache_rows(connection)

    with reported():
        found = with_ledger(settings_of(data_dir), read)
        if as_json:
            show(found, as_json=True)
        else:
            show_rows([_line(row) for row in found["cache_rows"]], as_json=False)


@app.command("show")
def show_command(
    issuer: IssuerId,
    part: Part = "",
    out: Annotated[Path | None, Option("--out", help="Write the CRL to this file.", dir_okay=False)] = None,
    form: Annotated[Form, Option("--form", help="Of that file.")] = Form.DER,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show one CRL, and where it is served."""

    async def read(connection: Any) -> tuple[Any, Any]:
        from cachewarm.crl.verify_published import published_crls
        from cachewarm.ledger.issuers import require_issuer

        row = await require_issuer(connection, issuer)
        return row, next((one for one in await published_crls(connection, issuer) if one.part == part), None)

    with reported():
        row, one = with_ledger(settings_of(data_dir), read)
        if one is None:
            fail(f"{issuer} has no {f'CRL {part}' if part else 'CRL'}: see `fastocsp crl list`")
        if out is not None:
            out.write_bytes(one.crl_der if form is Form.DER else _pem(one.crl_der))
        show(_facts(row, one), as_json=as_json)


@app.command("generate")
def generate_command(
    issuer: IssuerId,
    delta: Annotated[bool, Option("--delta", help="A delta alone, on the complete CRL that there is.")] = False,
    force: Annotated[
        bool, Option("--force", help="Publish it even if it has far fewer or more entries than the last one.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make the issuer's CRLs now: complete, shards and delta. The CA's key must be within reach of this command."""
    with reported():
        settings = settings_of(data_dir)

        async def make(connection: Any) -> dict[str, Any]:
            return await _generate(connection, settings, issuer, delta=delta, force=force)

        show(with_ledger(settings, make), as_json=as_json)


@app.command("fetch")
def fetch_command(
    issuer: Annotated[
        str | None, Argument(metavar="ISSUER_ID", help="All issuers with a CRL source without it.")
    ] = None,
    accept_renumbered: Annotated[
        bool,
        Option(
            "--accept-renumbered",
            help="Take a CRL with a number below the last one, this once: the CA began to number again. Audited.",
        ),
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the CRLs that are made elsewhere, and import their entries, now. Status 1 if one fails."""
    with reported():
        settings = settings_of(data_dir)
        if accept_renumbered and issuer is None:
            raise click.BadParameter("name the issuer", param_hint="--accept-renumbered")
        renumbered_by = actor_name() if accept_renumbered else None

        async def look(connection: Any) -> list[dict[str, Any]]:
            from cachewarm.ledger.issuers import list_issuers, require_issuer

            if issuer is not None:
                chosen = [await require_issuer(connection, issuer)]
                if chosen[0].crl_source is None:
                    fail(f"{issuer} has no CRL source: `fastocsp issuer add` with --crl-source")
            else:
                chosen = [each for each in await list_issuers(connection) if each.crl_source is not None]
                if not chosen:
                    say("no issuer has a CRL source: `fastocsp issuer add` with --crl-source")
            return [await _fetch(connection, settings, each, renumbered_by) for each in chosen]

        rows = with_ledger(settings, look)
        show_rows(rows, as_json=as_json, name="crls")
        bad = sum(row["problem"] is not None for row in rows)
        if bad:
            fail(f"{bad} of {len(rows)} CRLs could not be fetched; the old ones stay")


@app.command("verify")
def verify_command(
    issuer: Annotated[str | None, Argument(metavar="ISSUER_ID", help="All issuers without it.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Check every published CRL as a client would: form, signature, window, scope, entries. Status 1 if one fails."""

    async def read(connection: Any) -> list[dict[str, Any]]:
        import asyncio

        from cachewarm.crl.verify_published import check_published, published_crls
        from cachewarm.ledger.issuers import list_issuers, require_issuer
        from cachewarm.mirror.verify_published import check_mirrored

        chosen = await list_issuers(connection) if issuer is None else [await require_issuer(connection, issuer)]
        rows = []
        for each in (one for one in chosen if one.publishes_crl):
            found = await published_crls(connection, each.issuer_id)
            for one in found:
                check = check_published if each.crl_source is None else check_mirrored
                problem = await asyncio.to_thread(check, each, one, int(time.time()))
                rows.append(_verdict(each.issuer_id, one.part, one.crl_number, problem))
            if not found:
                rows.append(_verdict(each.issuer_id, "", None, "no CRL is published"))
        return rows

    with reported():
        rows = with_ledger(settings_of(data_dir), read)
        show_rows(rows, as_json=as_json, name="crls")
        bad = sum(not row["ok"] for row in rows)
        if bad:
            fail(f"{bad} of {len(rows)} CRLs cannot be used")


def _verdict(issuer_id: str, part: str, number: int | None, problem: str | None) -> dict[str, Any]:
    return {"issuer_id": issuer_id, "part": part, "crl_number": number, "ok": problem is None, "problem": problem}


async def _generate(
    connection: Any, settings: "Settings", issuer_id: str, *, delta: bool, force: bool
) -> dict[str, Any]:
    import asyncio

    from cachewarm.ca_signer.client import ca_keys_of
    from cachewarm.crl.regenerate import regenerate, regenerate_delta
    from cachewarm.crl.schedule import rules_of
    from cachewarm.ledger.crls import made_parts
    from cachewarm.ledger.issuers import require_issuer

    issuer = await require_issuer(connection, issuer_id)
    if issuer.crl_source is not None:
        fail(f"the CRL of {issuer_id} is made elsewhere and fetched: `fastocsp crl fetch {issuer_id}`")
    if not issuer.publishes_crl or issuer.key_path is None:
        fail(f"{issuer_id} has no CA key here: its CRLs are made elsewhere")
    if delta and not issuer.delta_crl:
        fail(f"{issuer_id} makes no deltas: `fastocsp issuer add` with --delta-crl")
    build, keys, begun = regenerate_delta if delta else regenerate, ca_keys_of(settings), time.monotonic()
    with progress(f"making the CRLs of {issuer_id}", None) as meter:
        while (number := await build(connection, issuer, keys, rules_of(settings, force=force))) is None:
            if time.monotonic() - begun > _PATIENCE_S:
                fail("timed out after 5 min waiting for another process that builds this CRL")
            await asyncio.sleep(_TURN_S)
            meter.advance(0)
    made = await made_parts(connection, issuer_id, number)
    return {
        "issuer_id": issuer_id,
        "crl_number": number,
        "crls": [part or "complete" for part in made],
        "revoked_count": next(iter(made.values()), None),
        "took_s": round(time.monotonic() - begun, 2),
    }


async def _fetch(connection: Any, settings: "Settings", issuer: Any, renumbered_by: str | None) -> dict[str, Any]:
    import asyncio

    from cachewarm.errors import Refused, Transient
    from cachewarm.ledger.mirrors import mirrors
    from cachewarm.mirror.sync import SyncContext, limits_of, sync

    begun, result, problem = time.monotonic(), None, None
    context = SyncContext(connection, limits_of(settings))
    with progress(f"fetching the CRL of {issuer.issuer_id}", None) as meter:
        try:
            while (result := await sync(context, issuer, renumbered_by=renumbered_by)) is None:
                if time.monotonic() - begun > _PATIENCE_S:
                    fail("timed out after 5 min waiting for another process that fetches this CRL")
                await asyncio.sleep(_TURN_S)
                meter.advance(0)
        except (Transient, Refused) as error:
            problem = str(error)
    taken = [each for each in (result.complete, result.delta) if each] if result else []
    (mirror,) = await mirrors(connection, issuer.issuer_id)
    return {
        "issuer_id": issuer.issuer_id,
        "crl_number": result.crl_number if result else None,
        "delta_number": result.delta_number if result else None,
        "new": bool(taken),
        "revoked": sum(each.revoked for each in taken),
        "released": sum(each.released for each in taken),
        "kept": sum(each.kept_live + each.kept_unknown for each in taken),
        "skipped": mirror.skipped,
        "remarks": mirror.remarks,
        "took_s": round(time.monotonic() - begun, 2),
        "problem": problem,
    }


def _facts(issuer: Any, one: Any) -> dict[str, Any]:
    import hashlib

    from cachewarm.crl.parse import peek_crl
    from cachewarm.crl.parts import part_url

    read = peek_crl(one.crl_der)
    return {
        "issuer_id": issuer.issuer_id,
        "part": one.part,
        "url": part_url(issuer.crl_url, one.part) if issuer.crl_url else None,
        "crl_number": one.crl_number,
        "base_number": one.base_number,
        "this_update": _text(one.this_update),
        "next_update": _text(one.next_update),
        "revoked_count": one.revoked_count,
        "distribution_point": list(read.urls),
        "scope": list(read.scope),
        "freshest_crl": list(read.freshest),
        "octets": len(one.crl_der),
        "sha256": hashlib.sha256(one.crl_der).hexdigest(),
    }


def _line(row: dict[str, Any]) -> dict[str, Any]:
    last = row["recent_events"][0] if row["recent_events"] else None
    return {
        "issuer_id": row["issuer_id"],
        "crl_number": row["crl_number"],
        "this_update": row["this_update"],
        "next_update": row["next_update"],
        "revoked": row["revoked_count"],
        "state": "none" if not row["cache_present"] else "stale" if row["is_stale"] else "fresh",
        "last_build": None if last is None else "ok" if last["succeeded"] else last["error"],
    }


def _pem(der: bytes) -> bytes:
    """RFC 7468 7."""
    import base64
    import textwrap

    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join(["-----BEGIN X509 CRL-----", *lines, "-----END X509 CRL-----", ""]).encode()


def _text(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="seconds")
