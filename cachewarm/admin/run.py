"""`fastocsp admin`: the listener itself. No TLS below 1.3, no server banner, limits before authentication."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
from collections import Counter
from functools import partial

import structlog
import uvicorn

from cachewarm.admin.app import build_app
from cachewarm.admin.listener import BoundedProtocol
from cachewarm.admin.reload import Reloader, ReloadRefused
from cachewarm.config import Settings
from responder.parent import die_with_parent
from responder.process import set_up_process
from responder.setting_fields import ConfigError

log = structlog.get_logger("admin")


def run_admin(settings: Settings, *, child: bool = False) -> None:
    """Until told to stop."""
    if child:
        die_with_parent(signal.SIGTERM, os.getppid())
    set_up_process(settings, "admin")
    if settings.admin_tls_cert is None or settings.admin_tls_key is None:
        raise ConfigError(
            "FASTOCSP_ADMIN_TLS_CERT and FASTOCSP_ADMIN_TLS_KEY must be set: the listener speaks TLS alone"
        )
    app = build_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.admin_host,
        port=settings.admin_port,
        loop="cachewarm.admin.listener:BoundedLoop",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        ssl_certfile=str(settings.admin_tls_cert),
        ssl_keyfile=str(settings.admin_tls_key),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # uvicorn would believe X-Forwarded-For of every peer on this host
        timeout_graceful_shutdown=5,
    )
    for name, entries in Counter(name for name, _ in settings.api_keys_named.values()).items():
        if entries > 1:
            log.info("api-key rotation window active", name=name, entries=entries)
    config.load()
    assert config.ssl is not None
    config.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
    app.state.reloader = Reloader(settings, config.ssl, partial(setattr, app.state, "settings"))
    log.info("serving", host=settings.admin_host, port=settings.admin_port)
    AdminServer(config, app.state.reloader).run()


class AdminServer(uvicorn.Server):
    """uvicorn's server, which reloads its files at SIGHUP."""

    def __init__(self, config: uvicorn.Config, reloader: Reloader) -> None:
        super().__init__(config)
        self._reloader = reloader

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and listen for SIGHUP."""
        await super().startup(sockets)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        with contextlib.suppress(ReloadRefused):  # logged, and the old files stay in force
            self._reloader.reload()
