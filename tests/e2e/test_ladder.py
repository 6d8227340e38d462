"""The degrade ladder (docs/degrade.md), rung by rung: what clients get, which metric moves, what the log says, /ready.

One instance, whose journal lies on a small file system of its own where that can be mounted; every rung heals what it
broke, and the next one begins only when the instance is whole again.
"""

import asyncio
import os
import signal
import time
from contextlib import ExitStack, suppress

import pytest

from tests.support.breakage import (
    GOOD,
    REVOKED,
    TRY_LATER,
    Watch,
    ask,
    busyness,
    certificates,
    eventually,
    family,
    is_within,
    metrics,
    octets_of,
    pid_of,
    ready,
    revoke,
    says,
    stopped,
)
from tests.support.http import Talk
from tests.support.rungs import (
    CERTIFICATES,
    GOOD_IN_RECORD,
    HASHES,
    HORIZON_S,
    LANE,
    REVOKED_IN_RECORD,
    SHA1,
    SHA384,
    SIGNER_S,
    WARM_S,
    Rungs,
    name_of,
    revoke_strangers,
    rungs,
    started_rungs,
    status_in,
    whole,
)

__all__ = ["rungs", "whole"]


def test_redis_stopped(rungs: Rungs) -> None:
    """A miss costs REDIS_TIMEOUT once a second and is signed live; every answer is right; /ready stays 200."""
    instance, watch = rungs.instance, Watch(rungs.instance)
    with stopped(pid_of(instance, "redis")):
        assert max(ask(instance, rungs.fresh()).seconds for _ in range(6)) < 1.0
        assert ask(instance, rungs.fresh()).says is GOOD
        assert ask(instance, rungs.revoked).says is REVOKED
        path = rungs.fresh()
        assert revoke(instance, path)["result"] == "CONFIRMED"
        assert ask(instance, path).says is REVOKED
        assert ready(instance)[0] == 200
        assert watch.moved("redis_failed") >= 5
        assert watch.moved("signed_live") >= 5
        assert watch.lines("edge", "tier is away")[0]["tier"] == "redis"

    eventually(lambda: rungs.meets_redis(watch), 5, "redis is not asked again", pause_s=0.2)
    with rungs.redis() as client:
        eventually(lambda: status_in(client, path) == REVOKED_IN_RECORD, 10, "the revocation was not published")


def test_redis_killed_and_not_started_again(rungs: Rungs) -> None:
    """Refused connections cost nothing, good, revoked and nonce are right; when it is back, the walk fills it."""
    instance, watch = rungs.instance, Watch(rungs.instance)
    before = pid_of(instance, "redis")
    with stopped(pid_of(instance, "supervisor")):
        os.kill(before, signal.SIGKILL)
        replies = [ask(instance, rungs.fresh()) for _ in range(5)]
        assert {reply.says for reply in replies} == {GOOD}
        assert max(reply.seconds for reply in replies) < 1.0
        assert ask(instance, rungs.fresh(), nonce=True).says is GOOD
        assert ask(instance, rungs.revoked, nonce=True).says is REVOKED
        assert ready(instance)[0] == 200
        assert watch.moved("redis_failed") >= 5
        assert watch.lines("edge", "tier is away")[0]["tier"] == "redis"
    eventually(lambda: pid_of(instance, "redis") not in (0, before), 10)
    eventually(lambda: rungs.meets_redis(watch), 5, "redis is not asked again", pause_s=0.2)


def test_redis_slow(rungs: Rungs) -> None:
    """SIGSTOP for two seconds under misses: every answer is good, none later than a second."""
    instance, watch = rungs.instance, Watch(rungs.instance)
    until = time.monotonic() + 2
    with stopped(pid_of(instance, "redis")):
        while time.monotonic() < until:
            reply = ask(instance, rungs.fresh())
            assert (reply.says, reply.seconds < 1.0) == (GOOD, True)
            time.sleep(0.2)
    assert watch.moved("redis_failed") >= 5
    assert ready(instance)[0] == 200


