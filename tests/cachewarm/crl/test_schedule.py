"""When CRLs are made: what is missing at once, deltas in between, soon after a revocation, again after a failure."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog

from _fastocsp.crl.entry_buffer import EntryBuffer
from cachewarm.config import Settings
from cachewarm.crl.build import CRLFields, build
from cachewarm.crl.parts import COMPLETE, scope_of
from cachewarm.crl.schedule import CRLSchedule
from cachewarm.ledger import crl_states, crls, issuers
from cachewarm.ledger.connect import connect
from cachewarm.ledger.feed import begin_generation, feed_position, trim_feed
from cachewarm.ledger.revocations import revoke, unhold
from cachewarm.records.keyring import domain_issuer
from responder.domain.status import CRLReason
from tests.support.plant import Plant
from tests.support.revocation_lists import published, reasons


@asynccontextmanager
async def scheduled(plant: Plant, **settings: object) -> AsyncIterator[None]:
    """The loop of one warmer."""
    schedule = CRLSchedule(Settings(**({"crl_debounce": 0.1} | settings)))
    connection = await connect(plant.urls.cli)
    task = asyncio.create_task(schedule.run(connection))
    try:
        yield
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
    async with scheduled(plant, crl_debounce=0.5):
        await until(lambda: _at_least(plant, 1))
        for leaf in plant.leaves[:3]:
            await revoke(plant.connection, "ca", leaf.serial, actor="tests")
        await until(lambda: _at_least(plant, 2))
        await asyncio.sleep(1.5)
    assert await kinds(plant) == ["complete", "complete"]
    found = {part: set(reasons(crl)) for part, crl in (await published(plant.connection)).items()}
    assert found[""] == found["delta"] == found["0"] | found["1"] == {leaf.serial for leaf in plant.leaves[:3]}


async def test_what_was_revoked_while_no_warmer_ran_is_on_the_next_crl(plant: Plant) -> None:
    """A warmer that was killed before it made the CRL leaves no debt: the next one sees what the CRL lacks, a released
    hold too, and makes it once.
    """
    held, other = plant.leaves[:2]
    await revoke(plant.connection, "ca", held.serial, reason=CRLReason.certificateHold, actor="tests")
    async with scheduled(plant):
        await until(lambda: _at_least(plant, 1))
    await unhold(plant.connection, "ca", held.serial, actor="tests")
    await revoke(plant.connection, "ca", other.serial, actor="tests")
    async with scheduled(plant):
        await until(lambda: _at_least(plant, 2))
        await asyncio.sleep(1.2)
    assert await kinds(plant) == ["complete", "complete"]
    assert set(reasons((await published(plant.connection))[""])) == {other.serial}


async def test_two_warmers_make_a_crl_once(plant: Plant) -> None:
    """Both see the revocation; whoever comes second finds it on the CRL."""
    async with scheduled(plant), scheduled(plant):
        await until(lambda: _at_least(plant, 1))
        for count, leaf in enumerate(plant.leaves[:3], 1):
            await revoke(plant.connection, "ca", leaf.serial, actor="tests")
            await until(partial(_lists, plant, count))
            await asyncio.sleep(1.2)
    assert await kinds(plant) == ["complete"] * 4


async def _lists(plant: Plant, count: int) -> bool:
    return len(reasons((await published(plant.connection))[""])) == count


async def test_a_new_generation_has_new_crls(plant: Plant) -> None:
    """After a restore the CRL that is there is one of the past: another follows at once, a million numbers higher."""
    async with scheduled(plant):
        await until(lambda: _at_least(plant, 1))
        await begin_generation(plant.connection)
        await until(lambda: _at_least(plant, 2))
    [new, old] = await crls.crl_builds(plant.connection, "ca")
    assert (new.crl_number or 0) - (old.crl_number or 0) > 1_000_000


async def test_crls_follow_after_the_feed_was_trimmed(plant: Plant) -> None:
    """What happened since the CRL cannot be read any more: it is made anew, and then has nothing to lack."""
    async with scheduled(plant):
        await until(lambda: _at_least(plant, 1))
    for leaf in plant.leaves[:3]:
        await revoke(plant.connection, "ca", leaf.serial, actor="tests")
    await trim_feed(plant.connection, 1)
    async with scheduled(plant):
        await until(lambda: _lists(plant, 3))
        await asyncio.sleep(1.2)
    assert await kinds(plant) == ["complete", "complete"]


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


async def test_crls_follow_a_change_of_their_url_or_scope(plant: Plant) -> None:
    """A distribution point that names another URL than the one it is served at is of no use: made anew at once."""
    async with scheduled(plant):
        await until(lambda: _at_least(plant, 1))
        await asyncio.sleep(1.2)  # it has been looked at, and is sound
        await issuers.change_issuer(plant.connection, "ca", crls=issuers.CRLWish(scope="user"), actor="tests")
        await until(lambda: _at_least(plant, 2))
        await issuers.change_issuer(plant.connection, "ca", crl_url="http://crl.example.com/ca", actor="tests")
        await until(lambda: _at_least(plant, 3))
        await asyncio.sleep(1.2)
    crl = (await published(plant.connection))[""]
    assert (crl.urls, crl.scope) == (("http://crl.example.com/ca",), ("only_contains_user_certs",))
    assert await kinds(plant) == ["complete"] * 3


async def test_a_crl_of_a_warmer_whose_clock_is_ahead_is_left_alone(plant: Plant) -> None:
    """Half a minute ahead is no damage: nothing is built, and nothing refused, because of it."""
    scope, begins = scope_of(plant.issuer, COMPLETE), int(time.time()) + 30
    shape = CRLFields(number=5, this_update=begins, next_update=begins + 86400, scope=scope)
    der = build(domain_issuer(plant.issuer), plant.authority.key, EntryBuffer(), 0, shape)
    begin, end = (datetime.fromtimestamp(each, UTC) for each in (shape.this_update, shape.next_update))
    head = await feed_position(plant.connection)
    crl = crls.CachedCRL(
        issuer_id="ca",
        crl_number=5,
        crl_der=der,
        this_update=begin,
        next_update=end,
        generated_at=begin,
        generation_duration_ms=0,
        revoked_count=0,
        generation=head.generation,
        seq=head.seq,
    )
    assert await crls.write_crl(plant.connection, crl)
    async with scheduled(plant):
        await asyncio.sleep(2)
    assert await crls.crl_builds(plant.connection, "ca") == []


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


async def test_one_issuer_that_fails_stops_no_other(plant: Plant) -> None:
    """Its certificate is rubbish, so that even the check of its CRL raises: it is logged once, and recorded."""
    await issuers.add_issuer(
        plant.connection,
        "aaa",
        subject="CN=rubbish",
        cert_der=b"rubbish",
        key_path=plant.issuer.key_path,
        crl_url="http://crl.example.com/aaa",
        actor="tests",
    )
    with structlog.testing.capture_logs() as logs:
        async with scheduled(plant):
            await until(lambda: _at_least(plant, 1))
            await until(lambda: _failed(plant, 2))
    assert [log["issuer_id"] for log in logs if log["event"] == "CRL not made"] == ["aaa"]


async def _failed(plant: Plant, count: int) -> bool:
    return sum(not each.succeeded for each in await crls.crl_builds(plant.connection, "aaa")) >= count


async def test_a_tick_reads_the_state_of_all_issuers_in_one_statement(plant: Plant) -> None:
    """However many there are."""
    statements: list[str] = []
    plant.connection.add_query_logger(lambda record: statements.append(record.query))
    for number in range(5):
        await issuers.add_issuer(
            plant.connection, f"ca{number}", subject="CN=x", cert_der=bytes((number,)), key_path="x", actor="tests"
        )
    statements.clear()
    states = await crl_states.scheduled_crls(plant.connection)
    assert (len(states), len(statements)) == (6, 1)
