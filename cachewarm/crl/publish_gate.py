"""The last look at a CRL before it is published: refuse rather than publish what a client could not use.

It trusts nothing of the builder: the DER is read back by another library, its signature verified, and every field that
a client or the next CRL depends on compared with what it must be. RFC 5280 5.1, 5.2; BR 7.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from _fastocsp.crl.fields import Scope
from _fastocsp.wire.codes import MAX_SERIAL
from cachewarm.ca.certificate import key_identifier
from cachewarm.crl.build import NUMBER_LIMIT
from cachewarm.crl.parse import ReadCRL, peek_crl
from responder.domain.certificate import read_facts, read_public_key
from responder.domain.signature import verifier

_V2 = 1
_CRITICAL = ("issuing_distribution_point", "delta_crl_indicator")
#: So many entries may always go, and so many come.
SHRINK_FREE, GROWTH_FREE = 100, 100_000


class Rule(StrEnum):
    """Which rule a CRL broke."""

    FORM = "form"
    SIGNATURE = "signature"
    ISSUER = "issuer"
    NUMBER = "number"
    WINDOW = "window"
    DISTRIBUTION_POINT = "distribution point"
    ENTRIES = "entries"
    BASE = "base"
    FRESHEST = "freshest CRL"
    SIZE = "size"
    PREVIOUS = "previous"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a CRL is not published: the rule for the log and the metrics, a sentence for the person who is paged."""

    rule: Rule
    text: str


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a new CRL must say. `revoked_count` is counted in the ledger apart from the entries: a CRL that lost some,
    or all, does not get out; None where nobody has counted.
    """

    scope: Scope
    base_number: int | None = None
    freshest_url: str | None = None
    revoked_count: int | None = None


def gate(new_der: bytes, old_der: bytes | None, issuer_cert: bytes, expected: Expected, *, now: int) -> Refusal | int:
    """How many entries the CRL has when it may replace the old one, else the first rule it breaks; never raises."""
    try:
        new = peek_crl(new_der)
    except ValueError as error:
        return Refusal(Rule.FORM, f"the new CRL does not parse: {error}")
    try:
        old = None if old_der is None else peek_crl(old_der)
    except ValueError as error:
        return Refusal(Rule.PREVIOUS, f"the published CRL does not parse ({error}): delete its row, a new one is made")
    refusal = next(_refusals(new, old, issuer_cert, expected, now), None)
    if refusal is not None:
        return refusal
    return _entries(new, expected.revoked_count)


def size_refusal(new_count: int, old_der: bytes, *, shrink: float, growth: float) -> Refusal | None:
    """A CRL that lost more than that part of its entries, or has that many times as many, is for a person to look at.

    A growth of 0 is no limit; a hundred entries may always go and a hundred thousand come: small CRLs change much.
    """
    old_count = peek_crl(old_der).listed().entries
    said = f"the new CRL has {new_count} entries, the published one {old_count}"
    if old_count - new_count > max(SHRINK_FREE, shrink * old_count):
        return Refusal(
            Rule.SIZE,
            f"{said}: too few under CRL_SHRINK_LIMIT",
        )
    if growth and new_count - old_count > GROWTH_FREE and new_count > growth * old_count:
        return Refusal(
            Rule.SIZE,
            f"{said}: too many under CRL_GROWTH_LIMIT",
        )
    return None


def _refusals(new: ReadCRL, old: ReadCRL | None, issuer_cert: bytes, expected: Expected, now: int) -> Iterator[Refusal]:
    yield from _form(new, expected)
    yield from _signature(new, issuer_cert)
    yield from _window(new, old, now)
    yield from _number(new, old)
    yield from _scope(new, expected.scope)
    yield from _critical(new, expected)


def _form(new: ReadCRL, expected: Expected) -> Iterator[Refusal]:
    if new.version != _V2:
        yield Refusal(Rule.FORM, "the new CRL is not version 2")
    if new.base_number != expected.base_number:
        said = "no delta CRL" if new.base_number is None else f"a delta CRL on {new.base_number}"
        yield Refusal(Rule.BASE, f"the new CRL is {said}, wanted was a base of {expected.base_number}")
    if new.freshest != (() if expected.freshest_url is None else (expected.freshest_url,)):
        said = " ".join(new.freshest) or "nothing"
        yield Refusal(Rule.FRESHEST, f"the new CRL says its delta is at {said}, not {expected.freshest_url}")


def _signature(new: ReadCRL, issuer_cert: bytes) -> Iterator[Refusal]:
    if new.issuer_der != read_facts(issuer_cert).subject_der:
        yield Refusal(Rule.ISSUER, "the new CRL's issuer is not, octet for octet, the CA's subject")
    if new.authority_key_identifier != key_identifier(x509.load_der_x509_certificate(issuer_cert)):
        yield Refusal(Rule.ISSUER, "the new CRL's authority key identifier is not the CA's key identifier")
    if new.signature_algorithm != new.inner_signature_algorithm:
        yield Refusal(Rule.SIGNATURE, "the new CRL names two signature algorithms")
    try:
        verifier(read_public_key(issuer_cert))(new.signature, new.tbs)
    except InvalidSignature:
        yield Refusal(Rule.SIGNATURE, "the new CRL's signature does not verify under the CA's key")


def _window(new: ReadCRL, old: ReadCRL | None, now: int) -> Iterator[Refusal]:
    if new.this_update > now:
        yield Refusal(Rule.WINDOW, f"the new CRL's thisUpdate lies {new.this_update - now} s in the future")
    if new.next_update is None or new.next_update <= now:
        yield Refusal(Rule.WINDOW, "the new CRL's nextUpdate is missing or past")
    if old is not None and new.this_update < old.this_update:
        yield Refusal(Rule.WINDOW, "the new CRL's thisUpdate lies before that of the published one")


def _number(new: ReadCRL, old: ReadCRL | None) -> Iterator[Refusal]:
    if new.number is None or not 0 <= new.number < NUMBER_LIMIT:
        yield Refusal(Rule.NUMBER, "the new CRL has no CRL number, or an impossible one")
    elif old is not None and old.number is not None and new.number <= old.number:
        yield Refusal(Rule.NUMBER, f"CRL number {new.number} does not follow {old.number}")


def _scope(new: ReadCRL, expected: Scope) -> Iterator[Refusal]:
    urls = () if expected.url is None else (expected.url,)
    if new.urls != urls or new.has_distribution_point != expected.is_said:
        said = " ".join(new.urls) or "nothing"
        yield Refusal(Rule.DISTRIBUTION_POINT, f"the new CRL's distribution point says {said}, not {expected.url}")
    flags = {name for name, said in zip(_FLAGS, _flags_of(expected), strict=True) if said}
    if set(new.scope) != flags:
        said = ", ".join(new.scope) or "everything"
        yield Refusal(Rule.DISTRIBUTION_POINT, f"the new CRL's scope is {said}, not {', '.join(flags) or 'everything'}")


def _critical(new: ReadCRL, expected: Expected) -> Iterator[Refusal]:
    said = (expected.scope.is_said, expected.base_number is not None)
    critical = {name for name, wanted in zip(_CRITICAL, said, strict=True) if wanted}
    if new.critical != critical:
        yield Refusal(Rule.FORM, f"critical in the new CRL are {sorted(new.critical)}, not {sorted(critical)}")


_FLAGS = ("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl")


def _flags_of(scope: Scope) -> tuple[bool, bool, bool]:
    return scope.only_user_certs, scope.only_ca_certs, scope.indirect_crl


def _entries(new: ReadCRL, revoked_count: int | None) -> Refusal | int:
    try:
        listed = new.listed()
    except ValueError as error:
        return Refusal(Rule.ENTRIES, f"an entry of the new CRL does not parse: {error}")
    if revoked_count is not None and listed.entries != revoked_count:
        return Refusal(Rule.ENTRIES, f"the new CRL has {listed.entries} entries, the ledger {revoked_count}")
    if listed.distinct != listed.entries:
        return Refusal(Rule.ENTRIES, "the new CRL has a serial number twice")
    if listed.smallest < 0 or listed.largest >= 1 << (8 * MAX_SERIAL):
        return Refusal(Rule.ENTRIES, "the new CRL has a serial number that no certificate can have")
    if listed.latest > new.this_update:
        return Refusal(Rule.ENTRIES, "the new CRL has an entry revoked after its thisUpdate")
    return listed.entries
