"""Metrics of processes that are not the edge: a listener of its own per process, off unless it has an address.

It serves `/metrics` and nothing else, to METRICS_ALLOW alone. A listener that cannot be made is logged and tried again:
it ends no process.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.server import ServerState

from _fastocsp.shared.counters import Counters
from responder.config import EdgeSettings
from responder.edge.context import within
from responder.retry import Failures, Pauses, run_forever
from responder.setting_values import parse_address
from responder.telemetry import HELP, ROW_SIZE
from responder.web.health import NO_STORE
from responder.web.http_protocol import ColdProtocol
from responder.web.metrics_app import NoBridge

log = structlog.get_logger("metrics")
#: Between two looks for connections that are slow or idle.
_DEADLINES_S = 1.0

#: Ids of issuers by the work that their own fault stops.
IssuerFaults = Mapping[str, Sequence[str]]


class ProcessMetrics:
    """Counters of one process; `issuer_faults` returns the faults of this moment, `more` its own metrics."""

    def __init__(
        self,
        process: str,
        loops: Sequence[str],
        issuer_faults: Callable[[], IssuerFaults],
        more: Callable[[], Iterable[Metric]] = tuple,
    ) -> None:
        self._process, self._issuer_faults, self._more = process, issuer_faults, more
        self._failures = Counter(dict.fromkeys(loops, 0))

    def counter_of(self, loop: str) -> Callable[[], None]:
        """Return what counts an unforeseen failure of that loop."""

        def count() -> None:
            self._failures[loop] += 1

        return count

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, for prometheus_client."""
        up = GaugeMetricFamily("fastocsp_process_up", "1 while the process answers", labels=["process"])
        up.add_metric([self._process], 1)
        yield up
        failures = CounterMetricFamily("fastocsp_loop_failures", HELP["loop_failures"], labels=["process", "loop"])
        for loop, count in self._failures.items():
            failures.add_metric([self._process, loop], count)
        yield failures
        faults = GaugeMetricFamily(
            "fastocsp_issuer_faults",
            "1 for work that this process cannot do for an issuer",
            labels=["process", "issuer_id", "work"],
        )
        for work, issuer_ids in self._issuer_faults().items():
            for issuer_id in issuer_ids:
                faults.add_metric([self._process, issuer_id, work], 1)
        yield faults
        yield from self._more()


def build_process_app(metrics: ProcessMetrics, settings: EdgeSettings) -> Starlette:
    """Return the application of the listener."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)

    async def answer(request: Request) -> Response:
        if request.client is None or not within(request.client.host, settings.metrics_allow):
            text = "client address is not listed in FASTOCSP_METRICS_ALLOW\n"
            return PlainTextResponse(text, 403, headers=NO_STORE)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST, headers=NO_STORE)

    return Starlette(routes=[Route("/metrics", answer)])


async def serve_metrics(metrics: ProcessMetrics, listen: str, settings: EdgeSettings) -> None:
    """Serve at that address until cancelled; OSError when it cannot be bound."""
    config = uvicorn.Config(
        build_process_app(metrics, settings),
        http=ColdProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    config.load()
    state, counters = ServerState(), Counters(bytearray(ROW_SIZE))
    host, port = parse_address(listen)
    server = await asyncio.get_running_loop().create_server(
        lambda: ColdProtocol(config, state, {}, settings, counters, NoBridge(), b""), host, port
    )
    log.info("metrics served", listen=listen)
    async with server:
        while True:
            await asyncio.sleep(_DEADLINES_S)
            for connection in tuple(state.connections):
                if isinstance(connection, ColdProtocol):
                    connection.check_deadline()


async def run_metrics(metrics: ProcessMetrics, listen: str, settings: EdgeSettings) -> None:
    """The same, tried again while the address is taken."""
    failures = Failures(
        name="metrics",
        event="metrics listener not available",
        expected=(OSError,),
        count=metrics.counter_of("metrics"),
    )
    await run_forever(lambda: serve_metrics(metrics, listen, settings), Pauses(1.0, 30.0), failures)
