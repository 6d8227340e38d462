"""A worker process: one loop, one SO_REUSEPORT socket, uvicorn around our protocol.

It is started by the master with its slot number, dies with it, and exits by uvicorn's own graceful shutdown on
SIGTERM. uvicorn raises the signal again when it is done: an exit by SIGTERM is clean.
"""

import contextlib
import gc
import signal
import socket
import sys
from typing import Any

import structlog
import uvicorn
from uvicorn.server import Server, ServerState

from responder.config import EdgeSettings
from responder.edge.edge import Edge
from responder.edge.protocol import EdgeProtocol
from responder.process import die_with_parent
from responder.telemetry import set_up_logs
from responder.web.app import build_app
from responder.web.cold import ColdProtocol

log = structlog.get_logger("worker")
BACKLOG = 4096
DRAIN_S = 5


def bind(host: str, port: int) -> socket.socket:
    """A listening address of its own for every worker: the kernel spreads connections over them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((host, port))
    return bound


def run_worker(settings: EdgeSettings, slot: int, parent: int) -> None:
    """Serve until told to stop."""
    die_with_parent(signal.SIGTERM, parent)
    set_up_logs(settings.log_format, f"edge-{slot}")
    edge = Edge(settings, slot)
    config = _config(settings, edge)
    server = Server(config)
    edge.connections = server.server_state.connections  # type: ignore[assignment]
    gc.freeze()
    log.info("serving", host=settings.host, port=settings.port)
    server.run(sockets=[bind(settings.host, settings.port)])


def _config(settings: EdgeSettings, edge: Edge) -> uvicorn.Config:
    def make_protocol(
        config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any], _loop: object = None
    ) -> EdgeProtocol:
        return EdgeProtocol(
            edge.shop,
            server_state,
            lambda: ColdProtocol(config, server_state, app_state, settings.header_timeout, edge.counters),
        )

    return uvicorn.Config(
        build_app(edge),
        http=make_protocol,  # type: ignore[arg-type]
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=int(settings.keep_alive_timeout),
        timeout_graceful_shutdown=DRAIN_S,
        backlog=BACKLOG,
    )


def main() -> None:
    """`python -m responder.edge.worker SLOT PARENT`, settings in the environment."""
    from responder.config import load_settings

    with contextlib.suppress(KeyboardInterrupt):
        run_worker(load_settings(EdgeSettings, instance=False), int(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    main()
