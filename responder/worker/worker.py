"""A worker process: one SO_REUSEPORT socket, its connection loop in a thread, uvicorn for what it hands over.

It is started by the master with its slot number and the memory of the host's table, dies with it, and exits by
uvicorn's own graceful shutdown on SIGTERM. uvicorn raises the signal again when it is done: an exit by SIGTERM is
clean.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys

import structlog
import uvicorn
from starlette.applications import Starlette
from uvicorn.server import Server

from responder.config import EdgeSettings
from responder.edge.context import EdgeContext
from responder.log_limits import limit_library_logs
from responder.parent import die_with_parent
from responder.process import raise_open_files, set_up_process
from responder.setting_values import parse_address
from responder.tasks import end_tasks
from responder.web.app import build_app
from responder.web.http_protocol import ColdProtocol
from responder.web.metrics_app import NoBridge, build_metrics_app
from responder.worker.confinement import confine_worker
from responder.worker.loop_bridge import LoopBridge

log = structlog.get_logger("worker")
BACKLOG = 4096
DRAIN_S = 5
#: Seconds between the ends of two workers that end for the same reason.
ENDS_APART_S = 2.0
#: Descriptors of a worker that are no client's: Redis, signer, shared memory, modules, files that are being read.
OTHER_FILES = 128


def bind(host: str, port: int) -> socket.socket:
    """A listening address of its own for every worker: the kernel spreads connections over them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((host, port))
    return bound


def run_worker(settings: EdgeSettings, slot: int, table_fd: int, parent: int) -> None:
    """Serve until told to stop."""
    die_with_parent(signal.SIGTERM, parent)
    set_up_process(settings, f"edge-{slot}")
    limit_library_logs()
    limit = raise_open_files(settings.max_connections + OTHER_FILES)
    room = max(1, min(settings.max_connections, limit - OTHER_FILES))
    settings = settings.replace(max_connections=room)
    edge = EdgeContext(settings, slot, table_fd)
    server = EdgeServer(_config(settings, build_app(edge)), edge, bind(settings.host, settings.port))
    edge.sandbox = confine_worker(settings)
    gc.freeze()
    log.info("serving", host=settings.host, port=settings.port)
    server.run(sockets=[])


class EdgeServer(Server):
    """uvicorn's server without a listener of its own: its connections come from the bridge."""

    def __init__(self, config: uvicorn.Config, edge: EdgeContext, bound: socket.socket) -> None:
        super().__init__(config)
        self._bound = bound
        self._metrics: asyncio.Server | None = None
        self._bridge = LoopBridge(edge, self.server_state, self._make_cold)
        self._edge = edge
        edge.connections = self.server_state.connections  # type: ignore[assignment]

    def _make_cold(self, first_octets: bytes, bridge: LoopBridge) -> ColdProtocol:
        settings, counters = self._edge.settings, self._edge.counters
        return ColdProtocol(
            self.config, self.server_state, self.lifespan.state, settings, counters, bridge, first_octets
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """The lifespan first: who connects finds a worker that can answer."""
        await super().startup(sockets)
        self._bridge.start(self._bound, BACKLOG)
        self._watching = asyncio.get_running_loop().create_task(self._end_when_replaced())
        await self._serve_metrics()

    async def _end_when_replaced(self) -> None:
        """End this process, for the master to start it again, once something that it reads was replaced."""
        path = await self._edge.sandbox.watch.wait(self._edge.slot * ENDS_APART_S)
        log.warning("a path was replaced, and a confined process cannot read it: started again", path=str(path))
        os.kill(os.getpid(), signal.SIGTERM)

    async def _serve_metrics(self) -> None:
        """On a socket of its own; answers go on without it."""
        settings = self._edge.settings
        if not settings.metrics_listen:
            return
        config = _config(settings, build_metrics_app(self._edge))
        config.lifespan = "off"
        config.load()
        try:
            bound = bind(*parse_address(settings.metrics_listen))
            self._metrics = await asyncio.get_running_loop().create_server(
                lambda: ColdProtocol(config, self.server_state, {}, settings, self._edge.counters, NoBridge(), b""),
                sock=bound,
            )
        except OSError as error:
            log.error("metrics listener not available", listen=settings.metrics_listen, error=str(error))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Uvicorn asks every connection, the bridge among them, and waits a bounded time."""
        await end_tasks([self._watching])
        if self._metrics is not None:
            self._metrics.close()
        await super().shutdown(sockets)
        await self._bridge.close()


def _config(settings: EdgeSettings, app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=ColdProtocol,
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,  # uvicorn would believe X-Forwarded-For of every peer on this host
        timeout_keep_alive=int(settings.keep_alive_timeout),
        timeout_graceful_shutdown=DRAIN_S,
    )


def main() -> None:
    """`python -m responder.worker.worker SLOT TABLE_FD PARENT`, settings in the environment."""
    from responder.config import load_settings

    with contextlib.suppress(KeyboardInterrupt):
        slot, table_fd, parent = map(int, sys.argv[1:4])
        run_worker(load_settings(EdgeSettings, instance=False), slot, table_fd, parent)


if __name__ == "__main__":
    main()
