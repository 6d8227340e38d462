"""What an index.txt says, taken over into the ledger: the inventory and the revocations.

Everything is judged before anything is written. Up to ATOMIC lines go in one transaction: certificates first, as they
lock nobody out, then revocations, for which other revokers wait. A larger file goes in a transaction per chunk,
revocations before certificates: after a crash a certificate may be missing (answered as never issued), but none is
good that the file calls revoked. Repeating it finishes the work and changes nothing that is done.

index.txt does not know notBefore: the CA's own notBefore is written, or the certificate's end where that is earlier.
Nothing is un-revoked here: a certificate that the file calls valid and the ledger revoked is reported.
"""

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from cachewarm.ca.certificate import moment
from cachewarm.ca.odd_names import load_certificate
from cachewarm.importer.openssl_index import Index, IndexEntry, IndexStatus, Problem
from cachewarm.ledger import inventory, issuers, revocations
from cachewarm.ledger.connect import Connection, changing
from cachewarm.ledger.revoked_among import revoked_among
from responder.domain.status import CRLReason

#: Lines of one transaction at most: some seconds, below the time that other revokers wait for the lock.
ATOMIC = 100_000
#: A revocation time may be so many seconds ahead: clocks differ. Beyond that a line is a problem.
AHEAD_S = 86400
#: The ledger takes times that are a little less than a minute ahead; later ones are moved back to that.
LEDGER_AHEAD_S = 50
#: The ledger's invalidity dates are after 1970-01-01 and before 9999-12-31.
DATES = (1, 253402214399)


@dataclass(frozen=True)
class StillRevoked:
    """Valid in the file, revoked in the ledger."""

    serial: bytes
    reason: CRLReason


@dataclass(kw_only=True)
class ImportResult:
    """What the file had, and what of it was new. `dates_dropped`: invalidity dates out of range that were left out."""

    good: int = 0
    revoked: int = 0
    expired: int = 0
    dates_dropped: int = 0
    new_certificates: int = 0
    changed_revocations: int = 0
    still_revoked: list[StillRevoked] = field(default_factory=list)


def problems_of(index: Index, now: int) -> list[Problem]:
    """What cannot be read, and what the ledger would refuse, by line."""
    found = [*index.problems, *(problem for entry in index.entries for problem in _unfit(entry, now))]
    return sorted(found, key=lambda problem: problem.line)


def _unfit(entry: IndexEntry, now: int) -> Iterator[Problem]:
    if entry.revoked_at is not None and not 0 <= entry.revoked_at <= now + AHEAD_S:
        when = moment(entry.revoked_at).isoformat()
        where = "more than a day in the future" if entry.revoked_at > now else "before 1970"
        yield Problem(entry.line, f"the revocation date {when} is {where}")


async def import_entries(
    connection: Connection,
    issuer: issuers.Issuer,
    entries: Sequence[IndexEntry],
    *,
    actor: str,
    progress: Callable[[int], None],
) -> ImportResult:
    """Write it all; `progress` hears of rows, one for a certificate and one for a revocation."""
    counts = {status: sum(entry.status is status for entry in entries) for status in IndexStatus}
    done = ImportResult(
        good=counts[IndexStatus.GOOD], revoked=counts[IndexStatus.REVOKED], expired=counts[IndexStatus.EXPIRED]
    )
    done.dates_dropped = sum(entry.invalidity_date is not None and _date(entry) is None for entry in entries)
    earliest = load_certificate(issuer.cert_der).not_valid_before_utc
    certificates = [_certificate(entry, earliest) for entry in entries]
    latest = int(time.time()) + LEDGER_AHEAD_S
    revoked = [_revocation(entry, latest) for entry in entries if entry.status is IndexStatus.REVOKED]
    add = partial(inventory.add_certificates, connection, issuer.issuer_id, certificates, progress=progress)
    revoke = partial(
        revocations.bulk_revoke,
        connection,
        issuer.issuer_id,
        revoked,
        actor=actor,
        allow_unknown=True,
        progress=progress,
    )
    if len(entries) <= ATOMIC:
        with changing():
            async with connection.transaction():
                done.new_certificates = await add()
                done.changed_revocations = (await revoke()).changed
    else:
        done.changed_revocations = (await revoke()).changed
        done.new_certificates = await add()
    await revocations.nudge(connection)
    done.still_revoked = await _still_revoked(connection, issuer.issuer_id, entries)
    return done


def _certificate(entry: IndexEntry, earliest: datetime.datetime) -> inventory.NewCertificate:
    ends = moment(entry.not_after)
    return inventory.NewCertificate(
        serial_number=entry.serial, not_before=min(earliest, ends), not_after=ends, subject=entry.subject
    )


def _revocation(entry: IndexEntry, latest: int) -> revocations.Revocation:
    date = _date(entry)
    since = None if date is None else moment(date)
    at = None if entry.revoked_at is None else moment(min(entry.revoked_at, latest))
    return revocations.Revocation(entry.serial, entry.reason or CRLReason.unspecified, at, since)


def _date(entry: IndexEntry) -> int | None:
    """Return the invalidity date; None when there is none or the ledger cannot hold it. It is informative only."""
    date = entry.invalidity_date
    return date if date is not None and DATES[0] <= date <= DATES[1] else None


async def _still_revoked(connection: Connection, issuer_id: str, entries: Sequence[IndexEntry]) -> list[StillRevoked]:
    valid = [entry.serial for entry in entries if entry.status is IndexStatus.GOOD]
    found = await revoked_among(connection, issuer_id, valid)
    return [StillRevoked(serial, CRLReason(reason)) for serial, reason in found]
