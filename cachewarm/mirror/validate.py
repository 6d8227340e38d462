"""Decide whether a CRL may replace the one that is mirrored: RFC 5280 5.1, 5.2, 6.3.3.

The CRL must cover what the issuer's `crl_scope` says: one that covers a part of the certificates does not show that the
others are good. Nothing of it is used before it has passed. Pure: bytes, facts and the time in.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from _fastocsp.crl.entry_reader import EntryReader
from _fastocsp.wire.errors import WireError
from cachewarm.crl import rules
from cachewarm.crl.parse import ReadCRL
from cachewarm.crl.rules import CAFacts, CRLProblem, PreviousCRL, Rule
from cachewarm.mirror.pem import crls_in

#: The clocks of a CA and of this host may differ by so many seconds.
SKEW_S = 300


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """Rules by which CRLs of an issuer are accepted.

    scope               what they must cover: "all", "user" or "ca"
    accept_unnumbered   CRLs without a number are ordered by thisUpdate
    accept_renumbered   this once, a number below the last one is accepted, if thisUpdate is later
    """

    scope: str = "all"
    accept_unnumbered: bool = False
    accept_renumbered: bool = False


@dataclass(frozen=True, kw_only=True)
class ValidatedCRL:
    """A CRL that passed; times in epoch seconds.

    number     its CRL number, or its thisUpdate for a CRL without a number
    entries    entries that a CertID can name
    latest     the latest revocation time that its rows may have
    remarks    what was skipped or left out of entries; None when nothing was
    """

    read: ReadCRL
    number: int
    next_update: int
    entries: int
    skipped: int
    latest: int
    remarks: str | None

    @property
    def der(self) -> bytes:
        """DER of the CRL."""
        return self.read.der

    def rows(self) -> EntryReader:
        """Return a new reader of its entries."""
        return EntryReader(self.read.der, self.latest, self.read.base_number is not None)


def choose_crl(body: bytes, issuer_cert: bytes, *, is_delta: bool = False) -> ReadCRL | CRLProblem:
    """Return the newest CRL of the issuer and kind in what a source sent; else the first one there, to be refused."""
    found = crls_in(body)
    if isinstance(found, CRLProblem):
        return found
    read = [rules.read_crl(der) for der in found]
    ca = CAFacts.of(issuer_cert)
    ours = [each for each in read if isinstance(each, ReadCRL) and _is_of(each, ca)]
    if not ours:
        return read[0]
    return max(ours, key=lambda each: ((each.base_number is not None) is is_delta, each.this_update, each.number or 0))


def validate(
    read: ReadCRL, issuer_cert: bytes, accepted: Acceptance, previous: PreviousCRL, *, now: int
) -> ValidatedCRL | CRLProblem:
    """Return the complete CRL when it may replace the previous one, else the first problem."""
    checks = (*_checks(read, issuer_cert, accepted, now, is_delta=False), _succession(read, previous, accepted))
    return _first(checks) or _with_entries(read, now)


def validate_delta(
    read: ReadCRL, issuer_cert: bytes, accepted: Acceptance, previous: PreviousCRL, *, now: int
) -> ValidatedCRL | CRLProblem:
    """Return the delta CRL when it belongs to the complete one `previous`, else the first problem."""
    checks = (*_checks(read, issuer_cert, accepted, now, is_delta=True), rules.delta_problems(read, previous))
    return _first(checks) or _with_entries(read, now)


def validate_alone(
    der: bytes, issuer_cert: bytes, accepted: Acceptance, *, now: int, is_delta: bool = False
) -> ValidatedCRL | CRLProblem:
    """Return the CRL in `der`, whatever was before it, or the first problem."""
    read = rules.read_crl(der)
    if isinstance(read, CRLProblem):
        return read
    return _first(_checks(read, issuer_cert, accepted, now, is_delta=is_delta)) or _with_entries(read, now)


def _is_of(read: ReadCRL, ca: CAFacts) -> bool:
    return rules.first_problem(rules.issuer_problems(read, ca, is_ours=False)) is None


def _checks(
    read: ReadCRL, issuer_cert: bytes, accepted: Acceptance, now: int, *, is_delta: bool
) -> tuple[Iterator[CRLProblem], ...]:
    ca = CAFacts.of(issuer_cert)
    return (
        rules.version_problems(read),
        rules.issuer_problems(read, ca, is_ours=False),
        rules.key_usage_problems(ca),
        rules.signature_problems(read, ca),
        rules.number_problems(read, accept_none=accepted.accept_unnumbered and not is_delta),
        rules.kind_problems(read, is_delta=is_delta),
        rules.critical_problems(read),
        rules.window_problems(read, now, skew_s=SKEW_S),
        rules.coverage_problems(read, accepted.scope),
    )


def _succession(read: ReadCRL, previous: PreviousCRL, accepted: Acceptance) -> Iterator[CRLProblem]:
    """Yield a problem unless the CRL is newer: by its number and by thisUpdate, or by thisUpdate only."""
    was_unnumbered = previous.number is not None and previous.number == previous.this_update
    by_time = read.number is None or was_unnumbered or accepted.accept_renumbered
    if by_time and previous.this_update is not None and read.this_update <= previous.this_update:
        yield CRLProblem(
            Rule.WINDOW, "its thisUpdate is not after that of the earlier CRL, and nothing else orders them"
        )
    if not by_time:
        yield from rules.succession_problems(read, previous)


def _first(checks: tuple[Iterator[CRLProblem], ...]) -> CRLProblem | None:
    return next((problem for check in checks if (problem := rules.first_problem(check)) is not None), None)


def _with_entries(read: ReadCRL, now: int) -> ValidatedCRL | CRLProblem:
    """Read every entry once, before the first one is used."""
    assert read.next_update is not None
    latest = min(read.this_update, now)
    try:
        reader = EntryReader(read.der, latest, read.base_number is not None)
        while reader.read():
            pass
    except WireError as error:
        return CRLProblem(Rule.ENTRIES, f"an entry cannot be used: {error}")
    return ValidatedCRL(
        read=read,
        number=read.this_update if read.number is None else read.number,
        next_update=read.next_update,
        entries=reader.count,
        skipped=reader.skipped,
        latest=latest,
        remarks=_remarks(reader),
    )


def _remarks(reader: EntryReader) -> str | None:
    counts = {
        "entries skipped, serial number over 20 bytes": reader.skipped,
        "unreadable revocation times, replaced by thisUpdate": reader.times_replaced,
        "unknown reasons, replaced by unspecified": reader.reasons_replaced,
        "invalidity dates out of range, left out": reader.dates_dropped,
    }
    return "; ".join(f"{what}: {count}" for what, count in counts.items() if count) or None
