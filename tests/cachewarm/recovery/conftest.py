"""A small ledger with keys in a folder, databases to restore into, and an archive that needs no database."""

import itertools
import struct
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from cachewarm.config import Settings
from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.keys.soft_key import KeyKind, SoftKey
from cachewarm.ledger.connect import Connection, connect, connected
from cachewarm.ledger.inventory import NewCertificate, add_certificates
from cachewarm.ledger.issuers import add_issuer
from cachewarm.ledger.migrate import read_migrations
from cachewarm.ledger.revocations import Revocation, bulk_revoke
from cachewarm.recovery.archive import ArchiveWriter
from cachewarm.recovery.backup import BackupPlan
from cachewarm.recovery.backup_key import BackupKey
from tests.support.edges import register

PASSPHRASE = b"of the test, and long enough: 32 bytes"
NOW = datetime.now(UTC).replace(microsecond=0)
_numbers = itertools.count(1)


@pytest.fixture
async def ledger(database: DatabaseURLs, tmp_path: Path) -> DatabaseURLs:
    """Issuer `ca` whose key is sealed in a folder, twenty certificates, three revoked, CRL numbers, an edge."""
    key = tmp_path / "site" / "keys" / "ca-ca.key"
    SoftKey.generate(KeyKind.P256).store(key, PASSPHRASE)
    async with connected(database.cli) as connection:
        await add_issuer(connection, "ca", subject="CN=CA", cert_der=b"of ca", actor="tests", key_path=str(key))
        await add_issuer(
            connection, "hsm", subject="CN=HSM", cert_der=b"of hsm", actor="tests", key_path="pkcs11:token=t;object=k"
        )
        await add_certificates(
            connection,
            "ca",
            [
                NewCertificate(
                    serial_number=(0x1000 + number).to_bytes(2, "big"),
                    not_before=NOW - timedelta(days=1),
                    not_after=NOW + timedelta(days=90),
                    subject=f"CN=host{number}.example",
                )
                for number in range(20)
            ],
        )
        await bulk_revoke(connection, "ca", [Revocation((0x1000 + n).to_bytes(2, "big")) for n in range(3)], actor="t")
        for _ in range(7):
            await connection.fetchval("select next_crl_number('ca')")
    await register(database, "edge-1")
    return database


@pytest.fixture
def plan(tmp_path: Path) -> BackupPlan:
    """A backup of that ledger's site."""
    settings = Settings(data_dir=tmp_path / "site", config_encryption_key=PASSPHRASE.decode())
    return BackupPlan(settings=settings, key=BackupKey.of(settings.data_dir, None))


@pytest.fixture
async def owner(ledger: DatabaseURLs) -> AsyncIterator[Connection]:
    """The owner's connection to the ledger."""
    connection = await connect(ledger.owner)
    yield connection
    await connection.close()


@pytest.fixture
async def empty_database(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """URL of the owner of a database without a table, on the same server."""
    name = f"empty_{next(_numbers)}"
    admin = await asyncpg.connect(postgres.url("owner", "postgres"))
    try:
        await admin.execute(f'create database "{name}" template template0')
        yield postgres.url("owner", name)
        await admin.execute(f'drop database "{name}" with (force)')
    finally:
        await admin.close()


@pytest.fixture
async def target(empty_database: str) -> AsyncIterator[Connection]:
    """The owner's connection to that database."""
    connection = await connect(empty_database, check=False)
    yield connection
    await connection.close()


def table_of(*rows: tuple[bytes | None, ...]) -> bytes:
    """Return rows in Postgres's binary COPY format."""
    text = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
    for row in rows:
        text += struct.pack(">h", len(row))
        for value in row:
            text += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    return text + struct.pack(">h", -1)


MakeArchive = Callable[..., Path]


@pytest.fixture
def make_archive(tmp_path: Path) -> MakeArchive:
    """Makes an archive of one table with two rows without a ledger; keywords change its manifest."""
    key = BackupKey.of(tmp_path / "maker", None)

    def make(name: str = "made.backup", *, sealer: Any = None, **changes: Any) -> Path:
        path = tmp_path / name
        with path.open("wb") as file:
            writer = ArchiveWriter(file, name, product="fastocsp 0.2", created="2026-01-02T03:04:05Z", sealer=sealer)
            writer.add("keys/000001", b"a key")
            writer.add("ledger/issuers/000001", table_of((b"a", None), (b"bc", b"")))
            manifest: dict[str, Any] = {
                "schema": len(read_migrations()),
                "migrations": {each.name: each.sha256 for each in read_migrations()},
                "feed": {"generation": 1, "seq": 0, "chain": ""},
                "audit": {"seq": 0, "hash": ""},
                "server": "Postgres 18",
                "certificates": 0,
                "tables": [{"name": "issuers", "columns": ["a", "b"], "rows": 2, "bytes": 0}],
                "keys": [],
                "settings": {},
                "settings_left_out": [],
                "not_included": [],
                "crl_numbers": {},
                "sequences": {},
                "logins": {},
                "edges": {},
            }
            writer.finish(manifest | changes, key)
        return path

    return make


@pytest.fixture
def maker_key(tmp_path: Path) -> str:
    """The public key that signs what `make_archive` makes."""
    return BackupKey.of(tmp_path / "maker", None).public