def test_redis_corrupt(rungs: Rungs) -> None:
    """Rubbish, another certificate's record, an old good record of a revoked one: right answers, counted and said; the
    walk replaces the rubbish although it claims the highest seq.
    """
    instance, watch = rungs.instance, Watch(rungs.instance)
    rubbish, foreign, dead = rungs.fresh(), rungs.fresh(), rungs.fresh()
    with rungs.redis() as client:
        old = client.get(name_of(dead))
        revoke(instance, dead)
        eventually(lambda: status_in(client, dead) == REVOKED_IN_RECORD, 5)
        client.set(name_of(rubbish), b"\xff" * 120)
        another = client.get(name_of(rungs.fresh()))
        client.set(name_of(foreign), another)
        client.set(name_of(dead), old)
        answers = [ask(instance, path, SHA1).says for path in (rubbish, foreign, dead)]
        assert answers == [GOOD, GOOD, REVOKED]
        assert all(ask(instance, dead, nonce=nonce).says is REVOKED for nonce in (True, False) for _ in range(8))
        assert watch.moved("redis_refused") >= 2
        assert watch.moved("contradicted") >= 1
        eventually(lambda: rungs.refuses_aloud(watch), 12, "nothing in the log", pause_s=0.5)
        assert ready(instance)[0] == 200
        eventually(lambda: status_in(client, rubbish) == GOOD_IN_RECORD, 10, "rubbish stays")
        eventually(lambda: status_in(client, dead) == REVOKED_IN_RECORD, 10, "the old record stays")
        assert client.get(name_of(foreign)) == another
    eventually(lambda: watch.lines("warmer", "walked"), 2)
    assert watch.lines("warmer", "not records, dropped")


def test_redis_emptied(rungs: Rungs) -> None:
    """FLUSHALL: misses are signed live, and the warmer has filled it again a second or two later."""
    instance, watch = rungs.instance, Watch(rungs.instance)
    with rungs.redis() as client:
        client.flushall()
        assert {ask(instance, rungs.fresh(), SHA384).says for _ in range(5)} == {GOOD}
        assert ask(instance, rungs.revoked).says is REVOKED
        assert ready(instance)[0] == 200
        eventually(lambda: client.dbsize() >= 2 * CERTIFICATES, 10, "not filled again")
    eventually(lambda: watch.lines("warmer", "walked"), 3)
    assert watch.moved("redis_absent") >= 1


def test_postgres_stopped_for_less_than_the_horizon(rungs: Rungs) -> None:
    """Good and revoked go on, from the table, from Redis and with a nonce; the log says that no poll succeeds."""
    instance, watch = rungs.instance, Watch(rungs.instance)
    until = time.monotonic() + HORIZON_S / 2
    with stopped(*family(pid_of(instance, "postgres"))):
        while time.monotonic() < until:
            assert ask(instance, rungs.known).says is GOOD
            assert ask(instance, rungs.fresh()).says is GOOD
            assert ask(instance, rungs.known, nonce=True).says is GOOD
            assert ask(instance, rungs.revoked, nonce=True).says is REVOKED
            time.sleep(0.1)
        assert ask(instance, certificates(instance)[-1], nonce=True).says is TRY_LATER
        assert ready(instance)[0] == 200
        assert metrics(instance)["feed_age_seconds"] >= 1
        assert watch.lines("edge", "ledger unavailable")
    assert watch.moved("answers:closed") == 0


@pytest.mark.timeout(300)
def test_an_edge_killed_while_postgres_is_stopped(rungs: Rungs) -> None:
    """Its next life has what is left of the lease: good from Redis within the horizon, none after; revoked always.

    A busy machine may start an edge more slowly than the lease lasts: it is tried with a longer one there.
    """
    if starts_within_its_lease(rungs, HORIZON_S):
        return
    rungs.heal()
    horizon_s = HORIZON_S * max(2, min(busyness(), 12))
    with started_rungs(horizon_s) as patient:
        patient.prepare()
        assert starts_within_its_lease(patient, horizon_s), f"no start within {horizon_s:.0f} s"


