"""C3: at the end every acknowledged revocation is in Postgres, and every edge has exactly Postgres's set."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from _fastocsp.revoked.image import RevokedImage
from _fastocsp.wire.types import Groups
from responder.feed.poll import snapshot
from responder.feed.shared import SLOT_IMAGE, FeedPage, image_path
from responder.files import open_map
from tests.faults.history import RELEASE, Change
from tests.faults.world import World, until


async def final(world: World, changes: Iterable[Change]) -> dict[str, Any]:
    """{digests by place, how many were acknowledged, differences}."""
    connection = await world.owner()
    try:
        ledger = (await snapshot(connection)).groups
        rows = await connection.fetch("select serial_number from certificate_revocations")
    finally:
        await connection.close()
    wanted, differences = digest(ledger), []
    edges = {}
    for host, folder in world.run_folders.items():
        try:
            await until(lambda folder=folder: digest(listed(folder)) == wanted, 5, "differs")  # type: ignore[misc]
        except AssertionError:
            differences.append(f"{host} has another set than the ledger")
        edges[host] = digest(listed(folder))
    there = {row["serial_number"].hex() for row in rows}
    last = {change.serial: change for change in changes if change.committed is not None}
    missing = [change for change in last.values() if (change.serial in there) == (change.kind == RELEASE)]
    differences += [f"acknowledged and not in Postgres: {change}" for change in missing]
    return {"ledger": wanted, "edges": edges, "acknowledged": len(last), "differences": differences}


def listed(run_folder: Path) -> Groups:
    """The set that this host's workers read."""
    number = FeedPage(run_folder).get(SLOT_IMAGE)
    return RevokedImage(open_map(image_path(run_folder, number))).compact()


def digest(groups: Groups) -> str:
    """SHA-256 over the sorted rows."""
    sha = hashlib.sha256()
    for key in sorted(groups):
        if groups[key]:
            sha.update(repr(key).encode() + groups[key])
    return sha.hexdigest()
