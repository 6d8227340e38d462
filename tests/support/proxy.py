"""A TCP proxy in front of Postgres that breaks links: black hole, reset, delay, cut at COMMIT.

A black hole keeps what was sent and delivers it late, as a network that retransmits does; a delay keeps the order. It
understands as much of the protocol as proofs need: the pid of the backend behind a connection, that a connection polls
the feed, and that a client has just sent what commits a revocation. Everything belongs to one event loop.

With `tls` it is the server's end of TLS too. A hostile one refuses TLS or shows a certificate of somebody else, by
turns, and counts the clients that go on all the same.
"""

import asyncio
import contextlib
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable
from pathlib import Path

#: BackendKeyData: 'K', length 12, pid, key.
_KEY = re.compile(rb"K\x00\x00\x00\x0c(....)....", re.DOTALL)
_COMMITS = b"insert into certificate_revocations"
#: How soon a delay that was healed lets go of what it still has.
_LOOK_S = 0.02
_LINGER_0 = struct.pack("ii", 1, 0)
#: SSLRequest: length and code.
_SSL_REQUEST = struct.pack("!II", 8, 80877103)


class Way:
    """One direction of every connection of a proxy."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.delay_s = 0.0
        self.held = 0

    @property
    def hole(self) -> bool:
        """Nothing passes."""
        return not self.open.is_set()

    @hole.setter
    def hole(self, value: bool) -> None:
        self.open.clear() if value else self.open.set()


class Wire:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client, self.server = client, server
        self._socket: socket.socket | None = client.get_extra_info("socket")
        self.backend = 0
        self.polls = self.commits = self.cut = False

    def reset(self) -> None:
        """RST to the client; the server sees the end."""
        with contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        self.client.transport.abort()


class Proxy:
    """Between one client program and the server's Unix socket; `hostile`, when set, shows that certificate."""

    def __init__(self, server: Path, tls: ssl.SSLContext | None = None) -> None:
        self._server, self._tls = server, tls
        self.hostile: ssl.SSLContext | None = None
        self.tls_refused = self.foreign_shown = self.deceived = 0
        self.up, self.down = Way(), Way()
        self.refusing = self.cutting = False
        self.resets = self.cuts = 0
        self.wires: set[Wire] = set()
        self._knocking: set[asyncio.StreamWriter] = set()
        self._on_poll: Callable[[], None] | None = None

    async def start(self, address: str = "127.0.0.1") -> "Proxy":
        """Listen on a free port of that address of ours."""
        self._listener = await asyncio.start_server(self._serve, address, 0)
        self.port: int = self._listener.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Let go of every connection."""
        self._listener.close()
        while self.wires or self._knocking:
            self.heal()
            self.reset()
            for writer in self._knocking:
                writer.transport.abort()
            await asyncio.sleep(0.01)

    def reset(self) -> None:
        """RST on every connection."""
        for wire in tuple(self.wires):
            self.resets += 1
            wire.reset()

    def heal(self) -> None:
        """Everything passes at once."""
        self.refusing = self.cutting = False
        for way in (self.up, self.down):
            way.hole, way.delay_s = False, 0.0

    async def next_poll(self, then: Callable[[], None]) -> None:
        """Until a client's poll has been passed on; `then` runs before anything else of it can pass."""
        passed = asyncio.Event()

        def seen() -> None:
            self._on_poll = None
            then()
            passed.set()

        self._on_poll = seen
        try:
            await asyncio.wait_for(passed.wait(), 10)
        finally:
            self._on_poll = None

    def poller(self) -> int:
        """Pid of the backend that answers the polls; 0 while there is none."""
        return next((wire.backend for wire in self.wires if wire.polls), 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._tls is not None:
            self._knocking.add(writer)
            try:
                is_taken = await self._take_tls(self._tls, reader, writer)
            finally:
                self._knocking.discard(writer)
            if not is_taken:
                writer.transport.abort()
                return
        try:
            below, server = await asyncio.open_unix_connection(self._server)
        except OSError:
            writer.transport.abort()
            return
        wire = Wire(writer, server)
        if self.refusing:
            self.resets += 1
            wire.reset()
        self.wires.add(wire)
        pumps = [
            asyncio.ensure_future(self._pump(wire, reader, server, self.up, self._from_client)),
            asyncio.ensure_future(self._pump(wire, below, writer, self.down, self._from_server)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            server.transport.abort() if not wire.cut else server.close()
            writer.close()
            self.wires.discard(wire)

    async def _take_tls(
        self, genuine: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer the client's SSLRequest as the server would; False when the connection leads nowhere."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if await reader.readexactly(len(_SSL_REQUEST)) != _SSL_REQUEST:
                return False
            if self.hostile is None:
                writer.write(b"S")
                await writer.start_tls(genuine)
                return True
            if self.tls_refused <= self.foreign_shown:
                self.tls_refused += 1
                writer.write(b"N")
            else:
                self.foreign_shown += 1
                writer.write(b"S")
                await writer.start_tls(self.hostile)
            await reader.readexactly(1)
            self.deceived += 1
        return False

    async def _pump(
        self,
        wire: Wire,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        way: Way,
        look: Callable[[Wire, bytes], bool],
    ) -> None:
        """Read without waiting for the write, so that a delay delays and does not slow down."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def write() -> None:
            while True:
                due, octets = await queue.get()
                while way.delay_s and (left := due - time.monotonic()) > 0:
                    await asyncio.sleep(min(left, _LOOK_S))
                if way.hole:
                    way.held += len(octets)
                    await way.open.wait()
                if not octets:
                    return
                if look(wire, octets):
                    writer.write(octets)
                    await writer.drain()
                if self._on_poll and way is self.up and wire.polls:
                    self._on_poll()

        writing = asyncio.ensure_future(write())
        try:
            with contextlib.suppress(OSError):
                while octets := await reader.read(65536):
                    queue.put_nowait((time.monotonic() + way.delay_s, octets))
            queue.put_nowait((time.monotonic() + way.delay_s, b""))
            with contextlib.suppress(OSError):
                await writing
        finally:
            writing.cancel()

    def _from_client(self, wire: Wire, octets: bytes) -> bool:
        """A revocation is parsed in one message and carried out, commit included, by the next Bind."""
        wire.polls = wire.polls or b"from feed_poll(" in octets
        wire.commits = wire.commits or _COMMITS in octets
        wire.cut = wire.cut or (self.cutting and wire.commits and octets[:1] == b"B")
        return True

    def _from_server(self, wire: Wire, octets: bytes) -> bool:
        if not wire.backend and (key := _KEY.search(octets)):
            wire.backend = int.from_bytes(key[1], "big")
        if wire.cut:
            self.cuts += 1
            wire.reset()
            return False
        return True
