"""Certificates are signed when they are entered, whoever enters them and however their transactions overlap."""

from cachewarm.ledger.connect import Connection, connect
from cachewarm.records.signing_pool import SigningPool
from cachewarm.warmer.inventory_walk import Walk
from cachewarm.warmer.new_certificates import NewCertificates
from responder.domain.key import Key
from responder.domain.status import PRESIGNED
from tests.support.plant import DAY, Plant

INSERT = """insert into certificates (issuer_id, serial_number, not_before, not_after)
  select 'ca', '\\x5e'::bytea || int4send(n), now(), now() + interval '90 days' from generate_series($1::int, $2) n"""


def walk_of(plant: Plant, share: tuple[int, int] = (0, 1)) -> Walk:
    """A walk that has the whole inventory in two segments."""
    walk = Walk(plant.pipeline, plant.publisher, lambda: plant.ring, plant.now, 4, SigningPool(0))
    walk.share = share
    return walk


async def following(plant: Plant, walk: Walk) -> NewCertificates:
    """What follows the inventory from here on; the certificates that are there have their records."""
    await walk.run(plant.connection, lambda _: None)
    new = NewCertificates(walk, lambda: plant.ring, plant.now, 100)
    await new.start(plant.connection)
    return new


async def enter(connection: Connection, first: int, last: int) -> None:
    """By plain SQL."""
    await connection.execute(INSERT, first, last)


async def test_new_certificates_are_signed_and_nothing_else_is_read(plant: Plant) -> None:
    """A second look finds nothing; records that were lost meanwhile are the walk's business."""
    new = await following(plant, walk_of(plant))
    lost = Key(plant.issuer.issuer_no, PRESIGNED[0], plant.leaves[0].serial)
    await plant.publisher.discard([(lost, (await plant.publisher.kept([lost]))[0] or b"")])
    assert await new.look(plant.connection) == 0
    await enter(plant.connection, 1, 250)
    assert [await new.look(plant.connection) for _ in range(2)] == [500, 0]
    keys = [Key(plant.issuer.issuer_no, each, b"\x5e" + bytes([0, 0, 0, 200])) for each in PRESIGNED]
    assert None not in await plant.publisher.kept(keys)
    assert await plant.publisher.kept([lost]) == [None]


async def test_transactions_that_commit_out_of_order_are_each_read_once(plant: Plant) -> None:
    """A transaction that is older and commits later is found, and what was read meanwhile is not read again."""
    new = await following(plant, walk_of(plant))
    slow = await connect(plant.urls.cli)
    try:
        async with slow.transaction():
            await enter(slow, 1, 10)
            await enter(plant.connection, 11, 30)
            assert [await new.look(plant.connection) for _ in range(2)] == [40, 0]
            await enter(plant.connection, 31, 32)
            assert [await new.look(plant.connection) for _ in range(2)] == [4, 0]
        assert [await new.look(plant.connection) for _ in range(2)] == [20, 0]
    finally:
        await slow.close()


async def test_a_new_end_counts_as_new(plant: Plant) -> None:
    """The record of a certificate whose end was corrected is compared again; another change of the row is none."""
    new = await following(plant, walk_of(plant))
    await plant.connection.execute("update certificates set subject = 'CN=other'")
    assert await new.look(plant.connection) == 0
    serial = plant.leaves[0].serial
    await plant.publisher.discard(
        [
            (key, (await plant.publisher.kept([key]))[0] or b"")
            for key in (Key(plant.issuer.issuer_no, each, serial) for each in PRESIGNED)
        ]
    )
    await plant.connection.execute(
        "update certificates set not_after = not_after - interval '1 day' where serial_number = $1", serial
    )
    assert await new.look(plant.connection) == 2


async def test_warmers_share_new_certificates(plant: Plant) -> None:
    """Of two that run each signs its part, and visits the segments of the rest soon."""
    walks = [walk_of(plant, (rank, 2)) for rank in range(2)]
    both = [await following(plant, walk) for walk in walks]
    await enter(plant.connection, 1, 250)
    signed = [await new.look(plant.connection) for new in both]
    assert sum(signed) == 500
    assert min(signed) > 150
    assert all(walk.segments.next_due() <= plant.now() + 10 for walk in walks)


async def test_the_next_visit_follows_the_new_certificates(plant: Plant) -> None:
    """A certificate with a short rest of life makes its segment due earlier than the others."""
    walk = walk_of(plant)
    new = await following(plant, walk)
    before = walk.segments.next_due()
    assert before > plant.now() + 0.3 * DAY
    await enter(plant.connection, 1, 1)
    assert await new.look(plant.connection) == 2
    assert walk.segments.next_due() <= plant.now() + 0.48 * DAY
