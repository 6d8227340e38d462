"""Does once, before processes are forked, what each of them would do at its start: it ends in memory that they share.

Loaded by a fork server (responder/fork_server.py). What a module builds when it is first used (caches of OpenSSL and of
importlib.metadata, specialised bytecode) is several megabytes, which each process would have alone.
"""

import asyncio
import contextlib
import importlib.metadata
import io
import ssl

import structlog
import uvicorn.lifespan.on
import uvloop
from redis.asyncio import Redis

from responder.config import EdgeSettings, as_environment
from responder.telemetry import set_up_logs


async def _wait() -> None:
    """Pass through what every event loop of ours does: tasks, timers, events, a client without a connection."""
    event = asyncio.Event()
    waiting = [asyncio.create_task(event.wait()), asyncio.create_task(asyncio.sleep(0.001))]
    event.set()
    async with asyncio.timeout(1):
        await asyncio.gather(*waiting)
    await Redis.from_url("unix:///nothing/there").aclose()


async def _no_answer(_scope: object, _receive: object, _send: object) -> None:
    """Answer no request. Three parameters: uvicorn takes a callable that needs none for a factory, and calls it."""


def preload() -> None:
    """Use what processes will use; keep no file, no connection and no key."""
    uvloop.run(_wait())
    uvicorn.Config(_no_answer, ws="none", loop="uvloop", lifespan="on", log_config=None).load()
    importlib.metadata.version("redis")
    as_environment(EdgeSettings())
    ssl.create_default_context()
    _log()


def _log() -> None:
    with contextlib.redirect_stderr(io.StringIO()):
        set_up_logs("json", "preload")
        structlog.get_logger("preload").info("preloaded")
    structlog.contextvars.clear_contextvars()


preload()
