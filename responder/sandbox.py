"""What a process gives up once it has what it needs: files, ports, calls of the kernel, and a readable memory.

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
from urllib.parse import parse_qs, parse_qsl, urlsplit

import structlog

from responder import landlock, seccomp
from responder.hidden_memory import hide_memory, leave_no_core
from responder.landlock import Allowed
from responder.setting_fields import ConfigError

log = structlog.get_logger("sandbox")
_DEFAULT_PORTS = {"postgresql": 5432, "postgres": 5432, "redis": 6379, "rediss": 6379}
#: The resolver's files, the certificates that links are checked with, and the calendar.
_SYSTEM_READS = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services",
    "/etc/protocols", "/etc/ssl", "/etc/pki", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
    "/etc/localtime", "/usr/share/zoneinfo", "/etc/ld.so.cache",
    "/dev/urandom", "/proc/self", "/proc/sys/net/core/somaxconn", "/proc/stat", "/sys/devices/system/cpu",
)  # fmt: skip


class Sandbox(NamedTuple):
    """What was given up: the version of Landlock (0: none), system calls, core dumps and a dumpable memory."""

    landlock: int = 0
    seccomp: bool = False
    undumpable: bool = False
    missing: str = ""

    @property
    def state(self) -> str:
        """For `/ready`: `on`, `partial` or `off`."""
        if not (self.landlock or self.seccomp):
            return "off"
        return "partial" if self.missing else "on"


def confine(mode: str, allowed: Allowed, *, refuse_calls: bool = False, holds_keys: bool = False) -> Sandbox:
    """Confine this process, before it starts threads, to what is allowed and what Python needs.

    `refuse_calls` takes away what starts programs, looks into other processes or changes the machine; `holds_keys`
    hides this process's memory from others of its account. Raises ConfigError when the mode is `require` and the
    kernel does not do all of it.
    """
    if mode == "off":
        log.warning("sandbox off")
        return Sandbox()
    leave_no_core()
    if holds_keys:
        hide_memory()
    missing = []
    version, calls = 0, False
    try:
        version = landlock.restrict(_with_python(allowed))
    except OSError as error:
        missing.append(f"Landlock: {error.strerror or error}")
    if refuse_calls:
        try:
            if not seccomp.is_known():
                raise OSError(0, f"there is no filter for {os.uname().machine}")
            seccomp.refuse_calls()
            calls = True
        except OSError as error:
            missing.append(f"seccomp: {error.strerror or error}")
    if missing and mode == "require":
        raise ConfigError(f"FASTOCSP_SANDBOX=require, but {'; '.join(missing)}")
    made = Sandbox(version, calls, holds_keys, "; ".join(missing))
    log.info("sandbox", state=made.state, landlock=version, seccomp=calls, missing=made.missing)
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


def ports_of(*urls: str | None) -> list[int]:
    """Return the TCP ports that these database and Redis URLs lead to; none for Unix sockets."""
    ports = []
    for url in filter(None, urls):
        parts = urlsplit(url)
        if parts.scheme != "unix" and parts.hostname:
            ports.append(parts.port or _DEFAULT_PORTS.get(parts.scheme, 0))
        ports += [int(port) for port in parse_qs(parts.query).get("port", []) if port.isdecimal()]
    return ports


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
