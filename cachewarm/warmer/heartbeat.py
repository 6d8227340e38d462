"""The warmer's word about itself, every few seconds in the ledger: for `status`, its metrics and `/ready` of the edges.

The counts of certificates are folded and audit rows settled in the same turn: it is the writer's regular visit to the
ledger.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from prometheus_client.core import GaugeMetricFamily, Metric

from cachewarm.ledger import coverage, faults, heartbeats
from cachewarm.ledger.audit import settle_audit
from cachewarm.ledger.connect import Connection

INTERVAL_S = 5.0
#: A loop that failed is tried again within five seconds and may take as long to fail: after this it is well again.
FAILING_S = 12.0
#: Listed with the loops that fail: `status` and `/ready` show it.
BROKEN_CHAIN = "audit chain broken"


class HeartbeatLoop:
    """Reports the state of this warmer; `queue` returns the number of changes that are not published yet."""

    def __init__(
        self,
        name: str,
        queue: Callable[[], int],
        issuer_faults: Callable[[], Mapping[str, Sequence[str]]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._queue, self._issuer_faults, self._monotonic = name, queue, issuer_faults, monotonic
        self._failed: dict[str, float] = {}
        self._walked_at: datetime | None = None
        self._missing: int | None = None
        self._audit_broken_at: int | None = None

    def walked(self, missing: int) -> None:
        """Note the end of a walk of the whole inventory, which had to sign that many records."""
        self._walked_at, self._missing = datetime.now(UTC), missing

    def failed(self, loop: str) -> None:
        """Note that this loop has just failed."""
        self._failed[loop] = self._monotonic()

    def audited(self, broken_at: int | None) -> None:
        """Note the first row at which the audit chain does not hold, or None."""
        self._audit_broken_at = broken_at

    def beat(self) -> heartbeats.Heartbeat:
        """Return the state of this moment."""
        now = self._monotonic()
        failing = {loop for loop, at in self._failed.items() if now - at < FAILING_S}
        if self._audit_broken_at is not None:
            failing.add(BROKEN_CHAIN)
        return heartbeats.Heartbeat(
            warmer=self._name,
            walked_at=self._walked_at,
            queue=self._queue(),
            rotation_failures=len(self._issuer_faults().get(faults.RESPONDER, ())),
            missing=self._missing,
            failing=tuple(sorted(failing)),
        )

    async def run(self, connection: Connection) -> None:
        """Write it, fold the counts and settle audit rows, until cancelled."""
        while True:
            await heartbeats.write_heartbeat(connection, self.beat())
            while await coverage.fold_counts(connection) >= coverage.FOLDED_AT_ONCE:
                await asyncio.sleep(0)
            await settle_audit(connection)
            await asyncio.sleep(INTERVAL_S)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, for prometheus_client."""
        beat = self.beat()
        yield GaugeMetricFamily("fastocsp_warmer_queue", "changes of status not published yet", value=beat.queue)
        yield GaugeMetricFamily(
            "fastocsp_warmer_rotation_failures", "issuers without a usable responder", value=beat.rotation_failures
        )
        if beat.walked_at is not None:
            age = (datetime.now(UTC) - beat.walked_at).total_seconds()
            yield GaugeMetricFamily("fastocsp_warmer_walk_age_seconds", "since the last walk ended", value=age)
            yield GaugeMetricFamily(
                "fastocsp_warmer_missing_records", "records that the last walk had to sign", value=beat.missing or 0
            )
        failing = GaugeMetricFamily("fastocsp_warmer_failing", "1 for a loop that fails now", labels=["loop"])
        for loop in beat.failing:
            failing.add_metric([loop], 1)
        yield failing
        yield GaugeMetricFamily(
            "fastocsp_audit_chain_broken",
            "1 once a row of the audit chain does not hold",
            value=int(self._audit_broken_at is not None),
        )
