"""Processes that are killed come back, what is stopped leaves nothing, and a restart keeps everything."""

import asyncio
import os
import re
import shutil
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis
from cryptography.x509 import ocsp

from tests.e2e.test_revoking import status_of
from tests.support.breakage import metrics
from tests.support.fixtures import scratch
from tests.support.http import openssl_ocsp
from tests.support.instance import Instance

BACK_S = 15


@pytest.fixture(scope="module")
def mortal() -> Iterator[Instance]:
    """An instance whose processes may be killed."""
    folder = scratch()
    running = Instance(folder / "data").start()
    yield running
    running.stop()
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "name", ["edge", "edge_master", "ca_signer", "signer", "warmer", "admin", "postgres", "redis", "fork_server"]
)
def test_a_killed_child_is_back_and_answers_go_on(mortal: Instance, name: str) -> None:
    """Kill -9: another process has its place within seconds, quickstart.json names it, questions are answered."""
    before = pid_of(mortal, name)
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + BACK_S
    while pid_of(mortal, name) in (before, 0):
        assert time.monotonic() < deadline, f"{name} did not come back"
        time.sleep(0.05)
    assert psutil.pid_exists(pid_of(mortal, name))
    while not answers_both(mortal):
        assert time.monotonic() < deadline, f"no right answers after the end of {name}"
        time.sleep(0.1)


def pid_of(instance: Instance, name: str) -> int:
    """The first process of that name."""
    pid = instance.facts["pids"][name]
    return int((pid[0] if isinstance(pid, list) and pid else pid) or 0)


def answers_both(instance: Instance) -> bool:
    """Good, with a nonce that only a signature made now has, and revoked."""
    facts = instance.facts
    try:
        good = status_of(instance, Path(facts["good_cert"]), nonce=os.urandom(16))
        revoked = status_of(instance, Path(facts["revoked_cert"]))
    except (OSError, EOFError, AssertionError):
        return False
    return (good, revoked) == (ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED)


def test_a_restarted_worker_finds_the_table_warm(mortal: Instance) -> None:
    """Kill -9 of the only worker: what it had kept, the next one answers from the host's table."""
    good = Path(mortal.facts["good_cert"])
    assert status_of(mortal, good) is ocsp.OCSPCertStatus.GOOD
    before = pid_of(mortal, "edge")
    deadline = time.monotonic() + BACK_S
    while (kept := metrics(mortal)["table_entries"]) == 0:  # a gauge, written by the next tick
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + BACK_S
    while pid_of(mortal, "edge") in (before, 0) or not answers_both(mortal):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    asked = metrics(mortal)
    assert asked["table_entries"] >= kept
    assert status_of(mortal, good) is ocsp.OCSPCertStatus.GOOD
    again = metrics(mortal)
    for name in ("redis_found", "redis_absent", "signed_live"):
        assert again[name] == asked[name]
    assert again["answers:hit"] == asked["answers:hit"] + 1


def test_an_emptied_redis_costs_only_speed(mortal: Instance) -> None:
    """FLUSHALL: answers go on, and the next tick of the warmer has signed everything again."""
    with redis.Redis.from_url(mortal.facts["redis_url"]) as client:
        client.flushall()
        assert answers_both(mortal)
        deadline = time.monotonic() + BACK_S
        while client.dbsize() < 120:
            assert time.monotonic() < deadline, "the warmer did not fill Redis again"
            time.sleep(0.1)


