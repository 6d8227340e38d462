"""An issuer whose CRL comes from a server of ours, in a fresh ledger."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger import issuers, mirrors
from cachewarm.ledger.connect import Connection, connect
from cachewarm.mirror.fetch import Limits
from cachewarm.mirror.sync import SyncContext, SyncResult, sync
from responder.domain.status import UnissuedPolicy
from tests.support.foreign_ca import Entries, ForeignCA, Source, serving

LIMITS = Limits(1 << 20, 2.0, 5.0)
Rows = dict[int, tuple[int, str]]


@pytest.fixture
def source() -> Iterator[Source]:
    """A server that hands nothing out yet."""
    with serving() as running:
        yield running


@dataclass
class Mirrored:
    """The issuer, its CA, its source."""

    connection: Connection
    ca: ForeignCA
    source: Source
    urls: DatabaseURLs
    limits: Limits = field(default=LIMITS)

    async def issuer(self) -> issuers.Issuer:
        return await issuers.require_issuer(self.connection, "foreign")

    async def bring(self) -> SyncResult:
        result = await sync(SyncContext(self.connection, self.limits), await self.issuer())
        assert result is not None
        return result

    async def publish(self, number: int, entries: Entries, **more: float) -> SyncResult:
        """The CA publishes that, and we look."""
        self.source.put(self.ca.crl(number, entries, **more))  # type: ignore[arg-type]
        return await self.bring()

    async def mirror(self) -> mirrors.Mirror:
        (found,) = await mirrors.mirrors(self.connection, "foreign")
        return found

    async def rows(self) -> Rows:
        """{serial: (reason, revoked_by)}"""
        rows = await self.connection.fetch("select serial_number, reason, revoked_by from certificate_revocations")
        return {int.from_bytes(row["serial_number"]): (row["reason"], row["revoked_by"]) for row in rows}

    async def served(self) -> bytes | None:
        """What the edge reads."""
        der: bytes | None = await self.connection.fetchval("select crl_der from crl_cache")
        return der


@pytest.fixture
async def mirrored(database: DatabaseURLs, source: Source) -> AsyncIterator[Mirrored]:
    """Nothing was fetched yet."""
    ca = ForeignCA()
    connection = await connect(database.cli)
    await issuers.add_issuer(
        connection,
        "foreign",
        subject="CN=Foreign CA",
        cert_der=ca.cert_der,
        unissued_policy=UnissuedPolicy.GOOD,
        crls=issuers.CRLWish(source=source.url()),
        actor="tests",
    )
    yield Mirrored(connection, ca, source, database)
    await connection.close()
