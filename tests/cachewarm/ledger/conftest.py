"""Connections of each role to one fresh database, and a small inventory."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import Connection, connect
from cachewarm.ledger.inventory import NewCertificate, add_certificates
from cachewarm.ledger.issuers import Issuer, add_issuer
from tests.support.edges import register

NOW = datetime.now(UTC).replace(microsecond=0)
YEAR = timedelta(days=365)


def serial(number: int) -> bytes:
    """A serial number of eight bytes."""
    return (0x10_0000_0000_0000_00 + number).to_bytes(8, "big")


def certificate(number: int, *, ends: timedelta = YEAR) -> NewCertificate:
    """A certificate of that number that ends so much from now."""
    return NewCertificate(
        serial_number=serial(number),
        not_before=NOW - 3 * YEAR,
        not_after=NOW + ends,
        subject=f"CN=host{number}.example",
    )


@pytest.fixture
async def owner(database: DatabaseURLs) -> AsyncIterator[Connection]:
    """The superuser's connection."""
    connection = await connect(database.owner)
    yield connection
    await connection.close()


@pytest.fixture
async def writer(database: DatabaseURLs) -> AsyncIterator[Connection]:
    """A connection of the commands' login, which may write."""
    connection = await connect(database.cli)
    yield connection
    await connection.close()


@pytest.fixture
async def reader(database: DatabaseURLs) -> AsyncIterator[Connection]:
    """A connection of the edges a, b and c, which share a login as in no installation."""
    await register(database, "a", "b", "c")
    connection = await connect(database.edge)
    yield connection
    await connection.close()


@pytest.fixture
async def issuer(writer: Connection) -> Issuer:
    """Issuer `ca` with ten certificates, 0 to 9, of which 9 has expired."""
    made = await add_issuer(writer, "ca", subject="CN=CA", cert_der=b"the certificate of ca", actor="tests")
    await add_certificates(writer, "ca", [certificate(number) for number in range(9)])
    await add_certificates(writer, "ca", [certificate(9, ends=-timedelta(days=1))])
    return made
