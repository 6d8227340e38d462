"""How much of each issuer's inventory this edge can answer without a signature, found by sampling.

The ledger says how many certificates have not expired. Which share of them can be answered is estimated from
certificates drawn by lot, each looked up under one of the pre-signed hashes: in the host's table, else in Redis. A
record counts if an edge would serve it: of the right responder, in its window, in agreement with the revoked set.

The master samples for the whole host, a bounded number per turn however many issuers there are, and leaves what it
found in a file of the run folder; the workers show it.
"""

import json
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature

from _fastocsp.ocsp.record import unpack_record
from _fastocsp.wire.codes import REVOKED
from _fastocsp.wire.errors import MalformedRecord
from responder.domain.catalog import Catalog, templates
from responder.domain.key import Key
from responder.domain.status import PRESIGNED
from responder.feed.inventory import SampledCertificate, WarmerHealth
from responder.files import write_file

COVERAGE_NAME = "coverage.json"
#: A sample is what was looked up in the last seconds, or the newest look-ups where those are fewer.
FRESH_S, LEAST = 2.5, 48
#: Look-ups that are counted together, so that ten thousand issuers take little memory.
_BATCH = 16
#: The serial number under which the revoked set has the fence of an issuer.
FENCE = b""
#: A certificate that expires this soon is not looked up: its record may expire before it.
_MARGIN_S = 60.0


class Batch(NamedTuple):
    """Look-ups of one issuer: when, how many certificates it had then, how many were looked up and found."""

    at: float
    unexpired: int
    looked: int
    found: int


class Estimate(NamedTuple):
    """Of one issuer: certificates that have not expired, those of them that can be answered without a signature.

    `sample` look-ups are behind it, the newest of them made `at` (epoch seconds); 0 and 0 before the first.
    """

    unexpired: int
    covered: int
    sample: int
    at: float

    @property
    def share(self) -> float:
        """Of the inventory, 0 to 1; 1 for an issuer without certificates."""
        return self.covered / self.unexpired if self.unexpired else 1.0


#: Of an empty inventory.
NOTHING = Estimate(0, 0, 0, 0.0)


class IssuerSample:
    """The look-ups of one issuer that its estimate is made of."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._looked = 0

    @property
    def looked(self) -> int:
        """Look-ups in the sample."""
        return self._looked

    def add(self, at: float, unexpired: int, looked: int, found: int, fresh_s: float = FRESH_S) -> None:
        """Take these look-ups into the sample, and drop those older than `fresh_s` seconds that it does not need."""
        last = self._batches[-1] if self._batches else None
        if last is not None and last.looked < min(_BATCH, unexpired) and at - last.at > fresh_s:
            self._batches.pop()
            self._looked -= last.looked
            unexpired, looked, found = min(last.unexpired, unexpired), last.looked + looked, last.found + found
        self._batches.append(Batch(at, unexpired, looked, found))
        self._looked += looked
        least = min(LEAST, unexpired)
        while self._batches[0].at < at - fresh_s and self._looked - self._batches[0].looked >= least:
            self._looked -= self._batches.popleft().looked

    def estimate(self, unexpired: int) -> Estimate:
        """Return the estimate for that many certificates.

        What came after the oldest look-up counts as not covered until the sample consists of newer look-ups.
        """
        if not self._looked:
            return Estimate(unexpired, 0, 0, 0.0)
        known = min(unexpired, *(batch.unexpired for batch in self._batches))
        found = sum(batch.found for batch in self._batches)
        return Estimate(unexpired, known * found // self._looked, self._looked, self._batches[-1].at)


@dataclass(kw_only=True)
class CoverageReport:
    """Last findings of the master, as the workers read them. Times are epoch seconds.

    `is_started`: the edge has once had READY_COVERAGE, or has waited for it for long enough. `ledger_away_since` and
    the flags of Redis and the signer tell what could not be reached; `redis` is None where there is none. `has_counts`:
    the ledger has counted at least once. `whole` is the estimate for all issuers together.
    """

    at: float = 0.0
    is_started: bool = False
    ledger_away_since: float | None = None
    redis: bool | None = None
    signer: bool = False
    has_counts: bool = False
    whole: Estimate = NOTHING
    warmers: list[dict[str, Any]] = field(default_factory=list)
    issuers: dict[str, Estimate] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Leave it for the workers."""
        write_file(folder / COVERAGE_NAME, json.dumps(asdict(self)).encode())


def read_report(folder: Path) -> CoverageReport | None:
    """Return what the master wrote; None before it did, or of another version."""
    try:
        written = json.loads((folder / COVERAGE_NAME).read_bytes())
        written["issuers"] = {name: Estimate(*values) for name, values in written["issuers"].items()}
        written["whole"] = Estimate(*written["whole"])
        return CoverageReport(**written)
    except (OSError, ValueError, KeyError, TypeError):
        return None


