"""A ledger that we do not run: its schema, and logins for warmer, admin, commands, edge and signer.

The logins' names carry the data folder's, so that two instances on one server do not change each other's password.
"""

import hashlib
from pathlib import Path

from cachewarm.embedded.passwords import read_passwords
from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.errors import Refused
from cachewarm.ledger.connect import connected
from cachewarm.ledger.logins import READER, WRITER, NewLogin, make_logins, url_of
from cachewarm.ledger.migrate import migrate

_GROUPS = {"warmer": WRITER, "admin": WRITER, "cli": WRITER, "edge": READER, "signer": READER, "ca_signer": READER}


async def prepare_outside(url: str, folder: Path, edge: str) -> DatabaseURLs:
    """Migrate, and make the logins. Refused where we may not: a login that others share must speak for no edge."""
    mark = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    names = {role: f"fastocsp_{role}_{mark}" for role in _GROUPS}
    passwords = read_passwords(folder / "outside.passwords", names.values())
    logins = [
        NewLogin(
            name=names[role],
            group=group,
            password=passwords[names[role]],
            edge=edge if role == "edge" else None,
            is_ca_signer=role == "ca_signer",
        )
        for role, group in _GROUPS.items()
    ]
    async with connected(url, name="fastocsp quickstart", check=False) as connection:
        await migrate(connection)
        try:
            await make_logins(connection, logins)
        except Refused as error:
            raise Refused(
                f"the login of FASTOCSP_DATABASE_URL may not make others ({error}): give it CREATEROLE, or do without "
                "the quickstart: `fastocsp db roles --sql` and `fastocsp edge add NAME --sql` print what a DBA runs"
            ) from error
    return DatabaseURLs(owner=url, **{role: url_of(url, name, passwords[name]) for role, name in names.items()})
