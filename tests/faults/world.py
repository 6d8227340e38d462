"""Three edge hosts on one machine. `centre` is a quickstart: Postgres, Valkey, warmer, admin, and a host of its own.
`north` and `south` are hosts in folders of their own behind proxies, each in a network namespace where the machine
allows one. All settings are the product's; the broken builds come by another module.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import redis

from cachewarm.embedded.passwords import read_passwords
from cachewarm.embedded.postgres import LOGINS
from cachewarm.embedded.valkey import USERS
from responder.domain.key import Key
from responder.domain.redis_layout import record_name
from responder.domain.status import PRESIGNED
from tests.faults.hosts import ROOT, Host, environment, state_of, workers_of
from tests.faults.network import LOOPBACK
from tests.support.breakage import certificates, pid_of
from tests.support.fixtures import scratch
from tests.support.instance import Instance, free_port
from tests.support.proxy import Proxy

HORIZON_S, POLL_S, SIGNER_S, WORKERS = 4.0, 0.1, 1.5, 2
SHARED = {
    "FASTOCSP_HORIZON": f"{HORIZON_S}s",
    "FASTOCSP_POLL_INTERVAL": f"{POLL_S}s",
    "FASTOCSP_SIGNER_TIMEOUT": f"{SIGNER_S}s",
    "FASTOCSP_LOG_FORMAT": "json",
    "FASTOCSP_WARM_INTERVAL": "3s",
    "FASTOCSP_OCSP_RATE_LIMIT_PER_IP_MIN": "0",
}
HEALTHY = ["cachewarm.quickstart.child"]
NOTIFY_PAGES = 64


class World:
    """Started by `start`, ended by `stop`; `builds` names the module that runs a host instead of the product's."""

    def __init__(self, certificates: int, builds: dict[str, list[str]] | None = None) -> None:
        self.folder = scratch()
        self._builds = builds or {}
        self.centre = Instance(self.folder / "data", WORKERS, certificates, 0, FASTOCSP_EDGE_NAME="centre", **SHARED)
        self.hosts: dict[str, Host] = {}
        #: login:password of each program, by host.
        self.logins: dict[str, dict[str, str]] = {}
        self._mounted: list[Path] = []
        self.ledger_link: Proxy | None = None

    async def start(self) -> "World":
        """Until every host is ready. Children die with the thread that made them: this one."""
        self.centre.start()
        facts, settings = self.centre.facts, self.centre.facts["settings"]
        self.certificates = certificates(self.centre)
        self.run_folder = Path(settings["run_dir"])
        self.server = Path(parse_qs(urlsplit(facts["database_url"]).query)["host"][0]) / ".s.PGSQL.5432"
        self._passwords = read_passwords(self.centre.folder / "postgres.passwords", LOGINS)
        self._add_edges()
        valkey = read_passwords(self.centre.folder / "valkey.passwords", USERS)
        self.ledger_link = await Proxy(self.server).start()
        await self._bound_notify_queue()
        environ = (
            environment()
            | SHARED
            | {
                "FASTOCSP_WORKERS": str(WORKERS),
                "FASTOCSP_INSECURE_LINKS": "redis",  # a host has a network of its own; the embedded Valkey has no TLS
                "FASTOCSP_REDIS_URL": facts["redis_url"].replace(
                    f"writer:{valkey['writer']}", f"reader:{valkey['reader']}"
                ),
                "FASTOCSP_OCSP_RESPONDER_KEY_DIR": settings["ocsp_responder_key_dir"],
            }
        )
        for name in ("north", "south"):
            module = self._builds.get(name, HEALTHY)
            host = Host(name, self.folder / name, free_port(), environ, module)
            self._mount(host.journal)
            self.hosts[name] = await host.link(self.server)
            self.start_host(name)
        for name, door in self.doors.items():
            await until(lambda door=door: is_ready(door), 40, f"{name} is not ready")  # type: ignore[misc]
        self.old_records = await self._records()
        return self

    async def _records(self) -> dict[bytes, bytes]:
        """What Redis holds of every certificate, once it holds all: none is revoked yet."""
        names = [record_name(Key(1, a, bytes.fromhex(path.stem))) for path in self.certificates for a in PRESIGNED]
        with self.redis() as client:
            await until(lambda: client.exists(*names) == len(names), 30, "not all is signed ahead")
            found: Any = client.mget(names)
        return dict(zip(names, found, strict=True))

    def start_host(self, name: str, *programs: str) -> None:
        """Its programs, or those named."""
        self.hosts[name].start(self.logins[name], *programs)

    def _add_edges(self) -> None:
        """A login for the edge and one for the signer of north and south, by the product's command."""
        for name in ("north", "south"):
            words = ["edge", "add", name, "--json", "--data-dir", str(self.centre.folder)]
            said = subprocess.run(
                [sys.executable, "-m", "cachewarm.cli.main", *words],
                check=True,
                capture_output=True,
                cwd=ROOT,
                env=environment(),
            )
            urls = [urlsplit(row["url"]) for row in json.loads(said.stdout)["logins"]]
            kinds = zip(("edge", "signer"), urls, strict=True)
            self.logins[name] = {kind: f"{url.username}:{url.password}" for kind, url in kinds}

    def revive(self) -> list[str]:
        """Programs of the hosts that have ended by themselves, which no fault may bring about; started again."""
        ended = [(name, *one) for name, host in self.hosts.items() for one in host.ended()]
        for name, program, _ in ended:
            self.start_host(name, program)
        return [f"{name}: {program} ended by itself: {why}" for name, program, why in ended]

    async def _bound_notify_queue(self) -> None:
        """So small that it can be filled; takes a restart."""
        connection = await self.owner()
        await connection.execute(f"alter system set max_notify_queue_pages = {NOTIFY_PAGES}")
        await connection.close()
        before = pid_of(self.centre, "postgres")
        os.kill(before, signal.SIGINT)
        await until(lambda: pid_of(self.centre, "postgres") not in (0, before), 30, "no new postmaster")

    def _mount(self, folder: Path) -> None:
        """A small file system of the journal's own, where that is allowed."""
        words = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(folder)]
        if subprocess.run(words, check=False, capture_output=True).returncode == 0:
            self._mounted.append(folder)

    @property
    def small_disks(self) -> bool:
        """The journals lie on file systems of their own."""
        return bool(self._mounted)

    @property
    def own_networks(self) -> bool:
        """North and south have a network each."""
        return all(host.network.own for host in self.hosts.values())

    @property
    def doors(self) -> dict[str, tuple[str, int]]:
        """Address and port of each host."""
        ours = {name: (host.network.asked_at, host.port) for name, host in self.hosts.items()}
        return {"centre": (LOOPBACK, self.centre.port)} | ours

    @property
    def run_folders(self) -> dict[str, Path]:
        """By host."""
        return {"centre": self.run_folder} | {name: host.run_folder for name, host in self.hosts.items()}

    def workers(self, host: str) -> list[int]:
        """Pids."""
        return workers_of(self.run_folders[host])

    def states(self) -> dict[str, str]:
        """The feed's state of each host, now."""
        return {name: state_of(folder) for name, folder in self.run_folders.items()}

    async def owner(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A superuser's connection that no fault touches but the server's own."""
        return await asyncpg.connect(
            user=LOGINS["owner"],
            password=self._passwords["owner"],
            database="fastocsp",
            host=str(self.server.parent),
            timeout=10,
        )

    async def connect_as(self, host: str, program: str) -> "asyncpg.Connection[asyncpg.Record]":
        """With that program's login, not through its host's link: whoever stole it comes from elsewhere."""
        login, _, password = self.logins[host][program].partition(":")
        return await asyncpg.connect(
            user=login, password=unquote(password), database="fastocsp", host=str(self.server.parent), timeout=10
        )

    @property
    def writer_url(self) -> str:
        """Postgres straight."""
        url: str = self.centre.facts["database_url"]
        return url

    @property
    def cut_url(self) -> str:
        """Postgres through the proxy that can cut."""
        assert self.ledger_link is not None
        login, password = LOGINS["cli"], self._passwords["cli"]
        return f"postgresql://{login}:{password}@127.0.0.1:{self.ledger_link.port}/fastocsp?sslmode=disable"

    def redis(self) -> "redis.Redis":
        """As the writer."""
        return redis.Redis.from_url(self.centre.facts["redis_url"], socket_timeout=5)

    async def stop(self) -> None:
        """Everything, whatever state it is in."""
        for host in self.hosts.values():
            host.stop()
            for link in host.links.values():
                await link.stop()
        if self.ledger_link is not None:
            await self.ledger_link.stop()
        self.centre.stop()
        self._clear()

    def _clear(self) -> None:
        for folder in self._mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def _ready_url(address: str, port: int) -> str:
    return f"http://{address}:{port}/ready"


def is_ready(door: tuple[str, int]) -> bool:
    """/ready says 200."""
    with contextlib.suppress(OSError), urllib.request.urlopen(_ready_url(*door), timeout=2) as response:
        return bool(json.loads(response.read())["ready"])
    return False


async def until(done: Callable[[], Any], within_s: float, what: str) -> float:
    """Seconds until it was true, without holding up the loop; AssertionError when it did not come true in time."""
    begun = time.monotonic()
    while not await asyncio.to_thread(done):
        if time.monotonic() - begun > within_s:
            raise AssertionError(what)
        await asyncio.sleep(0.02)
    return time.monotonic() - begun
