"""`fastocsp status` and `check-config`: what is wrong, part by part, all of it at once."""

import json
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.embedded.valkey import EmbeddedValkey
from cachewarm.ledger.connect import Connection, connected
from cachewarm.ledger.logins import url_of
from tests.cachewarm.cli.conftest import Fastocsp, openssl_in
from tests.support.edges import lease


@pytest.fixture
async def owner(database: DatabaseURLs) -> AsyncIterator[Connection]:
    """The owner's connection to the ledger."""
    async with connected(database.owner) as connection:
        yield connection


PASSWORD = "very-secret-word-0123456789abcdef"


def test_each_part_says_what_is_wrong_with_it(offline: Fastocsp) -> None:
    """With everything down: one JSON object, exit status 1."""
    said = offline(
        "status",
        "--json",
        FASTOCSP_PORT="1",
        FASTOCSP_DATABASE_URL="postgresql://x@127.0.0.1:1/x",
        FASTOCSP_REDIS_URL="redis://127.0.0.1:1",
    )
    assert said.status == 1
    assert said.json["ok"] is False
    for part in ("ledger", "redis", "edge"):
        assert len(said.json[part]["problems"]) == 1


async def test_the_ledger_is_shown_while_the_edge_is_down(
    root_ca: Fastocsp, database: DatabaseURLs, valkey: EmbeddedValkey
) -> None:
    """Feed position, a lease with age and lag, issuers, audit head; Redis answers."""
    await lease(database, "edge-a", timedelta(seconds=2))
    said = root_ca("status", "--json", FASTOCSP_PORT="1", FASTOCSP_REDIS_URL=valkey.url("reader"))
    assert said.status == 1
    ledger = said.json["ledger"]
    assert (ledger["generation"], ledger["seq"], ledger["audit_seq"]) == (1, 0, 2)
    assert [lease["edge"] for lease in ledger["edges"]] == ["edge-a"]
    assert [issuer["issuer_id"] for issuer in ledger["issuers"]] == ["root"]
    assert said.json["redis"]["reachable"] is True
    assert any("no responder certificate" in problem for problem in said.json["problems"])


def test_processes_of_a_quickstart_that_is_gone(offline: Fastocsp) -> None:
    """A process that ended is a problem, one that runs is not."""
    (offline.folder / "data").mkdir()
    pids = {"supervisor": os.getpid(), "edge": [2**22 - 1], "admin": None}
    (offline.folder / "data/quickstart.json").write_text(json.dumps({"pids": pids, "settings": {}}))
    said = offline("status", "--json", FASTOCSP_PORT="1").json["processes"]
    assert said["problems"] == ["admin does not run", f"edge (pid {2**22 - 1}) is gone"]


def test_every_problem_of_the_settings_at_once(offline: Fastocsp, tmp_path: Path) -> None:
    """Form, unknown names, files that are not there, halves of pairs; exit status 2."""
    said = offline(
        "check-config",
        "--json",
        FASTOCSP_PORT="eighty",
        FASTOCSP_HORIZONT="1s",
        FASTOCSP_CA_KEY_PATH="/does/not/exist",
        FASTOCSP_CONFIG_ENCRYPTION_KEY="short",
        FASTOCSP_REDIS_URL=f"http://:{PASSWORD}@h",
        FASTOCSP_OCSP_RESPONDER_KEY_DIR="/dev/null/keys",
    )
    assert said.status == 2
    text = "\n".join(said.json["problems"])
    for name in ("PORT", "HORIZONT", "CA_KEY_PATH", "CA_CERT_PATH", "CONFIG_ENCRYPTION_KEY", "REDIS_URL", "KEY_DIR"):
        assert name in text
        assert name in said.err
    assert PASSWORD not in said.out + said.err


def test_times_that_do_not_fit_each_other(offline: Fastocsp) -> None:
    """A CRL must be renewed before it ends, a responder replaced within its life."""
    said = offline("check-config", FASTOCSP_CRL_VALIDITY="30m", FASTOCSP_OCSP_RESPONDER_ROTATION_GRACE="40d")
    assert (said.status, said.out) == (2, "")
    assert "CRL_GENERATION_INTERVAL" in said.err
    assert "OCSP_RESPONDER_VALIDITY" in said.err


