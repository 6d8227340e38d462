"""An embedded Valkey on a Unix socket, with two users: one writes records, one may only read them.

It is a cache: losing all of it costs speed and nothing else. So a snapshot that cannot be read is put aside and the
server starts empty, and a snapshot that cannot be written stops no writer.
"""

import hashlib
import signal
import socket
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from cachewarm.embedded import folders
from cachewarm.embedded.binaries import find_valkey
from cachewarm.embedded.passwords import read_passwords
from cachewarm.embedded.process import Child
from cachewarm.embedded.server import EmbeddedServer, GiveUp
from cachewarm.errors import Fatal

USERS = ("writer", "reader")
#: What each user may do. The reader's pattern is every key: there is nothing on this server but records and streams.
_RULES = {
    "writer": "~* &* -@all +@read +@write +@connection +@transaction +@scripting +@pubsub -@dangerous"
    " +info +keys +flushdb +flushall",
    "reader": "%R~* resetchannels -@all +get +mget +getrange +eval_ro +scan"
    " +xread +xrange +xrevrange +xinfo +ping +hello +auth +client|setname +client|setinfo",
}
_START_S = 30.0


class EmbeddedValkey(EmbeddedServer):
    """The Valkey of one data folder. Shutdown writes a last snapshot, and is by force when that takes too long."""

    program = "valkey"
    title = "Valkey"
    stop_signals = ((signal.SIGTERM, 20),)

    def __init__(
        self,
        data_dir: Path,
        run_dir: Path | None = None,
        *,
        maxmemory: int = 512 << 20,
        gives_up: GiveUp | None = None,
    ) -> None:
        super().__init__(data_dir, run_dir, gives_up)
        self._maxmemory = maxmemory
        self._program = find_valkey()
        self.passwords = read_passwords(self.data_dir / "valkey.passwords", USERS)

    @cached_property
    def state(self) -> Path:
        """Folder of the snapshot and of the users' file."""
        return folders.private_folder(self.data_dir / "valkey")

    @cached_property
    def socket(self) -> Path:
        """Path of the server's Unix socket."""
        wanted = folders.private_folder(self._run_dir) if self._run_dir else folders.run_folder(self.data_dir)
        if not folders.fits(wanted / "valkey.sock"):
            wanted = folders.private_folder(folders.short_folder(self.data_dir))
        return wanted / "valkey.sock"

    def url(self, role: str = "writer") -> str:
        """unix:// URL of the writer or the reader."""
        return f"unix://{role}:{quote(self.passwords[role])}@{quote(str(self.socket))}"

    def _start(self) -> None:
        """Start and wait until commands are answered; a snapshot that cannot be read is put aside."""
        try:
            self._spawn()
        except Fatal:
            snapshot = self.state / "dump.rdb"
            if self.exit_status is None or not snapshot.exists():
                raise
            snapshot.replace(snapshot.with_suffix(".rdb.unreadable"))
            self._spawn()

    def _spawn(self) -> None:
        users = self.state / "users.acl"
        folders.write_private(users, self._user_rules())
        words = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "aclfile": str(users),
            "dir": str(self.state),
            "maxmemory": str(self._maxmemory),
            "maxmemory-policy": "allkeys-lru",
            "appendonly": "no",
            "daemonize": "no",
            "stop-writes-on-bgsave-error": "no",
            "loglevel": "notice",
            "logfile": "",
        }
        argv = [str(self._program), "--save", "3600", "1", "300", "100", "60", "10000"]
        argv += [part for name, value in words.items() for part in (f"--{name}", value)]
        self._child = Child(argv, log=self.log, death_signal=signal.SIGTERM, cwd=self.state)
        self._child.wait_ready(self._answers, timeout_s=_START_S, gives_up=self._gives_up)

    def _user_rules(self) -> str:
        digests = {user: hashlib.sha256(self.passwords[user].encode()).hexdigest() for user in USERS}
        rules = [f"user {user} on #{digests[user]} {_RULES[user]}" for user in USERS]
        return "\n".join(["user default off resetpass -@all", *rules, ""])

    def _answers(self) -> bool:
        """PING is refused while a snapshot is being read."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self.socket))
                connection.sendall(f"AUTH writer {self.passwords['writer']}\r\nPING\r\n".encode())
                return _read_lines(connection, 2) == b"+OK\r\n+PONG\r\n"
        except OSError:
            return False


def _read_lines(connection: socket.socket, lines: int) -> bytes:
    received = b""
    while received.count(b"\r\n") < lines:
        more = connection.recv(256)
        if not more:
            break
        received += more
    return received
