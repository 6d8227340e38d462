"""Verifies an archive without a database: it is whole, unchanged, signed, of a known schema, with the right counts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cachewarm.errors import Refused
from cachewarm.ledger.migrate import read_migrations
from cachewarm.recovery import archive
from cachewarm.recovery.archive import Manifest, Member
from cachewarm.recovery.copy_rows import RowCounter
from cachewarm.recovery.sealing import Opener

LEDGER, KEYS = "ledger/", "keys/"


@dataclass(frozen=True)
class Demand:
    """Demands on an archive: signed by `key` (None: any). `opener` opens a sealed one; `count`: count rows."""

    key: str | None = None
    opener: Opener | None = None
    count: bool = True


@dataclass(frozen=True)
class Verified:
    """An archive that was verified. `counted`: its rows were counted, which a sealed archive needs an identity for."""

    manifest: Manifest
    counted: bool


def verify_file(path: Path, demand: Demand, progress: Callable[[int], None] | None = None) -> Verified:
    """Verify an archive; `progress` gets the bytes of each member. Refused with one sentence."""
    with path.open("rb") as file:
        return verify(file, str(path), demand, progress)


def verify(file: IO[bytes], name: str, demand: Demand, progress: Callable[[int], None] | None = None) -> Verified:
    """Verify an archive from the beginning of the file to its end."""
    hashes: dict[str, tuple[int, str]] = {}
    counters: dict[str, RowCounter] = {}
    last: list[Member] = []
    is_open = False
    for member in archive.read_members(file, name):
        if not hashes:
            is_open = not archive.is_sealed(member, name) or demand.opener is not None
        elif member.name in (archive.MANIFEST, archive.SIGNATURE) or last:
            last.append(member)
            continue
        elif demand.count and is_open:
            content = opened(member, demand.opener, name)
            if member.name.startswith(LEDGER):
                table = member.name.split("/")[1]
                counters.setdefault(table, RowCounter(f"{table} in {name}")).feed(content)
        if member.name in hashes:
            raise Refused(f"{name} is damaged: {member.name} is there twice")
        hashes[member.name] = len(member.content), member.sha256
        if progress:
            progress(len(member.content))
    if [member.name for member in last] != [archive.MANIFEST, archive.SIGNATURE]:
        raise Refused(f"{name} is cut or damaged: its manifest and signature are not at its end")
    manifest = archive.read_manifest(last[0], last[1], hashes, name, only=demand.key)
    _check_schema(manifest.fields, name)
    if demand.count and is_open:
        _check_counts(manifest.fields, counters, name)
    return Verified(manifest, demand.count and is_open)


def opened(member: Member, opener: Opener | None, name: str) -> bytes:
    """Return the content of a member, decrypted and decompressed."""
    stored = opener.open(member.content, name) if opener is not None else member.content
    return archive.inflated(stored, name)


def contents(file: IO[bytes], name: str, manifest: Manifest, opener: Opener | None) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the members of an archive that was verified, and check their hashes again."""
    listed = manifest.fields["members"]
    for member in archive.read_members(file, name):
        if member.name in (archive.MANIFEST, archive.SIGNATURE):
            continue
        if listed.get(member.name, {}).get("sha256") != member.sha256:
            raise Refused(f"{name} was changed while it was read")
        if member.name != archive.HEAD:
            yield member.name, opened(member, opener, name)


def _check_schema(fields: dict[str, Any], name: str) -> None:
    """Refused for an archive of a schema that this version does not have."""
    known = read_migrations()
    if fields["schema"] > len(known):
        raise Refused(
            f"{name} has schema {fields['schema']}, made by {fields['product']}; this fastocsp knows {len(known)}: "
            "upgrade it"
        )
    ours = {migration.name: migration.sha256 for migration in known}
    strange = [each for each, sha256 in fields["migrations"].items() if ours.get(each) != sha256]
    if strange:
        raise Refused(f"{name} was made by another build of {fields['product']}: migration {strange[0]} differs")


def _check_counts(fields: dict[str, Any], counters: dict[str, RowCounter], name: str) -> None:
    for table in fields["tables"]:
        counter = counters.get(table["name"])
        if counter is None or not counter.complete or counter.rows != table["rows"]:
            found = 0 if counter is None else counter.rows
            raise Refused(f"{name} has {found} rows of {table['name']}, its manifest says {table['rows']}")
