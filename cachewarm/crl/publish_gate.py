"""The last check of a CRL before it is published: refuse rather than publish what a client could not use.

The gate does not trust the builder. Other libraries read the DER back and verify its signature, and every field that a
client or the next CRL depends on is compared with what it must be. RFC 5280 5.1, 5.2; BR 7.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from _fastocsp.crl.entry_reader import entries_of
from _fastocsp.crl.fields import Scope
from cachewarm.crl import rules
from cachewarm.crl.comparison import Difference
from cachewarm.crl.parse import ReadCRL
from cachewarm.crl.rules import CAFacts, CRLProblem, PreviousCRL, Rule

#: Entries that may always go, and that may always come.
SHRINK_FREE, GROWTH_FREE = 100, 100_000


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Contents that a new CRL must have.

    `revoked_count` is counted in the ledger apart from the entries, so a CRL that lost some is refused. It is None
    where nothing was counted. `since` is how the entries differ from those of the CRL that it replaces, None where they
    are not compared; of these only the serials in `released` may be gone.
    """

    scope: Scope
    base_number: int | None = None
    freshest_url: str | None = None
    revoked_count: int | None = None
    since: Difference | None = None
    released: frozenset[bytes] = frozenset()


def gate(
    new_der: bytes, old: PreviousCRL | None, issuer_cert: bytes, expected: Expected, *, now: int
) -> CRLProblem | int:
    """Return the number of entries of a CRL that may replace the old one, or the first problem. Never raises."""
    new = rules.read_crl(new_der)
    if isinstance(new, CRLProblem):
        return new
    problem = rules.first_problem(_problems(new, old, issuer_cert, expected, now))
    if problem is not None:
        return problem
    try:
        summary = new.summary()
    except ValueError as error:
        return CRLProblem(Rule.ENTRIES, f"an entry cannot be read: {error}")
    problem = rules.first_problem(rules.entry_problems(new, summary, expected.revoked_count))
    return summary.entries if problem is None else problem


def size_problem(new_count: int, old_count: int, *, shrink: float, growth: float) -> CRLProblem | None:
    """Return a problem for a CRL that lost more than `shrink` of its entries, or has more than `growth` times as many.

    A growth of 0 is no limit. A hundred entries may always go and a hundred thousand may always come.
    """
    counts = f"it has {new_count} entries, the published one {old_count}"
    if old_count - new_count > max(SHRINK_FREE, shrink * old_count):
        return CRLProblem(Rule.SIZE, f"{counts}: too few under CRL_SHRINK_LIMIT")
    if growth and new_count - old_count > GROWTH_FREE and new_count > growth * old_count:
        return CRLProblem(Rule.SIZE, f"{counts}: too many under CRL_GROWTH_LIMIT")
    return None


def _problems(
    new: ReadCRL, old: PreviousCRL | None, issuer_cert: bytes, expected: Expected, now: int
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
        yield from rules.succession_problems(new, old)
    yield from rules.distribution_point_problems(new, expected.scope)
    yield from _critical_problems(new, expected)
    if expected.since is not None:
        yield from _comparison_problems(new, expected.since, expected.released)


def _delta_problems(new: ReadCRL, expected: Expected) -> Iterator[CRLProblem]:
    if new.base_number != expected.base_number:
        found = "no delta CRL" if new.base_number is None else f"a delta CRL on {new.base_number}"
        yield CRLProblem(Rule.BASE, f"it is {found}; the expected base is {expected.base_number}")
    if new.freshest != (() if expected.freshest_url is None else (expected.freshest_url,)):
        found = " ".join(new.freshest) or "nowhere"
        yield CRLProblem(Rule.FRESHEST, f"it names its delta at {found}, not at {expected.freshest_url}")


def _comparison_problems(new: ReadCRL, since: Difference, released: frozenset[bytes]) -> Iterator[CRLProblem]:
    if sha256(entries_of(new.der)).digest() != since.entries_sha256:
        yield CRLProblem(Rule.ENTRIES, "its entries are not those that were compared with the published CRL")
    lost = [entry[0] for entry in since.gone if entry[0] not in released]
    if lost:
        yield CRLProblem(
            Rule.VANISHED,
            f"{len(lost)} entries of the published CRL are gone without release or expiry, such as {lost[0].hex()}",
        )


def _critical_problems(new: ReadCRL, expected: Expected) -> Iterator[CRLProblem]:
    """Exactly these are critical: others make clients refuse the CRL, and too few make them misread it."""
    wanted = {
        "issuing_distribution_point": expected.scope.is_said,
        "delta_crl_indicator": expected.base_number is not None,
    }
    critical = {name for name, is_wanted in wanted.items() if is_wanted}
    if new.critical != critical:
        yield CRLProblem(Rule.FORM, f"its critical extensions are {sorted(new.critical)}, not {sorted(critical)}")
