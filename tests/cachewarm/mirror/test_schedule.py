"""When sources are asked, and that the warmer's loop does it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from cachewarm.config import Settings
from cachewarm.ledger import issuers
from cachewarm.ledger.connect import connect
from cachewarm.ledger.crls import crl_turn
from cachewarm.ledger.mirrors import Mirror
from cachewarm.mirror.schedule import MirrorSchedule, due_at
from cachewarm.mirror.sync import SyncContext, sync
from responder.setting_fields import SecretStr
from tests.cachewarm.mirror.conftest import LIMITS, Mirrored
from tests.support.foreign_ca import ForeignCA

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def mirror(**changed: Any) -> Mirror:
    """A CRL of ten hours, fetched when it began."""
    values: dict[str, Any] = dict.fromkeys(Mirror.__dataclass_fields__) | {
        "crl_number": 4,
        "served_number": 4,
        "this_update": BEGIN,
        "next_update": BEGIN + 10 * HOUR,
        "tried_at": BEGIN,
        "failures": 0,
    }
    return Mirror(**values | changed)


@pytest.mark.parametrize(
    ("changed", "interval", "expected"),
    [
        ({"tried_at": None}, 1, None),
        ({"served_number": None}, 1, None),
        ({}, 24, 5 * HOUR),
        ({}, 1, HOUR),
        ({"tried_at": BEGIN + 4.5 * HOUR}, 1, 5 * HOUR),
        ({"tried_at": BEGIN + 6 * HOUR}, 24, 6.5 * HOUR),
        ({"tried_at": BEGIN + 10 * HOUR}, 24, 10 * HOUR + timedelta(seconds=10)),
        ({"failures": 1}, 1, timedelta(seconds=5)),
        ({"failures": 3}, 1, timedelta(seconds=20)),
        ({"failures": 300}, 1, timedelta(seconds=600)),
        ({"delta_this_update": BEGIN, "delta_next_update": BEGIN + HOUR}, 24, HOUR / 2),
    ],
    ids=str,
)
def test_when_a_source_is_asked(changed: dict[str, Any], interval: int, expected: timedelta | None) -> None:
    """At half of the life, at the latest after the interval, more often later, with a growing pause after failures."""
    due = due_at(mirror(**changed), interval * 3600)
    assert due == (0.0 if expected is None else (BEGIN + expected).timestamp())


async def test_the_loop_takes_a_new_crl_and_survives_a_bad_source(mirrored: Mirrored) -> None:
    """404 first, then a CRL, then the next one at half of a short life."""
    settings = Settings(database_url=SecretStr(mirrored.urls.cli), crl_fetch_interval=10, crl_fetch_timeout=2)
    connection = await connect(mirrored.urls.cli)
    running = asyncio.create_task(MirrorSchedule(settings).run(connection))
    async with asyncio.timeout(30):
        while not await mirrored.connection.fetchval("select failures from crl_mirrors"):
            await asyncio.sleep(0.05)
        mirrored.source.put(mirrored.ca.crl(1, {1: None}, begins=-2, lasts=8))
        while (await mirrored.mirror()).crl_number != 1:
            await asyncio.sleep(0.05)
        mirrored.source.put(mirrored.ca.crl(2, {1: None, 2: None}, begins=-1))
        while (await mirrored.mirror()).crl_number != 2:
            await asyncio.sleep(0.05)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await connection.close()
    assert set(await mirrored.rows()) == {1, 2}


async def test_what_is_damaged_or_deleted_is_brought_again(mirrored: Mirrored) -> None:
    """At the next round, complete CRL and delta, byte for byte, although the source has nothing new."""
    complete = mirrored.ca.crl(5, {1: None}, begins=-2)
    delta = mirrored.ca.crl(6, {2: None}, base=5, begins=-1)
    mirrored.source.put(complete, fields={"ETag": '"5"'})
    mirrored.source.put(delta, "/delta")
    await mirrored.connection.execute("update issuers set delta_source = $1", mirrored.source.url("/delta"))
    settings = Settings(database_url=SecretStr(mirrored.urls.cli), crl_fetch_interval=3600)
    connection = await connect(mirrored.urls.cli)
    running = asyncio.create_task(MirrorSchedule(settings).run(connection))
    served = "select (select crl_der from crl_cache), (select crl_der from crl_parts)"

    async def until_whole() -> None:
        async with asyncio.timeout(15):
            while tuple(await mirrored.connection.fetchrow(served) or ()) != (complete, delta):
                await asyncio.sleep(0.05)

    await until_whole()
    for table in ("crl_cache", "crl_parts"):
        for damage in ("update {} set crl_der = set_byte(crl_der, 40, 1)", "delete from {}"):
            await asyncio.sleep(1.2)  # it has been looked at, and is sound
            await mirrored.connection.execute(damage.format(table))
            await until_whole()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await connection.close()
    assert len(mirrored.source.asked) < 16


async def test_one_fetch_at_a_time(mirrored: Mirrored) -> None:
    """Who does not have the turn asks nobody."""
    other = await connect(mirrored.urls.cli)
    async with crl_turn(other, "foreign") as ours:
        assert ours
        assert await sync(SyncContext(mirrored.connection, LIMITS), await mirrored.issuer()) is None
    await other.close()
    assert mirrored.source.asked == []


def said_of(logs: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the issuers whose CRL was logged as not mirrored, without the silent one."""
    failed = [str(log["issuer_id"]) for log in logs if log["event"] == "CRL not mirrored"]
    return [issuer_id for issuer_id in failed if issuer_id != "aaa-silent"]


