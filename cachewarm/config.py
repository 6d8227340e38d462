"""Settings of the write side, over those of the edge."""

import json
import os
from pathlib import Path
from typing import Annotated

from responder.config import INSTANCE_FILE, Duration, EdgeSettings, Size, check_listen, load_settings
from responder.setting_fields import ConfigError, Field, SecretStr


def parse_api_keys(value: object) -> object:
    """Return {key: (name, admin)} from `name:key[:admin],...`. A name may have several keys, with equal flags.

    ValueError for anything that would leave open who holds a key or what the key may do; no message shows a key.
    """
    if not isinstance(value, str):
        return value
    keys: dict[str, tuple[str, bool]] = {}
    flags: dict[str, bool] = {}
    for entry in filter(None, (part.strip() for part in value.split(","))):
        name, _, rest = entry.partition(":")
        key, _, flag = rest.partition(":")
        if not name or len(key) < 16 or flag not in ("", "admin"):
            raise ValueError(f"API key {name!r}: write name:key or name:key:admin, the key at least 16 characters long")
        if key in keys:
            other = keys[key][0]
            what = f"API key {name!r} is listed twice" if other == name else f"{name!r} and {other!r} have one API key"
            raise ValueError(what)
        if flags.setdefault(name, flag == "admin") != (flag == "admin"):
            raise ValueError(f"API key {name!r}: one of its keys has the admin flag and another has not")
        keys[key] = (name, flag == "admin")
    return keys


ApiKeys = Annotated[dict[str, tuple[str, bool]], parse_api_keys]


def parse_uids(value: object) -> object:
    """Return numbers of accounts, out of a comma-separated list."""
    if not isinstance(value, str):
        return value
    return tuple(int(part) for part in value.split(",") if part.strip())


def parse_paths(value: object) -> object:
    """Return absolute paths, out of a comma-separated list."""
    if not isinstance(value, str):
        return value
    return tuple(Path(part.strip()).expanduser().absolute() for part in value.split(",") if part.strip())


Uids = Annotated[tuple[int, ...], parse_uids]
Paths = Annotated[tuple[Path, ...], parse_paths]


def check_passphrase(value: SecretStr | None) -> SecretStr | None:
    """Return the passphrase of the private keys; ValueError when it is too short."""
    if value is not None and len(value.get_secret_value().encode()) < 32:
        raise ValueError("needs at least 32 octets")
    return value


