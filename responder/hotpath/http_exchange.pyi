from responder.hotpath.lane import Lane
from responder.hotpath.mailbox import Mailbox
from responder.hotpath.slow_request import SlowRequest
from responder.hotpath.sockets import Sockets

class Exchange(Sockets):
    """Requests and answers on the connections of one loop."""

    lane: Lane
    to_python: Mailbox
    @property
    def ignored_proxy(self) -> bytes | None:
        """Packed address of the first peer whose X-Forwarded-For was ignored; None while there is none."""

def slow_request(octets: bytes, max_body: int) -> SlowRequest:
    """Return the plain request of a TO_SLOW_LANE letter for the slow lane."""
