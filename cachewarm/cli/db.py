"""`fastocsp db`: bring the ledger to this version's schema, or say where it stands."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from _fastocsp.ocsp.record import MAX_GENERATION
from cachewarm.config import Settings
from cachewarm.console import fail, reported, say, show, show_rows
from responder.config import ConfigError, load_settings

app = typer.Typer(help="The ledger's schema.", no_args_is_help=True)

DataDir = Annotated[Path | None, typer.Option(help="State folder of this instance.", show_default=".fastocsp")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


@app.command("migrate")
def migrate_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Apply the migrations that this database has not seen. DATABASE_URL must be the owner's."""
    from cachewarm.ledger.connect import connected
    from cachewarm.ledger.issuers import merged_issuers
    from cachewarm.ledger.migrate import migrate

    async def run(url: SecretStr) -> tuple[list[str], dict[str, str]]:
        async with connected(url, name="fastocsp db", check=False) as connection:
            applied = await migrate(connection)
            return applied, await merged_issuers(connection) if applied else {}

    with reported():
        applied, merged = asyncio.run(run(_database_url(data_dir)))
        say(f"{len(applied)} migrations applied" if applied else "nothing to do")
        for issuer_id, into in merged.items():
            say(f"issuer {issuer_id} has the name and key of {into}: its certificates and revocations are {into}'s now")
        show({"applied": applied}, as_json=as_json)


@app.command("status")
def status_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Every migration and whether it is applied. Exit status 1 when the schema is not this version's."""
    from cachewarm.ledger.connect import connected
    from cachewarm.ledger.migrate import MigrationState, migration_states

    async def run(url: SecretStr) -> list[MigrationState]:
        async with connected(url, name="fastocsp db", check=False) as connection:
            return await migration_states(connection)

    with reported():
        states = asyncio.run(run(_database_url(data_dir)))
        show_rows([asdict(state) for state in states], as_json=as_json, name="migrations")
        if any(state.state != "applied" for state in states):
            fail("the schema is not this version's: run `fastocsp db migrate`")


@app.command("restored")
def restored_command(
    above: Annotated[
        int,
        typer.Option(
            min=0, max=MAX_GENERATION - 1, help="The highest generation that an edge had: see its /ready, or its log."
        ),
    ] = 0,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """After a dump was restored: begin a new generation, which edges follow. What the dump lost they keep revoked."""
    from cachewarm.ledger.connect import connected
    from cachewarm.ledger.feed import begin_generation

    async def run(url: SecretStr) -> int:
        async with connected(url, name="fastocsp db") as connection:
            return await begin_generation(connection, above)

    with reported():
        show({"generation": asyncio.run(run(_database_url(data_dir)))}, as_json=as_json)


def _database_url(data_dir: Path | None) -> SecretStr:
    settings = load_settings(Settings, data_dir=data_dir)
    if settings.database_url is None:
        raise ConfigError("FASTOCSP_DATABASE_URL is not set, and no quickstart wrote one into the data folder")
    return settings.database_url
