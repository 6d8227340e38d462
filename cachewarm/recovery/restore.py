"""Brings an archive back: verified whole before anything is touched, then loaded in one transaction.

What a crash leaves: before the commit, a target without one row of the archive, and perhaps key files, which a second
run finds as they should be; after the commit, a ledger that a second run recognises as restored from this archive.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

from cachewarm.errors import Fatal, Refused
from cachewarm.keys.key_file import write_atomically
from cachewarm.keys.rewrap import Form
from cachewarm.keys.soft_key import SoftKey
from cachewarm.ledger import table_loads as loads
from cachewarm.ledger.audit import append_audit, settle_audit
from cachewarm.ledger.connect import Connection, translated
from cachewarm.ledger.feed import begin_generation
from cachewarm.ledger.migrate import migrate
from cachewarm.ledger.table_copies import LedgerTable
from cachewarm.recovery.archive import Manifest
from cachewarm.recovery.sealing import Opener
from cachewarm.recovery.verify import KEYS, LEDGER, contents


@dataclass(frozen=True, kw_only=True)
class Source:
    """An archive that was verified, open for reading."""

    file: IO[bytes]
    name: str
    manifest: Manifest
    opener: Opener | None = None

    def members(self) -> Iterator[tuple[str, bytes]]:
        """Yield its members from the beginning."""
        self.file.seek(0)
        return contents(self.file, self.name, self.manifest, self.opener)


@dataclass(frozen=True)
class Restored:
    """Outcome of a restore. `loaded` False: an earlier run of the same restore had loaded the ledger."""

    generation: int
    loaded: bool
    missing_logins: list[str]


def restore_keys(source: Source, folder: Path, *, replace: bool) -> dict[str, str]:
    """Write the key files of an archive below the folder; {path at the backup: path now}.

    Refused, and nothing written, when another key has one of the names; with `replace` that one is kept beside it as
    NAME.replaced.
    """
    places = {row["member"]: _place(folder, row["place"]) for row in source.manifest.fields["keys"]}
    found = {}
    for name, content in source.members():
        if not name.startswith(KEYS):
            break  # keys come first
        found[places[name]] = content
    different = [path for path, content in found.items() if path.exists() and path.read_bytes() != content]
    if different and not replace:
        raise Refused(f"{different[0]} is there already and is another key: --replace puts the archive's in its place")
    for path, content in found.items():
        if path in different:
            write_atomically(path.with_name(f"{path.name}.replaced"), path.read_bytes())
        if path in different or not path.exists():
            write_atomically(path, content)
    return {row["path"]: str(places[row["member"]]) for row in source.manifest.fields["keys"]}


def closed_key(keys: Sequence[Mapping[str, str]], folder: Path, passphrase: bytes | None) -> str | None:
    """Return why the first encrypted key of an archive does not open, None when it does or there is none."""
    for row in keys:
        if row["form"] in (Form.SEALED, Form.ENCRYPTED):
            try:
                SoftKey.load(_place(folder, row["place"]), passphrase)
            except (Refused, OSError) as error:
                return str(error)
            return None
    return None


def _place(folder: Path, place: str) -> Path:
    """Return the path of a key file below the folder."""
    relative = PurePosixPath(place)
    if relative.is_absolute() or ".." in relative.parts or not relative.name:
        raise Refused(f"the archive wants to write a key to {place}: nothing is written outside of {folder}")
    return folder.absolute() / relative


async def refuse_full_ledger(connection: Connection, source: Source) -> None:
    """Refused when the database holds a ledger that is not what an earlier run of this restore left."""
    with translated():
        if not await loads.is_empty(connection) and not await loads.restored_from(connection, source.manifest.sha256):
            raise Refused("the database holds a ledger already: --replace puts the archive in its place")


async def restore_ledger(
    connection: Connection,
    source: Source,
    *,
    moved: dict[str, str],
    above: int = 0,
    replace: bool = False,
    actor: str = "restore",
    progress: Callable[[int], None] = lambda _: None,
) -> Restored:
    """Load the archive's ledger in one transaction, and begin a generation above that of the archive and `above`.

    Refused when the database holds a ledger already, unless `replace`. `moved` is what `restore_keys` returned.
    """
    manifest = source.manifest
    fields = manifest.fields
    with translated():
        if not replace and await loads.restored_from(connection, manifest.sha256):
            generation, missing = await loads.highest_generation(connection), await _missing(connection, fields)
            return Restored(generation, loaded=False, missing_logins=missing)
        if not replace:
            await refuse_full_ledger(connection, source)
        busy = await loads.connected_logins(connection)
        if busy:
            raise Refused(f"{', '.join(busy)} are connected: stop warmers, admin, signers and edges first")
        async with connection.transaction():
            await connection.execute("set local idle_in_transaction_session_timeout = 0")
            above = max(above, await loads.highest_generation(connection), fields["feed"]["generation"])
            await loads.drop_ledger(connection)
            await migrate(connection, last=fields["schema"])
            await _load(connection, source, progress)
            await migrate(connection)
            await loads.move_keys(connection, moved)
            await loads.leave_crl_numbers_free(connection, _age_s(fields["created"]))
            await loads.renew_crls_soon(connection)
            generation = await begin_generation(connection, above)
            await settle_audit(connection)  # the row of the restore comes last: a second run looks for it
            await append_audit(
                connection,
                actor,
                "restore",
                detail={"archive": manifest.sha256, "created": fields["created"], "generation": generation},
            )
        return Restored(generation, loaded=True, missing_logins=await _missing(connection, fields))


async def _load(connection: Connection, source: Source, progress: Callable[[int], None]) -> None:
    fields = source.manifest.fields
    tables = [LedgerTable(row["name"], row["columns"]) for row in fields["tables"]]
    strange = {table.name for table in tables} - await loads.table_names(connection)
    if strange:
        raise Refused(f"{source.name} has a table that schema {fields['schema']} does not have: {min(strange)}")
    pieces = _Tables(source.members(), progress)
    async with loads.triggers_off(connection, tables):
        await loads.empty_tables(connection, tables)
        for table, row in zip(tables, fields["tables"], strict=True):
            count = await loads.copy_table_in(connection, table, pieces.of(table.name))
            if count != row["rows"]:
                raise Fatal(f"{count} rows of {table.name} were loaded, the archive has {row['rows']}")
    await loads.set_sequences(connection, fields["sequences"])


class _Tables:
    """The pieces of each table, in the order of the archive."""

    def __init__(self, members: Iterator[tuple[str, bytes]], progress: Callable[[int], None]) -> None:
        self._members, self._progress = members, progress
        self._next = next(members, None)

    async def of(self, table: str) -> AsyncIterator[bytes]:
        while self._next is not None:
            name, content = self._next
            if name.startswith(LEDGER):
                if name.split("/")[1] != table:
                    return
                self._progress(len(content))
                yield content
            self._next = next(self._members, None)


async def _missing(connection: Connection, fields: dict[str, Any]) -> list[str]:
    wanted = {*fields["logins"], *(login for login in fields["edges"].values() if login)}
    return await loads.missing_logins(connection, wanted)


def _age_s(created: str) -> int:
    """Return the seconds since an archive was made, rounded up."""
    return int((datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds()) + 1
