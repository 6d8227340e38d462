"""When a CRL is acceptable: every rule once, for the CRLs that are made here and for those of other CAs.

RFC 5280 5.1, 5.2, 6.3.3. A check yields the problems that it finds, in order. The publish gate and the validation of
mirrored CRLs choose from these checks and stop at the first problem. Pure: parsed values and the time in.
"""

from asyncio import CancelledError
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.serialization import load_der_public_key

from _fastocsp.crl.fields import Scope
from cachewarm.crl.build import NUMBER_LIMIT
from cachewarm.crl.parse import EntrySummary, ReadCRL, peek_crl
from responder.domain.certificate import key_hash, may_sign_crls, read_facts
from responder.domain.signature import is_signed_by

#: Raised by the caller's side, not by a parser: these always propagate.
ENDING = (KeyboardInterrupt, SystemExit, GeneratorExit, CancelledError)
#: Extensions that are processed here, so that it does not matter whether they are critical.
UNDERSTOOD = frozenset(
    {"issuing_distribution_point", "delta_crl_indicator", "authority_key_identifier", "crl_number", "freshest_crl"}
)
_V1, _V2 = 0, 1
_OPENSSL_HINT = "with `openssl ca`, set crlnumber and crl_extensions in its configuration"
_FLAGS = ("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl")
_PARTS: dict[str, set[str]] = {"all": set(), "user": {"only_contains_user_certs"}, "ca": {"only_contains_ca_certs"}}


class Rule(StrEnum):
    """Which rule a CRL broke; the values are in metrics and events and never change."""

    FORM = "form"
    SIGNATURE = "signature"
    ISSUER = "issuer"
    KEY_USAGE = "key usage"
    NUMBER = "number"
    WINDOW = "window"
    DISTRIBUTION_POINT = "distribution point"
    SCOPE = "scope"
    ENTRIES = "entries"
    BASE = "base"
    FRESHEST = "freshest CRL"
    SIZE = "size"
    PREVIOUS = "previous"
    VANISHED = "vanished"


@dataclass(frozen=True, slots=True)
class CRLProblem:
    """Why a CRL is not acceptable: the rule for the log and the metrics, a sentence for the operator."""

    rule: Rule
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


@dataclass(frozen=True)
class PreviousCRL:
    """The CRL that a new one follows; None everywhere for the first one.

    A complete CRL and its deltas share one sequence of numbers, so the number of the last delta counts too. `number` is
    None for a CRL without one, which is ordered by thisUpdate alone.
    """

    number: int | None = None
    this_update: int | None = None
    delta_number: int | None = None


@dataclass(frozen=True)
class CAFacts:
    """Fields of a CA's certificate that its CRLs are checked against; `may_sign_crls` is its keyUsage, if any."""

    subject_der: bytes
    key_identifier: bytes
    public_key: object
    may_sign_crls: bool

    @classmethod
    def of(cls, cert_der: bytes) -> "CAFacts":
        """Read the facts from the certificate's own bytes; its names need not be ones that `cryptography` parses."""
        certificate = asn1_x509.Certificate.load(cert_der, strict=True)
        spki = certificate["tbs_certificate"]["subject_public_key_info"]
        identifier = certificate.key_identifier_value
        facts = read_facts(cert_der)
        return cls(
            subject_der=facts.subject_der,
            key_identifier=key_hash(facts.key_bits) if identifier is None else identifier.native,
            public_key=load_der_public_key(spki.dump()),
            may_sign_crls=may_sign_crls(cert_der),
        )


def read_crl(der: bytes) -> ReadCRL | CRLProblem:
    """Parse the CRL in `der`, without checking anything but its form."""
    try:
        return peek_crl(der)
    except ValueError as error:
        return CRLProblem(Rule.FORM, f"it cannot be read: {error}")


def first_problem(checks: Iterable[CRLProblem]) -> CRLProblem | None:
    """Return the first problem of the checks, or None. An exception of a parser in a check is a problem of form."""
    try:
        return next(iter(checks), None)
    except ENDING:
        raise
    except BaseException as error:  # a panic in Rust is no Exception
        return CRLProblem(Rule.FORM, f"it cannot be read: {type(error).__name__}: {error}")


def version_problems(crl: ReadCRL) -> Iterator[CRLProblem]:
    """Yield a problem unless it is version 2 (RFC 5280 5.1.2.1)."""
    if crl.version == _V1:
        yield CRLProblem(
            Rule.FORM, f"it is a v1 CRL, which has no CRL number (RFC 5280 5.1.2.1, 5.2.3); {_OPENSSL_HINT}"
        )
    elif crl.version != _V2:
        yield CRLProblem(Rule.FORM, f"its version is v{crl.version + 1}: only v2 is allowed (RFC 5280 5.1.2.1)")


