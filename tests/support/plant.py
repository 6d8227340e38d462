"""A CA in a fresh ledger, its keys in a folder, a feed that follows the ledger, and a Redis: all real."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from cachewarm.ca.authority import Authority
from cachewarm.ca.certificate import Issued, parse_subject
from cachewarm.ca.issue import Terms
from cachewarm.ca.registry import found_ca, issue_leaf, load_authority, pointers_of
from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.embedded.valkey import EmbeddedValkey
from cachewarm.keys.soft_key import KeyKind, SoftKey
from cachewarm.ledger import issuers
from cachewarm.ledger.connect import Connection, connect
from cachewarm.records.keyring import Keyring, load_keyring
from cachewarm.records.publisher import Publisher
from cachewarm.records.publisher import connect as connect_redis
from cachewarm.records.signing_pool import SigningPool
from cachewarm.warmer.event_pipeline import Pipeline
from cachewarm.warmer.inventory_walk import Count, Walk
from cachewarm.warmer.responder_rotation import rotate_due
from responder.clock import read_clock
from responder.feed.agent import FeedAgent
from responder.feed.local import LocalFeed
from responder.feed.poll import Who, open_feed
from responder.tasks import end_tasks

DAY = 86400.0


@dataclass
class Plant:
    """One issuer with five certificates, and everything that warms them."""

    connection: Connection
    urls: DatabaseURLs
    keys: Path
    issuer: issuers.Issuer
    authority: Authority
    leaves: list[Issued]
    feed: LocalFeed
    publisher: Publisher
    ring: Keyring

    def now(self) -> int:
        return int(time.time())

    async def read_ring(self) -> Keyring:
        self.ring = await load_keyring(self.connection, self.keys, None, self.now(), self.ring)
        return self.ring

    async def rotate(self, grace_s: float = 7 * DAY) -> list[str]:
        return (
            await rotate_due(self.connection, self.keys, None, now=self.now(), validity_s=30 * DAY, grace_s=grace_s)
        ).made

    @property
    def pipeline(self) -> Pipeline:
        return Pipeline(self.feed, self.publisher, lambda: self.ring, self.now, DAY)

    async def walk(self, batch: int = 2, pool: SigningPool | None = None) -> Count:
        pool = pool or SigningPool(0)
        return await Walk(self.pipeline, self.publisher, lambda: self.ring, self.now, batch, pool).run(
            self.connection, lambda _: None
        )

    async def heard(self, seq: int) -> None:
        """Until the feed is there."""
        async with asyncio.timeout(5):
            while self.feed.position.seq < seq or self.feed.as_of is None:
                await asyncio.sleep(0.01)


async def found_test_ca(
    connection: Connection, keys: Path, *, issuer_id: str = "ca", name: str = "CN=Plant CA,O=Tests", now: int
) -> issuers.Issuer:
    """Found a P-256 root CA in an empty ledger, its key in that folder."""
    return await found_ca(
        connection,
        issuer_id=issuer_id,
        kind=KeyKind.P256,
        subject=parse_subject(name),
        parent=None,
        parent_authority=None,
        base_url="http://ocsp.example.com",
        keys=keys,
        passphrase=None,
        now=now,
        actor="tests",
    )


@pytest.fixture
async def plant(database: DatabaseURLs, valkey: EmbeddedValkey, tmp_path: Path) -> AsyncIterator[Plant]:
    """A founded CA with a responder; nothing is published yet."""
    connection = await connect(database.cli)
    now = int(time.time())
    issuer = await found_test_ca(connection, tmp_path, now=now)
    authority = load_authority(issuer, None)
    key = SoftKey.generate(KeyKind.P256)
    terms = Terms(pointers_of(issuer))
    leaves = [
        await issue_leaf(
            connection, issuer, authority, names=[f"h{n}.example.com"], public_key=key.public_key, terms=terms, now=now
        )
        for n in range(5)
    ]
    feed = LocalFeed(read_clock)
    agent = FeedAgent(lambda: open_feed(database.signer), Who(None, uuid4(), 10), feed, read_clock, 0.02)
    following = asyncio.create_task(agent.run())
    client = connect_redis(valkey.url("writer"))
    planted = Plant(connection, database, tmp_path, issuer, authority, leaves, feed, Publisher(client), Keyring())
    await planted.rotate()
    await planted.read_ring()
    await planted.heard(0)
    yield planted
    await end_tasks([following])
    await client.aclose()
    await connection.close()
