"""CRL builds that are killed, refused, raced or restored: the old CRL stays, and no number is used twice."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cachewarm.crl.parse import peek_crl
from cachewarm.crl.regenerate import regenerate
from cachewarm.crl.sign_and_check import Rules
from cachewarm.errors import Refused
from cachewarm.ledger import crls, issuers
from cachewarm.ledger.connect import Connection, connect
from cachewarm.status.issuers import overviews, problems_of
from responder.domain.catalog import Catalog
from responder.feed.catalog import read_ledger
from responder.feed.crl_files import CRLFiles
from tests.support.plant import DAY, Plant
from tests.support.revocation_lists import published

RULES = Rules(validity_s=DAY)
ROOT = Path(__file__).resolve().parents[3]


@asynccontextmanager
async def another(plant: Plant) -> AsyncIterator[Connection]:
    """A connection of a second warmer."""
    connection = await connect(plant.urls.cli)
    yield connection
    await connection.close()


async def test_killed_builders_leave_the_old_crl_and_never_a_number_twice(plant: Plant) -> None:
    """SIGKILL at any moment of a build with shards and delta: what is served is whole, of one build, and only newer."""
    wish = issuers.CRLWish(delta=True, shards=3)
    await issuers.change_issuer(plant.connection, "ca", crls=wish, actor="tests")
    await plant.connection.execute(
        "insert into certificate_revocations (issuer_id, serial_number, reason)"
        " select 'ca', int4send(n + (64 << 24)), 1 from generate_series(1, 3000) n"
    )
    dice, last = random.Random(3), 0
    command = [sys.executable, "-m", "tests.cachewarm.crl.build_for_ever", str(plant.urls.cli)]
    builders = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert builders.stdin is not None
    assert builders.stdout is not None
    for _ in range(8):
        builders.stdin.write(b"\n")
        pid, begun = int(await builders.stdout.readline()), last
        while begun == last:  # a first build of this child, then the middle of some other
            await asyncio.sleep(0.02)
            begun = max((crl.number or 0 for crl in (await published(plant.connection)).values()), default=0)
        await asyncio.sleep(dice.random() * 0.4)
        os.kill(pid, signal.SIGKILL)
        assert int(await builders.stdout.readline()) == -signal.SIGKILL
        found = await published(plant.connection)
        assert set(found) == {"", "delta", "0", "1", "2"}
        [number] = {crl.number for crl in found.values()}
        assert number is not None
        assert number > last
        assert len(found[""].entries()) == sum(len(found[str(n)].entries()) for n in range(3)) == 3000
        last = number
    builders.stdin.close()
    assert await builders.wait() == 0
    used = [event.crl_number for event in await crls.crl_builds(plant.connection, "ca", 100_000)]
    assert len(used) == len(set(used))


async def test_two_builders_at_once_make_numbers_that_only_grow(plant: Plant) -> None:
    """Two connections build side by side: whoever is second steps back, and each CRL has a number of its own."""
    async with another(plant) as other:
        made = [
            number
            for _ in range(10)
            for number in await asyncio.gather(
                regenerate(plant.connection, plant.issuer, None, RULES), regenerate(other, plant.issuer, None, RULES)
            )
            if number is not None
        ]
    assert len(made) >= 10
    assert made == sorted(set(made))


async def test_numbers_go_far_above_those_of_a_restored_copy(plant: Plant) -> None:
    """On another server or timeline, or in a new generation: numbers used after the backup are not used again."""
    await regenerate(plant.connection, plant.issuer, None, RULES)
    owner = await connect(plant.urls.owner)
    await owner.execute("update crl_numbers set tli = '0000000F'")
    assert await regenerate(plant.connection, plant.issuer, None, RULES) == 1 + (1 << 20)
    assert await regenerate(plant.connection, plant.issuer, None, RULES) == 2 + (1 << 20)
    await owner.execute("select feed_begin_generation(5)")
    assert await regenerate(plant.connection, plant.issuer, None, RULES) == 2 + (2 << 20)
    await owner.close()


async def test_a_base_of_another_server_is_none(plant: Plant) -> None:
    """After a restore no delta is based on a CRL whose revocations may be lost."""
    issuer = await issuers.change_issuer(plant.connection, "ca", crls=issuers.CRLWish(delta=True), actor="tests")
    await regenerate(plant.connection, issuer, None, RULES)
    await plant.connection.execute("select feed_begin_generation(5)")
    await regenerate(plant.connection, issuer, None, RULES)
    assert (await published(plant.connection))["delta"].base_number == 1 + (1 << 20)


async def test_a_crl_that_shrank_too_much_is_not_published_until_forced(plant: Plant, tmp_path: Path) -> None:
    """The old one stays; the event says why, so does `status`, and the edge's catalog counts it; force goes through."""
    await _revoke_expired(plant, 150)
    assert await regenerate(plant.connection, plant.issuer, None, RULES) == 1
    await plant.connection.execute("delete from certificate_revocations where issuer_id = 'ca'")
    for _ in range(2):
        with pytest.raises(Refused, match=r"size\).* 0 entries, the published one 150"):
            await regenerate(plant.connection, plant.issuer, None, RULES)
    kept = await crls.read_crl(plant.connection, "ca")
    assert kept is not None
    assert len(peek_crl(kept.crl_der).entries()) == 150
    [event, *_] = await crls.crl_builds(plant.connection, "ca")
    assert (event.succeeded, event.kind) == (False, "complete")
    assert (event.error or "").startswith("Refused: the new CRL is not published (size)")
    [seen] = await overviews(plant.connection)
    said = problems_of(seen, datetime.now(UTC), ready_coverage=0, grace=timedelta(days=7))
    assert any("the last CRL build of ca failed" in line and "(size)" in line for line in said)
    assert (await _catalog_failures(plant, tmp_path)) == {"ca": 2}
    assert await regenerate(plant.connection, plant.issuer, None, replace(RULES, force=True)) == 4
    assert (await _catalog_failures(plant, tmp_path)) == {"ca": 0}


