"""`/ready` tells the truth: what this edge can answer without signing, per issuer, and how the writer is."""

import asyncio
import shutil
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
import redis

from cachewarm.embedded.valkey import EmbeddedValkey
from cachewarm.ledger.connect import connect
from cachewarm.ledger.inventory import NewCertificate, add_certificates
from responder.domain.redis_layout import ANNOUNCE_STREAM
from tests.support.breakage import GOOD, ask, certificates, eventually, metrics, pid_of, ready, stopped
from tests.support.fixtures import scratch
from tests.support.instance import Instance

CERTIFICATES = 240
#: A turn of the sampling is a second; a busy machine makes fewer.
SHOWN_S = 20


class OpenValkey(EmbeddedValkey):
    """One that its owner may configure while it runs."""

    def _user_rules(self) -> str:
        return super()._user_rules() + "user owner on nopass ~* &* +@all\n"

    def owner(self) -> "redis.Redis":
        """A client with all rights."""
        return redis.Redis(unix_socket_path=str(self.socket), username="owner", password="")


@pytest.fixture(scope="module")
def valkey_of_ours() -> Iterator[OpenValkey]:
    """The cache of the instance."""
    folder = scratch("fastocsp-test-", 0o711)
    server = OpenValkey(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def running(valkey_of_ours: OpenValkey) -> Iterator[Instance]:
    """An instance whose edge has been asked for nothing yet, so that its table is empty."""
    folder = scratch()
    instance = Instance(
        folder / "data",
        workers=1,
        certificates=CERTIFICATES,
        revoked=0,
        FASTOCSP_READY_COVERAGE="0.9",
        FASTOCSP_REDIS_URL=valkey_of_ours.url("writer"),
    ).start()
    yield instance
    instance.stop()
    shutil.rmtree(folder)


def body(instance: Instance) -> dict[str, Any]:
    """Return what `/ready` says; it is 200."""
    status, facts = ready(instance)
    assert status == 200, facts["reasons"]
    return facts


def shows(instance: Instance, wanted: str) -> bool:
    """A warning has these words."""
    return any(wanted in each for each in body(instance)["warnings"])


def covered(instance: Instance) -> float:
    """Return the share that `/ready` shows for the demo issuer."""
    return float(body(instance)["issuers"]["demo"]["coverage"])


def well(instance: Instance) -> None:
    """Wait until everything is covered and nothing is warned of."""
    eventually(lambda: covered(instance) == 1.0 and body(instance)["warnings"] == [], 40, str(ready(instance)))


async def import_certificates(instance: Instance, count: int, first: int) -> None:
    """As an import does it."""
    now = datetime.now(UTC)
    connection = await connect(instance.facts["database_url"])
    try:
        await add_certificates(
            connection,
            "demo",
            [
                NewCertificate(
                    serial_number=(first + number).to_bytes(4, "big"),
                    not_before=now,
                    not_after=now + timedelta(days=9),
                )
                for number in range(count)
            ],
        )
    finally:
        await connection.close()


async def change(instance: Instance, statement: str) -> None:
    """Execute it in the ledger."""
    connection = await asyncpg.connect(instance.facts["database_url"])
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def test_records_lost_from_redis_show_as_uncovered(running: Instance, valkey_of_ours: OpenValkey) -> None:
    """Two thirds of the records are evicted while no warmer runs: 200, about a third, the issuer named."""
    well(running)
    with stopped(pid_of(running, "warmer")), valkey_of_ours.owner() as client:
        names = [name for name in client.keys(b"o:*") if len(name) > 8 and name != ANNOUNCE_STREAM]
        assert len(names) >= 2 * CERTIFICATES
        client.delete(*[name for at, name in enumerate(sorted(names, key=hash)) if at % 3])
        eventually(lambda: 0.2 < covered(running) < 0.47, SHOWN_S, str(body(running)))
        assert shows(running, "demo: ")
        facts = body(running)
        assert facts["coverage"] == pytest.approx(facts["covered"] / facts["inventory"], abs=0.01)
        assert facts["sample"] >= 48
        assert facts["sample_age_s"] < SHOWN_S
        assert metrics(running)["covered_certificates"] < 0.5 * metrics(running)["inventory_certificates"]
    well(running)


def test_an_import_is_uncovered_from_the_first_second(running: Instance) -> None:
    """Twice as many certificates come while no warmer runs: the count rises, what is covered does not."""
    well(running)
    before = body(running)
    with stopped(pid_of(running, "warmer")):
        asyncio.run(import_certificates(running, before["inventory"], 0x7000_0000))
        eventually(lambda: body(running)["inventory"] == 2 * before["inventory"], SHOWN_S)
        assert covered(running) < 0.6
        eventually(lambda: shows(running, "demo: "), SHOWN_S)
    well(running)


def test_a_redis_that_refuses_writes_is_named_while_answers_go_on(
    running: Instance, valkey_of_ours: OpenValkey
) -> None:
    """What is new cannot be signed ahead: 200, it is uncovered, the failing work of the warmer is named."""
    well(running)
    with valkey_of_ours.owner() as client:
        before = client.config_get("maxmemory*")
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        try:
            asyncio.run(import_certificates(running, 60, 0x7100_0000))
            eventually(lambda: shows(running, "a warmer fails at: "), 2 * SHOWN_S, str(body(running)))
            eventually(lambda: covered(running) < 1.0, SHOWN_S)
        finally:
            client.config_set("maxmemory", before["maxmemory"])
            client.config_set("maxmemory-policy", before["maxmemory-policy"])
    well(running)


def test_a_stopped_warmer_and_signer_are_named(running: Instance) -> None:
    """Neither is heard of: 200, as what is signed ahead is answered; both are named, and `status` says so too."""
    well(running)
    with stopped(pid_of(running, "warmer"), pid_of(running, "signer")):
        asyncio.run(change(running, "update warmer_heartbeats set at = at - interval '40 seconds'"))
        eventually(lambda: shows(running, "no warmer has been heard of for "), SHOWN_S, str(body(running)))
        eventually(lambda: shows(running, "the signer does not answer"), SHOWN_S)
        assert ask(running, certificates(running)[0]).says is GOOD
        said = running.command("status", check=False)
        assert said.returncode == 1
        assert "no warmer has been heard of for" in said.stdout + said.stderr
    well(running)


def test_a_stopped_ca_signer_is_named_while_answers_go_on(running: Instance) -> None:
    """200, with the issuer's fault in the body and in `status`; and all of it ends by itself."""
    well(running)
    with stopped(pid_of(running, "ca_signer")):
        eventually(lambda: shows(running, "the CA signer cannot sign for it"), SHOWN_S, str(body(running)))
        assert body(running)["issuer_faults"] == {"demo": ["ca-signer"]}
        assert ask(running, certificates(running)[0]).says is GOOD
        said = running.command("status", check=False)
        assert "no certificates and no CRLs of demo since" in said.stdout + said.stderr
    well(running)
    assert running.command("crl", "generate", "demo").returncode == 0


def test_an_unreadable_key_folder_turns_no_edge_away(running: Instance) -> None:
    """The keys are gone at one walk: every certificate is covered as before, 200; the issuer's fault is named."""
    well(running)
    keys, away = running.folder / "keys", running.folder / "keys.away"
    keys.rename(away)
    try:
        eventually(lambda: shows(running, "demo: "), SHOWN_S, str(body(running)))
        assert covered(running) == 1.0
    finally:
        if keys.exists():
            shutil.rmtree(keys)
        away.rename(keys)
    well(running)


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_the_paths_of_orchestrators_answer_like_ours(running: Instance, path: str) -> None:
    """The same code behind another name."""
    well(running)
    with urllib.request.urlopen(f"{running.base}{path}", timeout=10) as answer:
        assert answer.status == 200


def test_an_edge_that_can_answer_for_no_issuer_is_not_ready(running: Instance, valkey_of_ours: OpenValkey) -> None:
    """Redis, table and signer have nothing: 503 with that reason. The signer is back: 200, with nothing covered."""
    warmer, signer = pid_of(running, "warmer"), pid_of(running, "signer")
    with stopped(warmer), valkey_of_ours.owner() as client:
        with stopped(signer):
            client.flushall()
            asyncio.run(change(running, "delete from certificates where serial_number < '\\x70000000'"))
            eventually(lambda: ready(running)[0] == 503, SHOWN_S, str(ready(running)))
            assert ready(running)[1]["reasons"][0].startswith("no issuer can be answered for")
        eventually(lambda: ready(running)[0] == 200, SHOWN_S, str(ready(running)))
        assert covered(running) < 0.1
