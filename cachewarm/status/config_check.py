"""Check settings beyond their form: files that are not there, halves of pairs, times that do not fit.

Works on values as they were written as well as on checked settings, so that every problem is found in one run.
"""

import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cachewarm.ca.authority import Authority, check_ca
from cachewarm.ca.certificate import read_certificate
from cachewarm.config import Settings
from cachewarm.errors import Refused
from cachewarm.keys.key_file import read_secret
from cachewarm.keys.soft_key import SoftKey
from responder import sandbox
from responder.setting_fields import PREFIX, SecretStr

HIDDEN = "***"
#: Files that must be there when they are named; of these two are private.
_FILES = ("ca_cert_path", "ca_key_path", "admin_tls_cert", "admin_tls_key")
_PRIVATE = ("ca_key_path", "admin_tls_key")
_PAIRS = (("ca_cert_path", "ca_key_path"), ("admin_tls_cert", "admin_tls_key"))
#: The first must be below the second.
_BELOW = (
    ("crl_generation_interval", "crl_validity"),
    ("crl_delta_interval", "crl_delta_validity"),
    ("ocsp_responder_rotation_grace", "ocsp_responder_validity"),
)
_SCHEMES = {
    "database_url": ("postgresql://", "postgres://"),
    "redis_url": ("redis://", "rediss://", "unix://"),
    "public_url": ("http://",),
}
_FOLDERS = ("ocsp_responder_key_dir", "ca_key_dir", "run_dir", "data_dir")


def written_problems(values: Mapping[str, Any]) -> list[str]:
    """Of URLs, files and folders, from values as they were written; a URL, which may hold a password, is not shown."""
    return [*_urls(values), *_files(values), *_pairs(values), *_folders(values)]


def relation_problems(settings: Settings) -> list[str]:
    """Of settings that must fit each other, or the kernel."""
    lacking = sandbox.problem(settings.sandbox)
    found = [] if lacking is None else [lacking]
    found += [*_tls_pair(settings), *_ca_pair(settings)]
    return found + [
        f"{_name(small)} ({getattr(settings, small):g} s) must be below {_name(large)} ({getattr(settings, large):g} s)"
        for small, large in _BELOW
        if getattr(settings, small) >= getattr(settings, large)
    ]


def in_force(settings: Settings) -> dict[str, Any]:
    """Every setting by its environment name, secrets as ***."""
    return {_name(field): _shown(field, getattr(settings, field)) for field in type(settings).fields}


def _urls(values: Mapping[str, Any]) -> Iterator[str]:
    for field, schemes in _SCHEMES.items():
        url = values.get(field)
        if url and not str(url).startswith(schemes):
            yield f"{_name(field)}: must begin with {' or '.join(schemes)}"


def _files(values: Mapping[str, Any]) -> Iterator[str]:
    for field in _FILES:
        path = values.get(field)
        if not path:
            continue
        if not Path(path).is_file():
            yield f"{_name(field)}: there is no file {path}"
        elif not os.access(path, os.R_OK):
            yield f"{_name(field)}: {path} cannot be read by this account"
        elif field in _PRIVATE:
            yield from _private(field, Path(path))


def _private(field: str, path: Path) -> Iterator[str]:
    try:
        read_secret(path)
    except (Refused, OSError) as error:
        yield f"{_name(field)}: {error}"


def _pairs(values: Mapping[str, Any]) -> Iterator[str]:
    for first, second in _PAIRS:
        if bool(values.get(first)) != bool(values.get(second)):
            missing = second if values.get(first) else first
            yield f"{_name(missing)} is missing: {_name(first)} and {_name(second)} come together"


def _tls_pair(settings: Settings) -> Iterator[str]:
    if settings.admin_tls_cert is None or settings.admin_tls_key is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.admin_tls_cert, settings.admin_tls_key)
    except (ssl.SSLError, OSError) as error:
        why = "the key is another one's" if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH" else str(error)
        yield f"{_name('admin_tls_cert')} and {_name('admin_tls_key')} are no pair: {why}"


def _ca_pair(settings: Settings) -> Iterator[str]:
    """A pair that does not match would be found when the CA is added, or never."""
    cert, key = settings.ca_cert_path, settings.ca_key_path
    if cert is None or key is None or not (cert.is_file() and key.is_file()):
        return  # _files and _pairs report these
    try:
        certificate = read_certificate(cert.read_bytes(), name=str(cert))
        check_ca(certificate)
        Authority(certificate, SoftKey.load(key, settings.passphrase))
    except (Refused, OSError, ValueError) as error:
        yield f"{_name('ca_cert_path')} and {_name('ca_key_path')}: {error}"


def _folders(values: Mapping[str, Any]) -> Iterator[str]:
    for field in _FOLDERS:
        path = values.get(field)
        if not path:
            continue
        there = Path(path).absolute()
        while not there.exists():
            there = there.parent
        if not there.is_dir():
            yield f"{_name(field)}: {there} is not a folder"
        elif not os.access(there, os.W_OK | os.X_OK):
            yield f"{_name(field)}: {there} cannot be written by this account"


def _shown(field: str, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, SecretStr):
        return HIDDEN
    if field == "api_keys_named":
        return ",".join(f"{name}:{HIDDEN}{':admin' if admin else ''}" for name, admin in value.values())
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, Path) else value


def _name(field: str) -> str:
    return PREFIX + field.upper()
