"""The Python side of the connection loop: its thread, its letters, and its place in uvicorn's life.

To uvicorn it is one connection among those that were handed over: asked to shut down with them, and waited for until
its own have ended. Answers of the slow lane and sockets for the cold lane pass through here.
"""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable
from functools import partial

import structlog
from uvicorn.server import ServerState

from responder.edge.context import EdgeContext
from responder.hotpath.http_exchange import slow_request
from responder.hotpath.limits import Limits
from responder.hotpath.loop import (
    ALL_GONE,
    GIVE_UP_COLD,
    NO_LINE,
    TO_COLD_LANE,
    TO_NONCE_LANE,
    TO_SLOW_LANE,
    Loop,
)
from responder.tasks import end_tasks
from responder.telemetry import INDEX
from responder.web.http_protocol import ColdProtocol
from responder.worker.cold_connections import ColdConnections, Place, address_of
from responder.worker.signer_dialer import SignerDialer

log = structlog.get_logger("worker")
JOIN_S = 5.0
_SIGNER_COUNTERS = INDEX["signed_live"], INDEX["signer_failed"]


def step_back(nice: int) -> None:
    """This thread, and those that it starts from here on, leave a core that is short to the connections' thread."""
    here = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, here, os.getpriority(os.PRIO_PROCESS, here) + nice)


class LoopBridge:
    """Bridge to the connections of one worker."""

    def __init__(
        self, edge: EdgeContext, state: ServerState, make_cold: Callable[[bytes, "LoopBridge"], ColdProtocol]
    ) -> None:
        self._edge, self._state, self._make_cold = edge, state, make_cold
        self._tasks: set[asyncio.Task[object]] = set()
        self.draining = False
        self._stopped = False
        self._counted = tuple(map(edge.counters.get, _SIGNER_COUNTERS))
        settings = edge.settings
        self._places: dict[ColdProtocol, Place] = {}
        self._cold = ColdConnections(max(1, settings.max_connections // 2))

    def start(self, bound: socket.socket, backlog: int) -> None:
        """Listen, inside the running loop."""
        settings = self._edge.settings
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # a client that says nothing is accepted a second later; all others with their first bytes
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
        bound.setblocking(False)
        bound.listen(backlog)
        self.loop = Loop(
            self._edge.lane,
            self._edge.proxies,
            bound.detach(),
            Limits.of(settings),
        )
        self._edge.bridge = self
        self._state.connections.add(self)  # type: ignore[arg-type]
        asyncio.get_running_loop().add_reader(self.loop.to_python.bell, self._read_letters)
        self._thread = threading.Thread(target=self.loop.run, name="connections", daemon=True)
        self._thread.start()
        self._dial = SignerDialer(settings.signer, self.loop.take_signer, self._edge.count_defect)
        self._dialling = asyncio.get_running_loop().create_task(self._dial.run())
        step_back(settings.slow_nice)

    def cold_come(self, connection: ColdProtocol, peer: str) -> None:
        """Count a connection that the full parser serves."""
        self._cold.add(connection, self._places[connection], address_of(peer))

    def cold_gone(self, connection: ColdProtocol) -> None:
        """Remove a connection that has ended."""
        self._cold.remove(connection)
        self.loop.cold_gone(*self._places.pop(connection))

    async def close(self) -> None:
        """End the thread, and close the connections that are left."""
        self._stopped = True
        await end_tasks([self._dialling])
        self.loop.stop()
        await asyncio.to_thread(self._thread.join, JOIN_S)
        asyncio.get_running_loop().remove_reader(self.loop.to_python.bell)

    @property
    def open_connections(self) -> int:
        """Connections of the loop, those handed over not counted."""
        return self.loop.open_connections

    def shutdown(self) -> None:
        """Uvicorn is stopping: answer what is under way."""
        self.draining = True
        self.loop.drain()

    def check_deadline(self) -> None:
        """Called by the tick: a worker whose connections are not served must end and be started again."""
        if not self._stopped and not self._thread.is_alive():
            log.critical("the connection loop has ended")
            os.kill(os.getpid(), signal.SIGTERM)
        self._judge_signer()
        if self.loop.ignored_proxy is not None:
            self._edge.proxy_watch.ignored(self.loop.ignored_proxy)

    def _judge_signer(self) -> None:
        """Log outages of the signer, which the loop can only count."""
        before, self._counted = self._counted, tuple(map(self._edge.counters.get, _SIGNER_COUNTERS))
        if self._counted[0] != before[0]:
            self._edge.signer.outage.answered()
        elif self._counted[1] != before[1]:
            self._edge.signer.outage.failed("no answer in time")

    def _read_letters(self) -> None:
        for letter in self.loop.to_python.letters():
            try:
                self._read_letter(*letter)
            except Exception:
                # one letter must not cost those behind it
                log.exception("letter not handled", kind=letter[0])
                self._edge.counters.add(INDEX["loop_failures"])
                if letter[0] in {TO_SLOW_LANE, TO_NONCE_LANE}:
                    self.loop.answer(letter[0], letter[2], letter[3], None)

    def _read_letter(self, kind: int, fd: int, slot: int, generation: int, octets: bytes) -> None:
        if kind in {TO_SLOW_LANE, TO_NONCE_LANE}:
            task = self._edge.start_slow(slow_request(octets, self._edge.lane.max_body))
            task.add_done_callback(partial(self._answered, kind, slot, generation))
        elif kind == TO_COLD_LANE:
            self._hand_over(socket.socket(fileno=fd), (slot, generation), octets)
        elif kind == GIVE_UP_COLD:
            if self._cold.give_up_one_like((slot, generation)):
                self._edge.counters.add(INDEX["connections_evicted"])
        elif kind == NO_LINE:
            self._dial.lost()
        elif kind == ALL_GONE:
            self._when_handed_over(lambda: self._state.connections.discard(self))

    def _answered(self, kind: int, slot: int, generation: int, task: "asyncio.Task[bytes]") -> None:
        failed = task.cancelled() or task.exception() is not None
        self.loop.answer(kind, slot, generation, None if failed else task.result())

    def _hand_over(self, connected: socket.socket, place: Place, octets: bytes) -> None:
        def make() -> ColdProtocol:
            made = self._make_cold(octets, self)
            self._places[made] = place
            return made

        async def connect() -> None:
            try:
                if not self._cold.make_room():
                    raise ConnectionRefusedError
                await running.connect_accepted_socket(make, connected)
            except OSError as error:
                if isinstance(error, ConnectionRefusedError):
                    self._edge.counters.add(INDEX["connections_refused"])
                connected.close()
                self.loop.cold_gone(*place)

        running = asyncio.get_running_loop()
        task: asyncio.Task[object] = running.create_task(connect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _when_handed_over(self, then: Callable[[], None]) -> None:
        """Once every socket on its way to the cold lane has arrived, where uvicorn waits for it."""
        if not self._tasks:
            then()
            return
        asyncio.get_running_loop().call_later(0.01, self._when_handed_over, then)
