"""The full HTTP parser on a socket of its own, in front of an application that returns the request's body."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.server import ServerState

from _fastocsp.shared.counters import Counters
from responder.config import EdgeSettings
from responder.telemetry import ROW_SIZE
from responder.web.http_protocol import ColdProtocol


class Bridge:
    """What the protocol needs of the connection loop."""

    draining = False

    def __init__(self) -> None:
        self.connections: dict[ColdProtocol, str] = {}

    def cold_come(self, connection: ColdProtocol, peer: str) -> None:
        """A connection has begun."""
        self.connections[connection] = peer

    def cold_gone(self, connection: ColdProtocol) -> None:
        """A connection has ended."""
        del self.connections[connection]


async def echo(request: Request) -> Response:
    """The body."""
    try:
        return PlainTextResponse(await request.body())
    except ClientDisconnect:
        return Response(status_code=400)


@asynccontextmanager
async def cold_server(**settings: object) -> AsyncIterator[tuple[int, Bridge]]:
    """The port of one, and who is connected."""
    app = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST"])])
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    state, edge, counters = ServerState(), EdgeSettings(**settings), Counters(bytearray(ROW_SIZE))
    bridge = Bridge()
    server = await asyncio.get_running_loop().create_server(
        lambda: ColdProtocol(config, state, {}, edge, counters, bridge, b""), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1], bridge


async def replies(port: int, *pieces: bytes, timeout_s: float = 5.0) -> bytes:
    """Everything that the server sends until it closes, or b"" when it keeps the connection open in silence."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        async with asyncio.timeout(timeout_s):
            while part := await reader.read(65536):
                received += part
    except TimeoutError:
        return b""
    finally:
        writer.close()
    return received