class ReportReader:
    """The report for one worker, read again when the master has written another one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[int, int] | None = None
        self._report: CoverageReport | None = None

    def read(self) -> CoverageReport | None:
        """Return the newest report."""
        try:
            found = (self._folder / COVERAGE_NAME).stat()
        except OSError:
            return None
        if (found.st_mtime_ns, found.st_ino) != self._seen:
            self._seen = found.st_mtime_ns, found.st_ino
            self._report = read_report(self._folder)
        return self._report


def choose_keys(certificates: Iterable[SampledCertificate], catalog: Catalog, now: float) -> list[tuple[str, Key]]:
    """Return what to look up: each certificate that goes on being valid, under one of the hashes by lot."""
    chosen = []
    for issuer_id, serial, not_after in certificates:
        issuer = catalog.by_id.get(issuer_id)
        if issuer is not None and not_after > now + _MARGIN_S:
            chosen.append((issuer.issuer_id, Key(issuer.issuer_no, secrets.choice(PRESIGNED), serial)))
    return chosen


class Usable:
    """Decides whether an edge would serve a record; the signature alone is left to `verify`."""

    def __init__(self, catalog: Catalog, revoked: Callable[[int, bytes], tuple[int, int] | None], now: float) -> None:
        self._catalog, self._revoked, self._now = catalog, revoked, now

    def is_usable(self, key: Key, octets: bytes | None) -> bool:
        """Layout, hash, window, responder, and agreement with the revoked set and its fences."""
        if octets is None:
            return False
        try:
            record = unpack_record(octets)
        except MalformedRecord:
            return False
        if record.hash_algorithm != key.hash_algorithm or not record.this_update <= self._now < record.next_update:
            return False
        if all(each.responder != record.responder for each in self._catalog.responders.get(key.issuer_no, ())):
            return False
        listed = self._revoked(key.issuer_no, key.serial)
        if listed is None:
            is_fenced = self._revoked(key.issuer_no, FENCE) is not None
            return not is_fenced and (record.status != REVOKED or record.revocation_time == 0)
        return record.status == REVOKED and record.revocation_time == listed[0]

    def verify(self, key: Key, octets: bytes) -> bool:
        """Return whether the signature of a usable record is right."""
        record = unpack_record(octets)
        issuer = self._catalog.by_no[key.issuer_no]
        for responder in self._catalog.responders[key.issuer_no]:
            if responder.responder == record.responder:
                tbs = templates(issuer, responder)[record.hash_algorithm].tbs(key.serial, record)
                try:
                    responder.verify(record.signature, tbs)
                except (InvalidSignature, ValueError):
                    return False
                return True
        return False


class Samples:
    """The samples of all issuers, and whose turn it is. `fresh_s` is for how long a look-up counts at least."""

    def __init__(self) -> None:
        self.fresh_s = FRESH_S
        self._samples: dict[str, IssuerSample] = {}
        self._whole = IssuerSample()
        self._unexpired: dict[str, int] = {}
        self._cursors: dict[str, bytes] = {}
        self._order: deque[str] = deque()

    def take_counts(self, unexpired: Mapping[str, int], catalog: Catalog) -> None:
        """Take the ledger's counts; former ids of merged issuers count for the issuer."""
        counts: dict[str, int] = {}
        for issuer_id, count in unexpired.items():
            issuer = catalog.by_id.get(issuer_id)
            if issuer is not None:
                counts[issuer.issuer_id] = counts.get(issuer.issuer_id, 0) + count
        if counts.keys() != self._unexpired.keys():
            self._samples = {name: self._samples.get(name, IssuerSample()) for name in counts}
            self._cursors = {name: self._cursors.get(name, b"") for name in counts}
            self._order = deque(sorted(counts))
        self._unexpired = counts

    def next_issuers(self, at_most: int, drawn: Iterable[str]) -> dict[str, bytes]:
        """Return the issuers whose turn it is, with the serial number to go on after.

        Those with enough look-ups of this turn by lot are passed over.
        """
        enough = Counter(drawn)
        chosen: dict[str, bytes] = {}
        for _ in range(len(self._order)):
            if len(chosen) == at_most or len(chosen) == len(self._order):
                break
            issuer_id = self._order[0]
            self._order.rotate(-1)
            if enough[issuer_id] < _BATCH:
                chosen[issuer_id] = self._cursors[issuer_id]
        return chosen

    def go_on(self, pages: Mapping[str, Sequence[SampledCertificate]], full: int) -> None:
        """Note how far each issuer's turn got; a page that is not full is the last one."""
        for issuer_id, page in pages.items():
            self._cursors[issuer_id] = page[-1].serial_number if len(page) >= full else b""

    def add_drawn(self, at: float, outcomes: Sequence[tuple[str, bool]]) -> None:
        """Take in look-ups of certificates drawn from the whole inventory, and whether each was found."""
        if outcomes:
            count, found = sum(self._unexpired.values()), sum(found for _, found in outcomes)
            self._whole.add(at, count, len(outcomes), found, self.fresh_s)
        self.add(at, outcomes)

    def add(self, at: float, outcomes: Iterable[tuple[str, bool]]) -> None:
        """Take in look-ups of certificates that were not drawn from the whole inventory."""
        looked: dict[str, list[bool]] = {}
        for issuer_id, is_found in outcomes:
            looked.setdefault(issuer_id, []).append(is_found)
        for issuer_id, each in looked.items():
            if issuer_id in self._samples:
                self._samples[issuer_id].add(at, self._unexpired[issuer_id], len(each), sum(each), self.fresh_s)

    def whole(self) -> Estimate:
        """Return the estimate of all issuers together."""
        return self._whole.estimate(sum(self._unexpired.values()))

    def estimates(self) -> dict[str, Estimate]:
        """Return the estimate of every issuer that has certificates."""
        return {name: self._samples[name].estimate(count) for name, count in self._unexpired.items()}


def as_rows(warmers: Sequence[WarmerHealth]) -> list[dict[str, Any]]:
    """Return what the report has of the warmers, with the time instead of the age."""
    now = time.time()
    return [
        {name: value for name, value in each.as_json().items() if not name.endswith("age_s")}
        | {"at": now - each.age_s, "walked_at": None if each.walk_age_s is None else now - each.walk_age_s}
        for each in warmers
    ]
