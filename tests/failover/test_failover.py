"""The ledger moves to another server: nothing that was acknowledged is lost, or it is noticed, alarmed and kept."""

import asyncio
import json
import os
import signal
import time

import pytest

from cachewarm.errors import CachewarmError
from cachewarm.ledger.connect import connected
from cachewarm.revocation import revoke as revocation
from cachewarm.revocation.confirmation import Outcome, Waiting
from responder.domain.status import CRLReason
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
    pid_of,
    ready,
    revoke,
)
from tests.support.edge_host import EdgeHost
from tests.support.instance import Instance

REVOKERS = 3


async def revoke_until_it_breaks(
    url: str, serials: list[bytes], acknowledged: set[bytes], confirmed: set[bytes]
) -> None:
    """One revoker: what returned is acknowledged, what the edges have too is confirmed."""
    try:
        async with connected(url) as connection:
            for serial in serials:
                done = await revocation.revoke(
                    connection,
                    revocation.Target("demo", serial),
                    reason=CRLReason.superseded,
                    invalidity_date=None,
                    actor="test",
                    waiting=Waiting(True, 0.0),
                )
                if done.result is None:
                    return
                acknowledged.add(serial)
                if done.waited.outcome is Outcome.CONFIRMED:
                    confirmed.add(serial)
    except CachewarmError:
        return


async def revoke_while_the_primary_dies(pair: Pair, serials: list[bytes]) -> tuple[set[bytes], set[bytes]]:
    """Several at once; the primary is killed under them, the standby promoted."""
    acknowledged: set[bytes] = set()
    confirmed: set[bytes] = set()
    shares = [serials[number::REVOKERS] for number in range(REVOKERS)]
    url = pair.url(pair.first)
    revokers = [asyncio.create_task(revoke_until_it_breaks(url, share, acknowledged, confirmed)) for share in shares]
    while len(acknowledged) < len(serials) // 3:
        await asyncio.sleep(0.005)
    pair.kill_first()
    await asyncio.gather(*revokers)
    await pair.promote()
    return acknowledged, confirmed


def generation(instance: Instance) -> int:
    """That the edge is in."""
    return int(ready(instance)[1]["generation"])


def test_a_synchronous_standby_has_everything(pair: Pair, product: Instance) -> None:
    """The primary is killed while several revoke: every acknowledged revocation stands in the promoted ledger and in
    the edge's answers, none is an orphan, a new generation begins, and the next one is confirmed.
    """
    paths = {bytes.fromhex(path.stem): path for path in certificates(product)[:-2]}
    before = generation(product)
    acknowledged, confirmed = asyncio.run(revoke_while_the_primary_dies(pair, list(paths)))
    assert len(acknowledged) < len(paths), "the primary died too late to tell anything"
    assert all(ask(product, paths[serial]).says is not GOOD for serial in confirmed)
    eventually(lambda: generation(product) == before + 1, 10, "no new generation")
    kept = asyncio.run(revoked_in(pair))
    assert acknowledged <= kept
    assert asyncio.run(pair.tell(pair.second, "select count(*) from issuer_fences")) == 0, "a witness found its place"
    eventually(lambda: ready(product)[0] == 200, 10)
    for serial in acknowledged:
        assert ask(product, paths[serial]).says is REVOKED
        assert ask(product, paths[serial], nonce=True).says is REVOKED
    assert metrics(product)["feed_orphans"] == 0
    last = certificates(product)[-1]
    eventually(lambda: ask(product, last).says is GOOD, 5)
    assert revoke(product, last)["result"] == "CONFIRMED"
    assert ask(product, last).says is REVOKED


async def revoked_in(pair: Pair) -> set[bytes]:
    """Of the second server."""
    async with connected(pair.url(pair.second)) as connection:
        return {
            row["serial_number"] for row in await connection.fetch("select serial_number from certificate_revocations")
        }


