"""No entry leaves a CRL without a reason: what the ledger lacks and a signed CRL had is carried forward, and alarmed.

After a restore or a failover the ledger may have lost revocations that CRLs made known. The CRL before proves them, as
its issuer signed it. After a restore of an old dump that CRL is gone from the ledger too, and edges send the one that
they serve. A lost entry becomes an orphan (ledger/orphans.py) that the next CRLs have, until an operator decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from cachewarm.crl import rules
from cachewarm.crl.comparison import Difference
from cachewarm.crl.earlier import EarlierCRL, held_crl
from cachewarm.crl.parse import ReadCRL
from cachewarm.crl.plan import SETTLED_S
from cachewarm.crl.rules import CAFacts, CRLProblem
from cachewarm.ledger import orphans
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.issuers import Issuer

log = structlog.get_logger("crl")


@dataclass(frozen=True)
class CarryOver:
    """Serials that may leave the CRL, and how many orphans are new: with any, the entries are to be read again."""

    released: frozenset[bytes]
    new_orphans: int


async def carry_over(connection: Connection, issuer: Issuer, differences: Sequence[Difference]) -> CarryOver:
    """Look why entries of earlier CRLs are gone, and open orphans for those that were lost."""
    released: set[bytes] = set()
    carried = 0
    for crl, gone in ((each.crl, each.gone) for each in differences if each.gone):
        since = datetime.fromtimestamp(crl.fields.this_update, UTC) - timedelta(seconds=SETTLED_S)
        lost = await orphans.vanished(connection, issuer.issuer_id, [entry[0] for entry in gone], since)
        released |= {entry[0] for entry in gone} - lost
        if lost:
            held = [entry for entry in gone if entry[0] in lost]
            carried += await orphans.carry(connection, issuer.issuer_id, crl.number, held)
            log.error(
                "CRL entries vanished from the ledger and are kept",
                issuer_id=issuer.issuer_id,
                number=crl.number,
                entries=len(held),
            )
    return CarryOver(frozenset(released), carried)


async def reported_crls(connection: Connection, issuer: Issuer, above: int | None) -> list[EarlierCRL]:
    """Return the complete CRLs with a number above that one which edges sent and the issuer signed."""
    found = []
    for login, der in await orphans.reported_crls(connection, issuer.issuer_no):
        read = rules.read_crl(der)
        problem = read if isinstance(read, CRLProblem) else _problem(read, issuer)
        if isinstance(read, CRLProblem) or problem is not None:
            log.warning("reported CRL refused", issuer_id=issuer.issuer_id, login=login, error=str(problem))
        elif above is None or (read.number or 0) > above:
            found.append(held_crl(read))
    return found


async def forget_reported_crls(connection: Connection, issuer: Issuer) -> None:
    """Drop the CRLs that edges sent, once a CRL was made with them."""
    for login, _ in await orphans.reported_crls(connection, issuer.issuer_no):
        await orphans.forget_reported_crl(connection, login, issuer.issuer_no)


def _problem(crl: ReadCRL, issuer: Issuer) -> CRLProblem | None:
    ca = CAFacts.of(issuer.cert_der)
    checks = (
        *rules.issuer_problems(crl, ca, is_ours=True),
        *rules.kind_problems(crl, is_delta=False),
        *rules.number_problems(crl),
        *rules.signature_problems(crl, ca),
    )
    return rules.first_problem(checks)
