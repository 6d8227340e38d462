"""Import an index.txt into the ledger: the inventory and the revocations.

The file is read block by block into a temporary table, and everything is judged there before anything is written.
Up to ATOMIC lines go in one transaction: certificates first, as they block no other writer, then revocations, for which
other revokers wait. A larger file goes in a transaction per page, revocations before certificates: after a crash a
certificate may be missing (answered as never issued), but none is good that the file calls revoked. Repeating it
finishes the work and changes nothing that is done.

index.txt does not know notBefore: the CA's own notBefore is written, or the certificate's end where that is earlier.
Nothing is un-revoked here: a certificate that the file calls valid and the ledger revoked is reported.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from _fastocsp.crl.index_lines import IndexReader
from cachewarm.ca.certificate import moment
from cachewarm.ca.odd_names import load_certificate
from cachewarm.errors import Refused
from cachewarm.importer.openssl_index import LONGEST_LINE, IndexStatus, Problem, iter_index
from cachewarm.ledger import import_lines, issuers, revocations
from cachewarm.ledger.connect import Connection, changing
from cachewarm.ledger.import_lines import ImportLine, UnfitLine
from responder.domain.serial import serial_hex
from responder.domain.status import CRLReason

#: Lines of one transaction at most: some seconds, below the time that other revokers wait for the lock.
ATOMIC = 100_000
#: A revocation time may be so many seconds ahead: clocks differ. Beyond that a line is a problem.
AHEAD_S = 86400
#: The ledger takes times that are a little less than a minute ahead; later ones are moved back to that.
LEDGER_AHEAD_S = 50
#: The ledger's invalidity dates are after 1970-01-01 and before 9999-12-31.
DATES = (1, 253402214399)
#: Problems that are kept to be shown; the others are counted.
SHOWN = 50


@dataclass(frozen=True)
class StillRevoked:
    """Valid in the file, revoked in the ledger."""

    serial: bytes
    reason: CRLReason


@dataclass(kw_only=True)
class ImportResult:
    """Counts of the file, and of what was new. `dates_dropped`: invalidity dates out of range that were left out."""

    good: int = 0
    revoked: int = 0
    expired: int = 0
    dates_dropped: int = 0
    new_certificates: int = 0
    changed_revocations: int = 0
    still_revoked: list[StillRevoked] = field(default_factory=list)


class UnfitIndex(Refused):
    """The lines that cannot be imported: how many, and the first of them. Nothing was written."""

    def __init__(self, count: int, problems: Sequence[Problem]) -> None:
        super().__init__(f"{count} lines cannot be imported: nothing was")
        self.count, self.problems = count, problems


@dataclass(frozen=True)
class StagedIndex:
    """The lines of a file, all of them fit: how many of each status, and how many invalidity dates are left out."""

    counts: Counter[IndexStatus]
    dates_dropped: int

    @property
    def rows(self) -> int:
        """Rows that an import writes at most: one per certificate and one per revocation."""
        return self.counts.total() + self.counts[IndexStatus.REVOKED]


async def stage(connection: Connection, blocks: Iterable[bytes], *, progress: Callable[[int], None]) -> StagedIndex:
    """Read the file into the session's temporary table and judge all its lines; UnfitIndex when one is unfit.

    `blocks` are the bytes of the file, cut anywhere. `progress` is called with numbers of lines.
    """
    reader = _Reader(int(time.time()) + AHEAD_S, progress)
    is_unique = await import_lines.copy_lines(connection, reader.rows(blocks))
    if reader.problem_count or reader.times_out_of_range or not is_unique:
        count, unfit = await import_lines.unfit_lines(connection, reader.latest, SHOWN)
        problems = sorted([*reader.problems, *(_problem(each, reader.latest) for each in unfit)])[:SHOWN]
        raise UnfitIndex(reader.problem_count + count, problems)
    return StagedIndex(reader.counts, reader.dates_dropped)


class _Reader:
    """Counts what passes on its way into the table."""

    def __init__(self, latest: int, progress: Callable[[int], None]) -> None:
        self.latest, self._progress = latest, progress
        self.counts: Counter[IndexStatus] = Counter()
        self.problems: list[Problem] = []
        self.problem_count = self.times_out_of_range = self.dates_dropped = 0

    def rows(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the rows of the lines that could be read."""
        reader, lines = IndexReader(self.latest, LONGEST_LINE), 0
        for block in chain(blocks, (None,)):
            rows, odd = reader.feed(block or b"", block is None)
            yield rows + b"".join(self._others(odd))
            self._progress(reader.lines - lines)
            lines = reader.lines
        usual = {
            IndexStatus.GOOD: reader.good,
            IndexStatus.REVOKED: reader.revoked,
            IndexStatus.EXPIRED: reader.expired,
        }
        self.counts.update(usual)
        self.times_out_of_range += reader.times_out_of_range

    def _others(self, lines: list[tuple[int, bytes]]) -> Iterator[bytes]:
        """Yield the rows of the lines that are not of the usual form."""
        for one in iter_index(lines):
            if isinstance(one, Problem):
                self.problem_count += 1
                if len(self.problems) < SHOWN:
                    self.problems.append(one)
                continue
            line, serial, subject, not_after, status, revoked_at, reason, date = one
            self.counts[status] += 1
            if revoked_at is not None:
                self.times_out_of_range += not 0 <= revoked_at <= self.latest
                self.dates_dropped += date is not None and not DATES[0] <= date <= DATES[1]
            yield import_lines.row(
                ImportLine(line, serial, subject, not_after, status is IndexStatus.GOOD, revoked_at, reason, date)
            )