def test_settings_in_force_without_a_secret(offline: Fastocsp) -> None:
    """Durations in seconds; passwords, keys and passphrases as ***."""
    said = offline(
        "check-config",
        FASTOCSP_HORIZON="1m",
        FASTOCSP_DATABASE_URL=f"postgresql://x:{PASSWORD}@localhost/x",
        FASTOCSP_REDIS_URL=f"redis://:{PASSWORD}@[::1]",
        FASTOCSP_CONFIG_ENCRYPTION_KEY=PASSWORD,
        FASTOCSP_API_KEYS_NAMED=f"ops:{PASSWORD}:admin",
    )
    assert said.status == 0, said.err
    assert said.fields["FASTOCSP_HORIZON"] == "60.0"
    assert said.fields["FASTOCSP_API_KEYS_NAMED"] == "ops:***:admin"
    assert PASSWORD not in said.out + said.err


KEY, OTHER = "0123456789abcdef", "fedcba9876543210"


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (f"ann:{KEY}:admin,ann:{OTHER}", "'ann': one of its keys has the admin flag"),
        (f"ann:{KEY},ann:{KEY}", "'ann' is listed twice"),
        (f"ann:{KEY},bob:{KEY}", "'bob' and 'ann' have one API key"),
    ],
    ids=["flags", "twice", "two names"],
)
def test_ambiguous_api_keys_are_refused(offline: Fastocsp, keys: str, why: str) -> None:
    """At start and by check-config; the key itself is not shown."""
    refused = offline("check-config", FASTOCSP_API_KEYS_NAMED=keys)
    assert refused.status == 2
    assert why in refused.err
    assert KEY not in refused.err
    assert why in offline("admin", FASTOCSP_API_KEYS_NAMED=keys).err


def test_pairs_that_do_not_match_are_found(offline: Fastocsp) -> None:
    """The CA's certificate and key, and those of the admin listener."""
    for name in ("one", "two"):
        openssl_in(offline.folder)(
            f"req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.pem -days 10 -subj /CN={name}"
        )
        (offline.folder / f"{name}.key").chmod(0o600)
    for ca_key, tls_key, status in (("two.key", "one.key", 2), ("one.key", "two.key", 0)):
        found = offline(
            "check-config",
            FASTOCSP_CA_CERT_PATH="one.pem",
            FASTOCSP_CA_KEY_PATH=ca_key,
            FASTOCSP_ADMIN_TLS_CERT="two.pem",
            FASTOCSP_ADMIN_TLS_KEY=tls_key,
        )
        assert found.status == status, found.err
        assert ("FASTOCSP_CA_CERT_PATH and FASTOCSP_CA_KEY_PATH: " in found.err) == bool(status)
        assert ("FASTOCSP_ADMIN_TLS_CERT and FASTOCSP_ADMIN_TLS_KEY are no pair" in found.err) == bool(status)


async def test_check_config_online_finds_a_login_without_rights_and_a_dead_redis(
    fastocsp: Fastocsp, owner: Connection, valkey: EmbeddedValkey
) -> None:
    """A login that a DBA made by hand reads the catalog of Postgres and nothing of ours."""
    fine = fastocsp("check-config", "--online", FASTOCSP_REDIS_URL=valkey.url("reader"))
    assert fine.status == 0, fine.err
    found = fastocsp("check-config", "--online", FASTOCSP_REDIS_URL="redis://127.0.0.1:1")
    assert found.status == 2
    assert "FASTOCSP_REDIS_URL: " in found.err
    await owner.execute("create role stranger login password 'x'")
    try:
        stranger = url_of(fastocsp.environ["FASTOCSP_DATABASE_URL"], "stranger", "x")
        found = fastocsp("check-config", "--online", FASTOCSP_DATABASE_URL=stranger)
        assert found.status == 2
        assert "FASTOCSP_DATABASE_URL: " in found.err
    finally:
        await owner.execute("drop role stranger")


async def test_check_config_online_finds_a_broken_audit_chain(root_ca: Fastocsp, owner: Connection) -> None:
    """A row that was changed behind the triggers' back."""
    assert root_ca("audit", "list").status == 0
    await owner.execute("alter table audit_events disable trigger user")
    await owner.execute("update audit_events set actor = 'nobody' where seq = 1")
    found = root_ca("check-config", "--online")
    assert found.status == 2
    assert "the audit chain does not hold at row 1" in found.err
