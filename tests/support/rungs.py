"""The instance that the degrade ladder climbs down and up again: one for all rungs, made whole between them.

Its journal lies on a small file system of its own where that can be mounted, so that it can be filled.
"""

import contextlib
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography.hazmat.primitives import hashes

from _fastocsp.ocsp.record import unpack_record
from _fastocsp.wire.errors import MalformedRecord
from cachewarm.ledger.connect import connect
from cachewarm.ledger.revocations import Revocation, bulk_revoke
from responder.domain.key import Key
from responder.domain.redis_layout import record_name
from tests.support.breakage import GOOD, Watch, ask, certificates, eventually, ready
from tests.support.fixtures import scratch
from tests.support.instance import Instance

HORIZON_S, SIGNER_S, LANE = 4.0, 1.5, 4
CERTIFICATES, WARM_S, SHA1, SHA384 = 240, 3, hashes.SHA1(), hashes.SHA384()
GOOD_IN_RECORD, REVOKED_IN_RECORD = 0, 1
HASHES = (hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512())


class Rungs:
    """The instance, and certificates that no rung has used."""

    def __init__(self, instance: Instance, journal: Path | None) -> None:
        self.instance, self.journal = instance, journal
        self._fresh = iter(certificates(instance))
        self._asked_sha512 = iter(certificates(instance))
        self.revoked = instance.facts["revoked_cert"]

    def fresh(self) -> Path:
        """A good one that is in no worker's table."""
        return next(self._fresh)

    def redis(self) -> "redis.Redis":
        """As the writer."""
        return redis.Redis.from_url(self.instance.facts["redis_url"], socket_timeout=5)

    def meets_redis(self, watch: Watch) -> bool:
        """A miss was answered, and the log says that Redis is there again."""
        assert ask(self.instance, self.fresh()).says is GOOD
        return any(line["tier"] == "redis" for line in watch.lines("edge", "tier is back"))

    def refuses_aloud(self, watch: Watch) -> bool:
        """One more corrupt record; the log names at most one in ten seconds."""
        path = self.fresh()
        with self.redis() as client:
            client.set(name_of(path), b"\xff" * 120)
        assert ask(self.instance, path, SHA1).says is GOOD
        return bool(watch.lines("edge", "record in Redis refused"))

    def answers(self) -> bool:
        """Somebody listens."""
        try:
            return ask(self.instance, self.known).says is not None
        except OSError:
            return False

    def prepare(self) -> None:
        """Have the workers know the certificate that is asked about most, and everything whole."""
        for _ in range(8):
            ask(self.instance, self.known)
        self.heal()

    def heal(self) -> None:
        """Until everything is answered and no tier is held for away."""
        eventually(self._is_ready, 10, "not ready again")
        eventually(lambda: ask(self.instance, self.known, nonce=True).says is GOOD, 10, "no signature")
        with self.redis() as client:
            eventually(lambda: client.dbsize() >= 2 * CERTIFICATES, 10, "the walk has not filled Redis")
        eventually(self._misses_reach_redis, 5, "a worker's breaker is open", pause_s=0.3)

    def _is_ready(self) -> bool:
        try:
            return ready(self.instance)[0] == 200
        except OSError:  # its workers are being started
            return False

    def _misses_reach_redis(self) -> bool:
        """In both workers, in all likelihood: each connection goes to either."""
        watch = Watch(self.instance)
        for _ in range(8):
            ask(self.instance, next(self._asked_sha512), hashes.SHA512())
        return watch.moved("redis_failed") == 0

    @property
    def known(self) -> Path:
        """Asked so often that signer and workers know it."""
        return Path(self.instance.facts["good_cert"])


def name_of(path: Path) -> bytes:
    """The SHA-1 record's name in Redis."""
    return record_name(Key(1, 1, bytes.fromhex(path.stem)))


def status_in(client: "redis.Redis", path: Path) -> int | None:
    """The status that the record in Redis states, None without a record."""
    octets: Any = client.get(name_of(path))
    with contextlib.suppress(MalformedRecord):
        return unpack_record(octets).status if octets else None
    return None


async def revoke_strangers(instance: Instance, count: int) -> None:
    """More than what the last page of a file has room for."""
    connection = await connect(instance.facts["database_url"])
    try:
        strangers = [Revocation(b"\x5e" + secrets.token_bytes(15)) for _ in range(count)]
        await bulk_revoke(connection, "demo", strangers, actor="test", allow_unknown=True)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def whole() -> Iterator[Rungs]:
    """Started once."""
    with started_rungs(HORIZON_S) as rungs:
        yield rungs


@contextlib.contextmanager
def started_rungs(horizon_s: float) -> Iterator[Rungs]:
    """An instance whose leases last so long."""
    folder = scratch()
    journal = folder / "data" / "edge"
    journal.mkdir(parents=True)
    small = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", journal], check=False).returncode == 0
    instance = Instance(
        folder / "data",
        certificates=CERTIFICATES,
        revoked=1,
        FASTOCSP_HORIZON=f"{horizon_s:.1f}s",
        FASTOCSP_POLL_INTERVAL="100ms",
        FASTOCSP_SIGNER_TIMEOUT=f"{SIGNER_S}s",
        FASTOCSP_SIGNER_LANE=str(LANE),
        FASTOCSP_LOG_FORMAT="json",
    )
    try:
        instance.start()
        yield Rungs(instance, journal if small else None)
        instance.stop()
    finally:
        if small:
            subprocess.run(["umount", "-l", journal], check=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def rungs(whole: Rungs) -> Iterator[Rungs]:
    """Whole before the rung, and after it."""
    whole.prepare()
    yield whole
    whole.heal()
