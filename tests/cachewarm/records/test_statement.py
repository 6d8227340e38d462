"""What may be stated of a certificate, decided without I/O: by the revoked set, the lease, the policy and the CRL."""

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from _fastocsp.ocsp.record import unpack_record
from _fastocsp.wire.codes import GOOD, NO_REASON, REVOKED, SHA1, UNKNOWN
from cachewarm.records.mint import unsigned_octets
from cachewarm.records.statement import SKEW_S, Moment, NoStatement, Statement, is_shared, statement_for
from responder.domain.crl_window import CRLWindow
from responder.domain.issuer import Issuer
from responder.domain.status import CRLReason, UnissuedPolicy
from responder.feed.machine import Position
from tests.cachewarm.conftest import NOW, house_of
from tests.support.ca import make_authority

DAY = 86400
SERIAL = b"\x42"
AT = Moment(NOW, NOW - 1, Position(1, 7, b""))


@dataclass(frozen=True)
class RevokedSet:
    """A revoked set with at most one certificate, and with or without a fence."""

    listed: tuple[int, int] | None = None
    is_fenced: bool = False

    def revoked(self, issuer_no: int, serial: bytes) -> tuple[int, int] | None:
        return self.listed

    def fenced(self, issuer_no: int) -> bool:
        return self.is_fenced


def signing(
    policy: UnissuedPolicy = UnissuedPolicy.UNAUTHORIZED,
    windows: tuple[CRLWindow, ...] | None = None,
    responder_ends: int = NOW + 30 * DAY,
) -> Any:
    """An issuer of that policy, with a responder certificate that ends then."""
    from cachewarm.keys.soft_key import KeyKind

    der = house_of(KeyKind.P256).chain[0].cert_der
    issuer = replace(Issuer.from_certificate(der, issuer_id="x", issuer_no=1, unissued_policy=policy), windows=windows)
    return SimpleNamespace(
        issuer=issuer, pair=SimpleNamespace(certificate=SimpleNamespace(not_after=responder_ends)), templates={}
    )


def stated(
    *,
    listed: tuple[int, int] | None = None,
    is_fenced: bool = False,
    not_after: int | None = NOW + 90 * DAY,
    at: Moment = AT,
    **signer: Any,
) -> Statement | NoStatement:
    """What statement_for returns."""
    return statement_for(RevokedSet(listed, is_fenced), signing(**signer), SERIAL, not_after, at, DAY)


def test_a_valid_certificate_is_good_as_of_the_lease() -> None:
    """ThisUpdate is the lease's time, and nextUpdate one validity later at most (BR 4.9.10)."""
    assert stated() == Statement(GOOD, NOW - 1, NOW - 1 + DAY, AT.position)


@pytest.mark.parametrize(("listed", "reason"), [((NOW - 9, 1), 1), ((NOW - 9, 0), NO_REASON)])
def test_a_revoked_certificate_is_revoked_without_a_lease(listed: tuple[int, int], reason: int) -> None:
    """The revoked set is read first; unspecified is stated as no reason (RFC 5280 5.3.1)."""
    at = AT._replace(as_of=None)
    assert stated(listed=listed, at=at) == Statement(REVOKED, NOW, NOW + DAY, AT.position, NOW - 9, reason)


