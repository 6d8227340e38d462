from responder.edge.lane import Lane
from responder.edge.mailbox import Mailbox
from responder.edge.slow import SlowRequest
from responder.edge.sockets import Sockets

class Exchange(Sockets):
    """What happens on the connections of one loop."""

    lane: Lane
    to_python: Mailbox

def slow_request(octets: bytes, max_body: int) -> SlowRequest:
    """What the slow lane is told of the plain request in a TO_SLOW_LANE letter."""
