"""A running quickstart for the end-to-end tests: a real process tree on free ports, stopped at the end."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from tests.support import warm_command
from tests.support.scratch import copy_cluster

ROOT = Path(__file__).resolve().parents[2]
START_S = 90


def free_port() -> int:
    """A port that nobody has at this moment, below those that the kernel gives to clients' sockets."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Instance:
    """`fastocsp quickstart` in a folder."""

    #: The quickstart makes its Postgres cluster itself, as a user's first start does; otherwise it gets a copy of one.
    is_fresh = False

    def __init__(
        self, folder: Path, workers: int = 2, certificates: int = 60, revoked: int = 8, **settings: str
    ) -> None:
        self.folder = folder
        self.port, self.admin_port = free_port(), free_port()
        self._arguments = ["--workers", str(workers), "--certificates", str(certificates), "--revoked", str(revoked)]
        self.environ = {key: value for key, value in os.environ.items() if not key.startswith("FASTOCSP_")} | {
            "PYTHONPATH": str(ROOT),
            "FASTOCSP_DATA_DIR": str(folder),
            "FASTOCSP_OCSP_RATE_LIMIT_PER_IP_MIN": "0",
            "FASTOCSP_CRL_DEBOUNCE": "100ms",
            "FASTOCSP_METRICS_LISTEN": "127.0.0.1:0",
            "FASTOCSP_WARM_INTERVAL": "3s",
            "FASTOCSP_WARM_UP_CORE": "0",  # tests decide what is in the table
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.output = folder.with_suffix(".out")

    def start(self) -> "Instance":
        """Until quickstart.json is there."""
        if not self.is_fresh and "FASTOCSP_DATABASE_URL" not in self.environ:
            copy_cluster(self.folder)
        stale = self.facts["pids"]["supervisor"] if (self.folder / "quickstart.json").exists() else None
        ports = ["--port", str(self.port), "--admin-port", str(self.admin_port)]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cachewarm.cli.main", "quickstart", *ports, *self._arguments],
                env=self.environ,
                cwd=self.folder.parent,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + START_S
        while not self._is_up(stale):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"the quickstart did not start:\n{self.output.read_text()[-4000:]}")
            time.sleep(0.05)
        return self

    def _is_up(self, stale: int | None) -> bool:
        """Return whether this start wrote its file; that of the one before, of process `stale`, goes at any moment."""
        try:
            return bool(self.facts["pids"]["supervisor"] != stale)
        except FileNotFoundError:
            return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait for the end of all of its processes."""
        if self.process is None:
            return
        tree = self.tree()
        self.process.send_signal(number)
        self.process.wait(60)
        self.process = None
        _, alive = psutil.wait_procs(tree, timeout=30)
        assert not alive, f"left behind: {alive}"

    def tree(self) -> list[psutil.Process]:
        """Every process of it, the supervisor not included."""
        assert self.process is not None
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    @property
    def facts(self) -> dict[str, Any]:
        """quickstart.json as it is now."""
        read: dict[str, Any] = json.loads((self.folder / "quickstart.json").read_text())
        return read

    @property
    def base(self) -> str:
        """Base of the public URLs."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def metrics_url(self) -> str:
        """URL of the metrics."""
        return str(self.facts["metrics_url"])

    def metrics(self) -> str:
        """Their text."""
        with urllib.request.urlopen(self.metrics_url, timeout=10) as response:
            return str(response.read().decode())

    @property
    def ocsp_url(self) -> str:
        """URL of the demo issuer's responder."""
        return f"{self.base}/.well-known/pki/ocsp/{self.facts['issuer_id']}"

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A `fastocsp` command against this instance, from another folder."""
        done = warm_command.run(words, env=self.environ, cwd="/", timeout_s=120)
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


class FreshInstance(Instance):
    """One that starts in an empty folder."""

    is_fresh = True
