"""Processes that do not outlive each other."""

import asyncio
import os
import resource
import signal
import sys
from asyncio.subprocess import PIPE
from typing import Protocol

import structlog

from responder.config import EdgeSettings
from responder.fork_server import own_environment
from responder.telemetry import set_up_logs

log = structlog.get_logger("process")


def set_up_process(settings: EdgeSettings, name: str) -> None:
    """Prepare a long-lived process: structured logs under its name, and no signal but the expected ones ends it.

    SIGHUP, whose default is to end a process, is ignored: a terminal that closes or a habitual `kill -HUP` stops
    nothing. Children inherit this.
    """
    set_up_logs(settings.log_format, name)
    if settings.insecure_links:
        log.warning("links not authenticated", stores=settings.insecure_links)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def raise_open_files(needed: int) -> int:
    """Raise RLIMIT_NOFILE to the hard limit and return it; log a warning if it is below `needed`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < needed:
        log.warning(
            "open file limit too low", limit=hard, needed=needed, advice="raise LimitNOFILE or lower MAX_CONNECTIONS"
        )
    return hard


async def start_piped(module: str) -> asyncio.subprocess.Process:
    """Start `python -m MODULE OUR_PID` with this interpreter between two pipes of ours, without settings."""
    words = [sys.executable, "-m", module, str(os.getpid())]
    return await asyncio.create_subprocess_exec(*words, env=own_environment(), stdin=PIPE, stdout=PIPE)


class Stoppable(Protocol):
    """A process that was started, by exec or by fork."""

    @property
    def returncode(self) -> int | None: ...  # noqa: D102
    def terminate(self) -> None: ...  # noqa: D102
    def kill(self) -> None: ...  # noqa: D102
    async def wait(self) -> int: ...  # noqa: D102


async def stop(process: Stoppable, patience_s: float) -> None:
    """SIGTERM, and SIGKILL when it takes longer than that."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), patience_s)
    except TimeoutError:
        process.kill()
        await process.wait()