class Settings(EdgeSettings):
    """Settings of the signer, the warmer, the admin listener and the commands."""

    ocsp_response_validity: Duration = Field(
        86400.0,
        ge=60,
        le=864000,
        description="seconds from thisUpdate to nextUpdate; renewed before half of it has passed",
    )
    ocsp_responder_key_dir: Path | None = Field(
        None, description="folder of the delegated responder keys; must be set outside the quickstart"
    )
    ca_key_dir: Path | None = Field(
        None, description="folder of the keys of CAs; by default that of the responder keys, OCSP_RESPONDER_KEY_DIR"
    )
    ca_signer: str = Field(
        "",
        description="Unix socket of the CA signer; default RUN_DIR/ca-signer.sock. off: warmers and commands open the "
        "keys of CAs themselves",
    )
    ca_signer_uids: Uids = Field(
        (), description="numbers of the accounts that may use the CA signer, besides its own and root"
    )
    signer_uids: Uids = Field(
        (), description="numbers of the accounts whose edges may use the signer, besides its own and root"
    )
    ca_token_paths: Paths = Field(
        (), description="files and folders that a token's library needs from within the sandbox of the CA signer"
    )
    ca_signer_metrics_listen: str = Field(
        "",
        check=check_listen,
        description="address and port of the CA signer's own metrics listener, as METRICS_LISTEN; empty for none",
    )
    ocsp_responder_validity: Duration = Field(
        30 * 86400.0, ge=3600, description="seconds a delegated responder certificate is valid"
    )
    ocsp_responder_rotation_grace: Duration = Field(
        7 * 86400.0,
        ge=60,
        description="seconds before its end at which a responder certificate is replaced; at most half its life",
    )
    crl_generation_interval: Duration = Field(
        3600.0, ge=1, description="seconds between two CRLs of an issuer; below CRL_VALIDITY"
    )
    crl_validity: Duration = Field(
        86400.0, ge=60, le=864000, description="seconds from a CRL's thisUpdate to its nextUpdate"
    )
    crl_debounce: Duration = Field(
        5.0, ge=0, le=600, description="seconds a CRL waits after a revocation for more of them"
    )
    crl_delta_interval: Duration = Field(
        600.0, ge=1, description="seconds between two delta CRLs of an issuer that has them; below CRL_DELTA_VALIDITY"
    )
    crl_delta_validity: Duration = Field(
        3600.0, ge=60, le=864000, description="seconds from a delta CRL's thisUpdate to its nextUpdate"
    )
    crl_shrink_limit: float = Field(
        0.5, ge=0, le=1, description="part of a CRL's entries that may leave at once (a hundred always may); 1: all"
    )
    crl_growth_limit: float = Field(
        100.0, ge=0, description="times as many entries as before that a CRL of over 100000 may have; 0: no limit"
    )
    crl_fetch_interval: Duration = Field(
        3600.0, ge=10, le=86400, description="seconds at most between two looks at the source of a mirrored CRL"
    )
    crl_fetch_timeout: Duration = Field(300.0, ge=0.1, le=3600, description="seconds that one fetch may take in all")
    crl_fetch_max_bytes: Size = Field(
        256 << 20, ge=1024, le=900 << 20, description="octets that a mirrored CRL may have"
    )
    ca_cert_path: Path | None = Field(None, description="certificate of the CA that CA_KEY_PATH belongs to")
    ca_key_path: Path | None = Field(None, description="private key of a CA that was made elsewhere")
    config_encryption_key: SecretStr | None = Field(
        None, check=check_passphrase, description="passphrase of the private keys on disk, at least 32 octets"
    )
    api_keys_named: ApiKeys = Field(
        default_factory=dict, hidden=True, description="name:key[:admin],... of the admin listener"
    )
    cert_export_rate_limit_per_actor_hr: int = Field(
        50, ge=0, description="certificates one API key may export an hour"
    )
    audit_chain_verify_interval: Duration = Field(
        21600.0, ge=60, description="seconds between two checks of the audit chain"
    )
    admin_host: str = Field("127.0.0.1", description="address of the admin listener")
    admin_port: int = Field(8443, ge=0, le=65535, description="port of the admin listener")
    admin_tls_cert: Path | None = Field(None, description="certificate chain of the admin listener, PEM")
    admin_tls_key: Path | None = Field(None, description="private key of the admin listener, PEM")
    public_url: str | None = Field(
        None,
        description="http:// address at which clients reach the edges: the base of the URLs that are written into "
        "certificates; the quickstart has its own",
    )
    feed_keep: int = Field(
        100_000, ge=1, description="events of the feed that are kept; an edge further behind takes a whole snapshot"
    )
    feed_trim_interval: Duration = Field(3600.0, ge=1, description="seconds between two trimmings of the feed")
    warm_interval: Duration = Field(
        30.0, ge=1, le=3600, description="seconds at least between two verifying visits of the same certificates"
    )
    warm_batch: int = Field(2000, ge=1, le=100000, description="certificates read, signed and published together")
    sign_processes: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        ge=0,
        le=256,
        description="processes that sign ahead, by default one for each core; 0: the warmer signs by itself",
    )
    warmer_metrics_listen: str = Field(
        "",
        check=check_listen,
        description="address and port of the warmer's own metrics listener, as METRICS_LISTEN; empty for none",
    )
    signer_metrics_listen: str = Field("", check=check_listen, description="the same for the signer")
    signer_queue: int = Field(
        1024, ge=1, description="questions that wait for the ledger in the signer; more are answered tryLater"
    )

    def require_database(self) -> SecretStr:
        """The ledger's URL; ConfigError when none is set."""
        if self.database_url is None:
            raise ConfigError(
                "no ledger: start `fastocsp quickstart`, name its folder with --data-dir, or set FASTOCSP_DATABASE_URL"
            )
        return self.database_url

    def require_keys(self) -> Path:
        """The responder keys' folder; ConfigError when none is set."""
        if self.ocsp_responder_key_dir is None:
            raise ConfigError("FASTOCSP_OCSP_RESPONDER_KEY_DIR must be set: the folder of the responder keys")
        return self.ocsp_responder_key_dir

    @property
    def keys(self) -> Path:
        """Folder of the responder keys."""
        return self.ocsp_responder_key_dir or self.data_dir / "keys"

    @property
    def ca_keys(self) -> Path:
        """Folder of the keys of CAs."""
        return self.ca_key_dir or self.keys

    @property
    def ca_signer_socket(self) -> Path | None:
        """Socket of the CA signer; None when there is none, and keys are opened where they are used."""
        if self.ca_signer == "off":
            return None
        return Path(self.ca_signer).expanduser().absolute() if self.ca_signer else self.run / "ca-signer.sock"

    @property
    def base_url(self) -> str:
        """Base of the public URLs, without a slash at its end."""
        return (self.public_url or f"http://{reachable(self.host)}:{self.port}").rstrip("/")

    def require_public_url(self) -> str:
        """Return the base of the URLs in new certificates, without a slash at its end; ConfigError when unset."""
        if self.public_url is None:
            raise ConfigError(
                "FASTOCSP_PUBLIC_URL is not set: certificates name the address at which clients ask for their status,"
                " and keep it until they expire; set it, or pass --public-url http://HOST"
            )
        return self.base_url

    @property
    def passphrase(self) -> bytes | None:
        """Passphrase of the private keys, or None."""
        return self.config_encryption_key.get_secret_value().encode() if self.config_encryption_key else None


def owner_url(data_dir: Path | None) -> SecretStr:
    """Return the URL of the ledger's owner: FASTOCSP_DATABASE_URL, else what the quickstart of that folder wrote.

    ConfigError when there is neither.
    """
    settings = load_settings(Settings, data_dir=data_dir)
    if "FASTOCSP_DATABASE_URL" not in os.environ:
        try:
            written = json.loads((settings.data_dir / INSTANCE_FILE).read_text())["owner_database_url"]
        except (OSError, KeyError, ValueError):
            written = None
        if written is not None:
            return SecretStr(written)
    if settings.database_url is None:
        raise ConfigError("FASTOCSP_DATABASE_URL is not set, and no quickstart wrote one into the data folder")
    return settings.database_url


def reachable(host: str) -> str:
    """The host part of a URL that reaches a listener; one that takes any address is reached on loopback."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{address}]" if ":" in address else address
