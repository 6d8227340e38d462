from _fastocsp.http.not_modified import CRLTags
from _fastocsp.ocsp.issuers import IssuerIndex
from _fastocsp.shared.bucket import Bucket
from _fastocsp.shared.counters import Counters
from _fastocsp.shared.lock import Lock
from _fastocsp.table.table import Table
from responder.hotpath.gate import Gate

class Lane:
    """Everything a hit needs, of one worker; its lock is the gate's."""

    lock: Lock
    table: Table
    gate: Gate
    bucket: Bucket
    counters: Counters
    issuers: IssuerIndex
    crls: CRLTags
    max_body: int
    max_age: int
    def __init__(
        self,
        table: Table,
        gate: Gate,
        bucket: Bucket,
        counters: Counters,
        issuers: IssuerIndex,
        max_body: int,
        max_age: int,
    ) -> None: ...
    def tick(self, now: int) -> None:
        """Move the clock of windows and Date fields to this epoch second."""
    def take_issuers(self, issuers: IssuerIndex) -> None:
        """From the next request on this index names the issuers."""
    def take_crls(self, crls: CRLTags) -> None:
        """From the next request on these CRLs are the ones that a client may have."""
    def take_due(self) -> list[tuple[int, int, bytes]]:
        """(issuer_no, hash_algorithm, serial) of records past half of their life that were asked for since.

        Each is noted by one worker of a host alone, and again after two seconds.
        """
