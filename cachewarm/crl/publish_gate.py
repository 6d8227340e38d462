"""The last look at a CRL before it is published: refuse rather than publish what a client could not use.

It trusts nothing of the builder: the DER is read back by another library, its signature verified, and every field that
a client or the next CRL depends on compared with what it must be. RFC 5280 5.1, 5.2; BR 7.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from cachewarm.authority.certificate import key_identifier
from cachewarm.crl.build import NUMBER_LIMIT
from cachewarm.crl.read import ReadCRL, peek_crl
from responder.domain.certificate import read_facts, read_public_key
from responder.domain.signature import verifier

_V2 = 1


class Rule(StrEnum):
    """Which rule a CRL broke."""

    FORM = "form"
    SIGNATURE = "signature"
    ISSUER = "issuer"
    NUMBER = "number"
    WINDOW = "window"
    DISTRIBUTION_POINT = "distribution point"
    ENTRIES = "entries"
    PREVIOUS = "previous"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a CRL is not published: the rule for the log and the metrics, a sentence for the person who is paged."""

    rule: Rule
    text: str


def gate(
    new_der: bytes, old_der: bytes | None, issuer_cert: bytes, *, now: int, crl_url: str | None, revoked_count: int
) -> Refusal | None:
    """None when the CRL may replace the old one, else the first rule it breaks; never raises for any octets.

    `revoked_count` is counted in the ledger apart from the entries: a CRL that lost some, or all, does not get out.
    """
    try:
        new = peek_crl(new_der)
    except ValueError as error:
        return Refusal(Rule.FORM, f"the new CRL does not parse: {error}")
    try:
        old = None if old_der is None else peek_crl(old_der)
    except ValueError as error:
        return Refusal(Rule.PREVIOUS, f"the published CRL does not parse ({error}): delete its row, a new one is made")
    return next(_refusals(new, old, issuer_cert, now=now, crl_url=crl_url, revoked_count=revoked_count), None)


def _refusals(
    new: ReadCRL, old: ReadCRL | None, issuer_cert: bytes, *, now: int, crl_url: str | None, revoked_count: int
) -> Iterator[Refusal]:
    yield from _form(new)
    yield from _signature(new, issuer_cert)
    yield from _window(new, old, now)
    yield from _number(new, old)
    yield from _distribution_point(new, crl_url)
    yield from _entries(new, revoked_count)


def _form(new: ReadCRL) -> Iterator[Refusal]:
    if new.version != _V2:
        yield Refusal(Rule.FORM, "the new CRL is not version 2")
    if new.is_delta:
        yield Refusal(Rule.FORM, "the new CRL is a delta CRL")


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


def _distribution_point(new: ReadCRL, crl_url: str | None) -> Iterator[Refusal]:
    expected = () if crl_url is None else (crl_url,)
    if new.urls != expected or new.has_distribution_point != bool(expected):
        said = " ".join(new.urls) or "nothing"
        yield Refusal(Rule.DISTRIBUTION_POINT, f"the new CRL's distribution point says {said}, not {crl_url}")
    if new.scope:
        yield Refusal(Rule.DISTRIBUTION_POINT, f"the new CRL is not complete: {', '.join(new.scope)}")
    if new.critical != ({"issuing_distribution_point"} if expected else set()):
        yield Refusal(Rule.DISTRIBUTION_POINT, "of a CRL's extensions the issuing distribution point alone is critical")


def _entries(new: ReadCRL, revoked_count: int) -> Iterator[Refusal]:
    try:
        _ = new.entries
    except ValueError as error:
        yield Refusal(Rule.ENTRIES, f"an entry of the new CRL does not parse: {error}")
        return
    if len(new.entries) != revoked_count:
        yield Refusal(Rule.ENTRIES, f"the new CRL has {len(new.entries)} entries, the ledger {revoked_count}")
    if len({entry.serial for entry in new.entries}) != len(new.entries):
        yield Refusal(Rule.ENTRIES, "the new CRL has a serial number twice")
    if any(entry.revoked_at > new.this_update for entry in new.entries):
        yield Refusal(Rule.ENTRIES, "the new CRL has an entry revoked after its thisUpdate")
