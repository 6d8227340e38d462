"""Before anybody is known: time and size of a head are bounded. Those who wait hold up nobody who revokes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette

from cachewarm.admin import listener
from cachewarm.admin.app import build_app
from cachewarm.config import Settings
from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import Connection, connected
from cachewarm.ledger.inventory import NewCertificate, add_certificates
from cachewarm.ledger.issuers import add_issuer
from responder.setting_fields import SecretStr
from tests.cachewarm.ledger.conftest import NOW, YEAR, serial
from tests.support.breakage import is_within
from tests.support.edges import lease

KEY = {"Authorization": "Bearer 0123456789abcdef"}


@pytest.fixture
async def ledger(database: DatabaseURLs) -> AsyncIterator[Connection]:
    """An issuer with certificates 0 to 19, and an edge that never acknowledges anything."""
    async with connected(database.owner) as connection:
        await add_issuer(connection, "ca", subject="CN=CA", cert_der=b"the certificate of ca", actor="tests")
        ends = NOW + YEAR
        made = [NewCertificate(serial_number=serial(n), not_before=NOW - YEAR, not_after=ends) for n in range(20)]
        await add_certificates(connection, "ca", made)
        await lease(database, "deaf", timedelta(seconds=30))
        yield connection


@pytest.fixture
async def app(database: DatabaseURLs, tmp_path: Path, ledger: Connection) -> AsyncIterator[Starlette]:
    """The application, its pools open."""
    settings = Settings(
        data_dir=tmp_path, database_url=SecretStr(database.cli), api_keys_named="ann:0123456789abcdef:admin"
    )
    made = build_app(settings)
    async with made.router.lifespan_context(made):
        yield made


def revoke_path(number: int, wait: str = "") -> str:
    """The call that revokes that certificate."""
    return f"/api/v1/certificates/ca:{serial(number).hex()}/revoke{wait}"


async def test_many_who_wait_hold_up_no_urgent_revocation(app: Starlette) -> None:
    """Twelve calls wait for an edge that does not answer; the next revocation is done at once."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://admin") as client:
        waiting = [asyncio.create_task(client.post(revoke_path(n, "?wait=20"), headers=KEY)) for n in range(12)]
        while True:
            rows = (await client.get(f"/api/v1/certificates/ca:{serial(11).hex()}", headers=KEY)).json()
            if rows["status"] == "revoked":
                break
            await asyncio.sleep(0.05)
        begun = time.monotonic()
        urgent = await client.post(revoke_path(19), headers=KEY)
        assert is_within(begun, 5)
        assert (urgent.status_code, urgent.json()["changed"]) == (200, True)
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.parametrize(
    ("body", "path", "words"),
    [
        ({"invalidity_date": "9999-12-31T23:59:59Z"}, revoke_path(1), "invalidity_date must be after 1970-01-01"),
        ({"invalidity_date": "soon"}, revoke_path(1), "invalidity_date is a time in the form"),
        ({}, "/api/v1/certificates/c%00a:01/revoke", "issuer id"),
        ({}, revoke_path(1, "?wait=nan"), "wait is 0 to 300 seconds"),
        ({}, revoke_path(1, "?wait=soon"), "wait is 0 to 300 seconds"),
        ({"reason": "bored"}, revoke_path(1), "bored"),
    ],
)
async def test_a_value_out_of_range_is_a_sentence(app: Starlette, body: dict[str, str], path: str, words: str) -> None:
    """400 with the field and its range; never the database's words."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://admin") as client:
        refused = await client.post(path, headers=KEY, json=body)
    assert refused.status_code == 400
    assert words in refused.json()["error"]


async def test_a_stronger_reason_is_taken_and_a_weaker_one_is_remarked(app: Starlette) -> None:
    """superseded, keyCompromise, superseded: the second changes it, the third says what stays."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://admin") as client:
        said = [
            (await client.post(revoke_path(1), headers=KEY, json={"reason": reason})).json()
            for reason in ("superseded", "keyCompromise", "superseded")
        ]
    assert [(each["changed"], each["reason"]) for each in said] == [
        (True, "superseded"),
        (True, "keyCompromise"),
        (False, "keyCompromise"),
    ]
    assert [bool(each["remark"]) for each in said] == [False, False, True]


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A listener with the limits, in plain HTTP and with short times."""
    monkeypatch.setattr(listener, "HEAD_S", 0.4)
    monkeypatch.setattr(listener, "BODY_S", 0.8)
    config = uvicorn.Config(_echo, port=0, http=listener.BoundedProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def _echo(scope: dict[str, object], receive: object, send: object) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]


async def talk(port: int, octets: bytes) -> bytes:
    """Send these and read until the connection is closed, or for five seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(octets)
    try:
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                return await reader.read(-1)
            return b""
    finally:
        writer.close()


@pytest.mark.parametrize("octets", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "])
async def test_a_half_sent_head_is_closed(port: int, octets: bytes) -> None:
    """Also one that has not begun."""
    assert await talk(port, octets) == b""


async def test_a_trickled_head_is_closed(port: int) -> None:
    """One byte at a time prolongs nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    begun = time.monotonic()
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            writer.write(b"G")
            await writer.drain()
            await asyncio.sleep(0.05)
            if reader.at_eof():
                break
    assert is_within(begun, 3)
    writer.close()


async def test_a_head_beyond_the_limit_is_refused(port: int) -> None:
    """431, and the connection is closed."""
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: " + b"a" * (listener.HEAD_BYTES + 1)
    assert (await talk(port, head)).startswith(b"HTTP/1.1 431 ")


async def test_a_body_that_does_not_come_is_closed(port: int) -> None:
    """The answer is given, and the connection does not stay for the rest."""
    answered = await talk(port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
    assert answered.startswith(b"HTTP/1.1 204")


async def test_an_idle_connection_serves_its_next_request(port: int) -> None:
    """Between two requests only the keep-alive time counts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        await asyncio.sleep(0.6)
    writer.close()
