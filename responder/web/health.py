"""Is it alive, is it ready, what did it count."""

import time
from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from responder.edge.context import EdgeContext, within
from responder.edge.coverage import CoverageReport
from responder.feed.machine import State
from responder.feed.shared import SLOT_FENCED, SLOT_HEAD, SLOT_ORPHANS, SLOT_SEQ, SLOT_UNJOURNALED
from responder.telemetry import GAUGES, HELP, OUTCOMES, TABLE_GAUGES, read_rows
from responder.web.expiry_metrics import expiry_metrics
from responder.web.readiness import feed_state, issuer_faults, readiness

#: Counters that operators of other responders alert on, and where they are counted here.
_LABELS = {
    "nonce_echoed": "answers:nonce",
    "nonce_malformed": "nonce_malformed",
    "rate_limited": "answers:limited",
    "signing_failed": "signer_failed",
}
NO_STORE = {"Cache-Control": "no-store"}


async def health(_: Request) -> Response:
    """200 while the process can answer at all."""
    return JSONResponse({"status": "ok"}, headers=NO_STORE)


async def ready(request: Request) -> Response:
    """200, or 503 with every reason why traffic should go elsewhere; in the body what else is wrong."""
    facts = readiness(request.app.state.edge)
    return JSONResponse(facts, 200 if facts["ready"] else 503, headers=NO_STORE)


async def metrics(request: Request) -> Response:
    """Prometheus text, summed over the workers; for METRICS_ALLOW alone."""
    edge: EdgeContext = request.app.state.edge
    if request.client is None or not within(request.client.host, edge.settings.metrics_allow):
        text = "client address is not listed in FASTOCSP_METRICS_ALLOW\n"
        return PlainTextResponse(text, 403, headers=NO_STORE)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(EdgeCollector(edge))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST, headers=NO_STORE)


class EdgeCollector:
    """All rows of the run folder, plus the feed."""

    def __init__(self, edge: EdgeContext) -> None:
        self._edge = edge

    def collect(self) -> Iterator[Metric]:
        """Counters are sums over the worker slots, gauges too, but for those of the table, which is one."""
        rows = list(read_rows(self._edge.settings.run).values())
        answers = CounterMetricFamily("fastocsp_answers", HELP["answers"], labels=["outcome"])
        for outcome in OUTCOMES:
            answers.add_metric([outcome], sum(row[f"answers:{outcome}"] for row in rows))
        yield answers
        by_label = CounterMetricFamily(
            "fastocsp_ocsp_counter", "OCSP events under the names of other responders", labels=["label"]
        )
        for label, name in _LABELS.items():
            by_label.add_metric([label], sum(row[name] for row in rows))
        yield by_label
        yield from expiry_metrics(self._edge.catalog)
        for name, text in HELP.items():
            if name != "answers":
                yield CounterMetricFamily(f"fastocsp_{name}", text, value=sum(row[name] for row in rows))
        for name, text in GAUGES.items():
            yield GaugeMetricFamily(f"fastocsp_{name}", text, value=sum(row[name] for row in rows))
        for name, text in TABLE_GAUGES.items():
            yield GaugeMetricFamily(f"fastocsp_{name}", text, value=max((row[name] for row in rows), default=0))
        yield from self._feed()

    def _feed(self) -> Iterator[Metric]:
        page, edge = self._edge.page, self._edge
        state = feed_state(edge)
        states = GaugeMetricFamily("fastocsp_feed_state", "1 for the state the feed is in", labels=["state"])
        for each in State:
            states.add_metric([each.name], float(each is state))
        yield states
        age = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - page.lease_end()) / 1e9 + edge.settings.horizon
        yield GaugeMetricFamily(
            "fastocsp_feed_age_seconds", "since the question that gave the lease", value=max(0.0, age)
        )
        yield GaugeMetricFamily("fastocsp_feed_seq", "last event applied", value=page.get(SLOT_SEQ))
        yield GaugeMetricFamily(
            "fastocsp_feed_seq_lag", "events not yet applied", value=max(0, page.get(SLOT_HEAD) - page.get(SLOT_SEQ))
        )
        yield GaugeMetricFamily(
            "fastocsp_feed_orphans",
            "revocations that vanished from the ledger and are kept",
            value=page.get(SLOT_ORPHANS),
        )
        yield GaugeMetricFamily(
            "fastocsp_feed_journal_unwritable",
            "1 while the journal cannot be written and no new revocation is acknowledged",
            value=page.get(SLOT_UNJOURNALED),
        )
        yield GaugeMetricFamily(
            "fastocsp_issuers_fenced",
            "issuers for which nothing but `revoked` is answered, as the ledger may lack revocations",
            value=page.get(SLOT_FENCED),
        )
        sandbox = GaugeMetricFamily("fastocsp_sandbox", "1 for each confinement of the workers", labels=["by"])
        sandbox.add_metric(["landlock"], float(edge.sandbox.landlock > 0))
        sandbox.add_metric(["seccomp"], float(edge.sandbox.seccomp))
        yield sandbox
        yield from _coverage(edge)
        ends = GaugeMetricFamily(
            "fastocsp_crl_next_update_seconds",
            "nextUpdate of the CRL served; part: delta, the number of a shard, empty for the complete one",
            labels=["issuer_id", "part"],
        )
        for name, entry in edge.catalog.crls.items():
            issuer_id, _, part = name.partition("/")
            ends.add_metric([issuer_id, part], entry.next_update)
        yield ends
        failed = GaugeMetricFamily(
            "fastocsp_crl_builds_failed", "CRL builds that failed since the last good one", labels=["issuer_id"]
        )
        for issuer_id, count in edge.catalog.crl_failures.items():
            failed.add_metric([issuer_id], count)
        yield failed
        faults = GaugeMetricFamily(
            "fastocsp_issuer_faults",
            "1 for work that the writer cannot do for an issuer, or a fence",
            labels=["issuer_id", "work"],
        )
        for issuer_id, works in issuer_faults(edge).items():
            for work in works:
                faults.add_metric([issuer_id, work], 1)
        yield faults
        orphans = GaugeMetricFamily(
            "fastocsp_orphans_open", "revocations that the ledger lacks and nobody decided on", labels=["issuer_id"]
        )
        for issuer_id, count in edge.catalog.orphans.items():
            orphans.add_metric([issuer_id], count)
        yield orphans
        yield from _mirrors(edge)