def starts_within_its_lease(rungs: Rungs, horizon_s: float) -> bool:
    """Kill the edge while Postgres is stopped and check its next life; False when that came too late for the lease."""
    instance, watch = rungs.instance, Watch(rungs.instance)
    master = pid_of(instance, "edge_master")
    with stopped(*family(pid_of(instance, "postgres"))):
        begun = time.monotonic()
        os.kill(master, signal.SIGKILL)
        eventually(lambda: pid_of(instance, "edge_master") not in (0, master), 3, "not started again")
        eventually(rungs.answers, 3, "no answer")
        replies = [ask(instance, path).says for path in (rungs.fresh(), rungs.known, rungs.revoked)]
        assert replies[2] is REVOKED
        if time.monotonic() - begun >= horizon_s * 0.9:
            return False
        assert replies == [GOOD, GOOD, REVOKED]
        assert ready(instance)[0] == 200
        eventually(lambda: ask(instance, rungs.known).says is TRY_LATER, horizon_s + 1, "not closed")
        assert is_within(begun, horizon_s + 1)
        assert ask(instance, rungs.revoked).says is REVOKED
        assert watch.lines("edge", "journal loaded")
    return True


def test_postgres_stopped_for_longer(rungs: Rungs) -> None:
    """After the horizon no good, only tryLater with Retry-After; revoked under every hash and with a nonce; /ready 503
    with the reason; all is good within two seconds of the end.
    """
    instance, watch = rungs.instance, Watch(rungs.instance)
    with stopped(*family(pid_of(instance, "postgres"))):
        eventually(lambda: ask(instance, rungs.known).says is TRY_LATER, HORIZON_S + 1, "not closed")
        reply = ask(instance, rungs.fresh())
        assert (reply.says, reply.fields["retry-after"], reply.fields["cache-control"]) == (TRY_LATER, "5", "no-store")
        assert ask(instance, rungs.known, nonce=True).says is TRY_LATER
        for algorithm in HASHES:
            for nonce in (False, True):
                assert ask(instance, rungs.revoked, algorithm, nonce=nonce).says is REVOKED
        status, facts = ready(instance)
        assert (status, facts["state"]) == (503, "CLOSED")
        assert facts["reasons"] == ["feed is CLOSED: no certificate may be called good"]
        assert watch.moved("answers:closed") >= 2
        assert metrics(instance)["feed_state:CLOSED"] == 1
        eventually(lambda: watch.lines("edge", "ledger unavailable"), 3, "no line")
    eventually(lambda: ask(instance, rungs.known).says is GOOD, 2, "not open within two seconds")
    eventually(lambda: ready(instance)[0] == 200, 2)


