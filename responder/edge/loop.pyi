from _fastocsp.proxies import Proxies
from responder.edge.exchange import Exchange
from responder.edge.lane import Lane

TO_SLOW_LANE: int
TO_COLD_LANE: int
ALL_GONE: int

class Loop(Exchange):
    """The connection loop; it owns the listening descriptor. Times in seconds."""

    def __init__(
        self, lane: Lane, proxies: Proxies, listener: int, max_connections: int, patience_s: float, idle_s: float
    ) -> None: ...
    @property
    def open_connections(self) -> int:
        """Connections that the loop has now, those handed over not counted."""
    def run(self) -> None:
        """Serve until `stop`, in a thread of its own. OSError when epoll itself fails."""
    def stop(self) -> None:
        """End `run`."""
    def drain(self) -> None:
        """Accept nobody any more, close who is idle, answer what is under way, then say ALL_GONE."""
    def answer(self, slot: int, generation: int, octets: bytes | None) -> None:
        """The slow lane's answer; None gives the connection up."""
    def cold_gone(self) -> None:
        """A connection that was handed over has ended."""
