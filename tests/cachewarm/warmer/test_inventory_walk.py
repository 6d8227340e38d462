"""The walk makes Redis as it should be, whatever it found there."""

import asyncio
import os
import signal
from typing import Any

from _fastocsp.ocsp.record import unpack_record
from _fastocsp.wire.codes import GOOD, REVOKED
from cachewarm.ledger import coverage, fences
from cachewarm.ledger.connect import connect
from cachewarm.ledger.feed import begin_generation
from cachewarm.ledger.revocations import revoke
from cachewarm.records.mint import check
from cachewarm.records.signing_pool import SigningPool
from cachewarm.warmer.inventory_walk import Walk
from responder.domain.key import Key
from responder.domain.redis_layout import parse_record_name, record_name
from responder.domain.status import PRESIGNED, CRLReason, HashAlgorithm
from tests.support.plant import Plant


def keys_of(plant: Plant) -> list[Key]:
    """Names of all records that should be there."""
    return [Key(plant.issuer.issuer_no, algorithm, leaf.serial) for leaf in plant.leaves for algorithm in PRESIGNED]


async def test_an_empty_redis_is_filled_and_a_full_one_left_alone(plant: Plant) -> None:
    """Both hashes of every certificate; the second walk signs nothing, the coverage is in the ledger."""
    first, second = await plant.walk(), await plant.walk()
    assert (first.inventory, first.covered, first.signed) == (6, 6, 12)
    assert (second.inventory, second.covered, second.signed) == (6, 6, 0)
    assert None not in await plant.publisher.kept(keys_of(plant))
    [counted] = await coverage.read_coverage(plant.connection)
    assert (counted.inventory, counted.covered) == (6, 6)


async def test_lost_and_broken_records_are_signed_again(plant: Plant) -> None:
    """One key gone, one record damaged: exactly those two are signed."""
    await plant.walk()
    lost, broken, *_ = keys_of(plant)
    client: Any = plant.publisher._client
    await client.delete(record_name(lost))
    await client.set(record_name(broken), b"\x01rubbish")
    assert (await plant.walk()).signed == 2
    assert all(unpack_record(record).status == GOOD for record in await plant.publisher.kept(keys_of(plant)) if record)


async def test_rubbish_that_claims_to_be_the_newest_is_replaced(plant: Plant) -> None:
    """Bytes that are no record, with the highest generation and seq there can be: gone after one walk."""
    await plant.walk()
    client: Any = plant.publisher._client
    for key in keys_of(plant)[:3]:
        await client.set(record_name(key), b"\xff" * 120)
    assert (await plant.walk()).signed == 3
    assert all(unpack_record(record).status == GOOD for record in await plant.publisher.kept(keys_of(plant)) if record)
    assert (await plant.walk()).signed == 0


async def test_a_revocation_that_the_pipeline_missed_is_mended(plant: Plant) -> None:
    """The record of a revoked certificate says so after the next walk, with time and reason."""
    await plant.walk()
    result = await revoke(plant.connection, "ca", plant.leaves[0].serial, reason=CRLReason.keyCompromise, actor="tests")
    await plant.heard(result.seq)
    assert (await plant.walk()).signed == 2
    for octets in (await plant.publisher.kept(keys_of(plant)))[:2]:
        assert octets is not None
        record = unpack_record(octets)
        assert (record.status, record.reason) == (REVOKED, CRLReason.keyCompromise)
        assert result.revoked_at is not None
        assert record.revocation_time == int(result.revoked_at.timestamp())
        assert (record.generation, record.seq) == (result.generation, result.seq)


async def test_a_fenced_issuer_is_signed_again_once_its_fence_is_lifted(plant: Plant) -> None:
    """Until then revocations alone are signed; other segments are left as they are."""
    number = plant.issuer.issuer_no
    await revoke(plant.connection, "ca", plant.leaves[0].serial, actor="tests")
    await begin_generation(plant.connection)
    async with asyncio.timeout(5):
        while not plant.feed.fenced(number) or plant.feed.as_of is None:
            await asyncio.sleep(0.01)
    walk = Walk(plant.pipeline, plant.publisher, lambda: plant.ring, plant.now, 2, SigningPool(0))
    count = await walk.run(plant.connection, lambda _: None)
    assert (count.signed, count.covered, count.inventory) == (2, 1, 6)
    await fences.cover(plant.connection, "ca", fences.ALWAYS, {"statement": "nothing"}, actor="tests")
    assert await fences.lift(plant.connection, "ca", actor="tests")
    async with asyncio.timeout(5):
        while plant.feed.fenced(number):
            await asyncio.sleep(0.01)
    assert (await walk.visit_due(plant.connection, lambda _: None)).signed == 0
    walk.on_feed_items([(1, number, b"", 0, 255)])
    assert (await walk.visit_due(plant.connection, lambda _: None)).signed == 0
    walk.on_feed_items([(2, number, b"", 0, 255)])
    assert (await walk.visit_due(plant.connection, lambda _: None)).signed == 10


