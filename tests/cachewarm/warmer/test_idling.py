"""A day of idling on an injected clock: nothing expires, renewals are spread evenly, little is visited."""

import statistics
from collections import Counter
from typing import Any

from _fastocsp.ocsp.record import unpack_record
from cachewarm.records.signing_pool import SigningPool
from cachewarm.warmer.event_pipeline import Pipeline
from cachewarm.warmer.inventory_walk import Walk
from responder.feed.local import LocalFeed
from tests.support.plant import DAY, Plant

CERTIFICATES, BATCH = 3000, 50
INSERT = """insert into certificates (issuer_id, serial_number, not_before, not_after)
  select 'ca', '\\x5e'::bytea || substr(sha256(int8send(n)), 1, 15), now(), now() + interval '20 days'
    from generate_series(1, $1::int) n"""


class LongLease:
    """The plant's feed with a lease that lasts as long as the day."""

    def __init__(self, feed: LocalFeed) -> None:
        self._feed, self.position, self.as_of = feed, feed.position, 0

    def revoked(self, issuer_no: int, serial: bytes) -> tuple[int, int] | None:
        """As the feed has it."""
        return self._feed.revoked(issuer_no, serial)

    def fenced(self, issuer_no: int) -> bool:
        """As the feed has it."""
        return self._feed.fenced(issuer_no)


async def test_a_day_of_idling(plant: Plant) -> None:
    """From a warm-up at noon on: every record has time left at every moment, and no hour has many more signatures than
    another one, once the first renewals have begun.
    """
    await plant.connection.execute(INSERT, CERTIFICATES)
    begin = now = plant.now()
    feed: Any = LongLease(plant.feed)
    pipeline = Pipeline(feed, plant.publisher, lambda: plant.ring, lambda: now, DAY)
    feed.as_of = now
    walk = Walk(pipeline, plant.publisher, lambda: plant.ring, lambda: now, BATCH, SigningPool(0))
    await walk.run(plant.connection, lambda _: None)
    client: Any = plant.publisher._client
    signed, visits = Counter[int](), 0
    checked = begin
    while now < begin + DAY:
        now = feed.as_of = max(now + 1, int(walk.segments.next_due()) + 1)
        before = len(walk.segments.take_due(0))
        assert before == 0
        count = await walk.visit_due(plant.connection, lambda _: None)
        visits += 1
        signed[(now - begin) // 3600] += count.signed
        if now - checked > DAY / 24:
            checked = now
            names = [name async for name in client.scan_iter(b"o:\x00*", count=1000)]
            found = [unpack_record(value) for value in await client.mget(names)]
            assert len(found) >= 2 * CERTIFICATES
            assert min(each.next_update for each in found) > now + DAY / 3
    records = 2 * CERTIFICATES
    # a life of 0.355 to 0.48 days: between two and three renewals of everything
    assert 1.8 * records < sum(signed.values()) < 3 * records
    busy = [signed[hour] for hour in range(20, 24)]
    assert max(busy) < 3 * statistics.mean(busy)
    renewing = [signed[hour] for hour in range(9, 11)]
    assert min(renewing) > 0.2 * records
    assert visits < 25 * len(walk.segments)
