"""Another edge host of a running instance: its own master, workers, journal and name; the ledger and the signer are the
instance's. It is asked and watched like an instance.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cachewarm.embedded.valkey import EmbeddedValkey
from responder.config import EdgeSettings
from responder.setting_fields import PREFIX
from tests.support.breakage import ready
from tests.support.instance import ROOT, START_S, Instance, free_port

_OWN = {"data_dir", "run_dir", "signer_socket", "port", "edge_name", "workers", "metrics_listen"}


def edge_settings(centre: Instance) -> dict[str, str]:
    """Return the settings of the instance's own edge as environment variables, but not its URL of the ledger."""
    written = {PREFIX + name.upper(): str(text) for name, text in centre.facts["settings"].items()}
    reader = EmbeddedValkey(centre.folder, Path(written["FASTOCSP_RUN_DIR"])).url("reader")
    is_embedded = str(written["FASTOCSP_REDIS_URL"]).startswith("unix:")
    return written | ({"FASTOCSP_REDIS_URL": reader} if is_embedded else {})


class EdgeHost(Instance):
    """`python -m responder` with the settings of the instance's own edge, and more of the environment if need be."""

    def __init__(self, centre: Instance, folder: Path, name: str, **more: str) -> None:
        super().__init__(folder)
        self._centre, self._metrics_port = centre, free_port()
        folder.mkdir()
        (folder / "logs").mkdir()
        self.output = folder / "logs" / "edge.log"
        told = edge_settings(centre)
        names = {PREFIX + field.upper() for field in set(EdgeSettings.fields) - _OWN}
        self.environ = {key: text for key, text in told.items() if key in names} | {
            "PYTHONPATH": str(ROOT),
            "FASTOCSP_DATA_DIR": str(folder),
            "FASTOCSP_SIGNER_SOCKET": told.get("FASTOCSP_SIGNER_SOCKET", str(centre.folder / "run" / "signer.sock")),
            "FASTOCSP_PORT": str(self.port),
            "FASTOCSP_METRICS_LISTEN": f"127.0.0.1:{self._metrics_port}",
            "FASTOCSP_EDGE_NAME": name,
            **(more if "FASTOCSP_DATABASE_URL" in more else {"FASTOCSP_DATABASE_URL": self._login(name)} | more),
        }

    def _login(self, name: str) -> str:
        """Of its own."""
        said = self._centre.command("edge", "add", name, "--no-signer", "--json")
        return str(json.loads(said.stdout)["logins"][0]["url"])

    def launch(self) -> "subprocess.Popen[bytes]":
        """Begin to start it."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "responder", "serve"], env=self.environ, cwd="/", stdout=output, stderr=output
            )
        return self.process

    def start(self) -> "EdgeHost":
        """Until it is ready."""
        process = self.launch()
        deadline = time.monotonic() + START_S
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"the edge did not start:\n{self.output.read_text()[-4000:]}")
            time.sleep(0.05)
        return self

    def leave(self) -> None:
        """End it for good: the instance has no edge then that does not ask."""
        self.stop()
        self._centre.command("edge", "remove", self.environ["FASTOCSP_EDGE_NAME"])

    def _answers(self) -> bool:
        try:
            return ready(self)[0] == 200
        except OSError:
            return False

    @property
    def metrics_url(self) -> str:
        """Of its own listener."""
        return f"http://127.0.0.1:{self._metrics_port}/metrics"

    @property
    def facts(self) -> dict[str, Any]:
        """Of the instance that it belongs to."""
        return self._centre.facts
