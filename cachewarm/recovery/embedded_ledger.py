"""The embedded Postgres of a data folder while no quickstart runs: started for a backup or a restore, then stopped."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.process import tail
from cachewarm.embedded.provision import create_database
from cachewarm.errors import CachewarmError, Fatal, Refused


def refuse_others_folder(folder: Path) -> None:
    """Refused when the data folder, or its key folder, belongs to another user or cannot be written."""
    for each in (folder, folder / "keys"):
        if not each.exists():
            continue
        owner, mine = each.stat().st_uid, os.geteuid()
        if owner != mine:
            raise Refused(
                f"{each} belongs to {_name(owner)} and this command runs as {_name(mine)}: run it as {_name(owner)}, "
                f"or `chown -R {_name(mine)} {folder}` first"
            )
        if not os.access(each, os.W_OK | os.X_OK):
            raise Refused(f"{each} cannot be written: `chmod -R u+rwX {folder}` first")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def has_postgres(folder: Path) -> bool:
    """Report whether an embedded Postgres was made for that data folder."""
    return (folder / "postgres.made").exists()


@contextmanager
def started_postgres(folder: Path, run_dir: Path | None, *, replace: bool = False) -> Iterator[EmbeddedPostgres]:
    """Yield the running Postgres of the folder; it is made when there is none.

    Where one was made and is gone, that is only done with `replace`: its disk may just not be there.
    """
    refuse_others_folder(folder)
    server = EmbeddedPostgres(folder, run_dir)
    made = folder / "postgres.made"
    if replace and made.exists() and not (server.state / "cluster").exists():
        made.unlink()
    try:
        server.start()
        yield server
    except CachewarmError as error:
        if server.pid is not None and server.exit_status is not None:
            raise Fatal(f"Postgres ended: {_why(server.log)}; see {server.log}") from error
        raise
    finally:
        server.stop()


def _why(log: Path) -> str:
    """Return the last thing that Postgres itself calls fatal."""
    lines = [line for line in tail(log, 4000).splitlines() if "FATAL:" in line or "PANIC:" in line]
    return lines[-1].partition(":  ")[2] if lines else "it does not say why"


async def prepare_database(server: EmbeddedPostgres) -> str:
    """Make the database unless it is there; the URL of its owner."""
    await create_database(server)
    return server.url()
