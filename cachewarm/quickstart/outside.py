"""A ledger that we do not run: its schema, and a login of the reader's rights for edge and signer.

The login's name carries the data folder's, so that two instances on one server do not change each other's password.
"""

import hashlib
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from cachewarm.console import say
from cachewarm.embedded.passwords import read_passwords
from cachewarm.embedded.provision import DatabaseURLs, create_login
from cachewarm.ledger.connect import connected
from cachewarm.ledger.migrate import migrate


async def prepare_outside(url: str, folder: Path) -> DatabaseURLs:
    """Migrate, and make the reader's login; where we may not, edge and signer use `url` itself, and that is said."""
    login = f"fastocsp_reader_{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    password = read_passwords(folder / "outside.passwords", [login])[login]
    async with connected(url, name="fastocsp quickstart", check=False) as connection:
        await migrate(connection)
        try:
            async with connection.transaction():
                await create_login(connection, login, password, "fastocsp_reader")
        except asyncpg.InsufficientPrivilegeError:
            say("this login may not make others: edge and signer use it too, and could write with it")
            return DatabaseURLs(url, url, url)
    return DatabaseURLs(url, url, _as_login(url, login, password))


def _as_login(url: str, login: str, password: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{quote(login)}:{quote(password)}@{parts.netloc.rpartition('@')[2]}"))
