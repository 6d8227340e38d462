"""Two warmers on one ledger and one Redis: nothing is made twice, and either is enough."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
import redis

from _fastocsp.wire.codes import GOOD as GOOD_IN_RECORD
from _fastocsp.wire.codes import REVOKED as REVOKED_IN_RECORD
from cachewarm.ledger.connect import connected
from cachewarm.ledger.revocations import revoke as write_revocation
from responder.domain.key import Key
from responder.domain.redis_layout import record_name
from responder.domain.status import PRESIGNED
from tests.support.breakage import GOOD, REVOKED, ask, busyness, certificates, eventually, pid_of, stopped
from tests.support.fixtures import scratch
from tests.support.instance import Instance
from tests.support.rungs import name_of, status_in


class Pair:
    """An instance and one more warmer."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.log = instance.folder / "logs" / "second.log"
        self._fresh = iter(certificates(instance))
        self.start()

    def start(self) -> None:
        """The second warmer, as an operator would start it."""
        begun = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.second = subprocess.Popen(
                [sys.executable, "-m", "cachewarm.cli.main", "warm"], env=self.instance.environ, cwd="/", stderr=log
            )
        eventually(lambda: b'"snapshot"' in self.log.read_bytes()[begun:], 20, "the second warmer does not run")

    def stop(self) -> None:
        """Both."""
        self.second.terminate()
        try:
            self.second.wait(20)
        finally:
            self.second.kill()
            self.second.wait()
            self.instance.stop()

    def fetch(self, sql: str) -> list[Any]:
        """First columns."""

        async def ask_ledger() -> list[Any]:
            connection = await asyncpg.connect(self.instance.facts["database_url"])
            try:
                return [row[0] for row in await connection.fetch(sql)]
            finally:
                await connection.close()

        return asyncio.run(ask_ledger())

    def lists(self, count: int) -> bool:
        """The CRL that is served has so many entries."""
        return self.fetch("select revoked_count from crl_cache") == [count]

    def revoke_timed(self, client: "redis.Redis") -> tuple[Path, float]:
        """A fresh certificate, and the seconds from the commit to its record in Redis."""
        path = next(self._fresh)

        async def write() -> float:
            async with connected(self.instance.facts["database_url"]) as connection:
                await write_revocation(connection, "demo", bytes.fromhex(path.stem), actor="test")
                return time.monotonic()

        committed = asyncio.run(write())
        eventually(lambda: status_in(client, path) == REVOKED_IN_RECORD, 5, "no record", pause_s=0.001)
        return path, time.monotonic() - committed


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Both run."""
    folder = scratch()
    running = Pair(Instance(folder / "data", certificates=150, revoked=1, FASTOCSP_LOG_FORMAT="json").start())
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def client(pair: Pair) -> Iterator["redis.Redis"]:
    """Of the shared Redis."""
    with redis.Redis.from_url(pair.instance.facts["redis_url"]) as client:
        yield client


def test_crl_numbers_are_given_out_once(pair: Pair, client: "redis.Redis") -> None:
    """Revocations in quick succession wake both: every CRL has a number of its own, and the last one is served."""
    # one CRL may hold all that came while the one before it was made: each burst has at least its own
    for listed in (4, 7, 10):
        for _ in range(3):
            pair.revoke_timed(client)
            time.sleep(0.15)
        eventually(partial(pair.lists, listed), 10, "the CRL does not follow")
    made = "select crl_number::text::int from crl_generation_events where succeeded order by id"
    # the other warmer may be at one more: it is served a moment before its event is written
    served = "select crl_number::text::int from crl_cache"
    eventually(lambda: pair.fetch(served) == [max(pair.fetch(made))], 10, "the last CRL is not the one that is served")
    numbers = pair.fetch(made)
    assert len(set(numbers)) == len(numbers) >= 3
    assert pair.fetch("select count(*) from crl_generation_events where not succeeded") == [0]


def test_a_lost_key_is_replaced_by_one(pair: Pair) -> None:
    """Both see that it is gone: one new certificate, and it is the one that signs."""
    before = pair.fetch("select count(*) from ocsp_responder_certs")[0]
    (pair.instance.folder / "keys" / "ocsp-responder-demo.key").unlink()
    eventually(lambda: pair.fetch("select count(*) from ocsp_responder_certs")[0] > before, 10)
    path = Path(pair.instance.facts["good_cert"])
    eventually(lambda: ask(pair.instance, path, nonce=True).says is GOOD, 10)
    time.sleep(5)
    assert pair.fetch("select count(*) from ocsp_responder_certs") == [before + 1]
    assert ask(pair.instance, path, nonce=True).says is GOOD


@pytest.mark.parametrize("victim", ["second", "supervised"])
def test_either_is_enough(pair: Pair, client: "redis.Redis", victim: str) -> None:
    """Kill -9 one and do not start it again: the other has every revocation in Redis within a second."""
    assert max(pair.revoke_timed(client)[1] for _ in range(5)) < 1.0
    with stopped(pid_of(pair.instance, "supervisor")):
        pid = pair.second.pid if victim == "second" else pid_of(pair.instance, "warmer")
        os.kill(pid, signal.SIGKILL)
        alone = [pair.revoke_timed(client) for _ in range(5)]
        assert max(seconds for _, seconds in alone) < 1.0
        assert {ask(pair.instance, path).says for path, _ in alone} == {REVOKED}
    if victim == "second":
        pair.second.wait()
        pair.start()
    eventually(lambda: pid_of(pair.instance, "warmer") not in (0, pid), 10)


def test_one_that_was_stopped_brings_nothing_old_back(pair: Pair, client: "redis.Redis") -> None:
    """A walk of the second is stopped, the first publishes revocations; from then on Redis never says good again."""
    process = psutil.Process(pair.second.pid)
    client.flushall()
    begun = process.cpu_times().user
    with suppress(AssertionError):
        eventually(lambda: process.cpu_times().user > begun, 3, pause_s=0.001)
    with stopped(pair.second.pid):
        eventually(lambda: client.dbsize() >= 300, 10, "the first does not fill Redis")
        paths = [pair.revoke_timed(client)[0] for _ in range(5)]
    until = time.monotonic() + 4
    while time.monotonic() < until:
        assert GOOD_IN_RECORD not in {status_in(client, path) for path in paths}
        assert all(client.exists(name_of(path)) for path in paths)
    [seq] = set(pair.fetch("select seq from warmer_cursor"))
    assert pair.fetch("select seq from feed_head") == [seq]


def test_new_certificates_are_signed_at_once(pair: Pair, client: "redis.Redis") -> None:
    """Entered by plain SQL: both hashes of each are in Redis long before the next verifying visit."""
    serials = [b"\x5e" + os.urandom(15) for _ in range(40)]

    async def enter() -> float:
        async with connected(pair.instance.facts["database_url"]) as connection:
            await connection.execute(
                """insert into certificates (issuer_id, serial_number, not_before, not_after)
                   select 'demo', s, now(), now() + interval '90 days' from unnest($1::bytea[]) s""",
                serials,
            )
            return time.monotonic()

    begun = asyncio.run(enter())
    names = [record_name(Key(1, algorithm, serial)) for serial in serials for algorithm in PRESIGNED]
    eventually(lambda: client.exists(*names) > 0, 5, "no record", pause_s=0.01)
    assert time.monotonic() - begun < 1 * busyness()
    eventually(lambda: client.exists(*names) == len(names), 5, "not all", pause_s=0.01)