async def test_no_edge_goes_back_to_the_crl_of_a_restored_copy(plant: Plant, tmp_path: Path) -> None:
    """While the newer CRL holds it stays, and the one of a higher number replaces it; once it has ended, the older one
    is better than none.
    """
    await regenerate(plant.connection, plant.issuer, None, RULES)
    await plant.connection.execute("create temp table dump as select * from crl_cache")
    await regenerate(plant.connection, plant.issuer, None, RULES)
    reader = await connect(plant.urls.signer, check=False)
    files = CRLFiles(tmp_path)

    async def number(former: Catalog) -> tuple[int, Catalog]:
        catalog = await read_ledger(reader, files, former)
        return catalog.crls["ca"].number, catalog

    served, catalog = await number(Catalog())
    assert served == 2
    await plant.connection.execute("delete from crl_cache")
    await plant.connection.execute("insert into crl_cache select * from dump")
    for _ in range(2):
        served, catalog = await number(catalog)
        assert served == 2
    ended = {"ca": catalog.crls["ca"]._replace(next_update=1)}
    assert (await number(replace(catalog, crls=ended)))[0] == 1
    await regenerate(plant.connection, plant.issuer, None, RULES)
    assert (await number(catalog))[0] == 3
    await reader.close()


async def _catalog_failures(plant: Plant, folder: Path) -> dict[str, int]:
    reader = await connect(plant.urls.signer, check=False)
    catalog = await read_ledger(reader, CRLFiles(folder), Catalog())
    await reader.close()
    return dict(catalog.crl_failures)


async def _revoke_expired(plant: Plant, count: int) -> None:
    """Certificates that ended a moment ago, so that their rows may be deleted, and are revoked."""
    await plant.connection.execute(
        "insert into certificates (issuer_id, serial_number, not_before, not_after)"
        " select 'ca', int4send(n + (64 << 24)), now() - interval '9 days', now() - interval '1 second'"
        " from generate_series(1, $1) n",
        count,
    )
    await plant.connection.execute(
        "insert into certificate_revocations (issuer_id, serial_number)"
        " select 'ca', int4send(n + (64 << 24)) from generate_series(1, $1) n",
        count,
    )


async def test_a_higher_number_that_is_there_stays(plant: Plant) -> None:
    """Somebody wrote a CRL of a higher number meanwhile (raise_crl_number was forgotten): ours goes above it."""
    await regenerate(plant.connection, plant.issuer, None, RULES)
    await plant.connection.execute("update crl_cache set crl_number = 900")
    assert await regenerate(plant.connection, plant.issuer, None, RULES) == 901


async def test_edges_get_delta_and_shards_in_their_catalog(plant: Plant, tmp_path: Path) -> None:
    """By the names that their URLs end in, each in a file of its own, also for issuers whose ids look alike."""
    wish = issuers.CRLWish(delta=True, shards=2)
    issuer = await issuers.change_issuer(plant.connection, "ca", crls=wish, actor="tests")
    await regenerate(plant.connection, issuer, None, RULES)
    reader = await connect(plant.urls.signer, check=False)
    catalog = await read_ledger(reader, CRLFiles(tmp_path), Catalog())
    await reader.close()
    assert set(catalog.crls) == {"ca", "ca/delta", "ca/0", "ca/1"}
    assert catalog.crls["ca/1"].file.startswith("ca@1-1-")
    found = await published(plant.connection)
    for name, entry in catalog.crls.items():
        assert (tmp_path / entry.file).read_bytes() == found[name.removeprefix("ca").lstrip("/")].der
