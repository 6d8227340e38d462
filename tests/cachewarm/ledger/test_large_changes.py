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
    """Inserting and then amending 8,000 revocations takes well under the seconds that comparing all pairs would."""
    await revoke(writer, "ca", serial(1), actor="tests")
    await revoke(writer, "ca", serial(1), revoked_at=NOW - timedelta(days=1), actor="tests")
    await add_certificates(writer, "ca", [certificate(number) for number in range(100, 100 + MANY)])
    serials = [serial(number) for number in range(100, 100 + MANY)]
    begun = time.monotonic()
    await bulk_revoke(writer, "ca", [Revocation(one, CRLReason.certificateHold) for one in serials], actor="tests")
    result = await bulk_revoke(writer, "ca", [Revocation(one, CRLReason.superseded) for one in serials], actor="tests")
    assert result.changed == MANY
    assert time.monotonic() - begun < 4