@pytest.mark.parametrize("table", ["crl_cache", "ocsp_responder_certs", "presign_coverage"])
def test_an_emptied_cache_table_is_written_again(mortal: Instance, table: str) -> None:
    """Deleting every row of a cache table is safe at any time: answers go on, the next tick writes it again."""

    async def empty() -> None:
        connection = await asyncpg.connect(mortal.facts["database_url"])
        try:
            await connection.execute(f"delete from {table}")
            deadline = time.monotonic() + 45
            while not await connection.fetchval(f"select count(*) from {table}"):
                assert time.monotonic() < deadline, f"{table} stays empty"
                await asyncio.sleep(0.1)
        finally:
            await connection.close()

    asyncio.run(empty())
    deadline = time.monotonic() + BACK_S
    while not answers_both(mortal):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_lost_responder_key_is_replaced(mortal: Instance) -> None:
    """The key file is gone: a new pair is made at once, never the CA's key used instead."""
    path = mortal.folder / "keys" / "ocsp-responder-demo.key"
    path.unlink()
    deadline = time.monotonic() + BACK_S
    while not (path.exists() and answers_both(mortal)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert path.stat().st_mode & 0o777 == 0o600


def test_sigterm_and_interrupt_leave_nothing_and_a_restart_keeps_everything(own_folder: Path) -> None:
    """Stopped by either signal, no process and no quickstart.json is left; the same data are there afterwards. With a
    passphrase every private key on disk is encrypted, and the restart can read it; one with a wrong passphrase says so,
    one without the CA's key starts.
    """
    passphrase = "correct horse battery staple, and more"
    data = own_folder / "data"
    instance = Instance(data, certificates=10, revoked=2, FASTOCSP_CONFIG_ENCRYPTION_KEY=passphrase).start()
    first = instance.facts
    for path in (instance.folder / "keys").iterdir():
        assert re.match(rb"-----BEGIN (FASTOCSP SEALED|ENCRYPTED PRIVATE) KEY-----", path.read_bytes()), path
        assert path.stat().st_mode & 0o777 == 0o600
    instance.command("revoke", "--cert", first["good_cert"], "--reason", "keyCompromise", "--wait")
    instance.stop(signal.SIGTERM)
    assert not (instance.folder / "quickstart.json").exists()
    wrong = Instance(data, FASTOCSP_CONFIG_ENCRYPTION_KEY=passphrase[::-1])
    refused = wrong.command("quickstart", "--port", "0", "--admin-port", "0", check=False)
    assert refused.returncode == 1
    assert "ca-demo.key cannot be opened: the passphrase is wrong" in refused.stderr
    key = instance.folder / "keys" / "ca-demo.key"
    key.rename(key.with_suffix(".away"))  # costs new CRLs and responders, and no start
    instance.start()
    second = instance.facts
    assert second["issuer_id"] == first["issuer_id"]
    assert Path(second["issuer_cert"]).read_bytes() == Path(first["issuer_cert"]).read_bytes()
    assert ": revoked" in openssl_ocsp(second, instance.ocsp_url, first["good_cert"])
    instance.stop(signal.SIGINT)
    assert not (instance.folder / "quickstart.json").exists()


def test_kill_9_of_the_supervisor_leaves_no_process(mortal: Instance) -> None:
    """Every process dies with its parent; a new start on the same folder works at once."""
    assert mortal.process is not None
    tree = mortal.tree()
    assert len(tree) >= 7
    mortal.process.kill()
    mortal.process.wait()
    _, alive = psutil.wait_procs(tree, timeout=20)
    assert not alive
    mortal.start()
    assert answers_both(mortal)


def test_the_commands_of_an_operator_work_against_it(mortal: Instance) -> None:
    """`db status`, `issuer list` and `ca show` find the running instance from any folder and are done."""
    assert "applied" in mortal.command("db", "status").stdout
    assert "demo" in mortal.command("issuer", "list").stdout
    assert "fastocsp demo CA" in mortal.command("ca", "show", "demo").stdout


def test_a_second_one_on_the_same_folder_is_refused(mortal: Instance) -> None:
    """The folder is locked: the second start says so and changes nothing."""
    before = mortal.facts
    done = mortal.command("quickstart", "--port", "0", check=False)
    assert done.returncode == 1
    assert "quickstart" in done.stderr
    assert mortal.facts == before


def test_a_taken_port_is_said_before_anything_starts(mortal: Instance, own_folder: Path) -> None:
    """Another program on the port: one clear line, exit status 1, no process left."""
    other = Instance(own_folder / "data")
    other.environ["FASTOCSP_DATA_DIR"] = str(other.folder)
    done = other.command("quickstart", "--port", str(mortal.port), "--admin-port", str(other.admin_port), check=False)
    assert done.returncode == 1
    assert str(mortal.port) in done.stderr


def test_a_quickstart_on_an_ipv6_address_is_ready(own_folder: Path) -> None:
    """URLs with an IPv6 literal are in the CA's certificates and in its CRL, and the edge answers there."""
    instance = Instance(own_folder / "data", certificates=5, revoked=1, FASTOCSP_HOST="::1").start()
    try:
        base = instance.facts["base_url"]
        assert base == f"http://[::1]:{instance.port}"
        with urllib.request.urlopen(f"{base}/.well-known/pki/crl/demo", timeout=10) as answer:
            assert answer.status == 200
        said = openssl_ocsp(instance.facts, f"{base}/ocsp", instance.facts["good_cert"])
        assert "good" in said
    finally:
        instance.stop()
