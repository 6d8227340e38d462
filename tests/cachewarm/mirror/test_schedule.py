"""When sources are asked, and that the warmer's loop does it."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from cachewarm.config import Settings
from cachewarm.ledger.connect import connect
from cachewarm.ledger.crls import crl_turn
from cachewarm.ledger.mirrors import Mirror
from cachewarm.mirror.schedule import MirrorSchedule, due_at
from cachewarm.mirror.sync import SyncContext, sync
from tests.cachewarm.mirror.conftest import LIMITS, Mirrored

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
    settings = Settings(database_url=SecretStr(mirrored.urls.writer), crl_fetch_interval=10, crl_fetch_timeout=2)
    connection = await connect(mirrored.urls.writer)
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
    """At the next round, complete CRL and delta, octet for octet, although the source has nothing new."""
    complete = mirrored.ca.crl(5, {1: None}, begins=-2)
    delta = mirrored.ca.crl(6, {2: None}, base=5, begins=-1)
    mirrored.source.put(complete, fields={"ETag": '"5"'})
    mirrored.source.put(delta, "/delta")
    await mirrored.connection.execute("update issuers set delta_source = $1", mirrored.source.url("/delta"))
    settings = Settings(database_url=SecretStr(mirrored.urls.writer), crl_fetch_interval=3600)
    connection = await connect(mirrored.urls.writer)
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
    other = await connect(mirrored.urls.writer)
    async with crl_turn(other, "foreign") as ours:
        assert ours
        assert await sync(SyncContext(mirrored.connection, LIMITS), await mirrored.issuer()) is None
    await other.close()
    assert mirrored.source.asked == []
