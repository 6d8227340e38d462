"""Many rows in a session that changed one before: plans made for one row must not be used for thousands."""

import time
from datetime import timedelta

from cachewarm.ledger.connect import Connection
from cachewarm.ledger.inventory import add_certificates
from cachewarm.ledger.issuers import Issuer
from cachewarm.ledger.revocations import Revocation, bulk_revoke, revoke
from responder.domain.status import CRLReason
from tests.cachewarm.ledger.conftest import NOW, certificate, serial

MANY = 8000


async def test_a_large_change_after_a_small_one_takes_no_quadratic_time(writer: Connection, issuer: Issuer) -> None:
    """Seven times as many revocations take about seven times as long, not forty-nine times."""
    await revoke(writer, "ca", serial(1), actor="tests")
    await revoke(writer, "ca", serial(1), revoked_at=NOW - timedelta(days=1), actor="tests")
    await add_certificates(writer, "ca", [certificate(number) for number in range(100, 100 + MANY)])
    few = await seconds_to_change(writer, range(100, 100 + MANY // 8))
    many = await seconds_to_change(writer, range(100 + MANY // 8, 100 + MANY))
    assert many < 7 * max(few, 0.05) * 4  # comparing all pairs would take 49 times as long


async def test_revocations_of_new_certificates_read_each_row_a_few_times(
    owner: Connection, writer: Connection, issuer: Issuer
) -> None:
    """Plans made while nothing was revoked do not read the whole revoked set with every later statement."""
    numbers = range(100, 3100)
    await owner.execute("vacuum analyze certificate_revocations")
    async with writer.transaction():
        await add_certificates(writer, "ca", [certificate(number) for number in numbers])
        await bulk_revoke(writer, "ca", [Revocation(serial(number)) for number in numbers], actor="tests")
        read = await writer.fetchval(
            "select sum(idx_tup_fetch + seq_tup_read) from pg_stat_xact_user_tables where relname like 'certificate%'"
        )
    assert read < 20 * len(numbers)


async def seconds_to_change(writer: Connection, numbers: range) -> float:
    """Put these on hold, then revoke them for good; seconds of this process's wall clock."""
    begun = time.monotonic()
    for reason in (CRLReason.certificateHold, CRLReason.superseded):
        revocations = [Revocation(serial(number), reason) for number in numbers]
        result = await bulk_revoke(writer, "ca", revocations, actor="tests")
        assert result.changed == len(numbers)
    return time.monotonic() - begun
