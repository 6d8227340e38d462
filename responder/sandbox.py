"""Confine a process to the files, ports and calls of the kernel that it needs, and keep its memory to itself.

`FASTOCSP_SANDBOX` decides: `auto` takes what the kernel has and says what it lacks, `require` ends a process that
cannot be confined whole, `off` is for debuggers, profilers and sanitizers. A confined process cannot undo it, nor can
anything that it starts.
"""

import contextlib
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import structlog

from responder import landlock, seccomp
from responder.hidden_memory import hide_memory, leave_no_core
from responder.landlock import Allowed
from responder.path_watch import PathWatch
from responder.setting_fields import ConfigError

log = structlog.get_logger("sandbox")
#: Large answers of a name server come over TCP.
_DNS_PORT = 53
#: The resolver's files, the certificates that links are checked with, and the calendar.
_SYSTEM_READS = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services",
    "/etc/protocols", "/etc/ssl", "/etc/pki", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
    "/etc/localtime", "/usr/share/zoneinfo", "/etc/ld.so.cache",
    "/dev/urandom", "/proc/self", "/proc/sys/net/core/somaxconn", "/proc/stat", "/sys/devices/system/cpu",
)  # fmt: skip


class Sandbox(NamedTuple):
    """The confinement of a process: the version of Landlock (0: none), whether calls are refused, what the kernel
    lacks, and the paths that cannot be opened any more once they are replaced.
    """

    landlock: int = 0
    seccomp: bool = False
    missing: str = ""
    watch: PathWatch = PathWatch(())

    @property
    def state(self) -> str:
        """For `/ready`: `on`, `partial` or `off`."""
        if not (self.landlock or self.seccomp):
            return "off"
        return "partial" if self.missing else "on"


def problem(mode: str) -> str | None:
    """Return what this kernel lacks although the mode is `require`, for people; None when nothing is wrong."""
    lacking = "; ".join(filter(None, (landlock.lacks(), seccomp.lacks()))) if mode == "require" else ""
    return f"FASTOCSP_SANDBOX=require, but {lacking}" if lacking else None


def check(mode: str) -> None:
    """Raise ConfigError when the mode asks for more than this kernel has: before processes are started in vain."""
    if (found := problem(mode)) is not None:
        raise ConfigError(found)


def confine(mode: str, allowed: Allowed, *, holds_keys: bool = False) -> Sandbox:
    """Confine this process, before it starts threads, to what is allowed and what Python needs.

    It gives up starting programs, looking into other processes and changing the machine as well; `holds_keys` hides its
    memory from others of its account. It is ended with status 2 when the mode is `require` and the kernel does not do
    all of it.
    """
    if mode == "off":
        log.warning("sandbox off")
        return Sandbox()
    leave_no_core()
    if holds_keys:
        hide_memory()
    # without a link to another host no name is resolved and no certificate checked
    watched = map(Path, _SYSTEM_READS if allowed.connects else ())
    watch = PathWatch([*allowed.reads, *allowed.writes, *watched])
    missing = [each for each in (landlock.lacks(), seccomp.lacks()) if each]
    version, calls = 0, False
    try:
        if landlock.available():
            version = landlock.restrict(_with_python(allowed))
        if not seccomp.lacks():
            seccomp.refuse_calls()
            calls = True
    except OSError as error:
        missing.append(error.strerror or str(error))
    if missing and mode == "require":
        log.critical("not confined, and FASTOCSP_SANDBOX=require", missing=missing)
        sys.exit(2)
    made = Sandbox(version, calls, "; ".join(missing), watch)
    log.info("confined", state=made.state, landlock=version, seccomp=calls, missing=made.missing)
    return made


def _with_python(allowed: Allowed) -> Allowed:
    """Return the same with what every process of ours reads."""
    return replace(
        allowed,
        reads=[*allowed.reads, *map(Path, _SYSTEM_READS)],
        loads=[*allowed.loads, *_code()],
        writes=[*allowed.writes, Path("/dev/null")],
    )


def _code() -> Iterable[Path]:
    """Yield the folders of the interpreter, of libraries and of our packages, but not the folder that holds those:
    in a checkout it may hold the data folder too.
    """
    yield from map(Path, ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"))
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix}:
        yield from (Path(prefix, "lib"), Path(prefix, "lib64"), Path(prefix, "pyvenv.cfg"))
    for name in ("responder", "_fastocsp", "cachewarm"):
        module = sys.modules.get(name)
        yield from (Path(path) for path in getattr(module, "__path__", ()))
    yield Path(__file__).parent
    yield Path(__file__).parents[1] / "_fastocsp"


def with_dns(ports: Iterable[int]) -> list[int]:
    """Return TCP ports of servers together with that of name servers, none when there are none."""
    return [*ports, _DNS_PORT] if ports else []


def files_of(*urls: str | None) -> list[Path]:
    """Return the files that the queries of these URLs name: certificates of authorities, client pairs."""
    values = [value for url in filter(None, urls) for _, value in parse_qsl(urlsplit(url).query)]
    return [Path(value) for value in values if value.startswith("/")]


def postgres_files() -> list[Path]:
    """Return what a client of Postgres reads besides its URL: the password file and the usual certificates."""
    named = [os.environ.get(name) for name in ("PGPASSFILE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY")]
    files = [Path(name) for name in named if name]
    with contextlib.suppress(RuntimeError):  # an account without a home
        files += [Path.home() / ".postgresql", Path.home() / ".pgpass"]
    return files
