from _fastocsp.http.proxies import Proxies
from responder.hotpath.http_exchange import Exchange
from responder.hotpath.lane import Lane
from responder.hotpath.limits import Limits

TO_SLOW_LANE: int
TO_NONCE_LANE: int
TO_COLD_LANE: int
ALL_GONE: int
NO_LINE: int
GIVE_UP_COLD: int

class Loop(Exchange):
    """The connection loop; it owns the listening descriptor."""

    def __init__(self, lane: Lane, proxies: Proxies, listener: int, limits: Limits) -> None: ...
    @property
    def open_connections(self) -> int:
        """Connections that the loop has now, those handed over not counted."""
    def run(self) -> None:
        """Serve until `stop`, in a thread of its own. OSError when epoll itself fails."""
    def stop(self) -> None:
        """End `run`, and close the connections with it."""
    def drain(self) -> None:
        """Accept no more connections, close idle ones, answer what is under way, then send ALL_GONE."""
    def answer(self, kind: int, slot: int, generation: int, octets: bytes | None) -> None:
        """The slow lane's answer to a letter of that kind, once for each; None gives the connection up."""
    def take_signer(self, fd: int) -> None:
        """Ask the signer over this Unix socket, which is the loop's from then on; NO_LINE is said when it breaks."""
    def cold_gone(self, slot: int, generation: int) -> None:
        """The connection that was handed over with that slot and generation has ended.

        Until then it counts for its address and in all. Where the loop has to make room for another connection of an
        address that has nothing else idle, it sends GIVE_UP_COLD with the slot and generation of one of them.
        """