def _problem(unfit: UnfitLine, latest: int) -> Problem:
    if unfit.line != unfit.first_line or unfit.revoked_at is None:
        return Problem(unfit.line, f"serial {serial_hex(unfit.serial_number)} is already in line {unfit.first_line}")
    where = "more than a day in the future" if unfit.revoked_at > latest else "before 1970"
    return Problem(unfit.line, f"the revocation date {moment(unfit.revoked_at).isoformat()} is {where}")


async def import_staged(
    connection: Connection,
    issuer: issuers.Issuer,
    staged: StagedIndex,
    *,
    actor: str,
    progress: Callable[[int], None],
) -> ImportResult:
    """Write the staged lines; `progress` is called with numbers of rows, as in StagedIndex.rows."""
    counts = staged.counts
    done = ImportResult(
        good=counts[IndexStatus.GOOD],
        revoked=counts[IndexStatus.REVOKED],
        expired=counts[IndexStatus.EXPIRED],
        dates_dropped=staged.dates_dropped,
    )
    if counts.total() <= ATOMIC:
        with changing():
            async with connection.transaction():
                done.new_certificates = await _add(connection, issuer, progress)
                done.changed_revocations = await _revoke(connection, issuer, actor, progress)
    else:
        done.changed_revocations = await _revoke(connection, issuer, actor, progress)
        done.new_certificates = await _add(connection, issuer, progress)
    await revocations.nudge(connection)
    found = await import_lines.good_but_revoked(connection, issuer.issuer_id)
    done.still_revoked = [StillRevoked(serial, CRLReason(reason)) for serial, reason in found]
    return done


async def _add(connection: Connection, issuer: issuers.Issuer, progress: Callable[[int], None]) -> int:
    earliest = load_certificate(issuer.cert_der).not_valid_before_utc
    added, last = 0, b""
    while True:
        count, new, last = await import_lines.add_page(connection, issuer.issuer_id, earliest, last)
        if not count:
            return added
        added += new
        progress(count)


async def _revoke(connection: Connection, issuer: issuers.Issuer, actor: str, progress: Callable[[int], None]) -> int:
    changed, latest = 0, int(time.time()) + LEDGER_AHEAD_S
    async for page in import_lines.revoked_pages(connection, latest, DATES):
        done = await revocations.bulk_revoke(
            connection, issuer.issuer_id, page, actor=actor, allow_unknown=True, progress=progress
        )
        changed += done.changed
    return changed
