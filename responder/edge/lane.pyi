from _fastocsp.bucket import Bucket
from _fastocsp.counters import Counters
from _fastocsp.issuers import IssuerIndex
from _fastocsp.table import Table
from responder.edge.gate import Gate

class Lane:
    """Everything a hit needs, of one worker; set every attribute before the first request."""

    table: Table
    issuers: IssuerIndex
    gate: Gate
    bucket: Bucket
    counters: Counters
    due: set[tuple[int, int, bytes]]
    max_body: int
    def __init__(self) -> None: ...
    def tick(self, now: int) -> None:
        """Move the clock of windows and Date fields to this epoch second."""
