"""Commands with a CA signer: the process `fastocsp ca-signer`, stopped, started, confined, with a token."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import Connection
from tests.cachewarm.cli.conftest import Fastocsp
from tests.support.instance import free_port
from tests.support.scratch import scratch
from tests.support.softhsm import SoftHSM

START_S = 30
ISSUE = ("ca", "issue", "root", "--name", "a.example", "--out")


class Process:
    """`fastocsp ca-signer` with its own login; what it logs is in a file."""

    def __init__(self, command: Fastocsp, database: DatabaseURLs, socket: Path) -> None:
        self.socket, self.log_path = socket, socket.with_suffix(".log")
        self._environ = command.environ | {
            "FASTOCSP_DATABASE_URL": database.ca_signer,
            "FASTOCSP_CA_SIGNER": str(socket),
            "FASTOCSP_LOG_FORMAT": "json",
        }
        self._folder = command.folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environ: str) -> "Process":
        """Until it listens, or ends."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cachewarm.cli.main", "ca-signer"],
                env=self._environ | environ,
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_S
        while not self.socket.exists() and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return self

    def stop(self) -> int:
        """SIGTERM; return the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of that event."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]


def fetch(url: str) -> str:
    """Return the text at that URL, once somebody listens there."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: that of a socket has at most 107 bytes."""
    made = scratch("fastocsp-ca-")
    yield made
    shutil.rmtree(made)


@pytest.fixture
def remote(fastocsp: Fastocsp, folder: Path) -> Fastocsp:
    """Commands that use the CA signer at a socket, where none listens yet."""
    return Fastocsp(fastocsp.folder, fastocsp.environ | {"FASTOCSP_CA_SIGNER": str(folder / "ca.sock")})


@pytest.fixture
def signer(remote: Fastocsp, database: DatabaseURLs, folder: Path) -> Iterator[Process]:
    """The process, not started yet."""
    made = Process(remote, database, folder / "ca.sock")
    yield made
    if made.process is not None:
        with contextlib.suppress(ProcessLookupError):
            made.process.kill()
        made.process.wait(30)


async def test_ca_is_made_without_processes_and_issues_with_the_ca_signer_alone(
    remote: Fastocsp, signer: Process, writer: Connection, openssl: Callable[..., str]
) -> None:
    """`ca init` says what to start; without it commands fail in one sentence; they work whenever it runs."""
    made = remote("ca", "init", "--id", "root", "--subject", "CN=Root,O=Example", "--key", "p384")
    assert made.status == 0, made.err
    assert "start `fastocsp ca-signer`" in made.err
    for words in (
        (*ISSUE, "."),
        ("crl", "generate", "root"),
        ("ca", "init", "--id", "s", "--subject", "CN=S", "--parent", "root"),
    ):
        failed = remote(*words)
        assert failed.status == 1
        [sentence] = [line for line in failed.err.splitlines() if "CA signer" in line]
        assert "start `fastocsp ca-signer` on this host" in sentence
    assert not list(remote.folder.glob("a.example*"))
    signer.start()
    issued = remote(*ISSUE, ".")
    assert issued.status == 0, issued.err
    (remote.folder / "ca.pem").write_text(remote("ca", "show", "root", "--pem").out)
    openssl("verify -CAfile ca.pem a.example.pem")
    assert remote("crl", "generate", "root").status == 0
    assert remote("ca", "init", "--id", "sub", "--subject", "CN=Sub", "--parent", "root").status == 0
    [confined] = signer.logged("confined")
    assert confined["state"] in ("on", "partial")
    assert {line["purpose"] for line in signer.logged("signed")} == {"certificate", "subordinate CA", "CRL"}
    assert signer.stop() == 0
    assert remote(*ISSUE, "second").status == 1
    signer.start()
    assert remote(*ISSUE, "second").status == 0


async def test_frozen_ca_is_shown_and_issues_nothing(remote: Fastocsp, signer: Process) -> None:
    """`ca freeze` and `ca thaw` work without the CA signer; `ca show` and `issuer list` tell the state."""
    assert remote("ca", "init", "--id", "root", "--subject", "CN=Root").status == 0
    frozen = remote("ca", "freeze", "root", "--json")
    assert (frozen.status, frozen.json["changed"]) == (0, True)
    assert remote("ca", "freeze", "root", "--json").json["changed"] is False
    assert remote("ca", "show", "root", "--json").json["state"] == "frozen"
    assert remote("issuer", "list", "--json").json["issuers"][0]["state"] == "frozen"
    listen = f"127.0.0.1:{free_port()}"
    signer.start(FASTOCSP_CA_SIGNER_METRICS_LISTEN=listen)
    refused = remote(*ISSUE, ".")
    assert refused.status == 1
    assert "root is frozen (`fastocsp ca thaw root`)" in refused.err
    assert 'fastocsp_ca_refused_total{reason="state"} 1.0' in await asyncio.to_thread(fetch, f"http://{listen}/metrics")
    assert [line["reason"] for line in signer.logged("signature refused")] == ["state"]
    assert remote("crl", "generate", "root").status == 0
    assert remote("ca", "thaw", "root").status == 0
    assert remote(*ISSUE, ".").status == 0
    unknown = remote("ca", "freeze", "none")
    assert unknown.status == 1
    assert "there is no issuer 'none'" in unknown.err


