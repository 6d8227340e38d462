"""Readiness of an edge: 503 only when it can answer for no issuer, its lease is closed, or it has not started.

Everything else that is wrong is a warning that names its issuer. The page is public: it has no path, no name of a host
and no error text of another system.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from responder.domain.issuer import Issuer
from responder.domain.status import FENCE
from responder.edge.context import EdgeContext
from responder.edge.coverage import NOTHING, CoverageReport
from responder.feed.inventory import QUIET_S
from responder.feed.machine import State
from responder.feed.shared import (
    SLOT_AS_OF,
    SLOT_FENCED,
    SLOT_GENERATION,
    SLOT_HEAD,
    SLOT_SEQ,
    SLOT_STATE,
    SLOT_UNJOURNALED,
)

#: Seconds after which the master's report is old.
OLD_S = 30.0
#: Issuers listed by `/ready`, those with warnings first: the page stays small with ten thousand of them.
MOST_ISSUERS = 100
_WORK = {
    "responder": "the warmer has no usable responder for it",
    "walk": "the warmer cannot sign its answers ahead",
    "crl": "its CRLs are withdrawn",
    "ca-signer": "the CA signer cannot sign for it: neither certificates nor CRLs are made",
    "orphans": "revocations that the ledger lacks",
    FENCE: "fenced, as the ledger may lack revocations: nothing but `revoked` is answered (fastocsp reconcile)",
}


def readiness(edge: EdgeContext) -> dict[str, Any]:
    """The feed's state, the coverage, the reasons against, and the warnings."""
    state, report = feed_state(edge), edge.coverage.read()
    known = report or CoverageReport()
    now = time.time()
    warned = warnings_by_issuer(edge, known, now)
    reasons = list(_reasons(edge, state, report))
    warnings = list(_warnings(edge, report, now))
    warnings += [f"{issuer_id}: {text}" for issuer_id, texts in warned.items() for text in texts]
    listed = sorted(warned, key=lambda issuer_id: not warned[issuer_id])[:MOST_ISSUERS]
    return {
        "ready": not reasons,
        "reasons": reasons,
        "warnings": warnings[:MOST_ISSUERS],
        "warnings_left_out": max(0, len(warnings) - MOST_ISSUERS),
        "state": state.name,
        "as_of": edge.page.get(SLOT_AS_OF),
        "seq": edge.page.get(SLOT_SEQ),
        "seq_lag": max(0, edge.page.get(SLOT_HEAD) - edge.page.get(SLOT_SEQ)),
        "generation": edge.page.get(SLOT_GENERATION),
        "coverage": round(known.whole.share, 6),
        "inventory": known.whole.unexpired,
        "covered": known.whole.covered,
        "sample": known.whole.sample,
        "sample_age_s": _age(known.whole.at, now),
        "warmers": [_warmer(each, now) for each in known.warmers],
        "journal": "not writable: nothing new is acknowledged" if edge.page.get(SLOT_UNJOURNALED) else "written",
        "insecure_links": edge.settings.insecure_links,
        "sandbox": edge.sandbox.state,
        "issuer_faults": issuer_faults(edge),
        "orphans": edge.catalog.orphans,
        "issuers": {issuer_id: _issuer(known, issuer_id, warned[issuer_id], now) for issuer_id in listed},
        "issuers_left_out": len(warned) - len(listed),
    }


def issuer_faults(edge: EdgeContext) -> dict[str, list[str]]:
    """Return the works that fail for an issuer, by its id; with FENCE where it is fenced."""
    found = {issuer_id: list(works) for issuer_id, works in edge.catalog.issuer_faults.items()}
    if edge.page.get(SLOT_FENCED):
        for issuer in edge.catalog.issuers:
            if edge.lane.gate.is_fenced(issuer.issuer_no):
                found.setdefault(issuer.issuer_id, []).append(FENCE)
    return found


def feed_state(edge: EdgeContext) -> State:
    """Return the state that the agent showed last, corrected by the lease itself: a stopped agent shows nothing new."""
    shown = State(edge.page.get(SLOT_STATE))
    expired = time.clock_gettime_ns(time.CLOCK_BOOTTIME) >= edge.page.lease_end()
    return State.CLOSED if expired and shown in (State.LIVE, State.STALE, State.CATCHUP) else shown


def _reasons(edge: EdgeContext, state: State, report: CoverageReport | None) -> Iterator[str]:
    if state not in (State.LIVE, State.STALE):
        yield f"feed is {state.name}: no certificate may be called good"
    if not edge.catalog.issuers:
        yield "no issuer yet"
    elif report is None:
        yield "starting: the coverage is not known yet"
    elif not report.is_started:
        yield (
            f"starting: {report.whole.share:.1%} of the certificates can be answered without a signature,"
            f" and READY_COVERAGE is waited for"
        )
    elif not any(can_answer(edge, each, report) for each in edge.catalog.issuers):
        yield "no issuer can be answered for: no signer answers, or there is no responder, and nothing is signed ahead"


