"""Makes an archive of one moment of the ledger: a file that is whole, verified and signed, or is not there."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from cachewarm.config import Settings
from cachewarm.errors import Refused
from cachewarm.ledger import table_copies as copies
from cachewarm.ledger.connect import Connection
from cachewarm.recovery import site
from cachewarm.recovery.archive import PIECE, ArchiveWriter, Manifest
from cachewarm.recovery.backup_key import BackupKey
from cachewarm.recovery.sealing import Sealer
from cachewarm.recovery.verify import Demand, verify

_PARTIAL = ".fastocsp-partial"
#: An unfinished archive is made first and locked then.
_NEW_S = 60


@dataclass(frozen=True, kw_only=True)
class BackupPlan:
    """Contents of an archive. `settings_shown` and `settings_left_out` are what the manifest says of settings."""

    settings: Settings
    key: BackupKey
    sealer: Sealer | None = None
    allow_plain_keys: bool = False
    settings_shown: dict[str, str] = field(default_factory=dict)
    settings_left_out: list[str] = field(default_factory=list)


async def create_backup(
    connection: Connection, path: Path, plan: BackupPlan, progress: Callable[[int], None] = lambda _: None
) -> Manifest:
    """Write an archive to a path that does not exist yet; what it holds. `progress` gets the bytes of the ledger.

    Refused when a key file is not encrypted and the plan does not allow it, and when the file exists.
    """
    with new_archive(path) as file:
        await _write(connection, file, str(path), plan, progress)
        file.seek(0)
        return verify(file, str(path), Demand(key=plan.key.public, count=False)).manifest


async def _write(
    connection: Connection, file: IO[bytes], name: str, plan: BackupPlan, progress: Callable[[int], None]
) -> None:
    async with copies.ledger_snapshot(connection):
        facts = await copies.ledger_facts(connection)
        created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        writer = ArchiveWriter(
            file, name, product=f"fastocsp {_product_version()}", created=created, sealer=plan.sealer
        )
        references = await copies.key_references(connection)
        # Keys after the snapshot has begun: a key file is there before the row that names it.
        files = site.key_files_of(plan.settings, references)
        if plan.sealer is None and not plan.allow_plain_keys:
            site.refuse_open_keys(files)
        for each in files:
            writer.add(each.member, each.path.read_bytes())
        tables = []
        for table in await copies.ledger_tables(connection):
            pieces = _Pieces(writer, table.name, progress)
            rows = await copies.copy_table_out(connection, table, pieces.take)
            pieces.flush()
            tables.append({"name": table.name, "columns": table.columns, "rows": rows, "bytes": pieces.total})
    writer.finish(
        {
            **facts._asdict(),
            "tables": tables,
            "keys": [
                {"member": each.member, "path": str(each.path), "place": each.place, "form": each.form.value}
                for each in files
            ],
            "settings": plan.settings_shown,
            "settings_left_out": plan.settings_left_out,
            "not_included": site.not_included(references, files),
            "recipients": plan.sealer.recipients if plan.sealer else [],
        },
        plan.key,
    )


class _Pieces:
    """Collects the bytes of a table and adds a member for every PIECE of them."""

    def __init__(self, writer: ArchiveWriter, table: str, progress: Callable[[int], None]) -> None:
        self._writer, self._table, self._progress = writer, table, progress
        self._buffer = bytearray()
        self._number = self.total = 0

    async def take(self, octets: bytes) -> None:
        self.total += len(octets)
        self._progress(len(octets))
        rest = memoryview(octets)
        while rest:  # a row, which a CRL can be, may have many pieces
            room = PIECE - len(self._buffer)
            self._buffer += rest[:room]
            rest = rest[room:]
            if len(self._buffer) == PIECE:
                self.flush()

    def flush(self) -> None:
        if self._buffer:
            self._add(bytes(self._buffer))
            self._buffer.clear()

    def _add(self, piece: bytes) -> None:
        self._number += 1
        self._writer.add(f"ledger/{self._table}/{self._number:06}", piece)


@contextmanager
def new_archive(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file that is `path` once the body went well and everything is on the disk; before that it is hidden.

    Whatever ends the body, or the process, no file of that name is left. What a killed one left is removed.
    """
    if path.exists():
        raise Refused(f"{path} exists already: nothing is overwritten")
    for former in path.parent.glob(f".*{_PARTIAL}"):
        _remove_abandoned(former)
    beside = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(beside, flags, 0o600), "w+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
            file.flush()
            os.fsync(file.fileno())
            if path.exists():
                raise Refused(f"{path} exists already: nothing is overwritten")
            beside.rename(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise Refused(f"{path} was not written: {error.strerror or error}") from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove_abandoned(partial: Path) -> None:
    """Remove the unfinished archive of a process that is gone: its lock is free, and it is no new one."""
    with suppress(OSError), partial.open("rb") as file:
        if time.time() - os.fstat(file.fileno()).st_mtime < _NEW_S:
            return
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        partial.unlink()


def _product_version() -> str:
    try:
        return version("fastocsp")
    except PackageNotFoundError:
        return "of a source tree"


def summary(manifest: Manifest) -> dict[str, Any]:
    """Return what people want to know of an archive."""
    fields = manifest.fields
    rows = {table["name"]: table["rows"] for table in fields["tables"]}
    return {
        "created": fields["created"],
        "product": fields["product"],
        "schema": fields["schema"],
        "server": fields["server"],
        "certificates": rows.get("certificates", 0),
        "revocations": rows.get("certificate_revocations", 0),
        "rows": sum(rows.values()),
        "generation": fields["feed"]["generation"],
        "seq": fields["feed"]["seq"],
        "audit_seq": fields["audit"]["seq"],
        "audit_hash": fields["audit"]["hash"],
        "keys": len(fields["keys"]),
        "sealed": fields["sealed"],
        "signed_by": manifest.signed_by,
    }
