"""CRLs over HTTP: from memory, with the conditions of RFC 9110 13 and no promise past nextUpdate."""

import hashlib
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple

import structlog

from responder.domain.catalog import Catalog, CRLEntry

log = structlog.get_logger("crl")
MAX_AGE_S = 3600
CRL_TYPE = "application/pkix-crl"


class ShelvedCRL(NamedTuple):
    """One CRL in memory."""

    der: bytes
    etag: str
    entry: CRLEntry


class CRLShelf:
    """The CRLs that the catalog names: issuer_id, issuer_id/delta, issuer_id/0 .."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._crls: dict[str, ShelvedCRL] = {}

    def take(self, catalog: Catalog) -> None:
        """Load what is new; keep the old one while a file cannot be read."""
        kept = {}
        for name, entry in catalog.crls.items():
            crl = self._crls.get(name)
            if crl is None or crl.entry != entry:
                crl = self._load(entry) or crl
            if crl is not None:
                kept[name] = crl
        self._crls = kept

    def get(self, name: str) -> ShelvedCRL | None:
        """The CRL of that name."""
        return self._crls.get(name)

    def _load(self, entry: CRLEntry) -> ShelvedCRL | None:
        try:
            der = (self._folder / entry.file).read_bytes()
        except OSError as error:
            log.error("CRL file unreadable", file=entry.file, error=str(error))
            return None
        return ShelvedCRL(der, f'W/"{hashlib.sha256(der).hexdigest()[:32]}"', entry)


def crl_fields(crl: ShelvedCRL, now: int) -> dict[str, str]:
    """What a 200 and its 304 have in common."""
    max_age = max(0, min(MAX_AGE_S, crl.entry.next_update - now))
    return {
        "ETag": crl.etag,
        "Cache-Control": f"public, max-age={max_age}, must-revalidate",
        "Last-Modified": http_date(crl.entry.this_update),
        "Expires": http_date(crl.entry.next_update),
        "Date": http_date(now),
    }


def is_unchanged(crl: ShelvedCRL, if_none_match: str | None, if_modified_since: str | None) -> bool:
    """RFC 9110 13.2.2; If-None-Match, compared weakly, silences If-Modified-Since."""
    if if_none_match is not None:
        tags = [tag.strip() for tag in if_none_match.split(",")]
        return "*" in tags or any(tag.removeprefix("W/") == crl.etag.removeprefix("W/") for tag in tags)
    if if_modified_since is None:
        return False
    try:
        since = parsedate_to_datetime(if_modified_since)
    except ValueError:
        return False
    return since.replace(tzinfo=since.tzinfo or UTC).timestamp() >= crl.entry.this_update


def http_date(epoch_s: int) -> str:
    """IMF-fixdate, RFC 9110 5.6.7."""
    return format_datetime(datetime.fromtimestamp(epoch_s, UTC), usegmt=True)
