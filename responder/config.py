"""Settings of the read side: each with its unit, its default and its relation to others.

Read once, from FASTOCSP_* in the environment over the running quickstart's own file; nothing else reads the
environment. `as_environment` is the way back, for a child process. A FASTOCSP_* name that no setting has is an error:
a misspelt name would be silently ignored.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from responder.links import link_problems
from responder.secret_files import file_names, secrets_from_files
from responder.setting_fields import PREFIX, ConfigError, Field, SecretStr, SettingsBase
from responder.setting_values import Network, parse_address, parse_duration, parse_networks, parse_size, parse_stores

INSTANCE_FILE = "quickstart.json"

Duration = Annotated[float, parse_duration]
Size = Annotated[int, parse_size]
Stores = Annotated[tuple[str, ...], parse_stores]
Networks = Annotated[tuple[Network, ...], parse_networks]


def check_listen(value: str) -> str:
    """Return the address with its port, or the empty text; ValueError for anything else."""
    if value:
        parse_address(value)
    return value


class EdgeSettings(SettingsBase):
    """Settings of `fastocsp serve`; the write side adds its own in `cachewarm.config`."""

    data_dir: Path = Field(
        Path(".fastocsp"),
        check=lambda path: path.expanduser().absolute(),
        description="state of this instance: sockets, journal, keys of the quickstart",
    )
    run_dir: Path | None = Field(
        None, description="sockets and shared memory; default DATA_DIR/run, or a short folder under /tmp"
    )
    database_url: SecretStr | None = Field(
        None,
        description="postgresql://, with this process's own login (`fastocsp db roles`)",
    )
    redis_url: SecretStr | None = Field(None, description="redis:// or unix://; read-only for the edge")
    signer_socket: Path | None = Field(None, description="Unix socket of the signer; default RUN_DIR/signer.sock")
    host: str = Field("127.0.0.1", description="address of the public listener")
    port: int = Field(8080, ge=0, le=65535, description="port of the public listener")
    workers: int = Field(1, ge=1, le=256, description="edge processes, each with its own SO_REUSEPORT socket")
    edge_name: str = Field("", description="name that `fastocsp edge add` was given; default the host name")
    horizon: Duration = Field(
        30.0,
        ge=2,
        le=3600,
        description="seconds an edge may say good without word from Postgres; a confirmed revoke waits no longer",
    )
    on_closed: str = Field(
        "tryLater",
        pattern="^(tryLater|unauthorized)$",
        description="answer for a certificate not known as revoked once the horizon has passed",
    )
    poll_interval: Duration = Field(
        0.2, ge=0.02, le=1, description="seconds between two polls of the feed; far below HORIZON"
    )
    ocsp_rate_limit_per_ip_min: int = Field(
        1000, ge=0, description="requests a minute for one IPv4 address or IPv6 /64; 0 switches it off"
    )
    ocsp_max_age: Duration = Field(
        3600.0,
        ge=0,
        le=864000,
        description="seconds at most that caches may keep an OCSP answer, and so go on with `good` after a revocation",
    )
    crl_max_age: Duration = Field(3600.0, ge=0, le=864000, description="seconds at most that caches may keep a CRL")
    rate_limit_slots: int = Field(
        65536, ge=64, le=1 << 24, description="addresses remembered by the rate limit, 16 octets each"
    )
    trusted_proxies: Networks = Field((), description="peers whose X-Forwarded-For is believed")
    metrics_listen: str = Field(
        "127.0.0.1:9464",
        check=check_listen,
        description="address and port of the metrics listener, [::1]:9464 for IPv6; empty for none",
    )
    metrics_allow: Networks = Field(
        parse_networks("127.0.0.0/8,::1"),
        description="peers of the metrics listener that may read /metrics",
    )
    ready_coverage: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the inventory that can be answered without a signature: a starting edge is not ready "
        "below it, for a minute at most; later it is a warning of /ready and status; 0 for none",
    )
    max_body_size: Size = Field(16384, ge=256, le=1 << 20, description="octets of an OCSP request body")
    table_bytes: Size = Field(
        256 << 20,
        ge=1 << 20,
        le=1 << 34,
        description="octets of the answer table, one for all workers of a host; about 140 a record",
    )
    warm_up_core: float = Field(
        0.5,
        ge=0,
        le=1,
        description="part of a core that fills the table from Redis after a start, beside the workers; 0 for none",
    )
    sandbox: str = Field(
        "auto",
        pattern="^(require|auto|off)$",
        description="auto: processes give up the files, ports and calls of the kernel that they do not need, as far as "
        "it can (Landlock, seccomp); require: they do not run where it cannot; off: for debuggers and profilers",
    )
    nonce_policy: str = Field(
        "strict",
        pattern="^(strict|rfc9654)$",
        description="strict: 1-32 octets, else unauthorized; rfc9654: 1-128, else malformedRequest",
    )
    header_timeout: Duration = Field(10.0, gt=0, le=60, description="seconds for a request's head and body to arrive")
    header_bytes: Size = Field(
        32768, ge=8192, le=1 << 20, description="octets of a request's head; a longer target gets 414, more fields 431"
    )
    write_timeout: Duration = Field(
        10.0, gt=0, le=300, description="seconds for a client to read OCSP answers that its socket did not take at once"
    )
    keep_alive_timeout: Duration = Field(65.0, gt=0, le=3600, description="seconds an idle connection is kept")
    pipelined_bytes: Size = Field(
        65536,
        ge=1024,
        le=1 << 20,
        description="octets that are read ahead of what one connection has been answered; more waits in its socket",
    )
    max_connections: int = Field(
        10000, ge=1, description="open connections of one worker; beyond, the longest idle ones are closed"
    )
    max_connections_per_ip: int = Field(
        256,
        ge=1,
        description="of them, those of one IPv4 address or IPv6 /64 that is no trusted proxy, of every kind together; "
        "beyond, its longest idle ones are closed. Each worker has this budget",
    )
    redis_timeout: Duration = Field(0.2, gt=0, le=5, description="seconds for one Redis round trip on the request path")
    signer_timeout: Duration = Field(2.0, gt=0, le=30, description="seconds for one live signature")
    signer_lane: int = Field(
        256, ge=1, le=65536, description="live signatures one worker has under way; more are answered tryLater"
    )
    slow_lane: int = Field(
        4096,
        ge=1,
        le=1 << 20,
        description="requests of one worker that wait for more than its table, SIGNER_LANE's among them; more are "
        "answered tryLater",
    )
    slow_nice: int = Field(
        10,
        ge=0,
        le=19,
        description="how far a worker's Python stands back behind answers from its table where a core is short; 0 has "
        "it take as much",
    )
    insecure_links: Stores = Field(
        (),
        description="postgres, redis or both: stores whose link may be unauthenticated although it is neither a Unix "
        "socket nor loopback; logged at each start",
    )
    log_format: str = Field("auto", pattern="^(auto|json|text)$", description="text on a terminal, json otherwise")

    def _conflicts(self) -> Iterator[str]:
        if self.poll_interval * 4 > self.horizon:
            yield "POLL_INTERVAL must be at most a quarter of HORIZON"

    @property
    def run(self) -> Path:
        """Folder of the sockets: a Unix socket's path has at most 107 bytes."""
        return self.run_dir or self.data_dir / "run"

    @property
    def signer(self) -> Path:
        """Path of the signer's socket."""
        return self.signer_socket or self.run / "signer.sock"


