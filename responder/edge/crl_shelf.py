"""CRLs over HTTP: from memory, with the conditions of RFC 9110 13 and no promise past nextUpdate.

The files are mapped, not read: all workers of a host share one copy, whatever its size.
"""

import os
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple

import structlog

from _fastocsp.http.not_modified import CRLTags
from _fastocsp.shared.file_map import FileMap
from responder.domain.catalog import Catalog, CRLEntry

log = structlog.get_logger("crl")
CRL_TYPE = "application/pkix-crl"


class ShelvedCRL(NamedTuple):
    """One CRL in memory; `packed` is the same gzipped, None where that is not worth it.

    `max_age`: seconds that caches may keep it at most.
    """

    der: memoryview
    packed: memoryview | None
    etag: str
    entry: CRLEntry
    max_age: int


class CRLShelf:
    """The CRLs that the catalog names: issuer_id, issuer_id/delta, issuer_id/0 .."""

    def __init__(self, folder: Path, max_age: int) -> None:
        self._folder, self._max_age = folder, max_age
        self._crls: dict[str, ShelvedCRL] = {}

    def take(self, catalog: Catalog) -> None:
        """Map what is new; keep the old one while a file cannot be read."""
        kept = {}
        for name, entry in catalog.crls.items():
            crl = self._crls.get(name)
            if crl is None or crl.entry != entry:
                crl = self._load(entry) or crl
            if crl is not None:
                kept[name] = crl
        for alias, issuer_id in catalog.aliases.items():
            for name in [name for name in kept if name.partition("/")[0] == issuer_id]:
                kept[alias + name.removeprefix(issuer_id)] = kept[name]
        self._crls = kept

    def tags(self) -> CRLTags:
        """Return the tags of all CRLs, for the 304s of the hot lane."""
        return CRLTags(
            (
                name.encode(),
                crl.etag.removeprefix("W/").encode(),
                _lines(constant_fields(crl)),
                crl.entry.this_update,
                crl.entry.next_update,
                crl.max_age,
            )
            for name, crl in self._crls.items()
        )

    def get(self, name: str) -> ShelvedCRL | None:
        """The CRL of that name."""
        return self._crls.get(name)

    def _load(self, entry: CRLEntry) -> ShelvedCRL | None:
        path = self._folder / entry.file
        try:
            der = _mapped(path, entry.octets)
            packed = _mapped(path.with_suffix(".crl.gz"), entry.gzip_octets) if entry.gzip_octets else None
        except (OSError, ValueError) as error:
            log.error("CRL file unreadable", file=entry.file, error=str(error))
            return None
        return ShelvedCRL(der, packed, f'W/"{entry.sha256[:32]}"', entry, self._max_age)


def _mapped(path: Path, octets: int) -> memoryview:
    """The file, which is replaced by renaming and never changed; ValueError when it is not of that size."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size != octets:
            raise ValueError(f"{size} bytes instead of {octets}")
        return memoryview(FileMap(file.fileno(), size))


def crl_fields(crl: ShelvedCRL, now: int) -> dict[str, str]:
    """Return the fields that a 200, a 206 and a 304 have in common."""
    max_age = max(0, min(crl.max_age, crl.entry.next_update - now))
    control = {"Cache-Control": f"public, max-age={max_age}, must-revalidate"}
    return control | constant_fields(crl) | {"Date": http_date(now)}


def constant_fields(crl: ShelvedCRL) -> dict[str, str]:
    """Those that say the same as long as this CRL is served."""
    fields = {
        "ETag": crl.etag,
        "Last-Modified": http_date(crl.entry.this_update),
        "Expires": http_date(crl.entry.next_update),
        "Accept-Ranges": "bytes",
    }
    return fields | {"Vary": "Accept-Encoding"} if crl.packed is not None else fields


def _lines(fields: dict[str, str]) -> bytes:
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in fields.items())


def is_unchanged(crl: ShelvedCRL, if_none_match: str | None, if_modified_since: str | None) -> bool:
    """RFC 9110 13.2.2; If-None-Match, compared weakly, silences If-Modified-Since."""
    if if_none_match is not None:
        tags = [tag.strip() for tag in if_none_match.split(",")]
        return "*" in tags or any(tag.removeprefix("W/") == crl.etag.removeprefix("W/") for tag in tags)
    since = parse_date(if_modified_since)
    return since is not None and since >= crl.entry.this_update


def parse_date(text: str | None) -> float | None:
    """Epoch seconds of an HTTP date, None for anything else."""
    if text is None:
        return None
    try:
        parsed = parsedate_to_datetime(text)
        return parsed.replace(tzinfo=parsed.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def http_date(epoch_s: int) -> str:
    """IMF-fixdate, RFC 9110 5.6.7."""
    return format_datetime(datetime.fromtimestamp(epoch_s, UTC), usegmt=True)
