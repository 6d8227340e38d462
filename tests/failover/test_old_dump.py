"""An old dump is restored: edges keep what it lost, and the runbook of docs/failover.md brings them back."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from cachewarm.crl.parse import peek_crl
from cachewarm.embedded.postgres import DATABASE
from cachewarm.ledger.connect import connected
from cachewarm.ledger.feed import feed_position
from tests.failover.conftest import HORIZON_S
from tests.failover.pair import Pair
from tests.support.breakage import (
    GOOD,
    REVOKED,
    TRY_LATER,
    Watch,
    ask,
    certificates,
    eventually,
    metrics,
    ready,
    revoke,
)
from tests.support.instance import Instance


async def begin_more_generations(pair: Pair, count: int) -> int:
    """As so many failovers would; the last one."""
    async with connected(pair.url()) as connection:
        await connection.execute("update feed_head set generation = generation + $1", count)
        return (await feed_position(connection)).generation


async def restore(pair: Pair, dump: Path) -> None:
    """The database of that dump in place of the one there is."""
    await pair.tell(pair.first, f'drop database "{DATABASE}" with (force)', database="postgres")
    await pair.tell(pair.first, f'create database "{DATABASE}" template template0', database="postgres")
    pair.tool("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", pair.first.url("owner"), "-f", str(dump))


def served_crl(instance: Instance) -> bytes:
    """The CRL that a worker of the edge serves."""
    with urlopen(f"{instance.base}/.well-known/pki/crl/demo", timeout=5) as answer:
        return bytes(answer.read())


def serials_in(crl: bytes) -> set[str]:
    """Those that it lists."""
    return {entry.serial.hex() for entry in peek_crl(crl).entries()}


def listed(instance: Instance) -> set[str]:
    """Serial numbers of the CRL that is served."""
    return serials_in(served_crl(instance))


def crl_with(instance: Instance, paths: Sequence[Path]) -> bytes:
    """A CRL that lists these certificates, once a worker serves it: each takes it by itself."""
    found: list[bytes] = []

    def is_served() -> bool:
        found.append(served_crl(instance))
        return serials_in(found[-1]) >= {path.stem for path in paths}

    eventually(is_served, 10, "the edge serves no CRL with them")
    return found[-1]


@pytest.mark.parametrize("failovers", [0, 2])
def test_an_old_dump_loses_nothing_that_an_edge_heard(pair: Pair, product: Instance, failovers: int) -> None:
    """Revocations younger than the dump stay revoked and are alarmed, whether the edges were generations ahead of it
    or in the same one; after `fastocsp db restored` a new revocation is confirmed only when leases that the dump does
    not know have run out. Nothing is good before `fastocsp reconcile`: the CRL of before covers the gap up to its time,
    and a statement the rest.
    """
    chosen = certificates(product)
    older, lost, later, spared = chosen[0], chosen[1:4], chosen[4], chosen[5]
    assert revoke(product, older)["result"] == "CONFIRMED"
    dump = pair.first.state / "dump.sql"
    pair.tool("pg_dump", "-d", pair.first.url("owner"), "-f", str(dump))
    highest = asyncio.run(begin_more_generations(pair, failovers))
    for path in lost:
        assert revoke(product, path)["result"] == "CONFIRMED"
    eventually(lambda: ready(product)[1]["generation"] == highest, 5)
    product.command("crl", "generate", "demo")
    (product.folder / "before.crl").write_bytes(crl_with(product, lost))
    watch = Watch(product)

    asyncio.run(restore(pair, dump))
    if failovers:
        eventually(lambda: ask(product, spared).says is TRY_LATER, HORIZON_S + 3, "an older generation was followed")
        assert watch.lines("edge", "the ledger is older than what was heard: not followed")[0]["ours"] == highest
    above = str(ready(product)[1]["generation"])
    said = json.loads(product.command("db", "restored", "--above", above, "--json").stdout)
    assert said["generation"] > highest
    restored = time.monotonic()

    assert revoke(product, later)["result"] == "CONFIRMED"
    assert time.monotonic() - restored > HORIZON_S, "confirmed while a lease from before may stand"
    eventually(lambda: metrics(product)["feed_orphans"] == len(lost), 10, "no alarm")
    eventually(lambda: ready(product)[0] == 200, 5)
    product.command("crl", "generate", "demo")
    everything = {path.stem for path in (older, *lost, later)}

    def serves_the_next_crl() -> bool:  # each worker takes it by itself
        entries = listed(product)
        assert later.stem not in entries or entries >= everything, "the next CRL dropped what the dump lost"
        return entries >= everything

    eventually(serves_the_next_crl, 10, "the next CRL is not served")
    for nonce in (False, True):
        assert {ask(product, path, nonce=nonce).says for path in (older, *lost, later)} == {REVOKED}
        assert ask(product, spared, nonce=nonce).says is TRY_LATER

    evidence = "--crl", str(product.folder / "before.crl")
    (fence,) = reconcile(product, *evidence, "--dry-run")
    assert {row["serial_number"] for row in fence["revocations"]} == {path.stem for path in lost}
    assert (fence["is"], fence["not_covered_from"]) == ("fenced", fence["evidence"][0]["covers_until"])
    (fence,) = reconcile(product, *evidence)
    assert fence["is"] == "fenced", "a CRL of before the restore covers no time after it"
    (fence,) = reconcile(product, *evidence, "--statement", "nothing was revoked after that CRL")
    assert (fence["is"], fence["revocations"]) == ("lifted", [])
    for nonce in (False, True):
        eventually(lambda nonce=nonce: ask(product, spared, nonce=nonce).says is GOOD, 5)  # type: ignore[misc]
        assert {ask(product, path, nonce=nonce).says for path in (older, *lost, later)} == {REVOKED}
    eventually(lambda: metrics(product)["feed_orphans"] == 0, 10, "the ledger has them again")


def reconcile(instance: Instance, *words: str) -> list[dict[str, Any]]:
    """What `fastocsp reconcile` says of each fence."""
    found: list[dict[str, Any]] = json.loads(instance.command("reconcile", *words, "--json").stdout)["fences"]
    return found
