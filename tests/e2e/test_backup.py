"""An instance is destroyed and comes back from an archive, by the commands that an operator has."""

import asyncio
import json
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from cachewarm.crl.parse import peek_crl
from cachewarm.ledger.audit import verify_audit
from cachewarm.ledger.connect import connected
from tests.support.breakage import GOOD, REVOKED, TRY_LATER, ask, certificates, eventually, revoke
from tests.support.http import openssl_ocsp
from tests.support.instance import ROOT, FreshInstance, Instance
from tests.support.pages import follow

PASSPHRASE = secrets.token_hex(20)


def new_instance(folder: Path) -> FreshInstance:
    """One whose keys are sealed."""
    return FreshInstance(folder, 1, 12, 2, FASTOCSP_CONFIG_ENCRYPTION_KEY=PASSPHRASE, FASTOCSP_HORIZON="2s")


@pytest.fixture
def product(own_folder: Path) -> Iterator[Instance]:
    """A running instance."""
    running = new_instance(own_folder / "data").start()
    yield running
    running.stop()


def crl_of(instance: Instance) -> tuple[int, set[str]]:
    """The number and the serial numbers of the CRL that the edge serves."""
    with urlopen(f"{instance.base}/.well-known/pki/crl/demo", timeout=5) as answer:
        crl = peek_crl(answer.read())
    assert crl.number is not None
    return crl.number, {entry.serial.hex() for entry in crl.entries()}


def killed_restore(instance: Instance, archive: Path) -> None:
    """Run a restore and kill it once its Postgres has been made."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cachewarm.cli.main", "restore", str(archive)],
        env=instance.environ,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually((instance.folder / "postgres.made").exists, 60, "no Postgres was made")
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL


def test_a_destroyed_instance_comes_back_from_its_archive(product: Instance, own_folder: Path) -> None:
    """Backup, more revocations, the folder is gone; a restore is killed, repeated, and the instance starts.

    Certificates and revocations of the backup are back, CRL numbers are beyond all that were used, the audit chain
    holds, and openssl agrees.
    """
    first, archive = product, own_folder / "site.backup"
    revoked, later, spared = (Path(shutil.copy(path, own_folder)) for path in certificates(first)[:3])
    assert revoke(first, revoked)["result"] == "CONFIRMED"
    made = json.loads(first.command("backup", "create", str(archive), "--json").stdout)
    assert (made["keys"], made["sealed"]) == (2, False)
    assert revoke(first, later)["result"] == "CONFIRMED"
    first.command("crl", "generate", "demo")
    eventually(lambda: later.stem in crl_of(first)[1], 10, "the CRL is not served")
    number, _ = crl_of(first)
    last_crl = own_folder / "last.crl"
    with urlopen(f"{first.base}/.well-known/pki/crl/demo", timeout=5) as answer:
        last_crl.write_bytes(answer.read())
    first.stop()
    shutil.rmtree(first.folder)

    again = new_instance(first.folder)
    killed_restore(again, archive)
    key = ["--key", made["signed_by"]]
    done = json.loads(again.command("restore", str(archive), *key, "--json").stdout)
    assert (done["rows"], done["loaded"]) == (made["rows"], True)
    assert done["generation"] > made["generation"]
    del again.environ["FASTOCSP_CONFIG_ENCRYPTION_KEY"]
    closed = again.command("restore", str(archive), *key)
    assert "is encrypted and no passphrase is given" in closed.stderr
    again.environ["FASTOCSP_CONFIG_ENCRYPTION_KEY"] = PASSPHRASE
    refused = again.command("restore", str(archive), "--key", "ed25519:" + "A" * 43 + "=", check=False)
    assert (refused.returncode, "of another installation" in refused.stderr) == (1, True)
    again.start()
    try:
        facts = again.facts
        assert ask(again, revoked).says is REVOKED
        assert {ask(again, path).says for path in (later, spared)} == {TRY_LATER}, "fenced after a restore"
        again.command("reconcile", "--crl", str(last_crl))
        again.command("reconcile", "--statement", "nothing was revoked after that CRL", "--lift")
        eventually(lambda: ask(again, later).says is REVOKED, 10, "what the CRL of before lists is not revoked")
        eventually(lambda: ask(again, spared).says is GOOD, 10, "the fence was not lifted")
        assert f"{revoked}: revoked" in openssl_ocsp(facts, again.ocsp_url, revoked)
        assert f"{spared}: good" in openssl_ocsp(facts, again.ocsp_url, spared)
        eventually(lambda: crl_of(again)[0] > number, 20, "CRL numbers did not go on")
        assert revoked.stem in crl_of(again)[1]
        assert revoke(again, spared)["result"] == "CONFIRMED"
        assert asyncio.run(broken_audit(facts["database_url"])) is None
        busy = again.command("restore", str(archive), *key, check=False)
        assert (busy.returncode, "in use by another process" in busy.stderr) == (1, True)
    finally:
        again.stop()
    full = again.command("restore", str(archive), *key, check=False)
    assert (full.returncode, "--replace" in full.stderr) == (1, True)
    again.command("backup", "create", "--folder", str(own_folder / "backups"), "--keep", "1")
    listed = json.loads(again.command("backup", "list", str(own_folder / "backups"), "--json").stdout)
    assert listed["archives"][0]["generation"] == done["generation"]


def test_the_page_about_backups_does_what_it_says(instance: Instance, own_folder: Path) -> None:
    """Its commands run in order beside a running instance."""
    assert follow(ROOT / "docs" / "backup.md", own_folder, instance) == 3


async def broken_audit(url: str) -> int | None:
    """The first row of the audit chain that does not hold."""
    async with connected(url) as connection:
        return (await verify_audit(connection)).broken_at
