"""Where the embedded servers keep their sockets and their state, and who may get there.

A Unix socket's path has at most 107 bytes (sun_path is 108 with its NUL). Where DATA_DIR/run would be too long, the
sockets live in a short folder under /tmp, ours and 0700, its name made from the data folder's so that every command
finds it. No folder is ever opened wider than it is.
"""

import fcntl
import hashlib
import os
import secrets
import stat
import tempfile
from pathlib import Path

from cachewarm.embedded.accounts import Account
from cachewarm.errors import Refused

SOCKET_PATH_MAX = 107
#: Room for the longest socket name that any of our processes makes in the run folder.
_LONGEST_NAME = 32
ROOT_STATE = Path("/var/lib/fastocsp")
_INSTANCE = "postgres.instance"
#: Suffix of the file that says whose state a folder under ROOT_STATE is.
_OWNER = ".of"


def run_folder(data_dir: Path) -> Path:
    """The folder of this instance's sockets: DATA_DIR/run, or a short one under /tmp. Made, 0700, owner checked."""
    folder = data_dir.absolute() / "run"
    return private_folder(folder) if fits(folder / ("x" * _LONGEST_NAME)) else private_folder(short_folder(data_dir))


def short_folder(data_dir: Path, uid: int | None = None) -> Path:
    """A short name under /tmp that belongs to that data folder and account."""
    owner = os.geteuid() if uid is None else uid
    digest = hashlib.sha256(os.fsencode(data_dir.absolute())).hexdigest()[:12]
    return Path(tempfile.gettempdir() if len(tempfile.gettempdir()) < 40 else "/tmp") / f"fastocsp-{owner}-{digest}"  # noqa: S108 - owner and mode are checked


def fits(socket: Path) -> bool:
    """Can a socket be bound to that path?"""
    return len(os.fsencode(socket)) <= SOCKET_PATH_MAX


def private_folder(folder: Path, account: Account | None = None) -> Path:
    """That folder, made 0700 for us or the account; Refused when somebody else was there first."""
    uid, gid = (account.uid, account.gid) if account else (os.geteuid(), os.getegid())
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (uid, os.geteuid()):
            raise Refused(f"{folder} belongs to somebody else: remove it or choose another data folder") from None
    os.chown(folder, uid, gid, follow_symlinks=False)
    folder.chmod(0o700)
    return folder


def may_enter(folder: Path, account: Account) -> bool:
    """Do the mode bits let that account walk down to the folder? (ACLs are not looked at.)"""
    resolved = folder.resolve()
    return all(_may(step, account, 1) for step in (resolved, *resolved.parents))


def may_run(program: Path, account: Account) -> bool:
    """May that account execute the file?"""
    resolved = program.resolve()
    return may_enter(resolved.parent, account) and _may(resolved, account, 5)


def _may(path: Path, account: Account, bits: int) -> bool:
    try:
        found = path.stat()
    except PermissionError:
        return False
    shift = 6 if found.st_uid == account.uid else 3 if found.st_gid == account.gid else 0
    return (found.st_mode >> shift) & bits == bits


def state_folder(data_dir: Path, account: Account | None) -> Path:
    """Where Postgres keeps everything: DATA_DIR/postgres, or /var/lib/fastocsp/<id> for who cannot get there.

    The id is random and recorded in DATA_DIR before the folder is made: a crash in between leaves a name, no state.
    """
    recorded = data_dir / _INSTANCE
    if account and (data_dir / "postgres" / "cluster").exists() and not may_enter(data_dir, account):
        raise Refused(
            f"Postgres runs as {account.name}, which can no longer reach its state in {data_dir}: move the folder back"
        )
    if account is None or (not recorded.exists() and may_enter(data_dir, account)):
        return private_folder(data_dir / "postgres", account)
    if not recorded.exists():
        write_private(recorded, secrets.token_hex(8) + "\n")
    ROOT_STATE.mkdir(mode=0o711, exist_ok=True)
    found = ROOT_STATE.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        raise Refused(f"{ROOT_STATE} must be a folder of root that nobody else can write to")
    name = recorded.read_text().strip()
    owner = ROOT_STATE / f"{name}{_OWNER}"
    if not owner.exists():
        write_private(owner, f"{data_dir}\n")
    return private_folder(ROOT_STATE / name, account)


def abandoned_states(root: Path = ROOT_STATE) -> list[Path]:
    """State folders whose data folder is gone. They are only named: its disk may not be there just now."""
    owners = [path for path in sorted(root.glob(f"*{_OWNER}")) if not Path(path.read_text().strip()).exists()]
    return [path.with_name(path.name.removesuffix(_OWNER)) for path in owners]


def write_private(path: Path, text: str) -> None:
    """A 0600 file, whole or not at all, on disk when this returns."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in that folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class FolderLock:
    """An flock: gone with the process that holds it, however that ends."""

    def __init__(self, path: Path, what: str) -> None:
        self._path, self._what = path, what
        self._handle: int | None = None

    def take(self) -> None:
        """Refused when another process holds it; taking it twice is fine."""
        if self._handle is not None:
            return
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise Refused(f"{self._what} of {self._path.parent} is in use by another process") from None
        self._handle = handle

    def release(self) -> None:
        """Release the lock of the folder."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
