"""Take renewed files without a restart: the TLS pair of the admin listener and the API keys.

All or nothing: everything is read and checked before anything changes, and on any error the old set stays. Connections
under way keep what they began with. SIGHUP and `POST /api/v1/reload` are the two ways in.
"""

import os
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import structlog
from cryptography import x509

from cachewarm.config import Settings, parse_api_keys
from responder.secret_files import SUFFIX, secrets_from_files
from responder.setting_fields import PREFIX

log = structlog.get_logger("admin")
_KEYS = "api_keys_named"
#: Without one OpenSSL asks for the passphrase of an encrypted key on the terminal, and the listener waits for it.
_NO_PASSWORD = ""


class ReloadError(StrEnum):
    """Why a set of files is not taken."""

    UNREADABLE = "unreadable"
    PARSE = "parse"
    MISMATCH = "mismatch"
    EXPIRED = "expired"
    EMPTY = "empty"


class ReloadRefused(Exception):
    """A set of files that is not taken; `kind` is for programs, the text for people."""

    def __init__(self, kind: ReloadError, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Reloaded(NamedTuple):
    """The set in force after a reload: notAfter of the listener's certificate, and the number of API keys."""

    certificate_not_after: datetime
    api_keys: int


class Reloader:
    """The files of one admin process; `take` puts settings in force, `context` is the listener's TLS."""

    def __init__(
        self,
        settings: Settings,
        context: ssl.SSLContext,
        take: Callable[[Settings], None],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._settings, self._context, self._take, self._environ = settings, context, take, environ
        #: Since the start: how many were taken, and how many refused.
        self.done, self.refused = 0, 0

    def reload(self) -> Reloaded:
        """Read everything again and put it in force. ReloadRefused: nothing has changed."""
        try:
            not_after = self._check_pair()
            keys = self._read_keys()
            # checked a moment before in a context of its own: only a file that changes in between can fail here
            self._context.load_cert_chain(*self._pair(), password=_NO_PASSWORD)
        except ReloadRefused as error:
            self.refused += 1
            log.error("reload refused", kind=error.kind.value, error=str(error))
            raise
        except (ssl.SSLError, OSError) as error:
            self.refused += 1
            log.error("reload refused", kind=ReloadError.UNREADABLE.value, error=str(error))
            raise ReloadRefused(ReloadError.UNREADABLE, str(error)) from error
        self._settings = self._settings.replace(**{_KEYS: keys})
        self._take(self._settings)
        self.done += 1
        log.info("reloaded", certificate_not_after=not_after.isoformat(), api_keys=len(keys))
        return Reloaded(not_after, len(keys))

    def _pair(self) -> tuple[Path, Path]:
        cert, key = self._settings.admin_tls_cert, self._settings.admin_tls_key
        if cert is None or key is None:
            raise ReloadRefused(ReloadError.EMPTY, "the listener has no TLS pair")
        return cert, key

    def _check_pair(self) -> datetime:
        cert, key = self._pair()
        try:
            for path in (cert, key):
                _require_file(path)
            content = cert.read_bytes()
            key.read_bytes()
        except OSError as error:
            raise ReloadRefused(ReloadError.UNREADABLE, f"{error.filename}: {error.strerror}") from error
        try:
            chain = x509.load_pem_x509_certificates(content)
        except ValueError as error:
            kind = ReloadError.PARSE if b"BEGIN" in content else ReloadError.EMPTY
            raise ReloadRefused(kind, f"{cert} has no certificate in PEM form") from error
        not_after = chain[0].not_valid_after_utc
        if not_after <= datetime.now(UTC):
            raise ReloadRefused(ReloadError.EXPIRED, f"the certificate of {cert} expired at {not_after.isoformat()}")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_NO_PASSWORD)
        except ssl.SSLError as error:
            kind = ReloadError.MISMATCH if error.reason == "KEY_VALUES_MISMATCH" else ReloadError.PARSE
            raise ReloadRefused(kind, f"{cert} and {key} are no pair: {error.reason}") from error
        return not_after

    def _read_keys(self) -> dict[str, tuple[str, bool]]:
        """Those of the file that the environment names; without a file they stay, as an environment cannot change."""
        named = self._environ.get(PREFIX + _KEYS.upper() + SUFFIX)
        if named:
            _require_file(Path(named))
        found, problems = secrets_from_files(PREFIX, [_KEYS], self._environ)
        if problems:
            raise ReloadRefused(ReloadError.UNREADABLE, problems[0])
        if _KEYS not in found:
            return dict(self._settings.api_keys_named)
        try:
            keys = parse_api_keys(found[_KEYS])
        except ValueError as error:
            raise ReloadRefused(ReloadError.PARSE, str(error)) from error
        if not isinstance(keys, dict) or not keys:
            raise ReloadRefused(ReloadError.EMPTY, "the file of the API keys has none")
        return keys


def _require_file(path: Path) -> None:
    """Refuse what is not a regular file: reading a pipe would stop the listener until somebody writes into it."""
    if path.exists() and not path.is_file():
        raise ReloadRefused(ReloadError.UNREADABLE, f"{path}: not a regular file")
