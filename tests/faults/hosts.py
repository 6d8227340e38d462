"""An edge host of its own: a master with workers and a signer, in folders of their own, that reach Postgres through a
proxy each, and a wall clock that can be turned while it runs.
"""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import trustme

from responder.clock import read_clock
from responder.edge_pids import pids
from responder.feed.machine import State
from responder.feed.shared import PAGE_NAME, SLOT_STATE, FeedPage
from tests.faults.network import lay
from tests.support.proxy import Proxy
from tests.support.wall import WallClock

ROOT = Path(__file__).resolve().parents[2]
#: Signer and edge may be started in either order: whoever is first makes the run folder.
PROGRAMS = ("signer", "edge")


class Host:
    """One of them; `programs` are its processes by name."""

    def __init__(self, name: str, folder: Path, port: int, environ: dict[str, str], module: list[str]) -> None:
        self.name, self.folder, self.port, self._module = name, folder, port, module
        self.run_folder, self.journal = folder / "run", folder / "edge"
        self.programs: dict[str, subprocess.Popen[bytes]] = {}
        self._environ = environ | {
            "FASTOCSP_DATA_DIR": str(folder),
            "FASTOCSP_RUN_DIR": str(self.run_folder),
            "FASTOCSP_EDGE_NAME": name,
            "FASTOCSP_PORT": str(port),
        }
        self.journal.mkdir(parents=True, exist_ok=True)
        self.wall_clock = WallClock(folder)
        self.network = lay(name)
        self._environ["FASTOCSP_HOST"] = self.network.asked_at

    async def link(self, server: Path) -> "Host":
        """Its proxies to that Postgres, by TLS that its programs verify."""
        authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(self.network.ledger_at).configure_cert(tls)
        self._trusted = self.folder / "ledger-ca.pem"
        authority.cert_pem.write_to_path(str(self._trusted))
        self.links = {name: await Proxy(server, tls).start(self.network.ledger_at) for name in PROGRAMS}
        return self

    def start(self, logins: dict[str, str], *names: str) -> None:
        """The programs of that name, or all of them; `logins` holds login:password of each."""
        for name in names or PROGRAMS:
            server = f"{self.network.ledger_at}:{self.links[name].port}"
            url = f"postgresql://{logins[name]}@{server}/fastocsp?sslmode=verify-full&sslrootcert={self._trusted}"
            environ = self._environ | {"FASTOCSP_DATABASE_URL": url} | self.wall_clock.settings
            with (self.folder / f"{name}.log").open("ab") as log:
                self.programs[name] = subprocess.Popen(
                    [*self.network.words, sys.executable, "-m", *self._module, name],
                    env=environ,
                    cwd=ROOT,
                    stdout=log,
                    stderr=log,
                )

    def ended(self) -> list[tuple[str, str]]:
        """Programs that are there no more, with exit status and last words."""
        codes = {name: program.poll() for name, program in self.programs.items()}
        return [(name, f"{code}, {self._last_line(name)}") for name, code in codes.items() if code is not None]

    def _last_line(self, name: str) -> str:
        lines = (self.folder / f"{name}.log").read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line), "without a word")

    def stop(self) -> None:
        """Everything of it."""
        for program in reversed(self.programs.values()):
            program.terminate()
        for program in self.programs.values():
            try:
                program.wait(20)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
        self.network.remove()

    @property
    def master(self) -> int:
        """Pid."""
        return self.programs["edge"].pid

    @property
    def signer(self) -> int:
        """Pid."""
        return self.programs["signer"].pid

    @property
    def workers(self) -> list[int]:
        """Pids."""
        return workers_of(self.run_folder)

    def tree(self) -> Iterator[int]:
        """Every pid of the host."""
        for program in self.programs.values():
            yield program.pid
            yield from (child.pid for child in psutil.Process(program.pid).children(recursive=True))


def workers_of(run_folder: Path) -> list[int]:
    """Pids of the workers that live."""
    known = pids(run_folder).get("workers", [])
    return [pid for pid in known if Path(f"/proc/{pid}").exists()] if isinstance(known, list) else []


def state_of(run_folder: Path) -> str:
    """The feed's state as the shared page and the clock say it; BOOT while there is no page."""
    if not (run_folder / PAGE_NAME).exists():
        return State.BOOT.name
    page = FeedPage(run_folder)
    shown = State(page.get(SLOT_STATE))
    expired = read_clock().boot >= page.lease_end()
    return State.CLOSED.name if expired and shown in (State.LIVE, State.STALE, State.CATCHUP) else shown.name


def environment() -> dict[str, str]:
    """Ours, without the product's settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FASTOCSP_")}