def _coverage(edge: EdgeContext) -> Iterator[Metric]:
    """What the master sampled, and how the warmers are."""
    report = edge.coverage.read() or CoverageReport()
    yield GaugeMetricFamily(
        "fastocsp_inventory_certificates", "certificates that have not expired", value=report.whole.unexpired
    )
    yield GaugeMetricFamily(
        "fastocsp_covered_certificates",
        "of them, those that this edge can answer without a signature; estimated from a sample",
        value=report.whole.covered,
    )
    if report.whole.at:
        yield GaugeMetricFamily(
            "fastocsp_coverage_sample_age_seconds",
            "since the sample behind fastocsp_covered_certificates was drawn",
            value=max(0.0, time.time() - report.whole.at),
        )
    walks = [each["walked_at"] for each in report.warmers if each["walked_at"] is not None]
    if walks:
        yield GaugeMetricFamily(
            "fastocsp_coverage_age_seconds",
            "since the last walk of a warmer ended; above twice WARM_INTERVAL no warmer renews",
            value=max(0.0, time.time() - max(walks)),
        )
    if report.warmers:
        yield GaugeMetricFamily(
            "fastocsp_warmer_heartbeat_age_seconds",
            "since a warmer was last heard of in the ledger",
            value=max(0.0, time.time() - report.warmers[0]["at"]),
        )


def _mirrors(edge: EdgeContext) -> Iterator[Metric]:
    """Issuers whose status comes from CRLs that are fetched elsewhere."""
    until = GaugeMetricFamily(
        "fastocsp_crl_good_until_seconds",
        "nextUpdate of the mirrored CRL: nobody of that issuer is called good after it; 0 before the first CRL",
        labels=["issuer_id"],
    )
    for issuer in edge.catalog.issuers:
        if issuer.windows is not None:
            until.add_metric([issuer.issuer_id], issuer.windows[0].next_update if issuer.windows else 0)
    yield until
    failed = GaugeMetricFamily(
        "fastocsp_crl_fetches_failed",
        "fetches of a mirrored CRL that failed since the last good one",
        labels=["issuer_id", "fault"],
    )
    for issuer_id, faults in edge.catalog.fetch_failures.items():
        for fault, count in faults.items():
            failed.add_metric([issuer_id, fault], count)
    yield failed