@pytest.mark.parametrize("pair", [False], indirect=True, ids=["asynchronous"])
def test_what_an_asynchronous_standby_lost_is_kept_by_the_edge(pair: Pair, product: Instance) -> None:
    """Five confirmed revocations never reached the standby that takes over: the edge alarms and goes on saying
    revoked, over its own and the signer's restart too, while the ledger gives the same numbers to other revocations. An
    edge that never knew them says good of none. Confirming some, and revoking the others again, ends the alarm.
    """
    chosen = certificates(product)
    lost, later, spared = chosen[:5], chosen[5:8], chosen[8]
    before, watch = generation(product), Watch(product)
    asyncio.run(pair.cut())
    for path in lost:
        assert revoke(product, path)["result"] == "CONFIRMED"
    pair.kill_first()
    asyncio.run(pair.promote())
    assert not {bytes.fromhex(path.stem) for path in lost} & asyncio.run(revoked_in(pair))
    eventually(lambda: metrics(product)["feed_orphans"] == len(lost), 10, "no alarm")
    eventually(lambda: generation(product) == before + 1, 10, "no new generation")
    assert watch.lines("edge", "revocations vanished from the ledger and are kept")[0]["orphans"] == len(lost)
    fences = json.loads(product.command("reconcile", "--json").stdout)["fences"]
    assert [(fence["issuer_id"], fence["reason"]) for fence in fences] == [("demo", "diverged")]
    eventually(lambda: ask(product, spared).says is TRY_LATER, 5, "the issuer is not fenced")
    for path in later:
        assert revoke(product, path)["result"] == "CONFIRMED"
    product.command("reconcile", "--statement", "the edge knows all that the primary confirmed")
    eventually(lambda: ask(product, spared).says is GOOD, 5, "the fence is not lifted")
    eventually(lambda: ready(product)[1]["orphans"] == {"demo": len(lost)}, 5, "the reports are not taken over")
    assert ready(product)[1]["issuer_faults"] == {"demo": ["orphans"]}
    master, signer = pid_of(product, "edge_master"), pid_of(product, "signer")
    for restarted in (False, True):
        if restarted:
            os.kill(master, signal.SIGKILL)
            os.kill(signer, signal.SIGKILL)
            eventually(lambda: pid_of(product, "edge_master") not in (0, master), 5)
            eventually(lambda: pid_of(product, "signer") not in (0, signer), 5)
            eventually(lambda: is_ready(product), 10)
        assert {ask(product, path, nonce=nonce).says for path in (*lost, *later) for nonce in (False, True)} == {
            REVOKED
        }
        assert ask(product, spared).says is GOOD
        assert metrics(product)["feed_orphans"] == len(lost)
    listed = json.loads(product.command("edge", "orphans", "--json").stdout)["orphans"]
    assert {(row["issuer_id"], row["serial_number"]) for row in listed} == {("demo", path.stem) for path in lost}
    unknowing = EdgeHost(product, product.folder.parent / "unknowing", "unknowing")
    unknowing.start()
    try:
        for path in lost:
            before_asking = metrics(unknowing)["signed_live"]
            for nonce in (False, True, False):
                assert ask(unknowing, path, nonce=nonce).says is TRY_LATER
            assert metrics(unknowing)["signed_live"] <= before_asking + 4
        assert ask(unknowing, spared).says is GOOD
        for path in lost[:3]:
            product.command("orphans", "confirm", path.stem)
        for path in lost[3:]:
            assert revoke(product, path)["result"] == "CONFIRMED"
        for path in lost:
            eventually(lambda path=path: ask(unknowing, path).says is REVOKED, 5)  # type: ignore[misc]
    finally:
        unknowing.stop()
    eventually(lambda: metrics(product)["feed_orphans"] == 0, 5, "the alarm goes on")
    eventually(lambda: ready(product)[1]["orphans"] == {}, 5, "the alarm goes on")
    assert ready(product)[0] == 200


def is_ready(instance: Instance) -> bool:
    """Somebody listens, and says so."""
    try:
        return ready(instance)[0] == 200
    except OSError:
        return False


def test_an_isolated_old_primary_gives_no_lease(pair: Pair, product: Instance) -> None:
    """The standby is promoted, but one edge still reaches only the old primary, which nobody follows any more: its
    polls never commit, so within the horizon it says good no longer, whatever is revoked on the new one meanwhile.
    """
    url = own_url(pair, product)
    login = url.partition("://")[2].partition(":")[0]
    asyncio.run(pair.tell(pair.first, "select edge_register('stranded', $1, 'tests')", login))
    stranded = EdgeHost(product, product.folder.parent / "stranded", "stranded", FASTOCSP_DATABASE_URL=url)
    stranded.start()
    try:
        path, spared = certificates(product)[:2]
        assert ask(stranded, path).says is GOOD
        asyncio.run(pair.promote())
        promoted = time.monotonic()
        outcome = asyncio.run(revoke_on_the_second(pair, path))
        assert outcome is Outcome.CONFIRMED
        assert ask(stranded, path).says is not GOOD
        eventually(lambda: ask(stranded, spared).says is TRY_LATER, HORIZON_S + 1, "the old primary gives leases")
        until = promoted + 3 * HORIZON_S
        while time.monotonic() < until:
            assert ask(stranded, spared).says is TRY_LATER
            assert ask(stranded, path).says is not GOOD
            assert ask(stranded, product.facts["revoked_cert"]).says is REVOKED
            time.sleep(0.1)
    finally:
        stranded.stop()


def own_url(pair: Pair, product: Instance) -> str:
    """The edge's own login, at the first server alone."""
    passwords = json.loads((product.folder / "outside.passwords").read_text())
    login = next(name for name in passwords if name.startswith("fastocsp_edge_"))
    first = pair.url(pair.first)
    return f"postgresql://{login}:{passwords[login]}@{first.rpartition('@')[2]}"


async def revoke_on_the_second(pair: Pair, path: "os.PathLike[str]") -> Outcome:
    """And wait for everybody who ever had a lease."""
    serial = bytes.fromhex(str(path).rpartition("/")[2].partition(".")[0])
    async with connected(pair.url(pair.second)) as connection:
        done = await revocation.revoke(
            connection,
            revocation.Target("demo", serial),
            reason=CRLReason.keyCompromise,
            invalidity_date=None,
            actor="test",
            waiting=Waiting(True),
        )
    return done.waited.outcome