def can_answer(edge: EdgeContext, issuer: Issuer, report: CoverageReport) -> bool:
    """Return whether certificates of that issuer get an answer: from the signer, or signed ahead.

    An issuer whose inventory was never sampled is given the benefit of the doubt.
    """
    if not edge.catalog.responders.get(issuer.issuer_no):
        return False
    estimate = report.issuers.get(issuer.issuer_id)
    return report.signer or estimate is None or not estimate.sample or estimate.covered > 0


def _warnings(edge: EdgeContext, report: CoverageReport | None, now: float) -> Iterator[str]:
    """What is wrong with more than one issuer."""
    if edge.proxy_watch.is_limiting(time.monotonic()):
        yield (
            "clients behind a proxy are refused by the rate limit, which takes them for one: the proxy sends"
            " X-Forwarded-For and is not in TRUSTED_PROXIES"
        )
    if edge.page.get(SLOT_UNJOURNALED):
        yield "the journal cannot be written: nothing new is acknowledged"
    if report is None:
        return
    if now - report.at > OLD_S and report.ledger_away_since is None:
        yield f"the coverage was last sampled {now - report.at:.0f} s ago"
    if report.ledger_away_since is not None:
        yield f"the ledger has not been reached for {now - report.ledger_away_since:.0f} s: coverage is of before"
        return
    if not report.has_counts:
        yield "the ledger gives no counts to this edge: coverage is not known (fastocsp db migrate)"
    if report.redis is False:
        yield "Redis cannot be reached"
    if not report.signer:
        yield "the signer does not answer: requests with a nonce, and for what is not signed ahead, get tryLater"
    yield from warmer_warnings(report, now)


def warmer_warnings(report: CoverageReport, now: float) -> Iterator[str]:
    """Yield a warning for each fault that the heartbeats of warmers show."""
    if not report.has_counts:
        return
    if not report.warmers:
        yield "no warmer has been heard of for a day"
        return
    quiet = now - report.warmers[0]["at"]
    if quiet > QUIET_S:
        yield f"no warmer has been heard of for {quiet:.0f} s"
    for each in report.warmers:
        if now - each["at"] <= QUIET_S and each["failing"]:
            yield f"a warmer fails at: {', '.join(sorted(each['failing']))}"


def warnings_by_issuer(edge: EdgeContext, report: CoverageReport, now: float) -> dict[str, list[str]]:
    """Return what is wrong with each issuer, by its id; an empty list where nothing is."""
    expired: dict[str, list[str]] = {}
    for part, entry in edge.catalog.crls.items():
        if entry.next_update <= now:
            expired.setdefault(part.partition("/")[0], []).append(part)
    faults = issuer_faults(edge)
    return {
        each.issuer_id: [
            *_issuer_warnings(edge, each, report, now),
            *(_WORK.get(work, work) for work in faults.get(each.issuer_id, ())),
            *(f"the CRL {part} that is served has expired" for part in expired.get(each.issuer_id, ())),
        ]
        for each in edge.catalog.issuers
    }


def _issuer_warnings(edge: EdgeContext, issuer: Issuer, report: CoverageReport, now: float) -> Iterator[str]:
    catalog, name = edge.catalog, issuer.issuer_id
    responders = catalog.responders.get(issuer.issuer_no, ())
    if not any(each.not_before <= now <= each.not_after for each in responders):
        yield "it has no responder certificate that is valid now"
    estimate = report.issuers.get(name)
    if estimate is not None and estimate.sample and estimate.share < edge.settings.ready_coverage:
        yield (
            f"{estimate.share:.1%} of {estimate.unexpired} certificates can be answered without a signature"
            f" (sample of {estimate.sample})"
        )
    if catalog.orphans.get(name):
        yield f"{catalog.orphans[name]} orphans: revocations that the ledger lacks"
    windows = issuer.windows
    if windows is not None and not any(each.this_update <= now < each.next_update for each in windows):
        yield "no fetched CRL is valid now: none of its certificates is called good"
    if catalog.crl_failures.get(name):
        yield f"{catalog.crl_failures[name]} builds of its CRL failed since the last good one"
    if failures := sum(catalog.fetch_failures.get(name, {}).values()):
        yield f"{failures} fetches of its CRL failed since the last good one"


def _issuer(report: CoverageReport, issuer_id: str, warnings: list[str], now: float) -> dict[str, Any]:
    estimate = report.issuers.get(issuer_id, NOTHING)
    return {
        "inventory": estimate.unexpired,
        "covered": estimate.covered,
        "coverage": round(estimate.share, 6),
        "sample": estimate.sample,
        "sample_age_s": _age(estimate.at, now),
        "warnings": warnings,
    }


def _warmer(seen: Mapping[str, Any], now: float) -> dict[str, Any]:
    walked_at = seen["walked_at"]
    return {
        "age_s": _age(seen["at"], now),
        "walk_age_s": None if walked_at is None else _age(walked_at, now),
        **{name: seen[name] for name in ("queue", "rotation_failures", "missing", "failing")},
    }


def _age(at: float, now: float) -> float | None:
    return round(max(0.0, now - at), 1) if at else None
