"""The metrics listener's application: `/metrics` and nothing else.

It is not on the public port: a proxy on the same host would make every client look like a local one.
"""

from starlette.applications import Starlette
from starlette.routing import Route

from responder.edge.context import EdgeContext
from responder.web import health


def build_metrics_app(edge: EdgeContext) -> Starlette:
    """Return the application of one worker's metrics listener."""
    app = Starlette(routes=[Route("/metrics", health.metrics)])
    app.state.edge = edge
    return app


class NoBridge:
    """Connections of the metrics listener come from no connection loop."""

    draining = False

    def cold_come(self, connection: object, peer: str) -> None:
        """Nothing counts them: the listener is not public."""

    def cold_gone(self, connection: object) -> None:
        """Do nothing: no loop counts this connection."""