@pytest.mark.parametrize("ahead", [1, SKEW_S])
def test_a_revocation_time_slightly_ahead_of_this_clock_is_stated_at_once(ahead: int) -> None:
    """The time is the ledger's, which the edges' gate compares; thisUpdate and producedAt are not before it."""
    found = stated(listed=(NOW + ahead, 1))
    assert isinstance(found, Statement)
    assert (found.status, found.this_update, found.revocation_time) == (REVOKED, NOW + ahead, NOW + ahead)
    template = make_authority().template(SHA1)
    record = unpack_record(unsigned_octets(found, template, NOW))
    assert (record.produced_at, record.this_update) == (NOW + ahead, NOW + ahead)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"not_after": NOW}, NoStatement.EXPIRED),
        ({"responder_ends": NOW - 1}, NoStatement.EXPIRED),
        ({"not_after": NOW, "listed": (NOW - 9, 1)}, NoStatement.EXPIRED),
        ({"at": AT._replace(as_of=None)}, NoStatement.NO_LEASE),
        ({"at": AT._replace(as_of=NOW + 2)}, NoStatement.CLOCK_BEHIND),
        ({"not_after": None}, NoStatement.NEVER_ISSUED),
        ({"listed": (NOW + SKEW_S + 1, 1)}, NoStatement.REVOKED_AHEAD),
        ({"windows": ()}, NoStatement.NO_CRL),
        ({"windows": (CRLWindow(NOW - 9, NOW, 1, 7),)}, NoStatement.NO_CRL),
        ({"windows": (CRLWindow(NOW - 9, NOW + 9, 1, 8),)}, NoStatement.NO_CRL),
    ],
)
def test_nothing_is_stated_without_ground(arguments: dict[str, Any], why: NoStatement) -> None:
    """Each reason by itself, so that a caller can tell the certificate's fault from its own."""
    assert stated(**arguments) is why


@pytest.mark.parametrize("not_after", [NOW + 90 * DAY, None])
@pytest.mark.parametrize("policy", list(UnissuedPolicy))
def test_nothing_but_a_revocation_is_stated_of_a_fenced_issuer(policy: UnissuedPolicy, not_after: int | None) -> None:
    """Whether the ledger knows the certificate or not: it may lack that it was issued, and that it was revoked."""
    assert stated(is_fenced=True, not_after=not_after, policy=policy) is NoStatement.FENCED
    found = stated(is_fenced=True, not_after=not_after, policy=policy, listed=(NOW - 9, 1))
    assert isinstance(found, Statement)
    assert (found.status, found.revocation_time) == (REVOKED, NOW - 9)


def test_good_is_cut_to_the_mirrored_crl() -> None:
    """ADR 0011: within the CRL's window, for a position of the feed that has its entries."""
    found = stated(windows=(CRLWindow(NOW - 60, NOW + 60, 1, 7),))
    assert found == Statement(GOOD, NOW - 60, NOW + 60, AT.position)


@pytest.mark.parametrize(
    ("policy", "status", "reason"),
    [
        (UnissuedPolicy.UNKNOWN, UNKNOWN, NO_REASON),
        (UnissuedPolicy.GOOD, GOOD, NO_REASON),
        (UnissuedPolicy.EXTENDED_REVOKE, REVOKED, CRLReason.certificateHold),
    ],
)
def test_a_serial_never_issued_follows_the_policy_and_is_not_storable(
    policy: UnissuedPolicy, status: int, reason: int
) -> None:
    """RFC 6960 2.2. It may be issued a second later."""
    found = stated(not_after=None, policy=policy)
    assert isinstance(found, Statement)
    assert (found.status, found.reason, found.revocation_time, found.storable) == (status, reason, 0, False)


def test_good_of_an_issuer_known_by_its_crl_alone_is_storable() -> None:
    """Its certificates are never entered here; revocations reach the gate all the same."""
    found = stated(not_after=None, policy=UnissuedPolicy.GOOD, windows=(CRLWindow(NOW - 60, NOW + 60, 1, 7),))
    assert isinstance(found, Statement)
    assert found.storable


@pytest.mark.parametrize(("not_after", "shared"), [(NOW + DAY, True), (NOW + DAY - 1, False)])
def test_good_is_shared_by_certificates_that_outlive_the_answer(not_after: int, shared: bool) -> None:
    """The signer caches by this rule: two shared certificates get the same statement."""
    assert is_shared(not_after, AT, DAY) == shared
    assert (stated(not_after=not_after) == stated(not_after=NOW + 90 * DAY)) or not shared