def issuer_problems(crl: ReadCRL, ca: CAFacts, *, is_ours: bool) -> Iterator[CRLProblem]:
    """Yield problems of the issuer's name and of the authority key identifier.

    A CRL made here has both byte for byte. Other CAs may use another string type (RFC 5280 7.1) or leave the key
    identifier out.
    """
    subject = ca.subject_der
    if crl.issuer_der != subject and (is_ours or not _same_name(crl.issuer_der, subject)):
        yield CRLProblem(Rule.ISSUER, f"its issuer is {_name_text(crl.issuer_der)}, not {_name_text(subject)}")
    if crl.authority_key_identifier != ca.key_identifier and (is_ours or crl.authority_key_identifier is not None):
        yield CRLProblem(Rule.ISSUER, "its authority key identifier is not the CA's key identifier")


def key_usage_problems(ca: CAFacts) -> Iterator[CRLProblem]:
    """Yield a problem when the CA's certificate does not allow it to sign CRLs (RFC 5280 4.2.1.3, 6.3.3 f)."""
    if not ca.may_sign_crls:
        yield CRLProblem(
            Rule.KEY_USAGE, "the keyUsage of the CA's certificate has no cRLSign: verifiers reject every CRL of this CA"
        )


def signature_problems(crl: ReadCRL, ca: CAFacts) -> Iterator[CRLProblem]:
    """Yield a problem unless the CA's key signed it, with a hash that is collision-resistant."""
    if crl.signature_algorithm != crl.inner_signature_algorithm:
        yield CRLProblem(Rule.SIGNATURE, "it names two signature algorithms")
    tbs = cast("bytes", crl.tbs)  # a memoryview, which every verifier takes
    if not is_signed_by(ca.public_key, crl.signature_algorithm, crl.signature, tbs):
        yield CRLProblem(Rule.SIGNATURE, "its signature does not verify under the CA's key")


def window_problems(crl: ReadCRL, now: int, *, skew_s: int = 0) -> Iterator[CRLProblem]:
    """Yield a problem unless `now` is between thisUpdate (less `skew_s`) and nextUpdate; epoch seconds."""
    if crl.this_update > now + skew_s:
        yield CRLProblem(Rule.WINDOW, f"its thisUpdate is {crl.this_update - now} s in the future")
    if crl.this_update < 0:
        yield CRLProblem(Rule.WINDOW, "its thisUpdate is before 1970")
    if crl.next_update is None:
        yield CRLProblem(Rule.WINDOW, "it has no nextUpdate")
    elif crl.next_update <= now:
        yield CRLProblem(Rule.WINDOW, f"it expired {now - crl.next_update} s ago")


def number_problems(crl: ReadCRL, *, accept_none: bool = False) -> Iterator[CRLProblem]:
    """Yield a problem unless its CRL number is one of RFC 5280 5.2.3; with `accept_none` it may have none."""
    if crl.number is None:
        if not accept_none:
            yield CRLProblem(
                Rule.NUMBER,
                f"it has no CRL number (RFC 5280 5.2.3); {_OPENSSL_HINT}; if the CA cannot number its CRLs:"
                " `fastocsp issuer add` with --accept-unnumbered",
            )
    elif crl.number < 0:
        yield CRLProblem(Rule.NUMBER, f"its CRL number is negative: {crl.number}")
    elif crl.number >= NUMBER_LIMIT:
        yield CRLProblem(Rule.NUMBER, "its CRL number has more than 20 bytes (RFC 5280 5.2.3)")


def succession_problems(crl: ReadCRL, previous: PreviousCRL) -> Iterator[CRLProblem]:
    """Yield a problem unless the CRL is newer than the previous one."""
    if crl.number is not None:
        last = max((each for each in (previous.number, previous.delta_number) if each is not None), default=-1)
        if crl.number < last:
            yield CRLProblem(Rule.NUMBER, f"its number {crl.number} is below {last}, the number of an earlier CRL")
        if crl.number == previous.number:
            yield CRLProblem(
                Rule.NUMBER, f"it is another CRL of number {crl.number}: one number, one CRL (RFC 5280 5.2.3)"
            )
    if previous.this_update is not None and crl.this_update < previous.this_update:
        yield CRLProblem(Rule.WINDOW, "its thisUpdate is before that of the earlier CRL")


