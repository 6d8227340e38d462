"""One worker: its table, its lanes, its tick, and the catalog as of now. Everything in it belongs to one event loop."""

import asyncio
import contextlib
import ipaddress
import time
from typing import Any

import structlog
from redis.exceptions import RedisError

from _fastocsp.bucket import Bucket
from _fastocsp.table import Table
from responder.cache.layout import ANNOUNCE_STREAM, parse_record_name
from responder.cache.reader import BatchReader, connect
from responder.config import EdgeSettings, Networks
from responder.domain.catalog import Catalog
from responder.edge.answerer import Answerer, Policy
from responder.edge.gate import Gate
from responder.edge.lane import Lane
from responder.edge.protocol import Shop
from responder.edge.slow import SlowRequest, answer_slowly
from responder.errors import Refusal
from responder.feed.catalog import kept_catalog
from responder.feed.shared import SLOT_CATALOG, FeedPage, open_map
from responder.process import end_tasks
from responder.sources.base import Key
from responder.sources.cached import CachedSource
from responder.sources.guarded import GuardedSource
from responder.sources.signed import SignerSource
from responder.telemetry import INDEX, open_row
from responder.web.crl import CRLShelf

log = structlog.get_logger("edge")
TICK_S = 0.1
#: Between two looks for renewed records; a record past half of its life is looked for in each.
REFRESH_INTERVAL_S = 2.0
LIMITER_NAME = "limiter.map"
_ANNOUNCE_BLOCK_MS = 1000
_MAX_REFRESH = 5000


class Edge:
    """Made before the loop runs, started inside it."""

    def __init__(self, settings: EdgeSettings, slot: int) -> None:
        self.settings = settings
        self.page = FeedPage(settings.run)
        self.state_folder = settings.data_dir / "edge"
        self.counters = open_row(settings.run, slot)
        self.catalog = Catalog()
        self._catalog_version = -1
        self._refresh_at = 0.0
        self.crls = CRLShelf(self.state_folder)
        self.lane = Lane()
        self.lane.table = Table(settings.table_bytes)
        self.lane.gate = Gate(settings.run)
        self.lane.bucket = Bucket(
            open_map(settings.run / LIMITER_NAME, write=True), settings.ocsp_rate_limit_per_ip_min
        )
        self.lane.counters = self.counters
        self.lane.max_body = settings.max_body_size
        self.shop = Shop(
            self.lane, self, settings.max_connections, settings.header_timeout, settings.keep_alive_timeout
        )
        self._trusted: dict[str, bool] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self.connections: set[object] = set()
        self.move_clock()
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

    def is_trusted(self, peer: str) -> bool:
        """The peer is a proxy whose X-Forwarded-For is believed."""
        if not self.settings.trusted_proxies:
            return False
        if len(self._trusted) > 4096:
            self._trusted.clear()
        if peer not in self._trusted:
            self._trusted[peer] = within(peer, self.settings.trusted_proxies)
        return self._trusted[peer]

    def forwarded(self, value: bytes, peer: str) -> bytes:
        """Packed address of the client: the last hop in the list that is no trusted proxy, else the peer itself."""
        for hop in reversed(value.decode("latin-1").split(",")):
            try:
                address = ipaddress.ip_address(hop.strip().strip("[]"))
            except ValueError:
                break
            if not self.is_trusted(str(address)):
                return address.packed
        return ipaddress.ip_address(peer.partition("%")[0]).packed

    def move_clock(self) -> None:
        """Windows, Date fields and the limiter go by this."""
        self.lane.tick(self.now())
        self.shop.now_ns = time.monotonic_ns()

    def load_catalog(self) -> None:
        """Take over the catalog when the agent has a newer one."""
        version = self.page.get(SLOT_CATALOG)
        if version == self._catalog_version:
            return
        catalog = kept_catalog(self.state_folder)
        self.lane.issuers = catalog.index
        self.catalog = catalog
        self.crls.take(catalog)
        self._catalog_version = version

    async def _tick(self) -> None:
        while True:
            try:
                self.move_clock()
                self.load_catalog()
                for connection in tuple(self.connections):
                    connection.check_deadline()  # type: ignore[attr-defined]
                self._put_gauges()
                if time.monotonic() >= self._refresh_at:
                    self._refresh_at = time.monotonic() + REFRESH_INTERVAL_S
                    self._refresh_due()
            except Exception:
                # a tick that ends would leave the worker with a stopped clock
                log.exception("tick failed")
            await asyncio.sleep(TICK_S)

    def _put_gauges(self) -> None:
        self.counters.put(INDEX["connections"], len(self.connections))
        self.counters.put(INDEX["table_entries"], len(self.lane.table))
        self.counters.put(INDEX["table_octets"], self.lane.table.octets)
        self.counters.put(INDEX["slow_lane"], self.guarded.under_way)

    def _refresh_due(self) -> None:
        due, self.lane.due = self.lane.due, set()
        for key in list(due)[:_MAX_REFRESH]:
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
