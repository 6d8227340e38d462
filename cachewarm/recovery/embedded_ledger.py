"""The embedded Postgres of a data folder while no quickstart runs: started for a backup or a restore, then stopped."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.provision import create_database
from cachewarm.errors import Refused


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
    finally:
        server.stop()


async def prepare_database(server: EmbeddedPostgres) -> str:
    """Make the database unless it is there; the URL of its owner."""
    await create_database(server)
    return server.url()
