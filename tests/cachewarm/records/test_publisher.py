"""In Redis only newer knowledge replaces older."""

import itertools
import struct
from typing import Any

import pytest

from _fastocsp.ocsp.record import unpack_record
from _fastocsp.wire.codes import GOOD
from cachewarm.records.mint import mint
from cachewarm.records.statement import Statement, revoked
from responder.domain.key import Key
from responder.domain.redis_layout import ANNOUNCE_STREAM, parse_record_name, record_name
from responder.feed.machine import Position
from tests.support.plant import Plant


def record_at(plant: Plant, generation: int, seq: int, produced_at: int) -> tuple[Key, bytes]:
    """A record of the first certificate as of that position."""
    signing = plant.ring.signing[plant.issuer.issuer_no]
    position = Position(generation, seq, b"")
    statement = Statement(GOOD, produced_at, produced_at + 3600, position)
    template = signing.templates[1]
    record = mint(statement, plant.leaves[0].serial, template, signing.pair.key, produced_at)
    return Key(plant.issuer.issuer_no, 1, plant.leaves[0].serial), record


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
async def test_the_newest_stays_in_whatever_order_they_come(plant: Plant, order: tuple[int, ...]) -> None:
    """(generation, seq, producedAt) decides, compared as numbers and not as text."""
    now = plant.now()
    records = [
        record_at(plant, 1, 9, now),
        record_at(plant, 1, 9, now + 1),
        record_at(plant, 1, 256, now),
        record_at(plant, 2, 3, now),
    ]
    for number in order:
        await plant.publisher.publish([records[number]])
    assert await plant.publisher.kept([records[0][0]]) == [records[3][1]]


async def test_a_signature_in_flight_does_not_bring_good_back(plant: Plant) -> None:
    """`good` was signed at seq 4, the certificate revoked at seq 5 and published; the late `good` is refused."""
    now = plant.now()
    key, late_good = record_at(plant, 1, 4, now + 5)
    signing = plant.ring.signing[plant.issuer.issuer_no]
    statement = revoked(now, now + 3600, Position(1, 5, b""), now - 10, 1)
    newer = mint(statement, key.serial, signing.templates[1], signing.pair.key, now)
    assert await plant.publisher.publish([(key, newer)]) == 1
    assert await plant.publisher.publish([(key, late_good)]) == 0
    assert await plant.publisher.kept([key]) == [newer]


async def test_rubbish_is_replaced(plant: Plant) -> None:
    """What is too short to be a record never stands in the way."""
    key, record = record_at(plant, 1, 1, plant.now())
    await plant.publisher._client.set(record_name(key), b"short")
    assert await plant.publisher.publish([(key, record)]) == 1


def in_version_1(seq: int, produced_at: int) -> bytes:
    """A record as the layout before this one had it, of a high generation and an age far ahead."""
    head = struct.pack(">BBBBBBH8sIIIIIQ", 1, 0, 1, 0, 255, 0, 71, b"respondr", 0, 1, 2, produced_at, 2**32 - 1, seq)
    return head + b"\xff" * 71


async def test_a_record_of_another_version_is_replaced(plant: Plant) -> None:
    """Whatever its bytes would say in our layout, older and newer alike; and ours stay under the fence."""
    key, record = record_at(plant, 1, 9, plant.now())
    _, older = record_at(plant, 1, 8, plant.now())
    for left in (in_version_1(2**64 - 1, 2**32 - 1), in_version_1(0, 0), b"\3" + b"\xff" * 94, b"\2" * 14):
        await plant.publisher._client.set(record_name(key), left)
        assert await plant.publisher.publish([(key, older)]) == 1
        assert await plant.publisher.publish([(key, record), (key, older)]) == 1
        assert await plant.publisher.kept([key]) == [record]


async def test_a_walk_replaces_what_an_older_warmer_left(plant: Plant) -> None:
    """An upgrade: every record of version 1 is signed anew, whatever it claims, and keeps its name."""
    names = [
        record_name(Key(plant.issuer.issuer_no, algorithm, leaf.serial))
        for leaf in plant.leaves
        for algorithm in (1, 2)
    ]
    for name in names:
        await plant.publisher._client.set(name, in_version_1(2**64 - 1, plant.now()))
    assert (await plant.walk()).signed == len(names) + 2  # the responder's own certificate is in the inventory
    kept: Any = await plant.publisher._client.mget(names)
    assert {unpack_record(octets).status for octets in kept} == {GOOD}


async def test_an_announcement_names_the_record(plant: Plant) -> None:
    """The stream carries the keys that edges should forget."""
    key, _ = record_at(plant, 1, 1, plant.now())
    await plant.publisher.announce([key])
    heard: Any = await plant.publisher._client.xrange(ANNOUNCE_STREAM)
    assert [parse_record_name(fields[b"k"]) for _, fields in heard][-1] == key
