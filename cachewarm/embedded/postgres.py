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
from cachewarm.errors import Fatal, Refused

DATABASE = "fastocsp"
#: Login of each role; the first is the owner and superuser of this cluster.
LOGINS = {"owner": "fastocsp", "writer": "fastocsp_writer_login", "reader": "fastocsp_reader_login"}
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


class EmbeddedPostgres:
    """The server of one data folder. A supervisor calls start() again when exit_status is no longer None."""

    def __init__(
        self,
        data_dir: Path,
        run_dir: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        binaries: PostgresBinaries | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._run_dir, self._settings = run_dir, dict(settings or {})
        self._lock = folders.FolderLock(self.data_dir / "postgres.lock", "Postgres")
        self._child: Child | None = None
        self._account = postgres_account()
        self._found = binaries or find_postgres()
        self.passwords = read_passwords(self.data_dir / "postgres.passwords", LOGINS)

    @property
    def pid(self) -> int | None:
        """Of the postmaster; None before start() and after stop()."""
        return self._child.pid if self._child else None

    @property
    def exit_status(self) -> int | None:
        """None while the postmaster runs."""
        return self._child.exit_status if self._child else 0

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.data_dir / "postgres.log"

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
        """postgresql:// URL of the owner, writer or reader login."""
        login, password = LOGINS[role], self.passwords[role]
        host = quote(str(self.socket_folder), safe="")
        return f"postgresql://{login}:{quote(password)}@/{quote(database)}?host={host}&port={_PORT}"

    def start(self) -> None:
        """Start and wait until connections are taken. Refused when another process has this data folder."""
        if self._child and self._child.exit_status is None:
            return
        self._lock.take()
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
            self._child.wait_ready(lambda: self._is_ready(cluster), timeout_s=_START_S)
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

    def stop(self) -> None:
        """Fast shutdown; then without a checkpoint; then by force."""
        if self._child:
            self._child.stop([(signal.SIGINT, 30), (signal.SIGQUIT, 5)])
            self._child = None
        self._lock.release()

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
        """After a kill of our parent the old server may still be shutting down. Its pid may also be another's now."""
        deadline = time.monotonic() + _PREDECESSOR_S
        while (pid := _written_pid(cluster)) and (cwd := _cwd(pid)):
            if cwd != cluster:
                (cluster / "postmaster.pid").unlink(missing_ok=True)  # the number was given out again
                return
            if time.monotonic() > deadline:
                raise Fatal(f"an old Postgres (process {pid}) still runs on {cluster}")
            time.sleep(0.05)

    def _is_ready(self, cluster: Path) -> bool:
        """Line 8 of postmaster.pid, as pg_ctl reads it; a standby takes questions too."""
        lines = _pid_lines(cluster)
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() in ("ready", "standby")


def _pid_lines(cluster: Path) -> list[str]:
    try:
        return (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _written_pid(cluster: Path) -> int | None:
    lines = _pid_lines(cluster)
    return int(lines[0]) if lines and lines[0].strip().isdigit() else None


def _cwd(pid: int) -> Path | None:
    """Where that process works (a postmaster: in its cluster); None when there is none, or none of ours."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def _end_orphans(cluster: Path) -> None:
    """Kill the backends that work in that cluster without a postmaster; recovery drops what they had not committed."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or _cwd(int(entry.name)) != cluster:
            continue
        with suppress(ProcessLookupError, FileNotFoundError):
            if (entry / "comm").read_text().strip() == "postgres":  # and not somebody's shell
                os.kill(int(entry.name), signal.SIGKILL)
