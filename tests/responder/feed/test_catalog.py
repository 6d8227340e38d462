"""The catalog is one reading of the ledger, and one bad row costs nothing else."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from structlog.testing import capture_logs

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import Connection, connect
from cachewarm.ledger.issuers import add_issuer
from responder.domain.catalog import Catalog
from responder.feed.catalog import read_ledger
from responder.feed.crl_files import CRLFiles
from tests.support.ca import Authority, der, make_authority


@pytest.fixture(scope="module")
def authority() -> Authority:
    """A CA with its responder."""
    return make_authority()


@pytest.fixture
async def writer(database: DatabaseURLs) -> AsyncIterator[Connection]:
    """Of the writer role."""
    connection = await connect(database.cli)
    yield connection
    await connection.close()


@pytest.fixture
async def reader(database: DatabaseURLs) -> AsyncIterator[Connection]:
    """Of the reader role."""
    connection = await connect(database.signer, check=False)
    yield connection
    await connection.close()


async def add(writer: Connection, issuer_id: str, authority: Authority) -> None:
    """An issuer and its responder, as `issuer add` makes them."""
    await add_issuer(writer, issuer_id, subject=f"CN={issuer_id}", cert_der=der(authority.root), actor="tests")
    await writer.execute(
        "insert into ocsp_responder_certs (issuer_id, cert_subject, serial_number, not_before, not_after, cert_der)"
        " values ($1, 'CN=R', $2, now() - interval '1 day', now() + interval '1 day', $3)",
        issuer_id,
        b"\x01",
        der(authority.delegate),
    )


def crl_of(authority: Authority) -> bytes:
    """A CRL by the delegate's key under its own name, which the test makes the issuer."""
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(authority.delegate.subject, now, now + timedelta(days=1))
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.DER)


class Interrupted:
    """A connection on which another session's work happens between two of its statements."""

    def __init__(self, connection: Connection, work: Any, after: int) -> None:
        self._connection, self._work, self._left = connection, work, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, query: str, *arguments: Any) -> Any:
        rows = await self._connection.fetch(query, *arguments)
        self._left -= 1
        if self._left == 0:
            await self._work()
        return rows


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_issuer_added_between_two_statements_is_in_the_next_reading(
    writer: Connection, reader: Connection, authority: Authority, tmp_path: Path, after: int
) -> None:
    """Its responder is not an error for the issuers that were there."""
    files = CRLFiles(tmp_path)
    interrupted: Any = Interrupted(reader, lambda: add(writer, "late", authority), after)
    assert (await read_ledger(interrupted, files, Catalog())).issuers == ()
    catalog = await read_ledger(reader, files, Catalog())
    assert [issuer.issuer_id for issuer in catalog.issuers] == ["late"]
    assert len(catalog.responders[catalog.issuers[0].issuer_no]) == 1


@pytest.mark.parametrize("broken", ["issuers", "ocsp_responder_certs"])
async def test_unreadable_certificate_costs_its_own_issuer_alone(
    writer: Connection, reader: Connection, authority: Authority, tmp_path: Path, broken: str
) -> None:
    """It is logged once, not each second."""
    await add(writer, "good", authority)
    await add_issuer(writer, f"bad-{len(broken)}", subject="CN=bad", cert_der=b"rubbish of bad", actor="tests")
    if broken == "ocsp_responder_certs":
        await writer.execute(
            "insert into ocsp_responder_certs (issuer_id, cert_subject, serial_number, not_before, not_after, cert_der)"
            " values ('good', 'CN=R', '\\x02', now(), now() + interval '1 day', 'rubbish')"
        )
    files = CRLFiles(tmp_path)
    with capture_logs() as lines:
        for _ in range(3):
            catalog = await read_ledger(reader, files, Catalog())
    assert [issuer.issuer_id for issuer in catalog.issuers] == ["good"]
    assert [len(certificates) for certificates in catalog.responders.values()] == [1]
    events = [line for line in lines if line["event"] == "ledger row unusable"]
    assert len(events) == (1 if broken == "issuers" else 2)
    assert events[0]["issuer_id"] == f"bad-{len(broken)}"


async def test_full_disk_costs_no_catalog_and_the_crl_is_fetched_once_there_is_room(
    writer: Connection, reader: Connection, authority: Authority, tmp_path: Path
) -> None:
    """Issuers and responders are read all the same; one line; later the CRL, whose row did not change."""
    await add(writer, "ca", authority._replace(root=authority.delegate))
    await writer.execute(
        "insert into crl_cache (issuer_id, crl_number, crl_der, this_update, next_update, revoked_count)"
        " values ('ca', 1, $1, now(), now() + interval '1 day', 0)",
        crl_of(authority),
    )
    folder = tmp_path / "state"
    files = CRLFiles(folder)
    folder.write_bytes(b"no folder can be made here")
    with capture_logs() as lines:
        for _ in range(3):
            catalog = await read_ledger(reader, files, Catalog())
    assert (len(catalog.issuers), len(catalog.responders), catalog.crls) == (1, 1, {})
    assert [line["event"] for line in lines] == ["CRL not written"]
    folder.unlink()
    assert set((await read_ledger(reader, files, catalog)).crls) == {"ca"}