async def test_records_of_a_responder_that_is_gone_are_signed_again(plant: Plant) -> None:
    """Its row was deleted and a new one made: every record is renewed under the new one."""
    await plant.walk()
    before = plant.ring.signing[plant.issuer.issuer_no].pair.certificate.responder
    await plant.connection.execute("delete from ocsp_responder_certs")
    assert await plant.rotate() == ["ca"]
    await plant.read_ring()
    after = plant.ring.signing[plant.issuer.issuer_no].pair.certificate.responder
    assert after != before
    assert (await plant.walk()).signed == 14


async def test_records_go_at_their_next_update(plant: Plant) -> None:
    """Redis forgets a record when it ends; none lives longer than its certificate and its responder."""
    await plant.walk()
    key = keys_of(plant)[0]
    client: Any = plant.publisher._client
    [octets] = await plant.publisher.kept([key])
    assert octets is not None
    record = unpack_record(octets)
    assert await client.expiretime(record_name(key)) == record.next_update
    assert record.next_update <= min(plant.leaves[0].not_after, record.this_update + 86400)
    assert key.hash_algorithm == HashAlgorithm.SHA1


async def add_certificates(plant: Plant, count: int) -> None:
    """So many more, by one statement."""
    await plant.connection.execute(
        """insert into certificates (issuer_id, serial_number, subject, not_before, not_after)
           select 'ca', '\\x5e'::bytea || substr(sha256(int8send(n)), 1, 15), '', now(), now() + interval '90 days'
             from generate_series(1, $1::int) n""",
        count,
    )


async def verified(plant: Plant) -> int:
    """How many records Redis has; each verified under its own name."""
    client: Any = plant.publisher._client
    names = [name async for name in client.scan_iter(b"o:\x00*", count=1000)]
    signing = plant.ring.signing[plant.issuer.issuer_no]
    for name, octets in zip(names, await client.mget(names), strict=True):
        key = parse_record_name(name)
        check(octets, key.serial, signing.templates[key.hash_algorithm], signing.pair.certificate)
    return len(names)


async def test_a_large_inventory_is_signed_by_other_processes(plant: Plant) -> None:
    """Many pages at once, two processes: every record is there, verifies for its own name, and is not signed twice."""
    await add_certificates(plant, 3000)
    pool = SigningPool(2)
    try:
        count = await plant.walk(batch=400, pool=pool)
        assert (count.inventory, count.covered, count.signed) == (3006, 3006, 6012)
        assert len(pool.pids) == 2
        assert await verified(plant) == 6012
        assert (await plant.walk(batch=400, pool=pool)).signed == 0
    finally:
        await pool.end()


async def test_a_revocation_during_a_long_walk_is_not_undone(plant: Plant) -> None:
    """Revoked, and carried, while its page is being signed as good: the record says revoked when the walk is over."""
    await add_certificates(plant, 3000)
    pool = SigningPool(1)
    beside = await connect(plant.urls.cli)
    try:
        under_way = asyncio.create_task(plant.walk(batch=400, pool=pool))
        revoked = []
        for leaf in plant.leaves:
            result = await revoke(beside, "ca", leaf.serial, actor="tests")
            await plant.heard(result.seq)
            await plant.publisher.publish(plant.pipeline.mint_all([(plant.issuer.issuer_no, leaf.serial)], {}))
            revoked.append(under_way.done())
        await under_way
    finally:
        await beside.close()
        await pool.end()
    assert not all(revoked), "the walk was over before anything was revoked"
    for octets in await plant.publisher.kept(keys_of(plant)):
        assert octets is not None
        assert unpack_record(octets).status == REVOKED


async def test_a_walk_with_every_process_killed_mends_itself(plant: Plant) -> None:
    """SIGKILL to each signing process as it appears, for a while: the walk ends with every record published."""
    await add_certificates(plant, 2000)
    pool = SigningPool(2)

    async def kill() -> int:
        for number in range(2):
            while not pool.pids:
                await asyncio.sleep(0.001)
            os.kill(pool.pids[number % len(pool.pids)], signal.SIGKILL)
            await asyncio.sleep(0.05)
        return 2

    try:
        killing = asyncio.create_task(kill())
        assert (await plant.walk(batch=400, pool=pool)).signed == 4012
        assert await killing == 2
        assert await verified(plant) == 4012
    finally:
        await pool.end()
