"""One revocation, carried; and carried again after a crash."""

import pytest

from _fastocsp.ocsp.record import unpack_record
from _fastocsp.revoked.ledger_wire import parse_items
from _fastocsp.wire.codes import GOOD, REVOKED
from cachewarm.errors import Transient
from cachewarm.ledger import feed as ledger_feed
from cachewarm.ledger.revocations import revoke, unhold
from cachewarm.warmer.event_pipeline import Pipeline
from responder.domain.key import Key
from responder.domain.status import PRESIGNED, CRLReason
from tests.support.plant import DAY, Plant


async def items_after(plant: Plant, seq: int) -> list[tuple[int, int, bytes, int, int]]:
    """The feed's items beyond that event."""
    rows = await plant.connection.fetch("select payload from revocation_events where seq > $1 order by seq", seq)
    return [item for row in rows for item in parse_items(row["payload"])]


async def statuses(plant: Plant, serial: bytes) -> set[int]:
    """What Redis says of it under both hashes."""
    keys = [Key(plant.issuer.issuer_no, algorithm, serial) for algorithm in PRESIGNED]
    return {unpack_record(record).status for record in await plant.publisher.kept(keys) if record}


async def test_revoke_and_release_reach_redis_and_the_cursor(plant: Plant) -> None:
    """Both hashes say revoked, then good again; the cursor stands behind each event."""
    await plant.walk()
    serial = plant.leaves[1].serial
    held = await revoke(plant.connection, "ca", serial, reason=CRLReason.certificateHold, actor="tests")
    await plant.heard(held.seq)
    cursor = ledger_feed.Cursor(held.generation, held.seq)
    assert await plant.pipeline.process(plant.connection, await items_after(plant, 0), cursor, "w") == 2
    assert await statuses(plant, serial) == {REVOKED}
    assert await ledger_feed.read_cursor(plant.connection, "w") == cursor
    released = await unhold(plant.connection, "ca", serial, actor="tests")
    await plant.heard(released.seq)
    cursor = ledger_feed.Cursor(released.generation, released.seq)
    assert await plant.pipeline.process(plant.connection, await items_after(plant, held.seq), cursor, "w") == 2
    assert await statuses(plant, serial) == {GOOD}


async def test_carrying_twice_is_carrying_once(plant: Plant) -> None:
    """A crash before the acknowledgement repeats the work: what is there afterwards is the same statement."""
    serial = plant.leaves[2].serial
    done = await revoke(plant.connection, "ca", serial, actor="tests")
    await plant.heard(done.seq)
    for _ in range(2):
        cursor = ledger_feed.Cursor(done.generation, done.seq)
        await plant.pipeline.process(plant.connection, await items_after(plant, 0), cursor, "w")
        assert await statuses(plant, serial) == {REVOKED}


async def test_a_reason_that_becomes_key_compromise_reaches_redis(plant: Plant) -> None:
    """Superseded -> keyCompromise: the records of both hashes say so after the event."""
    serial = plant.leaves[3].serial
    for reason in (CRLReason.superseded, CRLReason.keyCompromise):
        done = await revoke(plant.connection, "ca", serial, reason=reason, actor="tests")
        await plant.heard(done.seq)
        cursor = ledger_feed.Cursor(done.generation, done.seq)
        assert await plant.pipeline.process(plant.connection, await items_after(plant, done.seq - 1), cursor, "w") == 2
        keys = [Key(plant.issuer.issuer_no, algorithm, serial) for algorithm in PRESIGNED]
        assert {unpack_record(each).reason for each in await plant.publisher.kept(keys) if each} == {reason}


async def test_a_released_certificate_that_was_never_issued_here_is_not_published_as_good(plant: Plant) -> None:
    """The policy of never-issued serials counts in the warmer as in the signer."""
    serial = bytes.fromhex("0badc0de")
    held = await revoke(
        plant.connection, "ca", serial, reason=CRLReason.certificateHold, actor="tests", allow_unknown=True
    )
    released = await unhold(plant.connection, "ca", serial, actor="tests")
    await plant.heard(released.seq)
    cursor = ledger_feed.Cursor(released.generation, released.seq)
    assert await plant.pipeline.process(plant.connection, await items_after(plant, held.seq - 1), cursor, "w") == 0
    assert await statuses(plant, serial) == set()


async def test_a_wall_clock_that_stepped_back_publishes_no_good(plant: Plant) -> None:
    """The signer refuses to sign with such a clock, and so does the warmer; it tries again."""
    stepped = Pipeline(plant.feed, plant.publisher, lambda: plant.ring, lambda: (plant.feed.as_of or 0) - 5, DAY)
    with pytest.raises(Transient, match="clock"):
        stepped.statement_for(plant.ring.signing[plant.issuer.issuer_no], plant.leaves[0].serial, plant.now() + 9999)