S = TypeVar("S", bound=EdgeSettings)


def load_settings(cls: type[S], *, instance: bool = True, **given: Any) -> S:
    """Settings: `given`, then the environment, then what the running quickstart of the data folder wrote.

    `instance` False leaves the last one out: for the quickstart itself and for the processes that it starts. Raises
    ConfigError with every problem at once.
    """
    problems = [f"{name}: no such setting" for name in unknown_names(cls, os.environ)]
    problems += secrets_from_files(PREFIX, secret_fields(cls), os.environ)[1]
    try:
        settings = cls(**gather(cls, instance=instance, **given))
    except ConfigError as error:
        problems += str(error).splitlines()
    else:
        problems += link_problems(_plain(settings.database_url), _plain(settings.redis_url), settings.insecure_links)
    if problems:
        raise ConfigError("\n".join(problems))
    return settings


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def gather(cls: type[EdgeSettings], *, instance: bool = True, **given: Any) -> dict[str, Any]:
    """The same values before anything is checked, as they were written."""
    names = {PREFIX + field.upper(): field for field in cls.fields}
    values = {field: os.environ[name] for name, field in names.items() if name in os.environ}
    values |= secrets_from_files(PREFIX, secret_fields(cls), os.environ)[0]
    values |= {field: value for field, value in given.items() if value is not None}
    folder = Path(values.get("data_dir", cls.fields["data_dir"].default)).expanduser().absolute()
    return (read_instance(folder, cls) if instance else {}) | values


def unknown_names(cls: type[EdgeSettings], environ: Mapping[str, str]) -> list[str]:
    """FASTOCSP_* names of the environment that no setting has."""
    known = {PREFIX + field.upper() for field in cls.fields} | file_names(PREFIX, secret_fields(cls))
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known | BUILD_NAMES)


def secret_fields(cls: type[EdgeSettings]) -> list[str]:
    """Return the settings that may come from a file: those that are never shown."""
    return [name for name, field in cls.fields.items() if field.is_secret]


#: Read by setup.py, not by any process.
BUILD_NAMES = {"FASTOCSP_BUILD"}


def read_instance(folder: Path, cls: type[EdgeSettings]) -> dict[str, Any]:
    """Return the settings that the quickstart of that folder wrote for commands; empty when there is none."""
    try:
        written = json.loads((folder / INSTANCE_FILE).read_text())["settings"]
    except (FileNotFoundError, PermissionError, NotADirectoryError, KeyError, ValueError):
        return {}
    return {field: value for field, value in written.items() if field in cls.fields}


def as_environment(settings: EdgeSettings) -> dict[str, str]:
    """FASTOCSP_* names and texts that `load_settings` reads back as the same settings."""
    values = {field: getattr(settings, field) for field in type(settings).fields}
    return {PREFIX + field.upper(): _text(value) for field, value in values.items() if value is not None}


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return ",".join(f"{name}:{key}{':admin' if admin else ''}" for key, (name, admin) in value.items())
    return str(value)
