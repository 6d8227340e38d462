"""One worker: its lanes, its tick, its part in the host's table, and the catalog as of now. It belongs to one event
loop; what the lane reads, the connection loop uses as well, under the lane's lock.
"""

import asyncio
import contextlib
import ipaddress
import time
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from redis.exceptions import RedisError

from _fastocsp.http.proxies import Proxies
from _fastocsp.shared.bucket import Bucket
from _fastocsp.shared.lock import Lock
from _fastocsp.table.table import Table
from responder.config import EdgeSettings, Networks
from responder.domain.catalog import Catalog
from responder.domain.redis_layout import ANNOUNCE_STREAM, parse_record_name
from responder.edge.crl_shelf import CRLShelf
from responder.edge.rules import Answerer, Policy
from responder.edge.slow_path import SlowRequest, answer_slowly
from responder.errors import Refusal
from responder.feed.catalog import kept_catalog
from responder.feed.shared import SLOT_CATALOG, FeedPage, open_map
from responder.hotpath.gate import Gate
from responder.hotpath.lane import Lane
from responder.process import end_tasks
from responder.sources.base import Key
from responder.sources.redis import CachedSource
from responder.sources.redis_reader import BatchReader, connect
from responder.sources.signer import SignerSource
from responder.sources.single_flight import GuardedSource
from responder.telemetry import INDEX, open_row

if TYPE_CHECKING:
    from responder.worker.loop_bridge import Front

log = structlog.get_logger("edge")
TICK_S = 0.1
#: Between two looks for renewed records; a record past half of its life is looked for in each.
REFRESH_INTERVAL_S = 2.0
LIMITER_NAME = "limiter.map"
_ANNOUNCE_BLOCK_MS = 1000
_MAX_REFRESH = 5000


class Connection(Protocol):
    """What uvicorn keeps in its set."""

    def check_deadline(self) -> None:
        """Called by the tick."""


class Edge:
    """Made before the loop runs, started inside it."""

    def __init__(self, settings: EdgeSettings, slot: int, table_fd: int) -> None:
        self.settings = settings
        self.page = FeedPage(settings.run)
        self.state_folder = settings.data_dir / "edge"
        self.counters = open_row(settings.run, slot)
        self.catalog = Catalog()
        self._catalog_version = -1
        self._refresh_at = 0.0
        self.crls = CRLShelf(self.state_folder)
        lock = Lock()
        self.lane = Lane(
            Table(settings.table_bytes, table_fd),
            Gate(settings.run, lock),
            Bucket(open_map(settings.run / LIMITER_NAME, write=True), settings.ocsp_rate_limit_per_ip_min),
            self.counters,
            self.catalog.index,
            settings.max_body_size,
        )
        self.proxies = Proxies((net.network_address.packed, net.prefixlen) for net in settings.trusted_proxies)
        self._tasks: set[asyncio.Task[object]] = set()
        self.connections: set[Connection] = set()
        self.front: Front | None = None
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
            source=self.guarded,
            fresh=signed,
            signer=self.signer,
            lane=asyncio.Semaphore(self.settings.signer_lane),
            catalog=lambda: self.catalog,
            now=self.now,
            counters=self.counters,
        )
        for work in (self._tick(), self._listen(redis_url)):
            self._keep(asyncio.get_running_loop().create_task(work))

    async def stop(self) -> None:
        """Let go of everything that `start` took."""
        await end_tasks(self._tasks)
        await self.signer.close()
        with contextlib.suppress(RedisError, OSError):
            await self.redis.aclose()

    def now(self) -> int:
        """Epoch seconds."""
        return int(time.time())

    def start_slow(self, request: SlowRequest) -> "asyncio.Task[bytes]":
        """The slow lane's task for this request."""
        return asyncio.get_running_loop().create_task(answer_slowly(request, self.answerer, self.counters, self.now()))

    def client_of(self, forwarded_for: bytes, peer: str) -> bytes:
        """Packed address of the client; `forwarded_for` is the field as it came, b"" when absent."""
        return self.proxies.client_of(forwarded_for, ipaddress.ip_address(peer.partition("%")[0]).packed)

    def load_catalog(self) -> None:
        """Take over the catalog when the agent has a newer one."""
        version = self.page.get(SLOT_CATALOG)
        if version == self._catalog_version:
            return
        catalog = kept_catalog(self.state_folder)
        self.lane.take_issuers(catalog.index)
        self.catalog = catalog
        self.crls.take(catalog)
        self.lane.take_crls(self.crls.tags())
        self._catalog_version = version

    async def _tick(self) -> None:
        while True:
            try:
                self.load_catalog()
                self.lane.gate.remap()
                for connection in tuple(self.connections):
                    connection.check_deadline()
                self._put_gauges()
                if time.monotonic() >= self._refresh_at:
                    self._refresh_at = time.monotonic() + REFRESH_INTERVAL_S
                    self._refresh_due()
            except Exception:
                # a tick that ends would leave the worker with a stopped clock
                log.exception("tick failed")
            await asyncio.sleep(TICK_S)

    def _put_gauges(self) -> None:
        ours = 0 if self.front is None else self.front.open_connections
        self.counters.put(INDEX["connections"], len(self.connections - {self.front}) + ours)
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

    async def _listen(self, redis_url: str) -> None:
        """Forget what the writer says it has replaced. Only speed depends on it: the gate does not."""
        client = connect(redis_url, _ANNOUNCE_BLOCK_MS / 1000 + 4)
        last: Any = "$"
        try:
            while True:
                try:
                    heard: Any = await client.xread({ANNOUNCE_STREAM: last}, block=_ANNOUNCE_BLOCK_MS, count=500)
                except (RedisError, OSError, TimeoutError):
                    await asyncio.sleep(1)
                    continue
                for number, entry in _entries(heard):
                    last = number
                    self._forget(entry)
        finally:
            await client.aclose()

    def _forget(self, entry: dict[bytes, bytes]) -> None:
        with contextlib.suppress(ValueError, KeyError):
            self.lane.table.discard(*parse_record_name(entry[b"k"]))

    def _keep(self, task: "asyncio.Task[object]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def limiter_octets(settings: EdgeSettings) -> int:
    """Size of the shared rate limit's file."""
    return Bucket.size(settings.rate_limit_slots)


def _entries(heard: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """(id, fields) of what XREAD returned, which is a list in RESP2 and a dict in RESP3."""
    streams = heard.values() if isinstance(heard, dict) else [entries for _, entries in heard or ()]
    return [entry for entries in streams for entry in _flat(entries)]


def _flat(entries: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """RESP3 wraps the entries of a stream in one more list."""
    return entries[0] if entries and isinstance(entries[0], list) else entries


def within(peer: str, networks: Networks) -> bool:
    """The address lies in one of the networks; mapped IPv4 counts as IPv4."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)
