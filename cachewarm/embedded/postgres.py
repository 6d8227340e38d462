"""An embedded Postgres: made, started, awaited and stopped by us, on a Unix socket alone.

Everything it needs to come back is on disk before the server first runs: the passwords, then the cluster (initdb works
in a folder beside, renamed when done). start() after any crash, ours or the server's, is the same start().
"""

import os
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from cachewarm.embedded import folders
from cachewarm.embedded.accounts import postgres_account
from cachewarm.embedded.binaries import PostgresBinaries, find_postgres, reachable
from cachewarm.embedded.passwords import read_passwords
from cachewarm.embedded.process import Child, run_as
from cachewarm.embedded.server import EmbeddedServer, GiveUp
from cachewarm.errors import Fatal, Interrupted, Refused

DATABASE = "fastocsp"
#: Login of each role; the first is the owner and superuser of this cluster.
LOGINS = {
    "owner": "fastocsp",
    "warmer": "fastocsp_warmer",
    "admin": "fastocsp_admin",
    "cli": "fastocsp_cli",
    "edge": "fastocsp_edge",
    "signer": "fastocsp_signer",
    "ca_signer": "fastocsp_ca_signer",
}
_PORT = 5432
_START_S, _PREDECESSOR_S = 60.0, 20.0
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "max_parallel_workers_per_gather": "0",
    "max_worker_processes": "4",
    "huge_pages": "off",
    "jit": "off",
    "fsync": "on",
    "synchronous_commit": "on",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class EmbeddedPostgres(EmbeddedServer):
    """The Postgres of one data folder. Shutdown is fast first, then without a checkpoint, then by force."""

    program = "postgres"
    title = "Postgres"
    stop_signals = ((signal.SIGINT, 30), (signal.SIGQUIT, 5))

    def __init__(
        self,
        data_dir: Path,
        run_dir: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        binaries: PostgresBinaries | None = None,
        gives_up: GiveUp | None = None,
    ) -> None:
        super().__init__(data_dir, run_dir, gives_up)
        self._settings = dict(settings or {})
        self._account = postgres_account()
        self._found = binaries or find_postgres()
        self.passwords = read_passwords(self.data_dir / "postgres.passwords", LOGINS)

    def notice(self) -> str | None:
        """One line for the operator when the state is not in the data folder."""
        if self.state.is_relative_to(self.data_dir) or self._account is None:
            return None
        return (
            f"Postgres runs as {self._account.name}, which cannot reach {self.data_dir}: its state is in {self.state}"
        )

    @cached_property
    def state(self) -> Path:
        """Folder of the cluster and, for another account, of its sockets."""
        return folders.state_folder(self.data_dir, self._account)

    @cached_property
    def socket_folder(self) -> Path:
        """Folder of the socket: our run folder, or for another account one inside its own state."""
        wanted = self.state / "run" if self._account else self._run_dir or folders.run_folder(self.data_dir)
        if not folders.fits(wanted / f".s.PGSQL.{_PORT}.lock"):
            wanted = folders.short_folder(self.data_dir, self._account.uid if self._account else None)
        return folders.private_folder(wanted, self._account)

    def url(self, role: str = "owner", database: str = DATABASE) -> str:
        """postgresql:// URL of the login of that role, a key of LOGINS."""
        login, password = LOGINS[role], self.passwords[role]
        host = quote(str(self.socket_folder), safe="")
        return f"postgresql://{login}:{quote(password)}@/{quote(database)}?host={host}&port={_PORT}"

    def _start(self) -> None:
        """Start and wait until connections are accepted."""
        state = self.state
        binaries = reachable(self._found, self._account, state)
        cluster = state / "cluster"
        if not cluster.exists():
            self._make_cluster(binaries.initdb, state, cluster)
        made_by = (cluster / "PG_VERSION").read_text().strip()
        if made_by != str(binaries.major):
            raise Refused(f"{cluster} is of Postgres {made_by}, at hand is {binaries.major}: dump there, restore here")
        self._await_predecessor(cluster)
        deadline = time.monotonic() + _PREDECESSOR_S
        while not self._comes_up(binaries, state, cluster, patient=time.monotonic() < deadline):
            time.sleep(0.2)

    def _comes_up(self, binaries: PostgresBinaries, state: Path, cluster: Path, *, patient: bool) -> bool:
        """False: a busy backend of a killed postmaster had not noticed that it is an orphan, and was ended."""
        self._child = self._spawn(binaries, state, cluster)
        try:
            self._child.wait_ready(lambda: self._is_ready(cluster), timeout_s=_START_S, gives_up=self._gives_up)
        except Fatal as error:
            if not patient or "is still in use" not in str(error):
                raise
            _end_orphans(cluster)
            return False
        return True

    def _spawn(self, binaries: PostgresBinaries, state: Path, cluster: Path) -> Child:
        settings = _SETTINGS | {"unix_socket_directories": str(self.socket_folder), "port": str(_PORT)}
        if binaries.major >= 18:
            settings["io_method"] = "sync"  # no I/O worker processes
        words = [word for name, value in (settings | self._settings).items() for word in ("-c", f"{name}={value}")]
        return Child(
            [binaries.postgres, "-D", cluster, *words],
            log=self.log,
            death_signal=signal.SIGINT,
            account=self._account,
            cwd=state,
        )

    def _make_cluster(self, initdb: Path, state: Path, cluster: Path) -> None:
        made = self.data_dir / "postgres.made"
        if made.exists():
            raise Fatal(f"the database of {self.data_dir} is gone from {state}: restore a backup, or remove {made}")
        beside = state / "cluster.tmp"
        shutil.rmtree(beside, ignore_errors=True)
        password = os.memfd_create("pwfile")  # on no disk
        try:
            os.write(password, self.passwords["owner"].encode() + b"\n")
            os.lseek(password, 0, os.SEEK_SET)
            locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if self._found.major >= 17 else []
            run_as(
                [
                    initdb,
                    "-D",
                    beside,
                    "-U",
                    LOGINS["owner"],
                    "--auth=scram-sha-256",
                    f"--pwfile=/proc/self/fd/{password}",
                    "--encoding=UTF8",
                    "--locale=C",
                    *locale,
                    "--data-checksums",
                    "--no-instructions",
                ],
                self._account,
                cwd=state,
                pass_fds=[password],
            )
        finally:
            os.close(password)
        beside.rename(cluster)
        folders.sync_folder(state)
        folders.write_private(made, "")

    def _await_predecessor(self, cluster: Path) -> None:
        """Wait until the server that the lock files name has ended, and remove the files when their number misleads.

        Postgres itself refuses to start while a process of that number exists, even a zombie that was killed and has
        not been collected yet, or a stranger that got the number later. The files are removed only when no process
        works in the cluster any more: with postmaster.pid goes Postgres's own check for orphaned backends.
        """
        deadline = time.monotonic() + _PREDECESSOR_S
        locks = (cluster / "postmaster.pid", self.socket_folder / f".s.PGSQL.{_PORT}.lock")
        while pid := next((pid for lock in locks if (pid := _written_pid(lock)) and _exists(pid)), None):
            if _is_stranger(pid, cluster):
                _end_orphans(cluster)
                if not _workers(cluster):
                    for lock in locks:
                        lock.unlink(missing_ok=True)
                    return
            if time.monotonic() > deadline:
                raise Fatal(f"an old Postgres (process {pid}) still runs on {cluster}")
            if self._gives_up():
                raise Interrupted("stopped while waiting for the previous Postgres to end")
            time.sleep(0.05)

    def _is_ready(self, cluster: Path) -> bool:
        """Line 8 of postmaster.pid, as pg_ctl reads it; a standby takes questions too."""
        lines = _lines(cluster / "postmaster.pid")
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() in ("ready", "standby")


def _lines(lock: Path) -> list[str]:
    try:
        return lock.read_text().splitlines()
    except FileNotFoundError:
        return []


def _written_pid(lock: Path) -> int | None:
    lines = _lines(lock)
    return int(lines[0]) if lines and lines[0].strip().isdigit() else None


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _cwd(pid: int) -> Path | None:
    """Where that process works (a postmaster: in its cluster); None when there is none, or none of ours."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def _is_stranger(pid: int, cluster: Path) -> bool:
    """Report whether an existing process cannot be the postmaster of that cluster: a zombie, or at work elsewhere."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False  # it is ending at this moment
    cwd = _cwd(pid)
    return state in ("Z", "X") or (cwd is not None and cwd != cluster)


def _workers(cluster: Path) -> list[int]:
    """Return the Postgres processes that work in that cluster."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _cwd(int(entry.name)) == cluster:
            with suppress(ProcessLookupError, FileNotFoundError):
                if (entry / "comm").read_text().strip() == "postgres":  # and not a shell in that folder
                    found.append(int(entry.name))
    return found


def _end_orphans(cluster: Path) -> None:
    """Kill the backends that outlived their postmaster; recovery drops what they had not committed."""
    for pid in _workers(cluster):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
