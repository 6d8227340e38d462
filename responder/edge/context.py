"""One worker: its lanes, its tick, its part in the host's table, and the catalog as of now. It belongs to one event
loop; what the lane reads, the connection loop uses as well, under the lane's lock.
"""

import asyncio
import contextlib
import ipaddress
import secrets
import time
from typing import Protocol

import structlog

from _fastocsp.http.proxies import Proxies
from _fastocsp.shared.bucket import Bucket
from _fastocsp.shared.lock import Lock
from _fastocsp.table.table import Table
from responder.config import EdgeSettings, Networks
from responder.domain.catalog import Catalog
from responder.domain.key import Key
from responder.domain.redis_layout import parse_record_name
from responder.edge.coverage import ReportReader
from responder.edge.crl_shelf import CRLShelf
from responder.edge.proxy_watch import ProxyWatch
from responder.edge.rules import Answerer, Policy, Tiers
from responder.edge.slow_path import answer_slowly
from responder.errors import Refusal
from responder.feed.catalog import kept_catalog
from responder.feed.shared import SLOT_CATALOG, SLOT_GENERATION, SLOT_SEQ, FeedPage
from responder.files import open_map
from responder.hotpath.gate import Gate
from responder.hotpath.lane import Lane
from responder.hotpath.limits import LIMITER_NAME
from responder.hotpath.slow_request import SlowRequest
from responder.retry import Failures, Pauses, run_forever
from responder.sandbox import Sandbox
from responder.sources.redis import CachedSource
from responder.sources.redis_reader import ANNOUNCED_AT_ONCE, REDIS_FAILURES, Announcements, BatchReader, connect
from responder.sources.signer import SignerSource
from responder.sources.single_flight import GuardedSource
from responder.tasks import end_tasks
from responder.telemetry import INDEX, open_row

log = structlog.get_logger("edge")
TICK_S = 0.1
#: Between two looks for renewed records; a record past half of its life is looked for in each.
REFRESH_INTERVAL_S = 2.0
#: Between two looks for announcements, and for the server to answer one.
ANNOUNCED_PAUSE_S, ANNOUNCED_TIMEOUT_S = 0.1, 5.0
_MAX_REFRESH = 5000


class Connection(Protocol):
    """A connection in uvicorn's set."""

    def check_deadline(self) -> None:
        """Called by the tick."""


class OpenConnections(Protocol):
    """Number of open connections, as the gauges need it."""

    @property
    def open_connections(self) -> int:
        """Connections of the loop, those handed over not counted."""
        ...