async def test_start_refuses_a_pair_that_does_not_match_and_goes_on_without_a_key_that_is_gone(
    remote: Fastocsp, signer: Process
) -> None:
    """The file is named in one sentence. A key that cannot be opened is logged once, and the others are served."""
    for name in ("root", "other"):
        assert remote("ca", "init", "--id", name, "--subject", f"CN={name}").status == 0
    keys = remote.folder / "data" / "keys"
    right = (keys / "ca-other.key").read_bytes()
    (keys / "ca-other.key").write_bytes((keys / "ca-root.key").read_bytes())
    signer.start()
    assert signer.process is not None
    assert signer.process.wait(START_S) == 1
    assert f"{keys / 'ca-other.key'} is not the key of other" in signer.log.splitlines()[-1]
    assert "Traceback" not in signer.log
    (keys / "ca-other.key").unlink()
    signer.start()
    assert remote(*ISSUE, ".").status == 0
    faults = signer.logged("CA key not usable")
    assert [line["issuer_id"] for line in faults] == ["other", "other"]  # once per start
    assert str(keys / "ca-other.key") in faults[1]["error"]
    (keys / "ca-other.key").touch(mode=0o600)
    (keys / "ca-other.key").write_bytes(right)
    assert remote("crl", "generate", "other").status == 0


async def test_keys_may_be_moved_to_a_folder_of_the_ca_signer(remote: Fastocsp, signer: Process, folder: Path) -> None:
    """FASTOCSP_CA_KEY_DIR is where a key is looked for first, by its name."""
    passphrase = "a passphrase of more than 32 bytes"
    made = remote("ca", "init", "--id", "root", "--subject", "CN=Root", FASTOCSP_CONFIG_ENCRYPTION_KEY=passphrase)
    assert made.status == 0, made.err
    (folder / "keys").mkdir(mode=0o700)
    shutil.move(remote.folder / "data" / "keys" / "ca-root.key", folder / "keys")
    signer.start(FASTOCSP_CA_KEY_DIR=str(folder / "keys"), FASTOCSP_CONFIG_ENCRYPTION_KEY=passphrase)
    assert remote(*ISSUE, ".").status == 0


async def test_confined_ca_signer_ends_for_a_key_elsewhere_and_signs_when_started_again(
    remote: Fastocsp, signer: Process, folder: Path
) -> None:
    """It was confined to the paths of its start; its supervisor starts it again."""
    assert remote("ca", "init", "--id", "root", "--subject", "CN=Root").status == 0
    signer.start()
    elsewhere = str(folder / "elsewhere")
    init = ("ca", "init", "--id", "far", "--subject", "CN=Far")
    assert remote(*init, FASTOCSP_OCSP_RESPONDER_KEY_DIR=elsewhere).status == 0
    first = remote("crl", "generate", "far")
    if signer.logged("confined")[0]["landlock"]:
        assert first.status == 1
        assert "must be started again" in first.err
        assert signer.process is not None
        assert signer.process.wait(START_S) == 1
        signer.start()
        assert remote("crl", "generate", "far").status == 0


async def test_key_in_a_token_signs_through_the_confined_process(
    remote: Fastocsp, signer: Process, folder: Path, openssl: Callable[..., str]
) -> None:
    """The token's files are named by a setting; a token that is away is a sentence, and works again when it is back."""
    token = SoftHSM(folder / "softhsm")
    token.add_token("ca")
    commands = Fastocsp(remote.folder, remote.environ | token.environ)
    uri = token.uri("ca", "root")
    assert commands("ca", "init", "--id", "root", "--subject", "CN=HSM", "--key-uri", uri).status == 0
    paths = {"FASTOCSP_CA_TOKEN_PATHS": str(token.folder)}
    signer.start(**token.environ, **paths)
    assert remote(*ISSUE, ".").status == 0, signer.log
    (remote.folder / "ca.pem").write_text(remote("ca", "show", "root", "--pem").out)
    openssl("verify -CAfile ca.pem a.example.pem")
    assert remote("crl", "generate", "root").status == 0
    signer.stop()
    away = shutil.move(token.tokens, token.folder / "away")
    token.tokens.mkdir()
    signer.start(**token.environ, **paths)
    failed = remote(*ISSUE, "second")
    assert failed.status == 1
    assert "the token cannot be used" in failed.err
    token.tokens.rmdir()
    shutil.move(away, token.tokens)
    assert remote(*ISSUE, "second").status == 0


async def test_second_ca_signer_at_a_socket_is_refused(
    remote: Fastocsp, signer: Process, database: DatabaseURLs
) -> None:
    """It would take the socket from the first one."""
    assert remote("ca", "init", "--id", "root", "--subject", "CN=Root").status == 0
    signer.start()
    second = remote("ca-signer", FASTOCSP_DATABASE_URL=database.ca_signer, cold=True)
    assert second.status == 1
    assert "a CA signer listens at" in second.err
    assert remote(*ISSUE, ".").status == 0
    off = remote("ca-signer", FASTOCSP_CA_SIGNER="off")
    assert off.status == 2
    assert "FASTOCSP_CA_SIGNER is off" in off.err
    assert signer.socket.exists()
