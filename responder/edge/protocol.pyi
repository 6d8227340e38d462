import asyncio
from collections.abc import Callable

from uvicorn.server import ServerState

from responder.edge.edge import Edge
from responder.edge.lane import Lane

class Shop:
    """What the connections of one worker share; times in seconds."""

    lane: Lane
    edge: Edge
    max_connections: int
    now_ns: int
    def __init__(self, lane: Lane, edge: Edge, max_connections: int, patience_s: float, idle_s: float) -> None: ...

class EdgeProtocol(asyncio.Protocol):
    """One connection; `make_full` makes uvicorn's protocol for a hand-over."""

    def __init__(self, shop: Shop, state: ServerState, make_full: Callable[[], asyncio.Protocol]) -> None: ...
    def check_deadline(self) -> None:
        """Called by the tick: cut off who is slow or idle."""
    def shutdown(self) -> None:
        """Uvicorn is stopping."""