async def test_one_bad_source_stops_no_other(mirrored: Mirrored) -> None:
    """Neither one that is silent, nor one whose row is rubbish, nor one that sends rubbish: the next one is taken."""
    for name, path in (("aaa-silent", "/silent"), ("bbb-rubbish", "/rubbish"), ("ccc-broken", "/crl")):
        await issuers.add_issuer(
            mirrored.connection,
            name,
            subject=f"CN={name}",
            cert_der=b"rubbish" if name == "ccc-broken" else ForeignCA(name).cert_der,
            crls=issuers.CRLWish(source=mirrored.source.url(path)),
            actor="tests",
        )
    mirrored.source.put(b"", "/silent", silent_s=5)
    mirrored.source.put(b"\x30\x03\x02\x01\x05", "/rubbish")
    mirrored.source.put(mirrored.ca.crl(1, {1: None}))
    begun = asyncio.get_running_loop().time()
    with structlog.testing.capture_logs() as logs:
        async with scheduled(mirrored, crl_fetch_timeout=8):
            async with asyncio.timeout(15):
                while (await mirrored.mirror()).crl_number != 1:
                    await asyncio.sleep(0.05)
            assert asyncio.get_running_loop().time() - begun < 4
            failures = "select issuer_id, fault from crl_generation_events where not succeeded"
            async with asyncio.timeout(15):
                while len({row["issuer_id"] for row in await mirrored.connection.fetch(failures)}) < 2:
                    await asyncio.sleep(0.05)
                while len(said_of(logs)) < 2:  # a failure is logged after its row is there
                    await asyncio.sleep(0.05)
            faults = {row["issuer_id"]: row["fault"] for row in await mirrored.connection.fetch(failures)}
    assert faults | {"aaa-silent": ""} == {"aaa-silent": "", "bbb-rubbish": "form", "ccc-broken": "internal"}
    assert sorted(said_of(logs)) == ["bbb-rubbish", "ccc-broken"]


async def test_an_attempt_that_ends_the_process_is_not_repeated_at_once(mirrored: Mirrored) -> None:
    """It is noted as a failure before it begins, so a restart waits as after any failure."""
    mirrored.source.put(b"", silent_s=1)
    looking = asyncio.create_task(sync(SyncContext(mirrored.connection, LIMITS), await mirrored.issuer()))
    async with asyncio.timeout(5):
        while not mirrored.source.asked:
            await asyncio.sleep(0.01)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    found = await mirrored.mirror()
    assert found.failures == 1
    assert due_at(found, 3600) > datetime.now(UTC).timestamp() + 3


@contextlib.asynccontextmanager
async def scheduled(mirrored: Mirrored, **settings: Any) -> AsyncIterator[None]:
    """The loop of one warmer."""
    connection = await connect(mirrored.urls.cli)
    running = asyncio.create_task(
        MirrorSchedule(Settings(database_url=SecretStr(mirrored.urls.cli), **settings)).run(connection)
    )
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await connection.close()
