"""Under which account a server runs. Postgres refuses to run as root, and initdb needs a passwd entry."""

import os
import pwd
from dataclasses import dataclass

from cachewarm.errors import Refused


@dataclass(frozen=True)
class Account:
    """Another account that a child process runs as."""

    name: str
    uid: int
    gid: int


def postgres_account() -> Account | None:
    """None: our own. As root an existing one, `postgres` or else `nobody`; no account is ever added."""
    if os.geteuid() != 0:
        _require_entry(os.geteuid())
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise Refused(
        "Postgres does not run as root, and there is neither an account postgres nor nobody: start as a plain user"
    )


def _require_entry(uid: int) -> None:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise Refused(
            f"user id {uid} has no entry in /etc/passwd, and initdb needs one: add it, or give DATABASE_URL"
        ) from None
