"""Two thousand certificates are revoked while clients ask: after the confirmation none is called good, and others'
cached answers stay quick.
"""

import asyncio
import json
import random
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cachewarm.ledger.connect import connected
from cachewarm.ledger.feed import feed_position
from cachewarm.ledger.revocations import Revocation, bulk_revoke
from cachewarm.revocation.confirmation import Outcome, wait_for_edges
from responder.domain.status import CRLReason
from tests.support.breakage import GOOD, REVOKED, ask, certificates, eventually, metrics, octets_of, says
from tests.support.fixtures import scratch
from tests.support.http import Talk
from tests.support.instance import Instance

REVOKED_COUNT, CLIENTS, P99_S = 2000, 4, 0.25


class Seen(NamedTuple):
    """One answer; times are monotonic seconds."""

    path: Path
    begun: float
    seconds: float
    body: bytes


class Crowd:
    """Clients on keep-alive connections, each asking for one certificate after the other until told to stop."""

    def __init__(self, instance: Instance, requests: dict[Path, bytes]) -> None:
        self._instance, self._requests = instance, list(requests.items())
        self.seen: list[Seen] = []
        self.failed: list[BaseException] = []
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self, number: int) -> None:
        order = random.Random(number)
        try:
            with Talk(self._instance.port) as talk:
                while not self._stopping.is_set():
                    path, octets = order.choice(self._requests)
                    begun = time.monotonic()
                    body = talk.ask(octets)[2]
                    self.seen.append(Seen(path, begun, time.monotonic() - begun, body))
        except BaseException as error:
            self.failed.append(error)


async def revoke_all(instance: Instance, paths: list[Path]) -> tuple[float, float, float]:
    """Monotonic times: begun, committed, confirmed."""
    async with connected(instance.facts["database_url"]) as connection:
        wanted = [Revocation(bytes.fromhex(path.stem), CRLReason.cACompromise) for path in paths]
        begun = time.monotonic()
        done = await bulk_revoke(connection, "demo", wanted, actor="test")
        committed = time.monotonic()
        assert done.changed == len(paths)

        async def still_so() -> bool:
            return True

        waited = await wait_for_edges(
            connection, done.generation, done.seq, committed=committed, patience_s=None, still_so=still_so
        )
        assert waited.outcome is Outcome.CONFIRMED
        return begun, committed, time.monotonic()


def p99(seen: list[Seen]) -> float:
    """Seconds."""
    return sorted(each.seconds for each in seen)[int(len(seen) * 0.99)]


async def trimmed(instance: Instance) -> bool:
    """Only the last event is left."""
    async with connected(instance.facts["database_url"]) as connection:
        position = await feed_position(connection)
    return position.base == position.seq - 1


@pytest.fixture
def crowded() -> Iterator[Instance]:
    """Enough certificates, all in Redis."""
    folder = scratch()
    running = Instance(
        folder / "data",
        certificates=REVOKED_COUNT + 100,
        revoked=1,
        FASTOCSP_READY_COVERAGE="1",
        FASTOCSP_FEED_KEEP="1",
        FASTOCSP_FEED_TRIM_INTERVAL="1s",
    ).start()
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


def test_after_the_confirmation_of_a_bulk_nothing_is_good(
    crowded: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every question begun after the confirmation is answered revoked; the others' p99 stays below a quarter second."""
    paths = certificates(crowded)
    doomed, spared = set(paths[:REVOKED_COUNT]), set(paths[REVOKED_COUNT:])
    requests = {path: octets_of(crowded, path) for path in paths}
    with Crowd(crowded, requests) as crowd:
        time.sleep(3)
        begun, committed, confirmed = asyncio.run(revoke_all(crowded, sorted(doomed)))
        time.sleep(4)
    assert not crowd.failed
    after = [each for each in crowd.seen if each.path in doomed and each.begun > confirmed]
    assert len(after) > 1000
    assert {says(body) for body in {each.body for each in after}} == {REVOKED}
    others = [each for each in crowd.seen if each.path in spared]
    assert {says(body) for body in {each.body for each in others}} == {GOOD}
    quiet = [each for each in others if each.begun < begun]
    storm = [each for each in others if begun <= each.begun < confirmed + 2]
    assert p99(storm) < P99_S
    assert all(ask(crowded, path, nonce=True).says is REVOKED for path in sorted(doomed)[::100])
    eventually(lambda: asyncio.run(trimmed(crowded)), 5, "the feed is not trimmed")
    figures = {
        "bulk_s": committed - begun,
        "confirmed_after_s": confirmed - committed,
        "questions": len(crowd.seen),
        "after": len(after),
        "after_p99_ms": 1000 * p99(after),
        "quiet_p99_ms": 1000 * p99(quiet),
        "storm_p99_ms": 1000 * p99(storm),
        "storm_max_ms": 1000 * max(each.seconds for each in storm),
        "contradicted": metrics(crowded)["contradicted"],
        "try_later": metrics(crowded)["answers:try_later"],
    }
    with capsys.disabled():
        sys.stdout.write("\n" + json.dumps({name: round(value, 4) for name, value in figures.items()}) + "\n")
