"""`fastocsp status` and `check-config`: what is wrong, part by part, all of it at once."""

import json
import os
from datetime import timedelta
from pathlib import Path

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.embedded.valkey import EmbeddedValkey
from tests.cachewarm.cli.conftest import Fastocsp
from tests.support.edges import lease

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
