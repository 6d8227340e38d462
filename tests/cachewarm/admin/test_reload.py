"""A real admin process takes renewed files at SIGHUP and over its API, or keeps the old ones."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cachewarm.ca import listener_certificate
from cachewarm.embedded.provision import DatabaseURLs
from responder.clock import read_clock
from tests.support.breakage import eventually

ONE, TWO = "one-0123456789abcdef", "two-0123456789abcdef"


class Admin:
    """The process, its files and its address."""

    def __init__(self, folder: Path, database: DatabaseURLs) -> None:
        self.folder, self.pem, self.keys = folder, folder / "admin.pem", folder / "keys"
        self.write_pair()
        self.keys.write_text(f"ann:{ONE}:admin")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FASTOCSP")} | {
            "FASTOCSP_DATA_DIR": str(folder),
            "FASTOCSP_DATABASE_URL": database.admin,
            "FASTOCSP_ADMIN_PORT": str(self.port),
            "FASTOCSP_ADMIN_TLS_CERT": str(self.pem),
            "FASTOCSP_ADMIN_TLS_KEY": str(self.pem),
            "FASTOCSP_API_KEYS_NAMED_FILE": str(self.keys),
        }
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cachewarm.cli.main", "admin"], env=environ, stdout=log, stderr=log
            )

    def write_pair(self, *, now: int | None = None) -> bytes:
        """Make a new certificate and key in their file; return the file."""
        made, key = listener_certificate.make(["127.0.0.1"], now=read_clock().wall_s if now is None else now)
        self.pem.write_bytes(key.to_pem(None) + made.pem)
        return self.pem.read_bytes()

    def serves(self) -> str:
        """Return the certificate that the listener shows."""
        return ssl.get_server_certificate(("127.0.0.1", self.port))

    def call(self, path: str, key: str, *, post: bool = False) -> tuple[int, dict[str, Any]]:
        """Return status and JSON."""
        context = ssl._create_unverified_context()  # the certificate changes below it
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", b"" if post else None)
        request.add_header("Authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of that event."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line["event"] == name]


@pytest.fixture
def admin(tmp_path: Path, database: DatabaseURLs) -> Iterator[Admin]:
    """A running admin listener."""
    running = Admin(tmp_path, database)

    def is_up() -> bool:
        assert running.process.poll() is None, running.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", running.port)) == 0

    eventually(is_up, 60, "the listener does not come up")
    yield running
    running.process.terminate()
    running.process.wait(30)


def test_renewed_files_are_taken_at_sighup_and_over_the_api(admin: Admin) -> None:
    """A new certificate at once, and a new key; the old key is refused once it has left the file."""
    assert admin.call("/api/v1/issuers", ONE)[0] == 200
    assert admin.call("/api/v1/issuers", TWO)[0] == 401
    before = admin.serves()
    renewed = admin.write_pair()
    admin.keys.write_text(f"ann:{ONE}:admin,ann:{TWO}:admin")
    admin.process.send_signal(signal.SIGHUP)
    eventually(lambda: admin.serves() != before, 30, "the old certificate is served")
    assert admin.serves().encode() in renewed
    assert (admin.call("/api/v1/issuers", ONE)[0], admin.call("/api/v1/issuers", TWO)[0]) == (200, 200)
    admin.keys.write_text(f"ann:{TWO}:admin")
    assert admin.call("/api/v1/reload", "wrong-0123456789", post=True)[0] == 401
    status, done = admin.call("/api/v1/reload", ONE, post=True)
    assert (status, done["result"], done["api_keys"]) == (200, "reloaded", 1)
    assert (admin.call("/api/v1/issuers", ONE)[0], admin.call("/api/v1/issuers", TWO)[0]) == (401, 200)
    assert len(admin.events("reloaded")) == 2
    assert ONE not in admin.log.read_text()


def test_refused_files_leave_the_old_ones_in_force(admin: Admin) -> None:
    """All or nothing: a good certificate beside bad keys is not taken either."""
    served, good = admin.serves(), admin.pem.read_bytes()

    def is_refused(kind: str) -> None:
        status, said = admin.call("/api/v1/reload", ONE, post=True)
        assert (status, said["kind"]) == (409, kind), said
        assert admin.serves() == served
        assert admin.call("/api/v1/issuers", ONE)[0] == 200

    certificate = good[good.index(b"-----BEGIN CERTIFICATE") :]
    other = admin.write_pair()
    other_key = other[: other.index(b"-----BEGIN CERTIFICATE")]
    for content, kind in (
        (b"", "empty"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "parse"),
        (other_key + certificate, "mismatch"),
        (certificate, "parse"),
    ):
        admin.pem.write_bytes(content)
        is_refused(kind)
    admin.write_pair(now=read_clock().wall_s - 2 * listener_certificate.VALIDITY_S)
    is_refused("expired")
    encrypted = serialization.BestAvailableEncryption(b"a passphrase")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    admin.pem.write_bytes(load_pem_private_key(good, None).private_bytes(pem, pkcs8, encrypted) + certificate)
    is_refused("parse")  # without the question for its passphrase, which nobody answers
    admin.pem.unlink()
    is_refused("unreadable")
    os.mkfifo(admin.pem)
    is_refused("unreadable")  # a pipe without a writer would stop the listener
    admin.pem.unlink()
    admin.write_pair()
    admin.keys.unlink()
    os.mkfifo(admin.keys)
    is_refused("unreadable")
    admin.keys.unlink()
    for content, kind in ((b"", "unreadable"), (b",", "empty"), (f"ann:{ONE}:admin,bob:{ONE}".encode(), "parse")):
        admin.keys.write_bytes(content)
        is_refused(kind)
    admin.process.send_signal(signal.SIGHUP)
    eventually(lambda: len(admin.events("reload refused")) == 13, 30, "nothing is logged")
    assert ONE not in admin.log.read_text()
