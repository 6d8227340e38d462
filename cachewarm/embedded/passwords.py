"""Passwords of the embedded servers: random, in one 0600 file per server, written before the server first sees them."""

import json
import secrets
from collections.abc import Iterable
from pathlib import Path

from cachewarm.embedded.folders import write_private


def read_passwords(path: Path, names: Iterable[str]) -> dict[str, str]:
    """The password of each name; those that are missing are made and written first."""
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    wanted = {name: known.get(name) or secrets.token_urlsafe(32) for name in names}
    if wanted != known:
        write_private(path, json.dumps(wanted) + "\n")
    return wanted
