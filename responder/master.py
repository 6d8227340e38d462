"""The master of an edge host: it feeds the workers and keeps them running. It answers no client itself.

Order at start: the shared page and the journal's set first, so that a worker never lacks a gate; then the feed and
the catalog; then the workers. It makes the memory of their one answer table, so that a restarted worker finds it warm,
and only looks into it to sample the coverage. When the master dies the workers die with it: without an agent they could
answer `good` for a horizon at most, and no process would restart them. A failure in one of its loops never ends the
others.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from _fastocsp.table.memory import make_table_memory
from _fastocsp.table.table import Table
from responder.clock import read_clock
from responder.config import EdgeSettings, as_environment
from responder.domain.catalog import Catalog
from responder.edge.coverage_watch import CoverageWatch
from responder.edge.usage import UsageLog
from responder.edge_pids import PIDS_NAME, pids
from responder.errors import LINK_FAILURES
from responder.feed.agent import FeedAgent
from responder.feed.catalog import keep_catalog, kept_catalog
from responder.feed.catalog_reader import CatalogReader
from responder.feed.crl_evidence import CRLEvidence
from responder.feed.crl_files import CRLFiles
from responder.feed.journal import Journal
from responder.feed.poll import Connection, open_feed
from responder.feed.shared import SharedFeed
from responder.files import map_file, write_file
from responder.forks import ForkedProcess, ForkServer
from responder.hotpath.limits import LIMITER_NAME, limiter_octets
from responder.listeners import check_metrics_listen, check_port
from responder.log_limits import ChangeLog, RateLimitedLog
from responder.parent import die_with_parent
from responder.process import raise_open_files, set_up_process, stop
from responder.retry import Failures, Pauses, run_forever
from responder.tasks import end_tasks
from responder.telemetry import INDEX, MASTER, open_row
from responder.worker.warm_up import ENDED_EARLY

log = structlog.get_logger("master")
CATALOG_INTERVAL_S = 1.0
RESTART_PAUSES = Pauses(0.1, 5.0, healthy_s=10.0, between_s=0.1)
WORKER, WARM_UP = "responder.worker.worker", "responder.worker.warm_up"
DRAIN_S = 10.0
#: Before a warm-up that was cut short is tried again: at first, and at most.
WARM_UP_PAUSE_S, LONGEST_WARM_UP_PAUSE_S = 10.0, 600.0
#: Descriptors of the master: the ledger, one pipe per worker, files that are being written.
OTHER_FILES = 512


class WorkerEnded(Exception):
    """A worker process ended without having been stopped."""


class Master:
    """One edge host. Its workers are made by `forks`, or by a fork server of its own."""

    def __init__(self, settings: EdgeSettings, forks: ForkServer | None = None) -> None:
        self.settings = settings
        self._forks = forks
        self.state_folder = settings.data_dir / "edge"
        with contextlib.suppress(OSError):  # a full disk: what is kept there is written when there is space
            self.state_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.shared = SharedFeed(settings.run)
        map_file(settings.run / LIMITER_NAME, limiter_octets(settings))
        who = FeedAgent.edge_name(settings.edge_name or socket.gethostname(), settings.horizon, self.state_folder)
        self._counters = open_row(settings.run, MASTER)
        self.agent = FeedAgent(
            self.connect,
            who,
            self.shared,
            read_clock,
            settings.poll_interval,
            Journal(self.state_folder),
            self._count_defect,
        )
        self.catalog: Catalog | None = None
        self._reader = CatalogReader(CRLFiles(self.state_folder))
        self._crl_evidence = CRLEvidence(self.state_folder, who.edge or "")
        self._catalog_version = 0
        self._unkept = ChangeLog()
        self._table_fd = make_table_memory(settings.table_bytes)
        table = Table(settings.table_bytes, self._table_fd)
        self.coverage = CoverageWatch(settings, table, self.shared.find)
        self.usage = UsageLog(self.state_folder, table)
        self.workers: dict[int, ForkedProcess] = {}
        self._write_failures = RateLimitedLog()
        self._stopping = asyncio.Event()

    async def connect(self) -> Connection:
        """To the ledger, with this host's login."""
        return await open_feed(self.settings.database_url.get_secret_value() if self.settings.database_url else "")

    async def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        for sig in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sig, self._stopping.set)
        self.agent.boot()
        self.coverage.begin(has_lease=self.shared.has_lease())
        self._take(kept_catalog(self.state_folder))
        work = [asyncio.create_task(self.agent.run()), asyncio.create_task(self._follow_catalog())]
        work += [asyncio.create_task(self._keep_worker(slot)) for slot in range(self.settings.workers)]
        work += [asyncio.create_task(self._log_usage()), asyncio.create_task(self._warm_up())]
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait([*work, stopped], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()
        finally:
            self._stopping.set()
            await asyncio.gather(*(stop(worker, DRAIN_S) for worker in self.workers.values()))
            await end_tasks([*work, stopped])
            await self.coverage.close()
            await self.usage.end()
            if self._forks is not None:
                self._forks.end()
            (self.settings.run / PIDS_NAME).unlink(missing_ok=True)

    async def _keep_worker(self, slot: int) -> None:
        """Start it, and again whenever it ends, slower when it keeps ending."""
        failures = Failures(name=f"worker {slot}", event="", expected=(WorkerEnded,), count=self._count_defect)
        await run_forever(lambda: self._run_worker(slot), RESTART_PAUSES, failures, self._stopping)

    async def start_module(self, module: str, words: Sequence[str], environ: Mapping[str, str]) -> ForkedProcess:
        """Start a process of this host; "@0" among its words stands for the table's file."""
        if self._forks is None or not self._forks.is_running:
            self._forks = ForkServer.start(["responder.plain_logs", WORKER, WARM_UP, "responder.preload"])
        return await self._forks.start_module(module, words, environ, [self._table_fd])

    async def _run_worker(self, slot: int) -> None:
        settings = self.settings.replace(database_url=None)
        worker = self.workers[slot] = await self.start_module(WORKER, [str(slot), "@0"], as_environment(settings))
        try:
            self._write_pids()
            code = await worker.wait()
        except Exception:
            await stop(worker, DRAIN_S)  # or the next run would start a second one beside it
            raise
        if not self._stopping.is_set():
            log.error("worker ended", slot=slot, code=code)
            raise WorkerEnded

    async def _log_usage(self) -> None:
        failures = Failures(name="usage", count=self._count_defect)
        await run_forever(self.usage.run, Pauses(60.0, 60.0), failures)

    async def _warm_up(self) -> None:
        """Have the table filled from Redis once there are issuers, and again later when that was cut short."""
        if self.settings.redis_url is not None and self.settings.warm_up_core > 0:
            while self.catalog is None or not self.catalog.issuers:
                await asyncio.sleep(CATALOG_INTERVAL_S)
            pause = WARM_UP_PAUSE_S
            while await self._run_warm_up() == ENDED_EARLY:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_WARM_UP_PAUSE_S)
        await self._stopping.wait()

    async def _run_warm_up(self) -> int:
        settings = self.settings.replace(database_url=None)
        process = await self.start_module(WARM_UP, ["@0"], as_environment(settings))
        try:
            return await process.wait()
        finally:
            await stop(process, DRAIN_S)

    def _write_pids(self) -> None:
        pids = [worker.pid for _, worker in sorted(self.workers.items()) if worker.returncode is None]
        try:
            write_file(self.settings.run / PIDS_NAME, json.dumps({"master": os.getpid(), "workers": pids}).encode())
        except OSError as error:  # a full disk: the workers matter more than the list of them
            self._write_failures.warn("process list not written", error=str(error))

    async def _follow_catalog(self) -> None:
        """Show every change of issuers, responders and CRLs within about a second, and sample the coverage."""
        failures = Failures(
            name="catalog",
            event="catalog not read",
            expected=(*LINK_FAILURES, ValueError),
            count=self._count_defect,
        )
        await run_forever(self._read_catalogs, Pauses(CATALOG_INTERVAL_S, CATALOG_INTERVAL_S), failures)

    async def _read_catalogs(self) -> None:
        try:
            await self._follow_ledger(await self.connect())
        except Exception:
            self.coverage.ledger_lost()
            raise

    async def _follow_ledger(self, connection: Connection) -> None:
        try:
            while True:
                self._show(await self._reader.read(connection, self.catalog or Catalog()))
                if self.agent.replica.orphans and self.catalog is not None:
                    lost = {issuer_no for issuer_no, _ in self.agent.replica.orphans}
                    await self._crl_evidence.send(connection, self.catalog, lost)
                await self.coverage.run_for(CATALOG_INTERVAL_S, connection, self.catalog or Catalog())
        finally:
            connection.terminate()

    def _count_defect(self) -> None:
        self._counters.add(INDEX["loop_failures"])

    def _show(self, catalog: Catalog) -> None:
        if catalog is self.catalog or catalog == self.catalog:
            return
        try:
            keep_catalog(self.state_folder, catalog)
        except OSError as error:  # a full disk: the workers go on with the one they have
            self._unkept.warn("catalog not kept", "catalog", str(error))
            return
        self._unkept.well("catalog")
        self._take(catalog)

    def _take(self, catalog: Catalog) -> None:
        """Have the workers read the catalog that is on disk."""
        self.catalog = catalog
        self._catalog_version += 1
        self.shared.show_catalog(self._catalog_version)


def run_master(settings: EdgeSettings, forks: ForkServer | None = None) -> None:
    """`fastocsp serve`: until told to stop. Workers are made by `forks`, or by a fork server of its own."""
    import uvloop

    set_up_process(settings, "edge-master")
    raise_open_files(OTHER_FILES)
    if not _workers_left(settings.run):
        settings = settings.replace(port=check_port(settings.host, settings.port))
    if not _workers_left(settings.run):
        settings = settings.replace(metrics_listen=check_metrics_listen(settings.metrics_listen))
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_run(settings, forks))


def _workers_left(run: Path) -> bool:
    """Workers of a master that was killed are still draining: the port is theirs and ours, SO_REUSEPORT shares it."""
    workers = pids(run).get("workers", [])
    return isinstance(workers, list) and any(Path(f"/proc/{pid}").exists() for pid in workers)


async def _run(settings: EdgeSettings, forks: ForkServer | None) -> None:
    await Master(settings, forks).run()


def run_as_child(settings: EdgeSettings, forks: ForkServer | None = None) -> None:
    """The same, ending with the process that started it."""
    die_with_parent(signal.SIGTERM, os.getppid())
    run_master(settings, forks)
