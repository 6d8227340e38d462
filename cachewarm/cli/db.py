"""`fastocsp db`: bring the ledger to this version's schema, or say where it stands; its logins."""

from pathlib import Path
from typing import Annotated

import click

from _fastocsp.ocsp.record import MAX_GENERATION
from cachewarm.cli.parameters import Group, Option
from cachewarm.config import owner_url
from cachewarm.console import fail, reported, say, show, show_rows
from responder.setting_fields import SecretStr

app = Group(help="The ledger's schema and logins.")

DataDir = Annotated[Path | None, Option(help="State folder of this instance.", show_default=".fastocsp")]
AsJson = Annotated[bool, Option("--json", help="One JSON object on standard output.")]


Write = Annotated[
    Path | None,
    Option("--write", help="Write each URL into a file of this folder, mode 0600, instead of showing it."),
]


@app.command("migrate")
def migrate_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Apply the migrations that this database has not seen. DATABASE_URL must be the owner's."""
    import asyncio

    from cachewarm.ledger.connect import connected
    from cachewarm.ledger.issuers import merged_issuers
    from cachewarm.ledger.migrate import migrate

    async def run(url: SecretStr) -> tuple[list[str], dict[str, str]]:
        async with connected(url, name="fastocsp db", check=False) as connection:
            applied = await migrate(connection)
            return applied, await merged_issuers(connection) if applied else {}

    with reported():
        applied, merged = asyncio.run(run(owner_url(data_dir)))
        say(f"{len(applied)} migrations applied" if applied else "nothing to do")
        for issuer_id, into in merged.items():
            say(f"issuer {issuer_id} has the name and key of {into}: its certificates and revocations are {into}'s now")
        show({"applied": applied}, as_json=as_json)


@app.command("status")
def status_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Every migration and whether it is applied. Exit status 1 when the schema is not this version's."""
    import asyncio

    from cachewarm.ledger.connect import connected
    from cachewarm.ledger.migrate import MigrationState, migration_states

    async def run(url: SecretStr) -> list[MigrationState]:
        async with connected(url, name="fastocsp db", check=False) as connection:
            return await migration_states(connection)

    with reported():
        states = asyncio.run(run(owner_url(data_dir)))
        show_rows([state._asdict() for state in states], as_json=as_json, name="migrations")
        if any(state.state != "applied" for state in states):
            fail("the schema is not this version's: run `fastocsp db migrate`")


@app.command("restored")
def restored_command(
    above: Annotated[
        int,
        Option(
            min=0, max=MAX_GENERATION - 1, help="The highest generation that an edge had: see its /ready, or its log."
        ),
    ] = 0,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """After a dump was restored, or a copy of a server started: begin a new generation, which edges follow.

    What the dump lost they keep revoked. Every issuer is fenced until `fastocsp reconcile` has closed the gap. Groups
    and rights that the dump did not bring are made first, where this login owns the ledger.
    """
    import asyncio

    from cachewarm.ledger.connect import connected
    from cachewarm.ledger.feed import begin_generation
    from cachewarm.ledger.grants import give_rights, owns_ledger
    from cachewarm.ledger.migrate import require_schema

    async def run(url: SecretStr) -> tuple[int, list[str] | None]:
        async with connected(url, name="fastocsp db", check=False) as connection:
            changed = await give_rights(connection) if await owns_ledger(connection) else None
            await require_schema(connection)
            return await begin_generation(connection, above), changed

    with reported():
        generation, changed = asyncio.run(run(owner_url(data_dir)))
        if changed is None:
            say("this login does not own the ledger: groups and rights were left as they are")
        show({"generation": generation, "rights_given": changed}, as_json=as_json)


@app.command("roles")
def roles_command(
    sql: Annotated[bool, Option("--sql", help="Print what a DBA runs once, and connect to nothing.")] = False,
    create: Annotated[
        bool,
        Option("--create", help="Make the logins of warmer, admin, commands, CA signer, backup; needs CREATEROLE."),
    ] = False,
    only: Annotated[
        list[str],
        Option("--only", metavar="LOGIN", help="With --sql or --create: this login alone; the others stay. Repeat it."),
    ] = [],  # noqa: B006 - click passes a list of its own
    owner: Annotated[str, Option(help="With --sql: the login that migrates the ledger.")] = "fastocsp",
    write: Write = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the logins of the ledger and who uses them; make them with --create, or print the SQL for a DBA with --sql.

    Edges and signers have a login each: `fastocsp edge add` makes those.
    """
    import asyncio

    from cachewarm.cli.logins import hand_out, print_sql
    from cachewarm.ledger import logins
    from cachewarm.ledger.connect import connected

    async def make(url: SecretStr, wanted: list[logins.NewLogin]) -> None:
        async with connected(url, name="fastocsp db") as connection:
            await logins.make_logins(connection, wanted)

    def chosen(made: list[logins.NewLogin]) -> list[logins.NewLogin]:
        if unknown := set(only) - {login.name for login in made}:
            raise click.BadParameter(f"{', '.join(sorted(unknown))} is none of those made here", param_hint="--only")
        return [login for login in made if not only or login.name in only]

    async def known(url: SecretStr) -> dict[str, str]:
        async with connected(url, name="fastocsp db", check=False) as connection:
            return await logins.known_logins(connection)

    with reported():
        if sql and create:
            raise click.BadParameter("--sql prints, --create makes: choose one")
        if sql:
            wanted = chosen(logins.of_processes())
            print_sql([*logins.groups_statements(owner), *(s for one in wanted for s in logins.login_statements(one))])
            hand_out(wanted, write, data_dir, as_json=False, to_standard_error=True)
            return
        url = owner_url(data_dir)
        if create:
            wanted = chosen(logins.of_processes())
            asyncio.run(make(url, wanted))
            hand_out(wanted, write, data_dir, as_json=as_json)
            return
        there = asyncio.run(known(url))
        names = {login.name for login in logins.CATALOGUE}
        rows: list[dict[str, object]] = [
            {"login": login.name, "group": login.group, "may": login.may, "used_by": login.used_by}
            | {"there": "one for each host" if "NAME" in login.name else login.group is None or login.name in there}
            for login in logins.CATALOGUE
        ]
        rows += [
            {"login": login, "group": group, "may": "", "used_by": "", "there": True}
            for login, group in there.items()
            if login not in names
        ]
        show_rows(rows, as_json=as_json, name="logins")
