"""`fastocsp edge`: make and remove edges and their logins, who holds a lease, the horizon, what the ledger lost."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, cast

from cachewarm.cli.options import AsJson, DataDir, actor_name, given_by, settings_of, with_ledger
from cachewarm.cli.parameters import Argument, Group, Option
from cachewarm.config import owner_url
from cachewarm.console import fail, reported, say, show, show_rows
from cachewarm.errors import Refused
from responder.domain.serial import serial_hex
from responder.setting_values import parse_duration

app = Group(help="Edges and their logins: add, list, remove, horizon, orphans.")


@app.command("list")
def list_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Every edge: its login, its lease, when it last asked, and how many events it has not acknowledged.

    state: `leased` while a lease may stand, `quiet` when none can, `new` before the first poll, `no login` when no
    login may poll for it. Then whose polls were refused, if any were.
    """

    async def read(connection: Any) -> tuple[list[dict[str, Any]], list[Any]]:
        from cachewarm.ledger import edges, feed

        head = await feed.feed_position(connection)
        rows = [
            {
                "edge": lease.edge,
                "login": lease.login,
                "state": _state(lease),
                "horizon_s": lease.horizon.total_seconds(),
                "asked_at": lease.at.isoformat(timespec="milliseconds"),
                "generation": lease.acked_gen,
                "seq": lease.acked,
                "seq_lag": max(0, head.seq - lease.acked),
                "renewals": lease.renewals,
            }
            for lease in await feed.leases(connection)
        ]
        return rows, await edges.refusals(connection)

    with reported():
        rows, refused = with_ledger(settings_of(data_dir), read)
        show_rows(rows, as_json=as_json, name="edges")
        for one in refused:
            say(
                f"refused: {one.login} at {one.address} polled as {one.edge}, which is not its edge, "
                f"{one.times} times until {one.last_at:%Y-%m-%d %H:%M:%S} UTC"
            )


def _state(lease: Any) -> str:
    if lease.leased:
        return "leased"
    if lease.login is None:
        return "no login"
    return "quiet" if lease.renewals else "new"


@app.command("horizon")
def horizon_command(
    horizon: Annotated[
        str | None, Argument(metavar="TIME", help="The most that an edge may ask for: 2s to 1h.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """How long an edge may say good without word from the ledger, and a confirmed revoke waits at most; or set it.

    The ledger refuses an edge that asks for more. A lower one counts for waiters once every edge asks for less.
    """
    seconds = None
    if horizon is not None:
        with given_by("TIME"):
            seconds = cast("float", parse_duration(horizon))
            if not 2 <= seconds <= 3600:
                raise ValueError("a horizon is 2 s to 1 h")

    async def act(connection: Any) -> tuple[timedelta, timedelta]:
        from cachewarm.ledger import feed

        if seconds is not None:
            await feed.set_horizon(connection, seconds)
        return (await feed.feed_position(connection)).horizon, await feed.feed_horizon(connection)

    with reported():
        most, waited_for = with_ledger(settings_of(data_dir), act)
        show({"horizon_s": most.total_seconds(), "waited_for_s": waited_for.total_seconds()}, as_json=as_json)


@app.command("add")
def add_command(
    name: Annotated[str, Argument(metavar="NAME", help="Its FASTOCSP_EDGE_NAME: by default the host name.")],
    sql: Annotated[bool, Option("--sql", help="Print what a DBA runs, and connect to nothing.")] = False,
    signer: Annotated[bool, Option(help="Make the login of that host's signer too.")] = True,
    write: Annotated[
        Path | None,
        Option("--write", help="Write each URL into a file of this folder, mode 0600, instead of showing it."),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make the logins of a new edge host and show their FASTOCSP_DATABASE_URL, which is kept nowhere.

    An edge has no lease without a login of its own. For an edge that is there already they get new passwords. Needs the
    ledger's owner with CREATEROLE; with --sql a DBA's help.
    """
    import asyncio

    from cachewarm.cli.logins import hand_out, print_sql
    from cachewarm.ledger import logins

    async def make(wanted: list[logins.NewLogin]) -> None:
        async with _connect(data_dir) as connection:
            try:
                async with _ending_holders(connection, data_dir):
                    await logins.make_logins(connection, wanted)
            except Refused as error:
                fail(f"{error}: this needs the ledger's owner with CREATEROLE; `--sql` prints what a DBA runs instead")

    with reported():
        wanted = logins.of_host(name, signer=signer)
        if sql:
            print_sql([s for one in wanted for s in (*logins.login_statements(one), *logins.registration(one))])
            hand_out(wanted, write, data_dir, as_json=False, to_standard_error=True)
            return
        asyncio.run(make(wanted))
        hand_out(wanted, write, data_dir, as_json=as_json)


@app.command("remove")
def remove_command(
    name: Annotated[str, Argument(metavar="EDGE", help="Its name, as `fastocsp edge list` shows it.")],
    data_dir: DataDir = None,
) -> None:
    """Take an edge's word away, at once: its polls are refused from now on, and no revocation waits for it after its
    last lease. Its login goes too, where this command may drop logins.
    """
    import asyncio

    from cachewarm.ledger import edges, logins

    async def act() -> tuple[str | None, list[str]]:
        async with _connect(data_dir) as connection:
            async with _ending_holders(connection, data_dir):
                login = await edges.remove_edge(connection, name, actor=actor_name())
            gone = [host for host in (login, logins.host_login("signer", name)) if host] if login else []
            left = []
            for one in gone:
                try:
                    await logins.drop_login(connection, one)
                except Refused:
                    left.append(one)
            return login, left

    with reported():
        login, left = asyncio.run(act())
        if login is None:
            fail(f"no edge is called {name}: see `fastocsp edge list`")
        say(f"{name} is removed")
        for one in left:
            say(f'the login {one} is left: a DBA runs DROP ROLE "{one}"')


app.command("forget", hidden=True)(remove_command)


def _connect(data_dir: Path | None) -> Any:
    from cachewarm.ledger.connect import connected

    return connected(owner_url(data_dir), name="fastocsp edge")


def _ending_holders(connection: Any, data_dir: Path | None) -> Any:
    """End the session that holds an edge's row: a captured edge may keep it by a poll that it does not commit."""
    from cachewarm.ledger.holders import HolderWatch, watched

    watch = HolderWatch(connect=lambda: _connect(data_dir), tell=say, force=True, actor=actor_name())
    return watched(connection, watch)


@app.command("orphans")
def orphans_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """On the edge's own host: revocations that it heard and that vanished from the ledger. It goes on saying revoked.

    Revoke them again, and they are orphans no longer: docs/failover.md.
    """
    from responder.domain.status import CRLReason
    from responder.feed.catalog import kept_catalog
    from responder.feed.journal import peek_orphans

    with reported():
        folder = settings_of(data_dir).data_dir / "edge"
        names = {issuer.issuer_no: issuer.issuer_id for issuer in kept_catalog(folder).issuers}
        rows = [
            {
                "issuer_id": names.get(issuer_no, str(issuer_no)),
                "serial_number": serial_hex(serial),
                "revoked_at": datetime.fromtimestamp(revoked_at, UTC).isoformat(),
                "reason": CRLReason(reason).name,
            }
            for issuer_no, serial, revoked_at, reason in peek_orphans(folder)
        ]
        show_rows(rows, as_json=as_json, name="orphans")
