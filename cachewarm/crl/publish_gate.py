"""The last check of a CRL before it is published: refuse rather than publish what a client could not use.

The gate does not trust the builder. Other libraries read the DER back and verify its signature, and every field that a
client or the next CRL depends on is compared with what it must be. RFC 5280 5.1, 5.2; BR 7.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from _fastocsp.crl.fields import Scope
from cachewarm.crl import rules
from cachewarm.crl.parse import ReadCRL, peek_crl
from cachewarm.crl.rules import CAFacts, CRLProblem, PreviousCRL, Rule

#: Entries that may always go, and that may always come.
SHRINK_FREE, GROWTH_FREE = 100, 100_000


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a new CRL must contain.

    `revoked_count` is counted in the ledger apart from the entries, so a CRL that lost some is refused. It is None
    where nothing was counted. `released` are the serials that may be gone since the previous CRL; None: entries are not
    compared with it.
    """

    scope: Scope
    base_number: int | None = None
    freshest_url: str | None = None
    revoked_count: int | None = None
    released: frozenset[bytes] | None = None


def gate(
    new_der: bytes, old_der: bytes | None, issuer_cert: bytes, expected: Expected, *, now: int
) -> CRLProblem | int:
    """Return the number of entries of a CRL that may replace the old one, or the first problem. Never raises."""
    new = rules.read_crl(new_der)
    if isinstance(new, CRLProblem):
        return new
    old = None if old_der is None else rules.read_crl(old_der)
    if isinstance(old, CRLProblem):
        return CRLProblem(
            Rule.PREVIOUS, f"the published CRL does not parse ({old.text}): delete its row, then it is rebuilt"
        )
    problem = rules.first_problem(_problems(new, old, issuer_cert, expected, now))
    return new.summary().entries if problem is None else problem


def size_problem(new_count: int, old_der: bytes, *, shrink: float, growth: float) -> CRLProblem | None:
    """Return a problem for a CRL that lost more than `shrink` of its entries, or has more than `growth` times as many.

    A growth of 0 is no limit. A hundred entries may always go and a hundred thousand may always come.
    """
    old_count = peek_crl(old_der).summary().entries
    counts = f"it has {new_count} entries, the published one {old_count}"
    if old_count - new_count > max(SHRINK_FREE, shrink * old_count):
        return CRLProblem(Rule.SIZE, f"{counts}: too few under CRL_SHRINK_LIMIT")
    if growth and new_count - old_count > GROWTH_FREE and new_count > growth * old_count:
        return CRLProblem(Rule.SIZE, f"{counts}: too many under CRL_GROWTH_LIMIT")
    return None


def _problems(
    new: ReadCRL, old: ReadCRL | None, issuer_cert: bytes, expected: Expected, now: int
) -> Iterator[CRLProblem]:
    ca = CAFacts.of(issuer_cert)
    yield from rules.version_problems(new)
    yield from _delta_problems(new, expected)
    yield from rules.issuer_problems(new, ca, is_ours=True)
    yield from rules.key_usage_problems(ca)
    yield from rules.signature_problems(new, ca)
    yield from rules.window_problems(new, now)
    yield from rules.number_problems(new)
    if old is not None:
        yield from rules.succession_problems(new, PreviousCRL(old.number, old.this_update))
    yield from rules.distribution_point_problems(new, expected.scope)
    yield from _critical_problems(new, expected)
    yield from rules.entry_problems(new, expected.revoked_count)
    if old is not None and expected.released is not None:
        yield from rules.vanished_problems(new, old, expected.released)


def _delta_problems(new: ReadCRL, expected: Expected) -> Iterator[CRLProblem]:
    if new.base_number != expected.base_number:
        found = "no delta CRL" if new.base_number is None else f"a delta CRL on {new.base_number}"
        yield CRLProblem(Rule.BASE, f"it is {found}; the expected base is {expected.base_number}")
    if new.freshest != (() if expected.freshest_url is None else (expected.freshest_url,)):
        found = " ".join(new.freshest) or "nowhere"
        yield CRLProblem(Rule.FRESHEST, f"it names its delta at {found}, not at {expected.freshest_url}")


def _critical_problems(new: ReadCRL, expected: Expected) -> Iterator[CRLProblem]:
    """Exactly these are critical: others make clients refuse the CRL, and too few make them misread it."""
    wanted = {
        "issuing_distribution_point": expected.scope.is_said,
        "delta_crl_indicator": expected.base_number is not None,
    }
    critical = {name for name, is_wanted in wanted.items() if is_wanted}
    if new.critical != critical:
        yield CRLProblem(Rule.FORM, f"its critical extensions are {sorted(new.critical)}, not {sorted(critical)}")
