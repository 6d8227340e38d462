"""`fastocsp signer`: feed, keys and socket put together."""

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from pathlib import Path
from uuid import uuid4

import structlog

from cachewarm.config import Settings
from cachewarm.ledger.connect import Connection, connect
from cachewarm.records.keyring_watcher import KeyringWatcher
from cachewarm.signer.decisions import SignerDecisions
from cachewarm.signer.inventory_cache import InventoryCache
from cachewarm.signer.server import SignerServer
from responder.clock import read_clock
from responder.feed.agent import FeedAgent
from responder.feed.journal import Journal
from responder.feed.local import LocalFeed
from responder.feed.poll import Who, open_feed
from responder.landlock import Allowed
from responder.links import postgres_ports
from responder.parent import die_with_parent
from responder.process import set_up_process
from responder.sandbox import Sandbox, confine, files_of, postgres_files, with_dns
from responder.setting_values import parse_address
from responder.tasks import end_tasks
from responder.web.process_metrics import ProcessMetrics, run_metrics

log = structlog.get_logger("signer")


async def serve(settings: Settings, sandbox: Sandbox) -> None:
    """Sign until SIGTERM or SIGINT, or until something that this process reads was replaced (exit status 1)."""
    stopping = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stopping.set)

    async def open_connection() -> Connection:
        return await connect(settings.require_database(), name="fastocsp signer")

    async def open_feed_connection() -> Connection:
        return await open_feed(settings.require_database().get_secret_value())

    metrics = ProcessMetrics("signer", ("feed", "keyring"), lambda: {"sign": keys.keyring.without_pair})
    feed = LocalFeed(read_clock)
    agent = FeedAgent(
        open_feed_connection,
        Who(None, uuid4(), settings.horizon),
        feed,
        read_clock,
        settings.poll_interval,
        open_journal(settings.data_dir / "signer"),
        count_defect=metrics.counter_of("feed"),
    )
    agent.boot()
    keys = KeyringWatcher(open_connection, settings.keys, settings.passphrase, metrics.counter_of("keyring"))
    decisions = SignerDecisions(
        feed,
        InventoryCache(open_connection),
        lambda: keys.keyring,
        lambda: int(time.time()),
        settings.ocsp_response_validity,
    )
    server = await SignerServer(decisions, settings.signer_queue, settings.signer_uids).listen(settings.signer)
    log.info("signing", socket=str(settings.signer))
    work = [asyncio.create_task(agent.run()), asyncio.create_task(keys.run())]
    if settings.signer_metrics_listen:
        work.append(asyncio.create_task(run_metrics(metrics, settings.signer_metrics_listen, settings)))
    stopped, replaced = asyncio.create_task(stopping.wait()), asyncio.create_task(sandbox.watch.wait())
    try:
        done, _ = await asyncio.wait([*work, stopped, replaced], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopped, replaced}:
            task.result()
        if replaced in done:
            path = str(replaced.result())
            log.warning("a path was replaced, and a confined process cannot read it: to be started again", path=path)
            sys.exit(1)
    finally:
        server.close()
        await end_tasks([*work, stopped, replaced])
        with contextlib.suppress(OSError):
            settings.signer.unlink()


def confine_signer(settings: Settings) -> Sandbox:
    """Confine this process: its keys to read, its journal and the folder of its socket to write, the ledger to ask."""
    url = settings.require_database().get_secret_value()
    journal = settings.data_dir / "signer"
    with contextlib.suppress(OSError):
        journal.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings.signer.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # it may be there before the edge
    metrics = [parse_address(settings.signer_metrics_listen)[1]] if settings.signer_metrics_listen else []
    allowed = Allowed(
        reads=[settings.keys, *postgres_files(), *files_of(url)],
        writes=[journal, settings.signer.parent],
        connects=with_dns(postgres_ports(url)),
        binds=metrics,
    )
    return confine(settings.sandbox, allowed, holds_keys=True)


def open_journal(folder: Path) -> Journal | None:
    """Return the signer's own journal of the feed, None where it cannot have one.

    What the ledger loses the signer knows by itself, over its restarts: it signs `revoked` on no word of an edge.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / "feed.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until the process ends
        return Journal(folder)
    except OSError as error:
        log.warning("feed not journalled", folder=str(folder), error=str(error))
        return None


def run_signer(settings: Settings, *, child: bool = False) -> None:
    """Run the signer in this process."""
    import uvloop

    if child:
        die_with_parent(signal.SIGTERM, os.getppid())
    set_up_process(settings, "signer")
    sandbox = confine_signer(settings)
    uvloop.run(serve(settings, sandbox))
