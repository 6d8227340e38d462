"""`fastocsp backup`: make, verify and list archives of the ledger and this host's keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from cachewarm.cli.options import AsJson, DataDir, given_by, settings_of
from cachewarm.cli.parameters import Argument, Group, Option
from cachewarm.config import owner_url
from cachewarm.console import fail, progress, reported, say, show, show_rows
from cachewarm.errors import Refused
from responder.setting_fields import SecretStr

if TYPE_CHECKING:
    from cachewarm.config import Settings
    from cachewarm.recovery.archive import Manifest
    from cachewarm.recovery.backup import BackupPlan

app = Group(help="Archives of the ledger, the keys of this host and its settings: create, verify, list.")

Identity = Annotated[
    Path | None,
    Option("--identity", metavar="FILE", help="age identities that open a sealed archive.", show_default=False),
]
Key = Annotated[
    str | None,
    Option(
        "--key",
        metavar="KEY",
        help="Accept archives of this backup key alone: ed25519:BASE64, or a file with it; default the data folder's.",
        show_default=False,
    ),
]


@app.command("create")
def create_command(
    file: Annotated[Path | None, Argument(metavar="[FILE]", help="The archive to write; it must not exist.")] = None,
    *,
    folder: Annotated[
        Path | None, Option("--folder", metavar="DIR", help="Write a dated archive into this folder instead.")
    ] = None,
    keep: Annotated[
        int | None,
        Option("--keep", metavar="N", min=1, help="With --folder: keep the N newest archives that verify."),
    ] = None,
    recipient: Annotated[
        list[str] | None,
        Option("--recipient", metavar="age1...", help="Seal the archive for this age recipient; repeatable."),
    ] = None,
    allow_plain_keys: Annotated[
        bool, Option("--allow-plain-keys", help="Take key files that are not encrypted into an archive that is not.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write ledger, key files and settings into one signed archive, all of one moment.

    DATABASE_URL is the owner's or that of the login fastocsp_backup. A quickstart's ledger is found by its data folder,
    and started for the backup when it does not run.
    """
    import asyncio

    from cachewarm.recovery import retention
    from cachewarm.recovery.backup import BackupPlan, summary
    from cachewarm.recovery.backup_key import BackupKey
    from cachewarm.recovery.sealing import Sealer
    from cachewarm.recovery.site import settings_of_site

    if (file is None) == (folder is None):
        raise click.UsageError("name the archive: FILE, or --folder DIR")
    if keep is not None and folder is None:
        raise click.UsageError("--keep needs --folder")
    with reported():
        settings = settings_of(data_dir)
        shown, left_out = settings_of_site(data_dir)
        plan = BackupPlan(
            settings=settings,
            key=BackupKey.of(settings.data_dir, settings.passphrase),
            sealer=Sealer(recipient) if recipient else None,
            allow_plain_keys=allow_plain_keys,
            settings_shown=shown,
            settings_left_out=left_out,
        )
        path = file if folder is None else retention.new_name(folder)
        assert path is not None
        with _ledger_url(settings, data_dir) as url:
            manifest = asyncio.run(_create(url, path, plan))
        result: dict[str, Any] = {"file": str(path), "bytes": path.stat().st_size, **summary(manifest)}
        if keep is not None and folder is not None:
            kept = retention.keep_newest(folder, keep, plan.key.public)
            result["removed"] = [str(each) for each in kept.removed]
            for problem in kept.problems:
                say(f"{problem}; it is left alone")
        show(result, as_json=as_json)
        say(f"backup key {plan.key.public}: keep it elsewhere, `fastocsp restore --key` compares it")


@contextmanager
def _ledger_url(settings: "Settings", data_dir: Path | None) -> Iterator[SecretStr]:
    """Yield the URL of the ledger's owner; a quickstart's Postgres that does not run is started meanwhile."""
    from cachewarm.recovery.embedded_ledger import has_postgres, started_postgres

    if settings.database_url is None and has_postgres(settings.data_dir):
        with started_postgres(settings.data_dir, settings.run_dir) as server:
            yield SecretStr(server.url())
    else:
        yield owner_url(data_dir)


async def _create(url: SecretStr, path: Path, plan: "BackupPlan") -> "Manifest":
    from cachewarm.ledger.connect import connect
    from cachewarm.recovery.backup import create_backup

    connection = await connect(url, name="fastocsp backup", command_timeout_s=86_400)
    try:
        with progress("bytes backed up", None) as meter:
            return await create_backup(connection, path, plan, meter.advance)
    except Refused as error:
        if "permission denied" not in str(error):
            raise
        raise Refused(f"{error}: a backup needs the login of the ledger's owner or fastocsp_backup") from error
    finally:
        connection.terminate()


@app.command("verify")
def verify_command(
    file: Annotated[Path, Argument(metavar="FILE", help="The archive.")],
    *,
    key: Key = None,
    identity: Identity = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Verify an archive without a database: hashes, signature, schema, counts. Exit status 1 with the first problem."""
    from cachewarm.recovery.backup import summary
    from cachewarm.recovery.verify import verify_file

    with reported():
        demand = demand_of(key, identity, data_dir)
        with progress(f"bytes of {file.name} verified", file.stat().st_size) as meter:
            verified = verify_file(file, demand, meter.advance)
        counted = "counted" if verified.counted else "not counted: the archive is sealed, pass --identity"
        fields = verified.manifest.fields
        result: dict[str, Any] = {"file": str(file), **summary(verified.manifest)}
        result["key"] = "as expected" if demand.key else "not compared: pass --key"
        result["row_counts"] = counted
        if as_json:
            result |= {name: fields[name] for name in ("settings", "settings_left_out", "not_included", "crl_numbers")}
        show(result, as_json=as_json)
        if not as_json:
            for line in fields["not_included"]:
                say(f"not included: {line}")


@app.command("list")
def list_command(
    folder: Annotated[Path, Argument(metavar="FOLDER", help="Folder with archives.")],
    *,
    key: Key = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the archives of a folder, newest first, each verified but for its counts; exit status 1 if one fails."""
    from cachewarm.recovery import retention

    with reported():
        rows = retention.archives_in(folder, demand_of(key, None, data_dir).key)
        if not rows:
            say(f"there are no archives (*{retention.SUFFIX}) in {folder}")
        show_rows([each.row() for each in rows], as_json=as_json, name="archives")
        broken = [each for each in rows if each.problem]
        if broken:
            fail(f"{len(broken)} of {len(rows)} archives do not verify")


def demand_of(key: str | None, identity: Path | None, data_dir: Path | None) -> Any:
    """Return what an archive must satisfy: signed by `key`, or else by the backup key of the data folder, if any."""
    from cachewarm.recovery.backup_key import known_key, parse_key
    from cachewarm.recovery.sealing import Opener
    from cachewarm.recovery.verify import Demand

    if key is not None:
        with given_by("--key"):
            key = parse_key(key)
    else:
        key = known_key(settings_of(data_dir).data_dir)
    return Demand(key=key, opener=None if identity is None else Opener(identity))
