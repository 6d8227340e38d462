"""`fastocsp quickstart`: the whole product on one machine, with a demo CA, from one command.

Order: servers, schema, logins, CA signer, demo CA, then signer, warmer, edge, admin; when all of them answer,
quickstart.json is written and the commands to try are printed. It is removed at the end, so its presence means "ready".
kill -9 leaves no process (each dies with its parent) and a stale quickstart.json, which the next start removes first.
"""

import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from cachewarm.config import Settings, reachable
from cachewarm.console import say
from cachewarm.embedded.folders import FolderLock, abandoned_states, run_folder
from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.valkey import EmbeddedValkey
from cachewarm.errors import Fatal, Interrupted
from cachewarm.quickstart.demo_files import Demo
from cachewarm.quickstart.probes import is_fenced, is_ready, listens, serves_crl, signs_live
from cachewarm.quickstart.step_runner import run_step
from cachewarm.quickstart.supervisor import Forks, Program, Supervisor
from cachewarm.quickstart.welcome import print_welcome
from responder.config import INSTANCE_FILE, as_environment
from responder.edge_pids import pids
from responder.files import write_file
from responder.listeners import check_metrics_listen, check_port
from responder.log_limits import RateLimitedLog
from responder.process import set_up_process

log = structlog.get_logger("quickstart")
READY_S = 60.0


@dataclass(frozen=True)
class Plan:
    """Wishes of the command line."""

    certificates: int
    revoked: int


