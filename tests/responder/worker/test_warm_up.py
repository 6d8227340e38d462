"""A cold table is filled from Redis: used records first, and nothing that was neither tagged nor verified."""

from array import array
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from _fastocsp.ocsp.record import pack_record, unpack_record
from _fastocsp.table.table import Table
from cachewarm.embedded.valkey import EmbeddedValkey
from cachewarm.ledger.connect import connect
from responder.config import EdgeSettings
from responder.domain.catalog import Catalog
from responder.domain.key import Key
from responder.domain.redis_layout import ANNOUNCE_STREAM, record_name
from responder.domain.status import PRESIGNED
from responder.edge.usage import USAGE_NAME, Usage, UsageLog, load_usage
from responder.feed.catalog import keep_catalog, read_ledger
from responder.feed.crl_files import CRLFiles
from responder.worker.warm_up import Throttle, WarmUp, often_used, warm_up
from tests.support.plant import Plant, plant

__all__ = ["plant"]

UNBOUND = Throttle(1.0, rest=lambda _: None)


@pytest.fixture
async def catalog(plant: Plant, tmp_path: Path) -> AsyncIterator[Catalog]:
    """Of a ledger whose records are all in Redis."""
    await plant.walk()
    connection = await connect(plant.urls.edge, check=False)
    yield await read_ledger(connection, CRLFiles(tmp_path), Catalog())
    await connection.close()


@pytest.fixture
def reader(valkey: EmbeddedValkey) -> Iterator["Redis"]:
    """An edge's client."""
    with Redis.from_url(valkey.url("reader")) as client:
        yield client


@pytest.fixture
def owner(valkey: EmbeddedValkey) -> Iterator["Redis"]:
    """A client that may write."""
    with Redis.from_url(valkey.url("writer")) as client:
        yield client


def keys_of(plant: Plant) -> list[Key]:
    """Of every leaf under both hashes."""
    return [Key(1, algorithm, leaf.serial) for leaf in plant.leaves for algorithm in PRESIGNED]


def records(client: "Redis") -> dict[bytes, bytes]:
    """Every record of Redis by its name."""
    names = [name for name in client.scan_iter(match=b"o:*") if len(name) > 8 and name != ANNOUNCE_STREAM]
    return dict(zip(names, cast("list[bytes]", client.mget(names)), strict=True))


async def usage_of(folder: Path, table: Table, since: int = 0) -> Usage:
    """What a life with that table leaves behind."""
    log = UsageLog(folder, table)
    await log.look(since, with_tags=True)
    found = load_usage(folder / USAGE_NAME)
    assert found is not None
    return found


async def test_a_first_start_verifies_every_record(
    plant: Plant, catalog: Catalog, reader: "Redis", owner: "Redis"
) -> None:
    """No life before: all is read and verified; a record under another name, rubbish and a stream are refused."""
    whole = records(owner)
    keys = keys_of(plant)
    owner.set(record_name(keys[0]), whole[record_name(keys[2])])
    owner.set(record_name(keys[1]), b"rubbish")
    owner.set(b"o:\x00\x09\x02unknown issuer", whole[record_name(keys[2])])
    table = Table(1 << 20)
    count = WarmUp(reader, table, catalog, None, UNBOUND).run()
    assert (count.read, count.refused, count.tagged) == (len(whole) + 1, 3, 0)
    assert len(table) == len(whole) - 2
    assert [table.peek(*key) for key in keys] == [None, None, *(whole[record_name(key)] for key in keys[2:])]


async def test_what_this_edge_had_is_not_verified_again(
    plant: Plant, catalog: Catalog, reader: "Redis", owner: "Redis", tmp_path: Path
) -> None:
    """Tagged records are taken as they are, changed ones are verified: a new one passes, a forged one does not."""
    before, whole, keys = Table(1 << 20), records(owner), keys_of(plant)
    WarmUp(reader, before, catalog, None, UNBOUND).run()
    usage = await usage_of(tmp_path, before)
    forged = unpack_record(whole[record_name(keys[0])])
    owner.set(record_name(keys[0]), pack_record(forged._replace(next_update=forged.next_update - 1)))
    owner.set(record_name(keys[1]), whole[record_name(keys[3])])
    table = Table(1 << 20)
    count = WarmUp(reader, table, catalog, usage, UNBOUND).run()
    assert (count.tagged, count.verified) == (len(whole) - 2, 0)
    assert count.refused == 4, "once by the scan for what was used, once by the one for the rest"
    assert [table.peek(*key) is None for key in keys[:3]] == [True, True, False]
    usage.tags = array("Q", bytes(8))
    again = WarmUp(reader, Table(1 << 20), catalog, usage, UNBOUND).run()
    assert (again.tagged, again.verified) == (0, len(whole) - 2)


