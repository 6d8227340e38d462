"""CRLs on this host: fetched from the ledger when their number changes, verified, and laid beside the catalog.

One file a CRL and number, written under another name and renamed, so that a worker that still serves the old one is not
cut off; beside it, where that saves something, the same gzipped. What does not parse or is not signed by its issuer is
refused and the one before stays, as it stays when its row is gone: a runbook may delete rows, and the next tick of the
warmer brings another. A lower number, which a restored ledger has, waits until the one before has ended: numbers only
grow (RFC 5280 5.2.3), whatever happened to the ledger, unless an operator accepted that its CA's numbers began again.
Times are those in the CRL, not those of its row. CRLs of a CA whose keyUsage lacks cRLSign are withdrawn: verifiers
reject them (RFC 5280 6.3.3 (f)).
"""

import asyncio
import gzip
import hashlib
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import structlog

from responder.domain.catalog import CRLEntry
from responder.domain.certificate import may_sign_crls
from responder.domain.crl import read_crl_facts
from responder.domain.issuer import Issuer
from responder.feed.poll import Connection
from responder.files import write_file
from responder.log_limits import ChangeLog

log = structlog.get_logger("crl")
#: Gzip is kept when it is below this share of the whole; the fastest level takes half a second for 40 MB.
WORTH_IT, GZIP_LEVEL = 0.9, 1

_SHOWN = "crl_number::text as number, crl_der is not null as whole, xmin::text as version"
_CRLS = f"""select c.*, coalesce(m.renumberings, 0) as renumberings from (
    select issuer_id, null as part, {_SHOWN} from crl_cache
    union all select issuer_id, part, {_SHOWN} from crl_parts) c
  left join crl_mirrors m using (issuer_id)
 where $1::text[] is null or c.issuer_id = any($1)"""  # noqa: S608 - our own constant


