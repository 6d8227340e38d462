"""When CRLs are made: what is missing at once, deltas in between, soon after a revocation, again after a failure."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cachewarm.config import Settings
from cachewarm.crl.schedule import CRLSchedule
from cachewarm.ledger import crls, issuers
from cachewarm.ledger.connect import connect
from cachewarm.ledger.revocations import revoke
from tests.cachewarm.warming.conftest import Plant
from tests.cachewarm.warming.revocation_lists import published, reasons


@asynccontextmanager
async def scheduled(plant: Plant, **settings: object) -> AsyncIterator[CRLSchedule]:
    """The loop of one warmer."""
    schedule = CRLSchedule(Settings(_env_file=None, crl_debounce=0.1, **settings))  # type: ignore[arg-type]
    connection = await connect(plant.urls.writer)
    task = asyncio.create_task(schedule.run(connection))
    try:
        yield schedule
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await connection.close()


async def until(holds: Callable[[], Awaitable[object]], seconds: float = 15) -> None:
    """Wait for it."""
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.05)


async def kinds(plant: Plant) -> list[str]:
    """Kinds of the builds that went well, oldest first."""
    return [each.kind for each in reversed(await crls.crl_builds(plant.connection, "ca", 1000)) if each.succeeded]


async def test_deltas_follow_between_complete_crls(plant: Plant) -> None:
    """A complete CRL first, then deltas alone at their own interval, until the next complete one is due."""
    await issuers.change_issuer(plant.connection, "ca", crls=issuers.CRLWish(delta=True), actor="tests")
    async with scheduled(plant, crl_delta_interval=1):
        await until(lambda: _at_least(plant, 3))
    assert (await kinds(plant))[:3] == ["complete", "delta", "delta"]


async def _at_least(plant: Plant, number: int) -> bool:
    return len(await kinds(plant)) >= number


async def test_a_revocation_is_on_every_crl_soon(plant: Plant) -> None:
    """Complete CRL, shard and delta, once for all the revocations of a moment."""
    wish = issuers.CRLWish(delta=True, shards=2)
    await issuers.change_issuer(plant.connection, "ca", crls=wish, actor="tests")
    async with scheduled(plant) as schedule:
        await until(lambda: _at_least(plant, 1))
        for leaf in plant.leaves[:3]:
            await revoke(plant.connection, "ca", leaf.serial, actor="tests")
            schedule.revoked([plant.issuer.issuer_no])
        await until(lambda: _at_least(plant, 2))
        await asyncio.sleep(1.5)
    assert await kinds(plant) == ["complete", "complete"]
    found = {part: set(reasons(crl)) for part, crl in (await published(plant.connection)).items()}
    assert found[""] == found["delta"] == found["0"] | found["1"] == {leaf.serial for leaf in plant.leaves[:3]}


async def test_a_deleted_part_is_made_again(plant: Plant) -> None:
    """At the next tick, not at the next interval; so is one that the issuer has only now."""
    async with scheduled(plant):
        await until(lambda: _at_least(plant, 1))
        wish = issuers.CRLWish(delta=True, shards=3)
        await issuers.change_issuer(plant.connection, "ca", crls=wish, actor="tests")
        await until(lambda: _has_parts(plant))
        await plant.connection.execute("delete from crl_parts where part = '1'")
        await until(lambda: _has_parts(plant))
        await plant.connection.execute("delete from crl_bases")
        await plant.connection.execute("delete from crl_parts")
        await until(lambda: _has_parts(plant))


async def _has_parts(plant: Plant) -> bool:
    return set(await published(plant.connection)) == {"", "delta", "0", "1", "2"}


async def test_a_failure_is_tried_again_with_a_pause(plant: Plant) -> None:
    """The key is away and comes back: few events of failure, then the CRL, without anybody's help."""
    path = Path(plant.issuer.key_path or "")
    away = path.rename(path.with_suffix(".away"))
    async with scheduled(plant):
        await until(lambda: crls.crl_builds(plant.connection, "ca"))
        await asyncio.sleep(2)
        assert len(await crls.crl_builds(plant.connection, "ca")) <= 2
        away.rename(path)
        await until(lambda: _at_least(plant, 1))