async def test_used_records_come_first(
    plant: Plant, catalog: Catalog, reader: "Redis", owner: "Redis", tmp_path: Path
) -> None:
    """Of two that were used, one in several minutes, the table has these before it has any other."""
    before, keys = Table(1 << 20), keys_of(plant)
    before.set_tick(1_700_000_000)
    WarmUp(reader, before, catalog, None, UNBOUND).run()
    log = UsageLog(tmp_path, before)
    for minute, used in enumerate((keys[4:5], keys[4:5], keys[4:6])):
        before.set_tick(1_700_001_000 + 60 * minute)
        for key in used:
            before.get(*key)
        await log.look(1_700_000_990 + 60 * minute, with_tags=minute == 2)
    table = Table(1 << 20)
    seen: list[set[Key]] = []

    def cpu() -> float:
        seen.append({key for key in keys if table.peek(*key) is not None})
        return 0.0

    WarmUp(reader, table, catalog, load_usage(tmp_path / USAGE_NAME), Throttle(1.0, cpu, lambda: 0.0)).run()
    steps = [step for at, step in enumerate(seen) if step and step != seen[at - 1]]
    assert steps == [{keys[4]}, set(keys[4:6]), set(keys)]


@pytest.mark.parametrize(
    ("sketch", "often"),
    [
        (bytes(100), 2),
        (bytes(50) + b"\1" * 40 + b"\2" * 10, 2),
        (bytes(9) + b"\3" * 30 + b"\x08" * 20, 4),
        (b"\x08" * 40 + b"\1" * 5, 8),
    ],
)
def test_the_first_scan_is_for_the_half_that_was_used_most(sketch: bytes, often: int) -> None:
    """At most half of the used places, unless more than that were used equally often; once is not often."""
    assert often_used(sketch) == often


async def test_a_full_table_ends_it(plant: Plant, catalog: Catalog, reader: "Redis", owner: "Redis") -> None:
    """Once records make room for others no more are read: what was used would go for what was not."""
    keys = keys_of(plant)
    octets = records(owner)[record_name(keys[0])]
    with owner.pipeline() as pipeline:
        for number in range(20_000):
            pipeline.set(record_name(Key(1, keys[0].hash_algorithm, number.to_bytes(20, "big"))), octets)
        pipeline.execute()

    class Trusting(WarmUp):
        """Takes the copies for right."""

        def _is_right(self, key: Key, octets: bytes) -> bool:
            return True

    table = Table(1 << 20)
    work = Trusting(reader, table, catalog, None, UNBOUND)
    count = work.run()
    assert work.is_full
    assert count.read < 12_000
    assert table.evicted < 1024


async def test_the_process_reads_catalog_and_usage_from_the_folder(
    plant: Plant, catalog: Catalog, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    """What the master keeps is enough; without a Redis that answers it is to be tried again."""
    (tmp_path / "edge").mkdir()
    keep_catalog(tmp_path / "edge", catalog)
    settings = EdgeSettings(data_dir=tmp_path, redis_url=valkey.url("reader"), warm_up_core=1)
    table = Table(settings.table_bytes)
    count = warm_up(settings, table)
    assert count is not None
    assert len(table) == count.read == count.verified >= 2 * len(plant.leaves)
    gone = EdgeSettings(data_dir=tmp_path, redis_url=f"unix://{tmp_path}/none.sock", warm_up_core=1)
    assert warm_up(gone, table) is None


def test_a_lost_redis_is_told_to_the_caller(catalog: Catalog) -> None:
    """The run ends with what the client raises."""
    with pytest.raises(RedisConnectionError):
        WarmUp(Redis(unix_socket_path="/nowhere"), Table(1 << 20), catalog, None, UNBOUND).run()


def test_the_throttle_keeps_to_its_share() -> None:
    """A second of CPU at a quarter of a core: three seconds of rest, less what passed by itself."""
    cpu, clock, rests = [0.0], [0.0], list[float]()
    throttle = Throttle(0.25, lambda: cpu[0], lambda: clock[0], rests.append)
    for spent, passed in ((1.0, 1.0), (1.0, 3.0), (0.1, 5.0)):
        cpu[0] += spent
        clock[0] += passed
        throttle.pause()
    assert rests == [3.0, 1.0]


@pytest.mark.parametrize("damage", [b"", b"OCSPUSE1", None])
async def test_a_damaged_usage_file_is_as_none(tmp_path: Path, damage: bytes | None) -> None:
    """Empty, cut and with a part missing; the next life begins with a new key."""
    table = Table(1 << 20)
    await usage_of(tmp_path, table)
    path = tmp_path / USAGE_NAME
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    assert load_usage(path) is None
    assert (await usage_of(tmp_path, table)).key