class CRLFiles:
    """The CRL files of one folder, and what was refused."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        #: By name: the version of the row that was read last, and the file that was served after it.
        self._seen: dict[str, tuple[str, str | None]] = {}
        self._said: dict[str, str] = {}
        self._unwritten, self._unsigned = ChangeLog(), ChangeLog()
        #: Ids of issuers whose CRLs must be read again though nothing changed: not written, or numbered too low.
        self.unsettled: set[str] = set()

    async def read(
        self,
        connection: Connection,
        issuers: Mapping[str, Issuer],
        former: Mapping[str, CRLEntry],
        only: Collection[str] | None = None,
    ) -> dict[str, CRLEntry]:
        """Complete CRLs by issuer_id, deltas and shards by issuer_id/delta, issuer_id/0 ..; as their paths end.

        `only`: the issuers, by id, that are read; the entries of the others are the former ones.
        """
        if only is not None:
            again = set(only)
            kept = {name: each for name, each in former.items() if name.partition("/")[0] not in again}
            return kept | await self._read(
                connection, issuers, {name: each for name, each in former.items() if name not in kept}, list(again)
            )
        return await self._read(connection, issuers, former, None)

    async def _read(
        self,
        connection: Connection,
        issuers: Mapping[str, Issuer],
        former: Mapping[str, CRLEntry],
        only: list[str] | None,
    ) -> dict[str, CRLEntry]:
        self.unsettled = set() if only is None else self.unsettled - set(only)
        entries: dict[str, CRLEntry] = {}
        complete = set()
        for row in await connection.fetch(_CRLS, only):
            issuer = issuers.get(row["issuer_id"])
            name = _name(row)
            if issuer is None or self._is_withdrawn(issuer):
                continue
            complete |= {name} if row["part"] is None else set()
            before = former.get(name)
            entry = before
            if before is not None and self._falls_behind(name, before, row):
                entries[name] = before
                self.unsettled.add(issuer.issuer_id)
                continue
            if row["whole"] and not self._is_current(name, before, row):
                entry = await self._take(connection, issuer, row, before)
            if entry is not None:
                entries[name] = entry
        return entries | self._without_row(issuers, former, complete)

    def _falls_behind(self, name: str, before: CRLEntry, row: Any) -> bool:
        """The number would go back while the CRL that is here still holds, and no operator accepted that."""
        if int(row["number"]) >= before.number or before.next_update <= time.time():
            return False
        if row["renumberings"] > before.renumberings:
            return False
        if self._said.get(name) != row["version"]:
            self._said[name] = row["version"]
            log.error("CRL refused: its number is below the one that is served", crl=name, number=row["number"])
        return True

    def _is_withdrawn(self, issuer: Issuer) -> bool:
        """Verifiers would reject every CRL of that CA; logged once."""
        if may_sign_crls(issuer.cert_der):
            self._unsigned.well(issuer.issuer_id)
            return False
        why = "the keyUsage of the CA's certificate has no cRLSign"
        self._unsigned.warn("CRLs withdrawn", issuer.issuer_id, why, issuer_id=issuer.issuer_id)
        return True

    def _is_current(self, name: str, before: CRLEntry | None, row: Any) -> bool:
        """Return whether `before` is what this version of the row gave. A reading that failed later gave nothing."""
        if before is None or self._seen.get(name) != (row["version"], before.file):
            return False
        return (self._folder / before.file).exists()

    def _without_row(
        self, issuers: Mapping[str, Issuer], former: Mapping[str, CRLEntry], complete: set[str]
    ) -> dict[str, CRLEntry]:
        """CRLs of issuers that publish and whose complete CRL somebody deleted: they are made again in a moment."""
        return {
            name: entry
            for name, entry in former.items()
            if (owner := name.partition("/")[0]) not in complete
            and owner in issuers
            and issuers[owner].publishes_crl
            and may_sign_crls(issuers[owner].cert_der)
        }

    async def _take(self, connection: Connection, issuer: Issuer, row: Any, before: CRLEntry | None) -> CRLEntry | None:
        """Fetch one CRL to disk, once, and return it, or `before` where it is refused.

        When the file cannot be written, the next reading tries again.
        """
        name = _name(row)
        try:
            entry = await self._fetch(connection, issuer, name, row["part"], row["number"])
            entry = entry and entry._replace(renumberings=row["renumberings"])
        except OSError as error:
            self.unsettled.add(issuer.issuer_id)
            self._unwritten.warn("CRL not written", name, str(error), crl=name, number=row["number"])
            return before
        self._unwritten.well(name)
        entry = entry or before
        self._seen[name] = row["version"], entry and entry.file
        return entry

    async def _fetch(
        self, connection: Connection, issuer: Issuer, name: str, part: str | None, number: str
    ) -> CRLEntry | None:
        table, only = ("crl_cache", "$3::text is null") if part is None else ("crl_parts", "part = $3")
        der = await connection.fetchval(
            f"select crl_der from {table} where issuer_id = $1 and crl_number = $2::text::numeric and {only}",  # noqa: S608
            issuer.issuer_id,
            number,
            part,
        )
        if der is None:
            return None  # replaced a moment ago: the next reading has the new one
        return await asyncio.to_thread(self._keep, der, issuer, name, int(number))

    def _keep(self, der: bytes, issuer: Issuer, name: str, number: int) -> CRLEntry | None:
        """To disk, unless a client could not use it."""
        try:
            facts = read_crl_facts(der, issuer.cert_der)
        except ValueError as error:
            log.error("CRL refused: it does not parse", crl=name, number=number, error=str(error))
            return None
        if not facts.is_signed or facts.next_update is None:
            why = "no nextUpdate" if facts.is_signed else "not signed by its issuer"
            log.error(f"CRL refused: {why}", crl=name, number=number)
            return None
        digest = hashlib.sha256(der).hexdigest()
        stem = f"{file_stem(name)}-{number}"
        path = self._folder / f"{stem}-{digest[:16]}.crl"
        packed = gzip.compress(der, GZIP_LEVEL, mtime=0)
        worth = len(packed) < WORTH_IT * len(der)
        if worth:
            write_file(path.with_suffix(".crl.gz"), packed)
        write_file(path, der)
        times = facts.this_update, facts.next_update
        return CRLEntry(number, *times, path.name, digest, len(der), len(packed) if worth else 0)


def _name(row: Any) -> str:
    """As its path ends."""
    return str(row["issuer_id"]) if row["part"] is None else f"{row['issuer_id']}/{row['part']}"


def forget_files(folder: Path, crls: Mapping[str, CRLEntry]) -> None:
    """Remove what the catalog does not name, but for the last number before."""
    newest = {file_stem(name): entry for name, entry in crls.items()}
    for path in (*folder.glob("*.crl"), *folder.glob("*.crl.gz")):
        name, _, rest = path.name.rpartition("-")[0].rpartition("-")
        entry = newest.get(name)
        if rest.isdigit() and (entry is None or not entry.number - 1 <= int(rest) <= entry.number):
            path.unlink(missing_ok=True)


def file_stem(name: str) -> str:
    """A catalog's name of a CRL as the beginning of a file name; `@` is in no issuer_id."""
    return name.replace("/", "@")
