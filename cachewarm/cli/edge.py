"""`fastocsp edge`: who holds a lease, what the horizon is, what the ledger lost, and forgetting an edge."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, cast

import typer

from cachewarm.cli.options import AsJson, DataDir, given_by, settings_of, with_ledger
from cachewarm.console import fail, reported, say, show, show_rows
from responder.config import parse_duration

app = typer.Typer(help="Edges, as the ledger knows them: list, horizon, forget, orphans.", no_args_is_help=True)


@app.command("list")
def list_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Every edge that ever asked: its horizon, when it last did, and how many events it has not acknowledged."""

    async def read(connection: Any) -> list[dict[str, Any]]:
        from cachewarm.ledger import feed

        head = await feed.feed_position(connection)
        return [
            {
                "edge": lease.edge,
                "horizon_s": lease.horizon.total_seconds(),
                "asked_at": lease.at.isoformat(timespec="milliseconds"),
                "generation": lease.acked_gen,
                "seq": lease.acked,
                "seq_lag": max(0, head.seq - lease.acked),
                "renewals": lease.renewals,
            }
            for lease in await feed.leases(connection)
        ]

    with reported():
        show_rows(with_ledger(settings_of(data_dir), read), as_json=as_json, name="edges")


@app.command("horizon")
def horizon_command(
    horizon: Annotated[
        str | None, typer.Argument(metavar="TIME", help="The most that an edge may ask for: 2s to 1h.")
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


@app.command("forget")
def forget_command(
    name: Annotated[str, typer.Argument(metavar="EDGE", help="Its name, as `fastocsp edge list` shows it.")],
    data_dir: DataDir = None,
) -> None:
    """Forget an edge that is gone for good, so that no revocation waits for it. One that still runs comes back."""

    async def act(connection: Any) -> bool:
        from cachewarm.ledger import feed

        lease = next((one for one in await feed.leases(connection) if one.edge == name), None)
        if lease is not None and await _still_asks(connection, lease.renewals, name):
            fail(f"{name} asked again just now: stop it first")
        return await feed.forget_edge(connection, name)

    with reported():
        if not with_ledger(settings_of(data_dir), act):
            fail(f"no edge is called {name}: see `fastocsp edge list`")
        say(f"{name} is forgotten")


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
                "serial_number": serial.hex(),
                "revoked_at": datetime.fromtimestamp(revoked_at, UTC).isoformat(),
                "reason": CRLReason(reason).name,
            }
            for issuer_no, serial, revoked_at, reason in peek_orphans(folder)
        ]
        show_rows(rows, as_json=as_json, name="orphans")


async def _still_asks(connection: Any, renewals: int, name: str) -> bool:
    from cachewarm.ledger import feed

    await asyncio.sleep(1.5)
    return any(one.edge == name and one.renewals != renewals for one in await feed.leases(connection))
