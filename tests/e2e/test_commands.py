"""Commands beside a running quickstart: a second CA at work, and what status says."""

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.breakage import metrics, ready
from tests.support.instance import Instance

PATIENCE_S = 30


def eventually(attempt: Callable[[], str], wanted: str) -> None:
    """Edge, signer and warmer look for new issuers every second."""
    deadline = time.monotonic() + PATIENCE_S
    while wanted not in (said := attempt()):
        assert time.monotonic() < deadline, said
        time.sleep(0.3)


def test_a_new_ca_is_answered_for_without_a_restart(instance: Instance, tmp_path: Path) -> None:
    """Made, issued from, asked by openssl: good; after `revoke --wait`: revoked with the next question."""
    instance.command("ca", "init", "--id", "second", "--subject", "CN=Second CA", "--key", "p384", "--json")
    ca, cert = tmp_path / "ca.pem", tmp_path / "a.example.pem"
    ca.write_text(instance.command("ca", "show", "second", "--pem").stdout)
    instance.command("ca", "issue", "second", "--name", "a.example", "--out", str(tmp_path))

    def ask() -> str:
        url = f"{instance.base}/.well-known/pki/ocsp/second"
        words = ["openssl", "ocsp", "-issuer", str(ca), "-CAfile", str(ca), "-cert", str(cert), "-url", url]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    eventually(ask, f"{cert}: good")
    instance.command("revoke", "--cert", str(cert), "--reason", "keyCompromise", "--wait")
    assert f"{cert}: revoked" in ask()


def test_status_of_a_healthy_instance_has_no_problem(instance: Instance) -> None:
    """Exit status 0; every process, the edge's lease, the demo issuer's coverage and CRL."""

    def ask() -> str:
        done = instance.command("status", "--json", check=False)
        return f"{done.returncode} {done.stdout} {done.stderr}"

    eventually(ask, '0 {"ok": true')
    said = json.loads(instance.command("status", "--json").stdout)
    names = {row["process"] for row in said["processes"]["pids"]}
    assert {"supervisor", "edge", "ca_signer", "signer", "warmer", "admin", "postgres", "redis"} <= names
    assert [lease["lease"] for lease in said["ledger"]["edges"]] == ["holds"]
    demo = next(issuer for issuer in said["ledger"]["issuers"] if issuer["issuer_id"] == "demo")
    assert demo["covered"] == demo["inventory"] > 0
    assert demo["crl_number"] >= 1
    assert (said["redis"]["reachable"], said["edge"]["ready"]) == (True, True)


def test_processes_that_parse_or_sign_are_confined(instance: Instance) -> None:
    """The kernel says so of the worker and both signers, `/ready` of the worker; none leaves a core dump."""
    pids = instance.facts["pids"]
    for pid in (pids["edge"][0], pids["signer"], pids["ca_signer"]):
        said = dict(re.findall(r"(?m)^(\w+):\t(.*)$", Path(f"/proc/{pid}/status").read_text()))
        assert (said["Seccomp"], said["NoNewPrivs"]) == ("2", "1")
        assert re.search(r"Max core file size\s+0\s+0", Path(f"/proc/{pid}/limits").read_text())
    assert ready(instance)[1]["sandbox"] == "on"
    assert (metrics(instance)["sandbox:landlock"], metrics(instance)["sandbox:seccomp"]) == (1, 1)


def test_check_config_of_a_quickstart(instance: Instance) -> None:
    """Its settings are fine, and no secret of it is printed."""
    said = instance.command("check-config").stdout
    assert f"FASTOCSP_PORT: {instance.port}" in said
    for name in ("database_url", "redis_url", "api_key"):
        assert instance.facts[name] not in said