def test_signer_stopped(rungs: Rungs) -> None:
    """What is in a table is answered as ever; a nonce gets tryLater within SIGNER_TIMEOUT, and beyond the lane's
    bound at once.
    """
    instance, watch = rungs.instance, Watch(rungs.instance)
    with stopped(pid_of(instance, "signer")), ExitStack() as open_talks:
        reply = ask(instance, rungs.known, nonce=True)
        assert (reply.says, reply.fields["retry-after"]) == (TRY_LATER, "5")
        assert SIGNER_S * 0.9 <= reply.seconds < (SIGNER_S + 0.5) * busyness()
        assert ask(instance, rungs.fresh(), SHA384).says is TRY_LATER
        talks = [open_talks.enter_context(Talk(instance.port)) for _ in range(16 * LANE)]
        begun = time.monotonic()
        for talk in talks:
            talk.socket.sendall(octets_of(instance, rungs.known, nonce=True))
        cached = [ask(instance, rungs.known) for _ in range(20)]
        waits = []
        for talk in talks:
            assert says(talk.read()[2]) is TRY_LATER
            waits.append(time.monotonic() - begun)
        assert {each.says for each in cached} == {GOOD}
        assert max(each.seconds for each in cached) < 0.5 * busyness()
        assert max(waits) < (SIGNER_S + 2) * busyness()
        assert LANE <= watch.moved("signer_failed") <= 2 * LANE + 2
        assert ask(instance, rungs.fresh()).says is GOOD
        assert ready(instance)[0] == 200
        assert watch.moved("answers:try_later") >= len(talks)
        assert watch.lines("edge", "tier is away")[0]["tier"] == "signer"
    eventually(lambda: ask(instance, rungs.known, nonce=True).says is GOOD, 2)
    # each worker says it when it is asked again itself
    eventually(lambda: ask(instance, rungs.known, nonce=True) and watch.lines("edge", "tier is back"), 5)


def test_warmer_stopped(rungs: Rungs) -> None:
    """A revocation is answered at once, signed live; the age of the last walk grows; renewal goes on afterwards."""
    instance, watch = rungs.instance, Watch(rungs.instance)
    path = rungs.fresh()
    with stopped(pid_of(instance, "warmer")), rungs.redis() as client:
        old = client.get(name_of(path))
        assert ask(instance, path, SHA1).says is GOOD
        assert revoke(instance, path)["result"] == "CONFIRMED"
        assert all(ask(instance, path, nonce=nonce).says is REVOKED for nonce in (True, False) for _ in range(8))
        assert client.get(name_of(path)) == old
        assert watch.moved("contradicted") >= 1
        assert watch.moved("signed_live") >= 1
        assert ready(instance)[0] == 200
        client.delete(name_of(rungs.known))
        eventually(lambda: metrics(instance)["coverage_age_seconds"] > 2 * WARM_S, 4 * WARM_S, pause_s=0.2)
    with rungs.redis() as client:
        eventually(lambda: status_in(client, path) == REVOKED_IN_RECORD, 5, "not published")
        eventually(lambda: status_in(client, rungs.known) == GOOD_IN_RECORD, 10, "not renewed")
    eventually(lambda: watch.lines("warmer", "carried"), 5, "the walk alone brought it")


def test_disk_full_at_the_journal(rungs: Rungs) -> None:
    """What cannot be written is not acknowledged: no good after the horizon, revoked as before, by an edge that is
    started then too; room again: good.
    """
    if rungs.journal is None:
        pytest.skip("a small file system of our own cannot be mounted here")
    instance, watch, path = rungs.instance, Watch(rungs.instance), rungs.fresh()
    filler = rungs.journal / "filler"
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"\0" * 512)
        asyncio.run(revoke_strangers(instance, 300))
        begun = time.monotonic()
        assert revoke(instance, path)["result"] == "CONFIRMED"
        assert HORIZON_S < time.monotonic() - begun < (HORIZON_S + 2) * busyness()
        assert ask(instance, path).says is not GOOD
        assert ask(instance, rungs.known).says is TRY_LATER
        assert ask(instance, rungs.revoked).says is REVOKED
        assert (ready(instance)[0], metrics(instance)["feed_state:CLOSED"]) == (503, 1)
        assert "No space left" in watch.lines("edge", "ledger unavailable")[0]["error"]
        master = pid_of(instance, "edge_master")
        os.kill(master, signal.SIGKILL)
        eventually(lambda: pid_of(instance, "edge_master") not in (0, master), 3, "not started again")
        eventually(rungs.answers, 10, "a full disk keeps the edge from starting")
        assert ask(instance, rungs.revoked).says is REVOKED
    finally:
        filler.unlink()
    eventually(lambda: ask(instance, rungs.known).says is GOOD, 3, "not open again")
    assert ask(instance, path).says is REVOKED