class EdgeContext:
    """Made before the loop runs, started inside it."""

    def __init__(self, settings: EdgeSettings, slot: int, table_fd: int) -> None:
        self.settings = settings
        self.slot = slot
        self.page = FeedPage(settings.run)
        self.state_folder = settings.data_dir / "edge"
        self.counters = open_row(settings.run, slot)
        self.catalog = Catalog()
        self._catalog_version = -1
        self._refresh_at = 0.0
        self._announcements = Announcements()
        self.crls = CRLShelf(self.state_folder, int(settings.crl_max_age))
        self.coverage = ReportReader(settings.run)
        lock = Lock()
        self.lane = Lane(
            Table(settings.table_bytes, table_fd),
            Gate(settings.run, lock),
            Bucket(
                open_map(settings.run / LIMITER_NAME, write=True),
                settings.ocsp_rate_limit_per_ip_min,
                secrets.randbits(64),
            ),
            self.counters,
            self.catalog.index,
            settings.max_body_size,
            int(settings.ocsp_max_age),
        )
        self.proxies = Proxies((net.network_address.packed, net.prefixlen) for net in settings.trusted_proxies)
        self.proxy_watch = ProxyWatch()
        self._tasks: set[asyncio.Task[object]] = set()
        self.connections: set[Connection] = set()
        self.bridge: OpenConnections | None = None
        #: What this worker gave up.
        self.sandbox = Sandbox()
        self.load_catalog()

    async def start(self) -> None:
        """Connect what needs a loop."""
        redis_url = self.settings.redis_url.get_secret_value() if self.settings.redis_url else "redis://127.0.0.1:6379"
        self.redis = connect(redis_url, self.settings.redis_timeout)
        self.signer = SignerSource(self.settings.signer, self.settings.signer_timeout, self.counters)
        signed = GuardedSource(self.signer, self.settings.signer_lane)
        self.cached = CachedSource(
            BatchReader(self.redis, self.settings.redis_timeout), signed, lambda: self.catalog, self.now, self.counters
        )
        self.guarded = GuardedSource(self.cached, self.settings.signer_lane * 4)
        self.answerer = Answerer(
            policy=Policy(self.settings.nonce_policy, self.settings.on_closed),
            table=self.lane.table,
            gate=self.lane.gate,
            tiers=Tiers(self.guarded, signed, self.signer, asyncio.Semaphore(self.settings.signer_lane)),
            catalog=lambda: self.catalog,
            now=self.now,
            counters=self.counters,
            place=lambda: (self.page.get(SLOT_GENERATION), self.page.get(SLOT_SEQ)),
        )
        ticking = run_forever(self._tick, Pauses(TICK_S, 1.0, between_s=TICK_S), self._defects("tick", "tick failed"))
        listening = run_forever(
            lambda: self._read_announcements(redis_url), Pauses(1.0, 1.0), self._defects("announcements")
        )
        for work in (ticking, listening):
            self._keep(asyncio.get_running_loop().create_task(work))

    async def stop(self) -> None:
        """Let go of everything that `start` took."""
        await end_tasks(self._tasks)
        await self.signer.close()
        with contextlib.suppress(*REDIS_FAILURES):
            await self.redis.aclose()

    def now(self) -> int:
        """Return the time in epoch seconds."""
        return int(time.time())

    def start_slow(self, request: SlowRequest) -> "asyncio.Task[bytes]":
        """The slow lane's task for this request."""
        return asyncio.get_running_loop().create_task(
            answer_slowly(request, self.answerer, self.counters, self.now(), self.lane.max_age)
        )

    def client_of(self, forwarded_for: bytes, peer: str) -> bytes:
        """Packed address of the client; `forwarded_for` is the field as it came, b"" when absent."""
        packed = ipaddress.ip_address(peer.partition("%")[0]).packed
        if forwarded_for and not self.proxies.trust(packed):
            self.counters.add(INDEX["forwarded_ignored"])
            self.proxy_watch.ignored(packed)
        return self.proxies.client_of(forwarded_for, packed)

    def load_catalog(self) -> None:
        """Take over the catalog when the agent has a newer one."""
        version = self.page.get(SLOT_CATALOG)
        if version == self._catalog_version:
            return
        catalog = kept_catalog(self.state_folder, self.catalog)
        self.lane.take_issuers(catalog.index)
        self.catalog = catalog
        self.crls.take(catalog)
        self.lane.take_crls(self.crls.tags())
        self._catalog_version = version

    def _defects(self, name: str, event: str = "") -> Failures:
        """Lost links are expected, everything else is counted."""
        return Failures(name=name, event=event, expected=REDIS_FAILURES, count=self.count_defect)

    def count_defect(self) -> None:
        """Count an unforeseen failure of a loop."""
        self.counters.add(INDEX["loop_failures"])

    async def _tick(self) -> None:
        self.load_catalog()
        self.lane.gate.remap()
        for connection in tuple(self.connections):
            connection.check_deadline()
        self._put_gauges()
        self.proxy_watch.tick(self.counters, time.monotonic())
        if time.monotonic() >= self._refresh_at:
            self._refresh_at = time.monotonic() + REFRESH_INTERVAL_S
            self._refresh_due()

    def _put_gauges(self) -> None:
        ours = 0 if self.bridge is None else self.bridge.open_connections
        self.counters.put(INDEX["connections"], len(self.connections - {self.bridge}) + ours)
        self.counters.put(INDEX["table_entries"], len(self.lane.table))
        self.counters.put(INDEX["table_octets"], self.lane.table.octets)
        self.counters.put(INDEX["table_evicted"], self.lane.table.evicted)
        self.counters.put(INDEX["table_emptied"], self.lane.table.emptied)
        self.counters.put(INDEX["slow_lane"], self.guarded.under_way)

    def _refresh_due(self) -> None:
        for key in self.lane.take_due()[:_MAX_REFRESH]:
            self._keep(asyncio.get_running_loop().create_task(self._refresh(Key(*key))))

    async def _refresh(self, key: Key) -> None:
        """A record past half of its life: take the renewed one from Redis, if there is one."""
        with contextlib.suppress(Refusal):
            found = await self.cached.from_redis(key)
            if found is not None and self.lane.table.put(*key, found):
                self.counters.add(INDEX["refreshed"])

    async def _read_announcements(self, redis_url: str) -> None:
        """Drop the records that the writer has replaced. Only speed depends on it: the gate does not."""
        client = connect(redis_url, ANNOUNCED_TIMEOUT_S)
        try:
            while True:
                names = await self._announcements.read(client)
                for name in names:
                    self._forget(name)
                if len(names) < ANNOUNCED_AT_ONCE:
                    await asyncio.sleep(ANNOUNCED_PAUSE_S)
        finally:
            await client.aclose()

    def _forget(self, name: bytes) -> None:
        with contextlib.suppress(ValueError):
            self.lane.table.discard(*parse_record_name(name))

    def _keep(self, task: "asyncio.Task[object]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def within(peer: str, networks: Networks) -> bool:
    """The address lies in one of the networks; mapped IPv4 counts as IPv4."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)
