"""A proxy on the link to the ledger that refuses TLS, in front of every process: none of them speaks to it.

The proxy answers `N` to SSLRequest and would forward what comes after in the clear, where it could rewrite the head of
the feed. With `sslmode=verify-full` no process sends it a start-up message. Without it every process does, which shows
that the test can fail.
"""

import asyncio
import os
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from tests.support.instance import ROOT

SSL_REQUEST = 80877103
PROCESSES = {
    "edge": ("serve", "--port", "0"),
    "signer": ("signer",),
    "warmer": ("warm",),
    "admin": ("admin", "--admin-port", "0"),
    "command": ("revoke", "--serial", "01", "--issuer", "demo"),
    "status": ("status",),
}


class StrippingProxy:
    """Refuses TLS and counts the clients that go on in the clear."""

    def __init__(self) -> None:
        self.asked_for_tls = 0
        self.in_the_clear = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "StrippingProxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length, code = struct.unpack("!II", await reader.readexactly(8))
                if (length, code) != (8, SSL_REQUEST):
                    self.in_the_clear += 1
                    break
                self.asked_for_tls += 1
                writer.write(b"N")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[StrippingProxy]:
    """A running proxy."""
    async with StrippingProxy() as running:
        yield running


async def reached(proxy: StrippingProxy, folder: Path, name: str, query: str) -> None:
    """Run a process until it has reached the proxy, and end it."""
    environ = {key: text for key, text in os.environ.items() if not key.startswith("FASTOCSP_")} | {
        "PYTHONPATH": str(ROOT),
        "FASTOCSP_DATA_DIR": str(folder / "data"),
        "FASTOCSP_RUN_DIR": str(folder / "run"),
        "FASTOCSP_OCSP_RESPONDER_KEY_DIR": str(folder / "keys"),
        "FASTOCSP_DATABASE_URL": f"postgresql://login:secret@localhost:{proxy.port}/fastocsp?{query}",
        "FASTOCSP_API_KEYS_NAMED": "boss:0123456789abcdef0123456789abcdef:admin",
        "FASTOCSP_ADMIN_TLS_CERT": str(folder / "tls.pem"),
        "FASTOCSP_ADMIN_TLS_KEY": str(folder / "tls.pem"),
    }
    command = [sys.executable, "-m", "cachewarm.cli.main", *PROCESSES[name]]
    process = await asyncio.create_subprocess_exec(
        *command, env=environ, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(60):
            while not proxy.asked_for_tls or not (proxy.in_the_clear or proxy.asked_for_tls > 1 or _ended(process)):
                await asyncio.sleep(0.05)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _ended(process: asyncio.subprocess.Process) -> bool:
    return process.returncode is not None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Keys and certificates that the processes start with."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "tls.pem")
    (tmp_path / "tls.pem").chmod(0o600)
    (tmp_path / "keys").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", PROCESSES)
async def test_no_process_speaks_to_a_proxy_that_refuses_tls(proxy: StrippingProxy, folder: Path, name: str) -> None:
    """With a verified link every attempt ends at the refusal."""
    await reached(proxy, folder, name, f"sslmode=verify-full&sslrootcert={folder / 'ca.pem'}")
    assert proxy.in_the_clear == 0


async def test_an_unverified_link_would_speak_to_it(proxy: StrippingProxy, folder: Path) -> None:
    """`prefer`, the driver's default, goes on in the clear: why only local links may use it."""
    await reached(proxy, folder, "status", "sslmode=prefer")
    assert proxy.in_the_clear > 0


@pytest.mark.parametrize("name", PROCESSES)
def test_no_process_starts_with_an_unverified_link(folder: Path, name: str) -> None:
    """Each leaves with status 2 and names the setting and the fix, before it opens anything."""
    environ = {key: text for key, text in os.environ.items() if not key.startswith("FASTOCSP_")} | {
        "PYTHONPATH": str(ROOT),
        "FASTOCSP_DATA_DIR": str(folder / "data"),
        "FASTOCSP_DATABASE_URL": "postgresql://login:secret@ledger.example/fastocsp",
    }
    command = [sys.executable, "-m", "cachewarm.cli.main", *PROCESSES[name]]
    done = subprocess.run(command, env=environ, cwd="/", capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "FASTOCSP_DATABASE_URL" in done.stderr
    assert "sslmode=verify-full" in done.stderr
    assert "secret" not in done.stderr
