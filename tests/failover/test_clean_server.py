"""A dump is restored by hand into a server that never was, and edges without a past read it."""

import asyncio
import itertools
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event

import pytest

from cachewarm.embedded.postgres import DATABASE, EmbeddedPostgres
from tests.failover.pair import Pair
from tests.failover.test_old_dump import crl_with, reconcile
from tests.support.breakage import GOOD, REVOKED, TRY_LATER, ask, certificates, eventually, metrics, ready, revoke
from tests.support.instance import Instance


@pytest.fixture
def clean(pair: Pair, folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server of its own, with the passwords of the first one."""
    made = folder / "clean"
    made.mkdir()
    made.chmod(0o755)
    shutil.copy2(folder / "first" / "postgres.passwords", made)
    server = EmbeddedPostgres(made)
    server.start()
    yield server
    server.stop()


def restore(pair: Pair, clean: EmbeddedPostgres, dump: Path, roles: Path) -> None:
    """Roles and database, as `psql` makes them."""
    asyncio.run(pair.tell(clean, f'create database "{DATABASE}" template template0', database="postgres"))
    pair.tool("psql", "-q", "-d", clean.url("owner", "postgres"), "-f", str(roles))
    pair.tool("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", clean.url("owner"), "-f", str(dump))


def forget_everything(product: Instance) -> None:
    """Journals, run folder, Redis: what edges, signer and warmer knew is gone."""
    for name in ("edge", "signer", "run", "valkey"):
        shutil.rmtree(product.folder / name, ignore_errors=True)


@pytest.mark.parametrize("pair", [False], indirect=True, ids=["asynchronous"])
def test_a_lost_revocation_is_never_good_after_a_restore(
    pair: Pair, product: Instance, clean: EmbeddedPostgres
) -> None:
    """Neither a command nor a witness tells of the restore, the server itself does. From the first answer on nothing is
    good, `revoked` goes on, and `/ready`, metric and `fastocsp status` name the issuer. The CRL of before the disaster
    revokes the certificate again, with its time and reason; a statement covers the rest.
    """
    older, lost, later, spared = certificates(product)[:4]
    assert revoke(product, older)["result"] == "CONFIRMED"
    dump, roles = pair.first.state / "dump.sql", pair.first.state / "roles.sql"
    pair.tool("pg_dump", "-d", pair.first.url("owner"), "-f", str(dump))
    pair.tool("pg_dumpall", "--roles-only", "-d", pair.first.url("owner"), "-f", str(roles))
    assert revoke(product, lost, "--reason", "keyCompromise")["result"] == "CONFIRMED"
    product.command("crl", "generate", "demo")
    before = product.folder / "before.crl"
    before.write_bytes(crl_with(product, [lost]))
    product.stop()
    restore(pair, clean, dump, roles)
    forget_everything(product)
    product.environ["FASTOCSP_DATABASE_URL"] = pair.url(clean)
    with ThreadPoolExecutor(1) as pool:
        starting = Event()
        heard = pool.submit(answers, product, (lost, spared), starting)
        try:
            product.start()
            eventually(lambda: ask(product, older).says is REVOKED, 5)
        finally:
            starting.set()
        assert heard.result() == {TRY_LATER}
    assert ready(product)[1]["issuer_faults"]["demo"] == ["fence"]
    assert ready(product)[0] == 200, "it goes on answering `revoked`"
    assert metrics(product)["issuers_fenced"] == 1
    assert "demo is fenced" in str(product.command("status", check=False))
    assert revoke(product, later)["result"] == "CONFIRMED"
    assert ask(product, later).says is REVOKED

    (fence,) = reconcile(product, "--crl", str(before), "--statement", "nothing was revoked after that CRL")
    assert [(row["serial_number"], row["reason"]) for row in fence["revocations"]] == [(lost.stem, "keyCompromise")]
    eventually(lambda: ask(product, spared).says is GOOD, 5)
    for nonce in (False, True):
        assert {ask(product, path, nonce=nonce).says for path in (older, lost, later)} == {REVOKED}
        assert ask(product, spared, nonce=nonce).says is GOOD


def answers(product: Instance, paths: Sequence[Path], until: Event) -> set[object]:
    """Every answer about these certificates, with a nonce and without, from the edge's first moment on."""
    found: set[object] = set()
    while not until.is_set():
        for path, nonce in itertools.product(paths, (False, True)):
            with suppress(OSError):
                found.add(ask(product, path, nonce=nonce).says)
    return found