class Quickstart:
    """One running instance of everything."""

    def __init__(self, settings: Settings, plan: Plan) -> None:
        self.folder = settings.data_dir
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(self.folder / "quickstart.lock", "the quickstart")
        self._lock.take()
        self._file = self.folder / INSTANCE_FILE
        self._file.unlink(missing_ok=True)
        self.plan = plan
        self.settings = self._complete(settings)
        self.supervisor, self._forks = Supervisor(self._write), Forks()
        self._demo: Demo | None = None
        self._owner_url: str | None = None
        self._known_pids: dict[str, Any] = {}
        self._write_failures = RateLimitedLog()

    def run(self) -> None:
        """Run until SIGTERM or Ctrl-C, and stop everything that was started before returning.

        The handlers only set a flag that every wait looks at: an exception raised from a handler could surface at any
        line, in the middle of collecting a child process among others.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        begun = time.monotonic()
        try:
            demo = self._start()
            if not self.supervisor.stopping:
                self._write()
                print_welcome(self.settings, demo, time.monotonic() - begun)
            while not self.supervisor.stopping:
                self.supervisor.tick()
                self._follow_edge()
                time.sleep(0.1)
        except Interrupted:
            pass
        finally:
            self._file.unlink(missing_ok=True)
            self.supervisor.stop()
            self._forks.end()
            self._lock.release()

    def _ask_to_stop(self, *_: object) -> None:
        self.supervisor.stopping = True

    def _is_stopping(self) -> bool:
        return self.supervisor.stopping

    def _run_step(self, step: str, *words: str) -> dict[str, str]:
        """Run a step of the start; raise Interrupted when the quickstart is asked to stop."""
        server = self._forks.server()
        return run_step(server, step, self.settings, *words, is_stopping=self._is_stopping)

    def _complete(self, settings: Settings) -> Settings:
        """Settings that the quickstart chooses where nobody else did."""
        keys = settings.api_keys_named or {self._secret("api.key"): ("quickstart", True)}
        chosen: dict[str, Any] = {
            "edge_name": settings.edge_name or socket.gethostname(),
            "port": check_port(settings.host, settings.port),
            "admin_port": check_port(settings.admin_host, settings.admin_port),
            "metrics_listen": check_metrics_listen(settings.metrics_listen) or check_metrics_listen("127.0.0.1:0"),
            "run_dir": settings.run_dir or run_folder(self.folder),
            "ocsp_responder_key_dir": settings.ocsp_responder_key_dir or self.folder / "keys",
            "api_keys_named": keys,
        }
        chosen["public_url"] = settings.replace(**chosen).base_url
        return settings.replace(**chosen)

    def _secret(self, name: str) -> str:
        path = self.folder / name
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(24))
        return path.read_text().strip()

    def _start(self) -> Demo:
        if self.settings.admin_tls_cert is None:
            pem = self._run_step("listener")["pem"]
            self.settings = self.settings.replace(admin_tls_cert=pem, admin_tls_key=pem)
        databases = self._start_postgres()
        redis_writer, redis_reader = self._start_redis()
        self.settings = self.settings.replace(database_url=databases["cli"], redis_url=redis_writer)
        self._owner_url = databases["owner"]
        self._start_ca_signer(databases["ca_signer"])
        say("preparing the demo CA")
        made = self._run_step("demo", str(self.plan.certificates), str(self.plan.revoked))
        demo = self._demo = Demo.from_texts(made)
        programs: dict[str, dict[str, Any]] = {
            "signer": {"database_url": databases["signer"]},
            "warmer": {"database_url": databases["warmer"]},
            "edge": {
                "database_url": databases["edge"],
                "redis_url": redis_reader,
                "api_keys_named": {},
            },
            "admin": {"database_url": databases["admin"], "redis_url": redis_reader},
        }
        for name, differing in programs.items():
            settings = self.settings.replace(**differing)
            if name in ("edge", "admin"):
                settings = settings.replace(config_encryption_key=None)
            self._start_program(name, settings)
        base = f"http://{reachable(self.settings.host)}:{self.settings.port}"
        self._await("/ready", lambda: is_ready(base))
        self._await("a live signature", lambda: signs_live(base, demo))
        if is_fenced(base, demo):
            say(f"{demo.issuer_id} is fenced, as the ledger may lack revocations: see `fastocsp reconcile`")
        self._await("the CRL", lambda: serves_crl(base, demo))
        return demo

    def _start_program(self, name: str, settings: Settings) -> None:
        self.supervisor.start(name, Program(self._forks, name, as_environment(settings), self._log(name)))

    def _start_ca_signer(self, database_url: str) -> None:
        """Start the holder of the CA's key and wait until it listens; nothing with FASTOCSP_CA_SIGNER=off."""
        path = self.settings.ca_signer_socket
        if path is None:
            return
        path.unlink(missing_ok=True)
        self._start_program("ca_signer", self.settings.replace(database_url=database_url, api_keys_named={}))
        self._await("the CA signer", lambda: listens(path))

    def _start_postgres(self) -> dict[str, str]:
        """Return the URL of each login."""
        if self.settings.database_url is not None:
            return self._run_step("outside ledger")
        server = EmbeddedPostgres(self.folder, self.settings.run, gives_up=self._is_stopping)
        say("starting Postgres")
        self.supervisor.start("postgres", server)
        notice = server.notice()
        if notice:
            say(notice)
            for state in abandoned_states():
                say(f"the data folder of {state} is gone: remove {state} and {state}.of to have its space back")
        return self._run_step("ledger")

    def _start_redis(self) -> tuple[str, str]:
        if self.settings.redis_url is not None:
            url = self.settings.redis_url.get_secret_value()
            return url, url
        server = EmbeddedValkey(self.folder, self.settings.run, gives_up=self._is_stopping)
        say("starting Valkey")
        self.supervisor.start("redis", server)
        return server.url("writer"), server.url("reader")

    def _await(self, what: str, question: Callable[[], str | None]) -> None:
        """Until `question` returns None; what it returns is why not yet."""
        deadline = time.monotonic() + READY_S
        said = time.monotonic()
        while (why := question()) is not None:
            if self.supervisor.stopping:
                raise Interrupted(f"stopped while waiting for {what}")
            self.supervisor.tick()
            if time.monotonic() > deadline:
                raise Fatal(f"not ready after {READY_S:.0f} s: {why}; see the logs in {self._log('edge').parent}")
            if time.monotonic() - said > 2:
                said = time.monotonic()
                say(f"waiting for {what}: {why[:300]}")
            time.sleep(0.05)

    def _log(self, name: str) -> Path:
        (self.folder / "logs").mkdir(exist_ok=True)
        return self.folder / "logs" / f"{name}.log"

    def _follow_edge(self) -> None:
        """The edge starts its workers again by itself; their pids are kept current here."""
        if self._pids() != self._known_pids:
            self._write()

    def _pids(self) -> dict[str, Any]:
        known = self.supervisor.pids()
        edge = pids(self.settings.run)
        master = known.get("edge")
        workers = edge.get("workers", []) if edge.get("master") == master else []
        return {
            "supervisor": os.getpid(),
            "fork_server": self._forks.pid,
            "edge": workers,
            "edge_master": master,
            **{name: known[name] for name in ("ca_signer",) if name in known},
            **{name: known.get(name) for name in ("signer", "warmer", "admin", "postgres", "redis")},
        }

    def _write(self) -> None:
        if self._demo is None or self.supervisor.stopping:
            return
        self._known_pids = self._pids()
        settings, demo = self.settings, self._demo
        written = {
            "base_url": settings.base_url,
            "metrics_url": f"http://{settings.metrics_listen}/metrics",
            "admin_url": f"https://{reachable(settings.admin_host)}:{settings.admin_port}",
            "admin_ca": str(settings.admin_tls_cert),
            "issuer_id": demo.issuer_id,
            "issuer_cert": str(demo.issuer_cert),
            "good_cert": str(demo.good_cert),
            "revoked_cert": str(demo.revoked_cert),
            "certs_dir": str(demo.certs_dir),
            "database_url": settings.require_database().get_secret_value(),
            "owner_database_url": self._owner_url,
            "redis_url": settings.redis_url.get_secret_value() if settings.redis_url else None,
            "api_key": next((key for key, (_, admin) in settings.api_keys_named.items() if admin), None),
            "pids": self._known_pids,
            "settings": _for_commands(settings),
        }
        try:
            write_file(self._file, json.dumps(written, indent=1).encode(), mode=0o600)
        except OSError as error:  # a full disk: written at the next change, or when there is space again
            self._known_pids = {}
            self._write_failures.warn("instance file not written", path=str(self._file), error=str(error))


def _for_commands(settings: Settings) -> dict[str, str]:
    """What the other commands need to find this instance; never the passphrase."""
    hidden = {"config_encryption_key", "api_keys_named", "data_dir"}
    environ = as_environment(settings)
    return {
        name.removeprefix("FASTOCSP_").lower(): text
        for name, text in environ.items()
        if name.removeprefix("FASTOCSP_").lower() not in hidden
    }


def run_quickstart(settings: Settings, plan: Plan) -> None:
    """Run the quickstart until it is stopped."""
    set_up_process(settings, "quickstart")
    Quickstart(settings, plan).run()
    say("stopped")
