"""An unforeseen failure of a loop of the warmer or the signer is a number that an alert can be made of."""

import asyncio
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from cachewarm.config import Settings
from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import Connection
from cachewarm.warmer.warmer import LOOPS, Warmer
from responder.tasks import end_tasks
from responder.web.process_metrics import ProcessMetrics, run_metrics
from tests.support.instance import free_port


def read(url: str) -> str:
    """What the listener serves."""
    with urllib.request.urlopen(url, timeout=5) as response:
        return str(response.read().decode())


async def until(url: str, found: Callable[[str], bool]) -> str:
    """The text, once it is as wanted."""
    async with asyncio.timeout(20):
        while True:
            try:
                text = await asyncio.to_thread(read, url)
            except OSError:
                text = ""
            if found(text):
                return text
            await asyncio.sleep(0.05)


async def test_unforeseen_failures_of_the_warmer_are_counted(
    database: DatabaseURLs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By loop, the others at zero; issuers with a fault are named; promtool takes the text."""
    port = free_port()
    warmer = Warmer(
        Settings(
            database_url=database.warmer,
            redis_url="redis://127.0.0.1:1",
            warmer_metrics_listen=f"127.0.0.1:{port}",
            sign_processes=0,
        )
    )

    async def breaks(_: Connection) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(warmer, "_trim", breaks)
    warmer._issuer_faults["responder"] = ["ca"]
    running = asyncio.create_task(warmer.run())
    try:
        url = f"http://127.0.0.1:{port}/metrics"
        wanted = 'fastocsp_loop_failures_total{loop="trimming",process="warmer"}'
        text = await until(url, lambda text: wanted in text and f"{wanted} 0.0" not in text)
    finally:
        await end_tasks([running])
    assert 'fastocsp_process_up{process="warmer"} 1.0' in text
    for loop in set(LOOPS) - {"trimming"}:
        assert f'fastocsp_loop_failures_total{{loop="{loop}",process="warmer"}} 0.0' in text
    assert "fastocsp_issuer_faults" in text
    if shutil.which("promtool") is None:
        pytest.skip("apt install prometheus, for promtool")
    assert await asyncio.to_thread(promtool, text) == (0, "")


async def test_metrics_of_a_process_are_for_allowed_addresses_and_outlive_a_taken_port() -> None:
    """The listener is made when the port is free again; other paths and other clients get nothing."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    listen = f"127.0.0.1:{taken.getsockname()[1]}"
    metrics = ProcessMetrics("signer", ("feed",), lambda: {"sign": ["ca"]})
    for allow, status in (("127.0.0.0/8", 200), ("10.0.0.0/8", 403)):
        settings = Settings(metrics_allow=allow)
        running = asyncio.create_task(run_metrics(metrics, listen, settings))
        await asyncio.sleep(0)
        taken.close()
        try:
            if status == 200:
                text = await until(f"http://{listen}/metrics", bool)
                assert 'fastocsp_issuer_faults{issuer_id="ca",process="signer",work="sign"} 1.0' in text
                assert 'fastocsp_loop_failures_total{loop="metrics",process="signer"}' not in text
            async with asyncio.timeout(10):
                while (found := await asyncio.to_thread(status_of, f"http://{listen}/metrics")) == 0:
                    await asyncio.sleep(0.05)
            assert found == status
            assert await asyncio.to_thread(status_of, f"http://{listen}/ready") == 404
        finally:
            await end_tasks([running])


def promtool(text: str) -> tuple[int, str]:
    """Its exit status and what it criticizes."""
    done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    return done.returncode, done.stdout + done.stderr


def status_of(url: str) -> int:
    """HTTP status, 0 where nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
