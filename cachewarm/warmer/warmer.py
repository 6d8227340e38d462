"""The warmer: hears what the ledger committed and keeps Redis, CRLs and responder certificates as they should be.

Loops that share nothing but the feed and the keyring: the feed agent, the pipeline behind it, the walk of the
inventory, the responders, the CRLs, the CRLs of others, the check of the audit chain, the watch over edges. Each may
fail and try again without the others; all of their work is idempotent, so a killed warmer and two warmers are the same
case.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import chain
from uuid import uuid4

import structlog
from prometheus_client.core import Metric

from _fastocsp.revoked.ledger_wire import parse_items
from _fastocsp.wire.types import Item
from cachewarm.ca_signer.client import ca_keys_of
from cachewarm.config import Settings
from cachewarm.crl.schedule import CRLSchedule
from cachewarm.errors import CachewarmError, Fatal
from cachewarm.ledger import faults, warmers
from cachewarm.ledger import feed as ledger_feed
from cachewarm.ledger.audit import verify_audit
from cachewarm.ledger.connect import Connection, connect
from cachewarm.ledger.entered import forget_changes
from cachewarm.mirror.schedule import MirrorSchedule
from cachewarm.records.keyring import Keyring
from cachewarm.records.keyring_watcher import KeyringWatcher
from cachewarm.records.publisher import Publisher
from cachewarm.records.publisher import connect as connect_redis
from cachewarm.records.signing_pool import SigningPool
from cachewarm.recovery.fence import LossWatch
from cachewarm.warmer.ca_signer_watch import CASignerWatch
from cachewarm.warmer.edge_watch import EdgeWatch
from cachewarm.warmer.event_pipeline import Pipeline
from cachewarm.warmer.fault_reports import report_faults
from cachewarm.warmer.heartbeat import HeartbeatLoop
from cachewarm.warmer.inventory_walk import Walk
from cachewarm.warmer.new_certificates import NewCertificates
from cachewarm.warmer.responder_rotation import ROTATED, Rotation, RotationSchedule, Terms, rotate
from cachewarm.warmer.walk_rounds import WalkRounds
from responder.clock import read_clock
from responder.feed.agent import FeedAgent
from responder.feed.local import LocalFeed
from responder.feed.poll import Who, open_feed
from responder.hidden_memory import hide_memory
from responder.parent import die_with_parent
from responder.process import set_up_process
from responder.retry import Failures, Pauses, run_forever
from responder.sources.redis_reader import REDIS_FAILURES
from responder.tasks import end_tasks
from responder.web.process_metrics import ProcessMetrics, run_metrics

log = structlog.get_logger("warmer")
PAUSES = Pauses(0.2, 5.0, healthy_s=50.0, between_s=0.2)
RESPONDERS_INTERVAL_S = 2.0
#: Names of the loops in logs and metrics.
LOOPS = ("feed", "responders", "pipeline", "walk", "inventory", "CRLs", "mirrors", "CA signer", "audit", "trimming")
TICK_S = 1.0


class Warmer:
    """One warmer; any number may run."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # A cursor says what is in Redis, not what this process did: warmers of one data folder share one, and whichever
        # is behind writes a smaller seq at worst, which costs the next start some repetition.
        self.name = f"{socket.gethostname()}-{settings.data_dir}"
        self._issuer_faults: dict[str, Sequence[str]] = {}
        self.edges = EdgeWatch()
        self.heartbeat = HeartbeatLoop(self.name, lambda: len(self._items), lambda: self._issuer_faults)
        self.metrics = ProcessMetrics("warmer", LOOPS, lambda: self._issuer_faults, self._metrics)
        self.feed = LocalFeed(read_clock)
        self.agent = FeedAgent(
            self._open_feed,
            Who(None, uuid4(), settings.horizon),
            self.feed,
            read_clock,
            settings.poll_interval,
            count_defect=self.metrics.counter_of("feed"),
        )
        self.agent.replica.on_change = self._on_feed_items
        self.keys = KeyringWatcher(self._connect, settings.keys, settings.passphrase)
        redis_url = settings.redis_url.get_secret_value() if settings.redis_url else "redis://127.0.0.1:6379"
        self.publisher = Publisher(connect_redis(redis_url))
        self.pipeline = Pipeline(self.feed, self.publisher, self.keyring, self.now, settings.ocsp_response_validity)
        self.pool = SigningPool(settings.sign_processes)
        self.walk = Walk(self.pipeline, self.publisher, self.keyring, self.now, settings.warm_batch, self.pool)
        self.rounds = WalkRounds(self.walk, self.publisher, settings.warm_interval, f"{self.name}-{uuid4()}")
        self.new = NewCertificates(self.walk, self.keyring, self.now, settings.warm_batch)
        self.ca_keys = ca_keys_of(settings)
        self.ca_signer = CASignerWatch(self.ca_keys, self._issuer_faults)
        self.crls = CRLSchedule(settings, self.ca_keys)
        self.mirrors, self.losses = MirrorSchedule(settings), LossWatch()
        self._items, self._changed = list[Item](), asyncio.Event()
        self._walk_faults: dict[str, str] = {}

    def keyring(self) -> Keyring:
        """Return the current keyring."""
        return self.keys.keyring

    def now(self) -> int:
        """Return the time in epoch seconds."""
        return int(time.time())

    async def run(self) -> None:
        """Until cancelled; a Fatal error ends it, and the supervisor begins again."""
        loops = [
            self.agent.run(),
            self._run_with_retry(self._responders, "responders"),
            self._run_with_retry(self._process, "pipeline"),
            self._run_with_retry(self._walks, "walk"),
            self._run_with_retry(self._follow_inventory, "inventory"),
            self._run_with_retry(self.crls.run, "CRLs"),
            self._run_with_retry(self.mirrors.run, "mirrors"),
            self._run_with_retry(self.losses.run, "orphans"),
            self._run_with_retry(self.ca_signer.run, "CA signer"),
            self._run_with_retry(self._audit, "audit"),
            self._run_with_retry(self._trim, "trimming"),
            self._run_with_retry(self.edges.run, "edges"),
            self._run_with_retry(self.heartbeat.run, "heartbeat"),
        ]
        if self.settings.warmer_metrics_listen:
            loops.append(run_metrics(self.metrics, self.settings.warmer_metrics_listen, self.settings))
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end_tasks(tasks)
            await self.pool.end()

    async def _run_with_retry(self, work: Callable[[Connection], Awaitable[None]], name: str) -> None:
        """Run `work` with a connection of its own; after a failure again, after a growing pause."""

        async def once() -> None:
            try:
                connection = await self._connect()
                try:
                    await work(connection)
                finally:
                    connection.terminate()
            except Exception:
                self.heartbeat.failed(name)
                raise

        failures = Failures(
            name=name,
            event=f"{name} stopped",
            expected=(CachewarmError, *REDIS_FAILURES),
            fatal=(Fatal,),
            count=self.metrics.counter_of(name),
        )
        await run_forever(once, PAUSES, failures)

    def _metrics(self) -> Iterator[Metric]:
        return chain(self.heartbeat.collect(), self.edges.metrics(), self.losses.metrics())

    def _on_feed_items(self, items: list[Item]) -> None:
        self.walk.on_feed_items(items)
        self._items += items
        self._changed.set()

    async def _process(self, connection: Connection) -> None:
        """The pipeline: what the cursor had not seen first, then what is heard."""
        await self._ready()
        missed = await self._missed(connection)
        self._items = missed + self._items
        while True:
            if not self._items:
                self._changed.clear()
                await self._changed.wait()
            items = list(self._items)
            cursor = ledger_feed.Cursor(self.feed.position.generation, self.feed.position.seq)
            await self.keys.read(connection)
            published = await self.pipeline.process(connection, items, cursor, self.name)
            del self._items[: len(items)]
            log.info("carried", changes=len(items), published=published, seq=cursor.seq)

    async def _missed(self, connection: Connection) -> list[Item]:
        cursor = await ledger_feed.read_cursor(connection, self.name)
        if cursor is None:
            return []
        return [item for each in await ledger_feed.payloads_after(connection, cursor.seq) for item in parse_items(each)]

    async def _walks(self, connection: Connection) -> None:
        """Visit what is due, all of it after Redis lost records, and verify the rest at leisure."""
        await self._ready()
        await warmers.take_place(connection)
        await self.new.start(connection)
        heard = self._whole_sets()
        while True:
            begun = time.monotonic()
            self.walk.share = await warmers.place(connection)
            await self.keys.read(connection)
            self.walk.follow()
            if heard != self._whole_sets():  # what changed in between, the pipeline was not told
                heard = self._whole_sets()
                self.walk.segments.wake_all(self.now())
            count = await self.rounds.tick(connection, self.now())
            if self.walk.segments.next_due() > self.now():
                self.heartbeat.walked(count.signed)
            if count.faults or self.walk.faults.keys() != self._walk_faults.keys():
                found = self.walk.faults
                self._walk_faults = await report_faults(connection, faults.WALK, self._walk_faults, found, count.errors)
                self._issuer_faults[faults.WALK] = list(found)
            await asyncio.sleep(max(0.0, begun + TICK_S - time.monotonic()))

    def _whole_sets(self) -> tuple[int, int]:
        """Return a value that differs once the revoked set was taken as a whole, or the ledger was restored."""
        return self.agent.replica.adoptions, self.feed.position.generation

    async def _follow_inventory(self, connection: Connection) -> None:
        """Sign what is entered, within a second."""
        await self._ready()
        await self.new.run(connection)

    async def _responders(self, connection: Connection) -> None:
        settings, known, schedule = self.settings, dict[str, str](), RotationSchedule()
        while True:
            ring = await self.keys.read(connection)
            terms = Terms(
                folder=settings.keys,
                passphrase=settings.passphrase,
                now=self.now(),
                validity_s=settings.ocsp_responder_validity,
                grace_s=settings.ocsp_responder_rotation_grace,
                ca_keys=self.ca_keys,
            )
            due = schedule.due(ring, self.keys.take_touched(), terms.now + terms.grace)
            done = await rotate(connection, due, terms) if due else Rotation()
            schedule.looked_at(due, done)
            if due or known.keys() != schedule.faults.keys():
                known = await report_faults(connection, faults.RESPONDER, known, dict(schedule.faults), done.errors)
                self._issuer_faults[faults.RESPONDER] = list(known)
            if len(due) < ROTATED:
                await asyncio.sleep(RESPONDERS_INTERVAL_S)

    async def _audit(self, connection: Connection) -> None:
        """Walk the audit chain now and then; a broken link is for a person."""
        while True:
            verdict = await verify_audit(connection)
            self.heartbeat.audited(verdict.broken_at)
            if verdict.broken_at is not None:
                log.error("the audit chain is broken", at=verdict.broken_at, events=verdict.seq)
            await asyncio.sleep(self.settings.audit_chain_verify_interval)

    async def _trim(self, connection: Connection) -> None:
        """Drop events of the feed that every edge has had for long, and old rows of the log of changed issuers.

        An edge that was away longer takes a snapshot.
        """
        while True:
            gone = await ledger_feed.trim_feed(connection, self.settings.feed_keep)
            if gone:
                log.info("feed trimmed", events=gone)
            await forget_changes(connection)
            await asyncio.sleep(self.settings.feed_trim_interval)

    async def _ready(self) -> None:
        """The feed has a lease: what is not in the set may be called good."""
        while self.feed.as_of is None:
            await asyncio.sleep(0.05)

    async def _connect(self) -> Connection:
        return await connect(self.settings.require_database(), name="fastocsp warmer")

    async def _open_feed(self) -> Connection:
        return await open_feed(self.settings.require_database().get_secret_value())


async def _until_told(settings: Settings) -> None:
    stopping = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stopping.set)
    running, told = asyncio.create_task(Warmer(settings).run()), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([running, told], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        await end_tasks([running, told])


def run_warmer(settings: Settings, *, child: bool = False) -> None:
    """Run the warmer in this process."""
    import uvloop

    if child:
        die_with_parent(signal.SIGTERM, os.getppid())
    set_up_process(settings, "warmer")
    if settings.sandbox != "off":
        hide_memory()
    uvloop.run(_until_told(settings))
    log.info("stopped")
