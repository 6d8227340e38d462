"""Commands while Postgres is away, starts or restarts: tried again within the patience, and done once."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote, urlsplit

import pytest

from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.inventory import add_certificates
from cachewarm.ledger.issuers import add_issuer
from tests.cachewarm.cli.conftest import Fastocsp, Run, fastocsp, offline, root_ca, writer
from tests.cachewarm.ledger.conftest import certificate, serial
from tests.support.proxy import Proxy

__all__ = ["fastocsp", "offline", "root_ca", "writer"]


@pytest.fixture
async def proxy(postgres: EmbeddedPostgres, writer: Connection) -> AsyncIterator[Proxy]:
    """A link to the ledger that can be cut; the ledger has an issuer `ca` with three certificates."""
    await add_issuer(writer, "ca", subject="CN=CA", cert_der=b"the certificate of ca", actor="tests")
    await add_certificates(writer, "ca", [certificate(number) for number in range(3)])
    made = await Proxy(next(postgres.socket_folder.glob(".s.PGSQL.*[0-9]"))).start()
    yield made
    await made.stop()


@pytest.fixture
def linked(offline: Fastocsp, database: DatabaseURLs, proxy: Proxy) -> Fastocsp:
    """The command, whose ledger is behind the proxy."""
    url = urlsplit(database.cli)
    login = f"{url.username}:{quote(url.password or '')}"
    environ = {"FASTOCSP_DATABASE_URL": f"postgresql://{login}@127.0.0.1:{proxy.port}{url.path}?sslmode=disable"}
    return Fastocsp(offline.folder, offline.environ | environ)


async def while_away(command: Fastocsp, proxy: Proxy, *arguments: object) -> Run:
    """Run it; the ledger comes back after three attempts to connect."""
    proxy.refusing = True
    running = asyncio.create_task(asyncio.to_thread(command, *arguments))
    while proxy.resets < 3:
        await asyncio.sleep(0.02)
    proxy.refusing = False
    return await running


@pytest.mark.parametrize(
    "arguments",
    [
        ("revoke", "--serial", serial(1).hex(), "--issuer", "ca", "--wait"),
        ("unhold", "--serial", serial(1).hex(), "--issuer", "ca"),
        ("issuer", "list"),
        ("edge", "list"),
    ],
    ids=lambda arguments: arguments[0],
)
async def test_a_command_outlasts_a_ledger_that_is_away(
    linked: Fastocsp, proxy: Proxy, arguments: tuple[str, ...]
) -> None:
    """It says so once, and is done when the ledger is back."""
    done = await while_away(linked, proxy, *arguments)
    assert done.status == 0, done.err
    assert done.err.count("trying again") == 1


async def test_a_revocation_cut_at_its_commit_is_repeated(linked: Fastocsp, proxy: Proxy, writer: Connection) -> None:
    """The outcome of the first attempt is unknown; the second one finds out."""
    proxy.cutting = True
    command = ("revoke", "--serial", serial(1).hex(), "--issuer", "ca", "--reason", "superseded")
    running = asyncio.create_task(asyncio.to_thread(linked, *command))
    while not proxy.cuts:
        await asyncio.sleep(0.01)
    proxy.cutting = False
    done = await running
    assert done.status == 0, done.err
    assert await writer.fetchval("select count(*) from certificate_revocations") == 1
    assert await writer.fetchval("select count(*) from audit_events where action = 'revoke'") == 1


async def test_an_unknown_outcome_stays_unknown_when_the_ledger_does_not_come_back(
    linked: Fastocsp, proxy: Proxy
) -> None:
    """Exit status 4, and not the 1 of a command that did nothing."""
    proxy.cutting = True
    command = ("revoke", "--serial", serial(1).hex(), "--issuer", "ca", "--patience", "2")
    running = asyncio.create_task(asyncio.to_thread(linked, *command))
    while not proxy.cuts:
        await asyncio.sleep(0.01)
    proxy.refusing = True
    done = await running
    assert done.status == 4, done.err


async def test_without_patience_nothing_is_tried_again(linked: Fastocsp, proxy: Proxy) -> None:
    """--patience 0 fails at the first attempt."""
    proxy.refusing = True
    done = await asyncio.to_thread(linked, "revoke", "--serial", "01", "--issuer", "ca", "--patience", "0")
    assert done.status == 1
    assert proxy.resets == 1


async def test_bulk_revoke_and_issue_outlast_it_as_well(
    linked: Fastocsp, root_ca: Fastocsp, proxy: Proxy, writer: Connection
) -> None:
    """The certificate is made once, and entered once."""
    (linked.folder / "serials").write_text("\n".join(serial(number).hex() for number in range(3)))
    done = await while_away(linked, proxy, "bulk-revoke", "serials", "--issuer", "ca")
    assert done.status == 0, done.err
    proxy.resets = 0
    issued = await while_away(linked, proxy, "ca", "issue", "root", "--name", "www.example.com")
    assert issued.status == 0, issued.err
    assert await writer.fetchval("select count(*) from certificates where issuer_id = 'root'") == 1
