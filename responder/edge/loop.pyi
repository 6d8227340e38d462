from _fastocsp.proxies import Proxies
from responder.edge.lane import Lane
from responder.edge.mailbox import Mailbox
from responder.edge.slow import SlowRequest

TO_SLOW_LANE: int
TO_COLD_LANE: int
ALL_GONE: int

class Loop:
    """The connection loop; it owns the listening descriptor. Times in seconds."""

    lane: Lane
    to_python: Mailbox
    def __init__(
        self, lane: Lane, proxies: Proxies, listener: int, max_connections: int, patience_s: float, idle_s: float
    ) -> None: ...
    @property
    def bell(self) -> int:
        """Descriptor to watch for letters."""
    @property
    def open_connections(self) -> int:
        """Connections that the loop has now, those handed over not counted."""
    def run(self) -> None:
        """Serve until `stop`, in a thread of its own. OSError when epoll itself fails."""
    def stop(self) -> None:
        """End `run`."""
    def drain(self) -> None:
        """Accept nobody any more, close who is idle, answer what is under way, then say ALL_GONE."""
    def letters(self) -> list[tuple[int, int, int, int, bytes]]:
        """(kind, fd, slot, generation, octets) of all there is; a descriptor becomes the caller's."""
    def answer(self, slot: int, generation: int, octets: bytes | None) -> None:
        """The slow lane's answer; None gives the connection up."""
    def cold_gone(self) -> None:
        """A connection that was handed over has ended."""

def slow_request(octets: bytes, max_body: int) -> SlowRequest:
    """What the slow lane is told of the plain request in a TO_SLOW_LANE letter."""