def delta_problems(delta: ReadCRL, previous: PreviousCRL) -> Iterator[CRLProblem]:
    """Yield a problem unless the delta belongs to that complete CRL (RFC 5280 5.2.4, 6.3.3 c)."""
    number, base = delta.number, delta.base_number
    if number is None or base is None or previous.number is None or previous.this_update is None:
        yield CRLProblem(Rule.BASE, f"delta {number} is based on {base}; the complete CRL has number {previous.number}")
        return
    if base > previous.number:
        yield CRLProblem(Rule.BASE, f"delta {number} is based on {base}; the complete CRL has number {previous.number}")
        return
    if number < max(previous.number, previous.delta_number or 0):
        yield CRLProblem(Rule.NUMBER, f"delta {number} is older than the CRLs before it")
    if number == previous.delta_number:
        yield CRLProblem(Rule.NUMBER, f"it is another delta of number {number}")
    if delta.this_update < previous.this_update:
        yield CRLProblem(Rule.WINDOW, "its thisUpdate is before that of the complete CRL")


def kind_problems(crl: ReadCRL, *, is_delta: bool) -> Iterator[CRLProblem]:
    """Yield a problem for a delta CRL where a complete one is wanted, and for the reverse."""
    if is_delta != (crl.base_number is not None):
        yield CRLProblem(Rule.BASE, "it is no delta CRL" if is_delta else f"it is a delta CRL on {crl.base_number}")


def critical_problems(crl: ReadCRL, allowed: frozenset[str] = UNDERSTOOD) -> Iterator[CRLProblem]:
    """Yield a problem for critical extensions that are not among `allowed` (RFC 5280 5.2)."""
    if unknown := crl.critical - allowed:
        yield CRLProblem(Rule.FORM, f"critical extensions that are not understood: {', '.join(sorted(unknown))}")


def coverage_problems(crl: ReadCRL, crl_scope: str) -> Iterator[CRLProblem]:
    """Yield a problem when the CRL covers less than the issuer's `crl_scope`: it would not show who is good."""
    if set(crl.scope) - _PARTS[crl_scope]:
        part = ", ".join(crl.scope)
        yield CRLProblem(Rule.SCOPE, f"it covers a part only ({part}); the issuer's --crl-scope is {crl_scope}")


def distribution_point_problems(crl: ReadCRL, expected: Scope) -> Iterator[CRLProblem]:
    """Yield a problem unless its issuing distribution point is the expected one, URL byte for byte (RFC 5280 5.2.5)."""
    urls = () if expected.url is None else (expected.url,)
    if crl.urls != urls or crl.has_distribution_point != expected.is_said:
        found = " ".join(crl.urls) or "no URL"
        yield CRLProblem(Rule.DISTRIBUTION_POINT, f"its distribution point has {found}, not {expected.url or 'none'}")
    wanted = (expected.only_user_certs, expected.only_ca_certs, expected.indirect_crl)
    flags = {name for name, is_set in zip(_FLAGS, wanted, strict=True) if is_set}
    if set(crl.scope) != flags:
        found = ", ".join(crl.scope) or "everything"
        yield CRLProblem(
            Rule.DISTRIBUTION_POINT, f"its scope is {found}, not {', '.join(sorted(flags)) or 'everything'}"
        )


def entry_problems(crl: ReadCRL, summary: EntrySummary, revoked_count: int | None) -> Iterator[CRLProblem]:
    """Yield problems of the entries of a CRL made here; `revoked_count` is the ledger's count, None when unknown."""
    if revoked_count is not None and summary.entries != revoked_count:
        yield CRLProblem(Rule.ENTRIES, f"it has {summary.entries} entries, the ledger {revoked_count}")
    if summary.distinct != summary.entries:
        yield CRLProblem(Rule.ENTRIES, "it has a serial number twice")
    if summary.unnameable:
        yield CRLProblem(Rule.ENTRIES, "it has a serial number that no certificate can have")
    if summary.latest > crl.this_update:
        yield CRLProblem(Rule.ENTRIES, "it has an entry revoked after its thisUpdate")


def _same_name(one_der: bytes, other_der: bytes) -> bool:
    """RFC 5280 7.1: other string types and spaces are the same name."""
    return bool(asn1_x509.Name.load(one_der) == asn1_x509.Name.load(other_der))


def _name_text(name_der: bytes) -> str:
    return str(asn1_x509.Name.load(name_der).human_friendly)
