"""`fastocsp restore`: bring an archive back into an empty embedded folder, or an empty Postgres elsewhere."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from _fastocsp.ocsp.record import MAX_GENERATION
from cachewarm.cli.backup import Identity, Key, demand_of
from cachewarm.cli.options import AsJson, DataDir, actor_name
from cachewarm.cli.parameters import Argument, Option
from cachewarm.console import progress, reported, say, show
from cachewarm.errors import Refused
from responder.setting_fields import SecretStr

if TYPE_CHECKING:
    from cachewarm.config import Settings
    from cachewarm.recovery.restore import Restored, Source


def restore(
    file: Annotated[Path, Argument(metavar="FILE", help="An archive of `fastocsp backup create`.")],
    *,
    replace: Annotated[
        bool, Option("--replace", help="Put the archive in the place of the ledger that is there, which is lost.")
    ] = False,
    above: Annotated[
        int,
        Option(
            "--above",
            min=0,
            max=MAX_GENERATION - 1,
            help="The highest generation that an edge shows in /ready: edges do not follow a lower one.",
        ),
    ] = 0,
    key: Key = None,
    identity: Identity = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Bring an archive back: ledger with roles and grants, key files; then a new generation, which edges follow.

    The target is the server of FASTOCSP_DATABASE_URL (its owner), else the embedded Postgres of the data folder, which
    this command starts. The archive is verified whole before anything is changed. After a crash, run it again.
    """
    from cachewarm.config import Settings
    from cachewarm.recovery.restore import Source
    from cachewarm.recovery.verify import verify
    from responder.config import load_settings

    with reported():
        settings = load_settings(Settings, instance=False, data_dir=data_dir)
        demand = demand_of(key, identity, data_dir)
        with file.open("rb") as opened:
            with progress(f"bytes of {file.name} verified", file.stat().st_size) as meter:
                verified = verify(opened, str(file), demand, meter.advance)
            if not verified.counted:
                raise Refused(f"{file} is sealed: pass --identity FILE with an age identity that opens it")
            if demand.key is None:
                say(f"signed by {verified.manifest.signed_by}, which was compared with nothing: pass --key")
            source = Source(file=opened, name=str(file), manifest=verified.manifest, opener=demand.opener)
            done = _restore(settings, source, above=above, replace=replace)
        fields = verified.manifest.fields
        result: dict[str, Any] = {
            "file": str(file),
            "created": fields["created"],
            "generation": done.generation,
            "loaded": done.loaded,
            "rows": sum(table["rows"] for table in fields["tables"]),
            "keys": [row["place"] for row in fields["keys"]],
            "missing_logins": done.missing_logins,
        }
        if as_json:
            result |= {name: fields[name] for name in ("not_included", "settings", "settings_left_out", "edges")}
        show(result, as_json=as_json)
        for line in _what_to_do(settings, fields, done):
            say(line)


def _restore(settings: "Settings", source: "Source", *, above: int, replace: bool) -> "Restored":
    import asyncio

    from cachewarm.recovery.embedded_ledger import prepare_database, refuse_others_folder, started_postgres

    refuse_others_folder(settings.data_dir)

    async def load(url: SecretStr) -> "Restored":
        return await _load(url, settings, source, above=above, replace=replace)

    if settings.database_url is not None:
        return asyncio.run(load(settings.database_url))
    with started_postgres(settings.data_dir, settings.run_dir, replace=replace) as server:

        async def into_embedded() -> "Restored":
            from cachewarm.embedded.provision import provision

            done = await load(SecretStr(await prepare_database(server)))
            await provision(server, edge=settings.edge_name or socket.gethostname())
            return done

        return asyncio.run(into_embedded())


async def _load(url: SecretStr, settings: "Settings", source: "Source", *, above: int, replace: bool) -> "Restored":
    from cachewarm.ledger.connect import connect
    from cachewarm.recovery.restore import refuse_full_ledger, restore_keys, restore_ledger

    total = sum(table["bytes"] for table in source.manifest.fields["tables"])
    connection = await connect(url, name="fastocsp restore", command_timeout_s=86_400, check=False)
    try:
        if not replace:
            await refuse_full_ledger(connection, source)
        moved = restore_keys(source, settings.keys, replace=replace)
        with progress("bytes restored", total) as meter:
            return await restore_ledger(
                connection,
                source,
                moved=moved,
                above=above,
                replace=replace,
                actor=actor_name(),
                progress=meter.advance,
            )
    finally:
        connection.terminate()


def _what_to_do(settings: "Settings", fields: dict[str, Any], done: "Restored") -> list[str]:
    """Return, in sentences, what was not in the archive and what comes next."""
    from cachewarm.recovery.restore import closed_key

    lines = [f"not included: {line}" for line in fields["not_included"]]
    closed = closed_key(fields["keys"], settings.keys, settings.passphrase)
    if closed is not None:
        lines.append(f"{closed}: start with the FASTOCSP_CONFIG_ENCRYPTION_KEY of the backup")
    if fields["settings"]:
        lines.append("the settings of then are shown by `fastocsp backup verify FILE --json`; none of them was applied")
    lines.append(
        "next: fastocsp reconcile, once a warmer runs: every issuer is fenced and nothing is `good` until then"
    )
    if settings.database_url is None:
        return [*lines, f"next: fastocsp quickstart --data-dir {settings.data_dir}"]
    missing = set(done.missing_logins)
    if missing & {"fastocsp_warmer", "fastocsp_admin", "fastocsp_cli", "fastocsp_backup"}:
        lines.append(
            "next: fastocsp db roles --create --write FOLDER   (new passwords for warmer, admin, commands, backup)"
        )
    for edge, login in fields["edges"].items():
        if login in missing:
            lines.append(f"next: fastocsp edge add {edge} --write FOLDER   (new passwords for that host)")
    return [*lines, "next: start the warmers, then signers and edges, with their new FASTOCSP_DATABASE_URL"]
