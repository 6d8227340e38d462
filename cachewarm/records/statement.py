"""Decide what may be stated of a certificate now. Signer and warmer both decide here, so they cannot disagree.

The order is the safety: the revoked set is read first and needs no lease; a fence ends it for everything else; `good`
and `unknown` need a lease, and `good` a window of the mirrored CRL where there is one (ADR 0011). Sans I/O: time,
position and lease come in as a `Moment`, and nothing here waits, logs or signs. RFC 6960 2.2, 4.2.2.1.
"""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple, Protocol

from _fastocsp.ocsp.response import Template
from _fastocsp.wire.codes import GOOD, NO_REASON, REVOKED, UNKNOWN
from responder.domain.crl_window import heard_window
from responder.domain.issuer import Issuer
from responder.domain.status import CRLReason, UnissuedPolicy
from responder.domain.window import next_update
from responder.feed.machine import Position
from responder.feed.reports import is_blocking

#: A wall clock this many seconds before the lease's own time is not believed.
WALL_STEP_S = 1
#: A revocation time up to this many seconds ahead of this host's clock is stated at once: clocks of two hosts differ.
SKEW_S = 2


class Statement(NamedTuple):
    """A statement about a certificate, and until when it may be made at most.

    Times are epoch seconds; `reason` is NO_REASON unless revoked. Statements that are not storable are signed for one
    request and never written to Redis, since the certificate may be issued a second later.
    """

    status: int
    this_update: int
    next_update: int
    position: Position
    revocation_time: int = 0
    reason: int = NO_REASON
    extended_revoke: bool = False
    storable: bool = True


class NoStatement(Enum):
    """Why nothing may be stated of a certificate now."""

    EXPIRED = "the certificate or the responder certificate has expired"
    NEVER_ISSUED = "the certificate was never issued"
    NO_LEASE = "the feed has no lease"
    CLOCK_BEHIND = "the wall clock is behind the lease"
    REVOKED_AHEAD = "the revocation time is ahead of this host's clock"
    NO_CRL = "no mirrored CRL is valid now"
    ORPHAN = "an edge reported a revocation that the ledger lacks"
    FENCED = "the issuer is fenced: the ledger may lack revocations"


class Moment(NamedTuple):
    """One reading of what time decides: epoch seconds, those that `good` may be stated for (None: no lease), and the
    position of the feed. It stays valid as long as nothing is awaited.
    """

    now: int
    as_of: int | None
    position: Position


class RevokedSet(Protocol):
    """The part of the feed that statements are made of."""

    def revoked(self, issuer_no: int, serial: bytes) -> tuple[int, int] | None:
        """Return (revocation time, reason) of a certificate that is revoked, or only reported to be, else None."""
        ...

    def fenced(self, issuer_no: int) -> bool:
        """Return whether nothing but revocations may be stated of the issuer's certificates."""
        ...


class _Responder(Protocol):
    @property
    def not_after(self) -> int: ...


class _Pair(Protocol):
    @property
    def certificate(self) -> _Responder: ...


class Signer(Protocol):
    """An issuer with the responder that signs for it (records.keyring.Signing)."""

    @property
    def issuer(self) -> Issuer: ...  # noqa: D102
    @property
    def pair(self) -> _Pair: ...  # noqa: D102
    @property
    def templates(self) -> Mapping[int, Template]: ...  # noqa: D102


def statement_for(
    feed: RevokedSet, signing: Signer, serial: bytes, not_after: int | None, at: Moment, validity_s: float
) -> Statement | NoStatement:
    """Return what may be stated of a certificate, or why nothing may be.

    `not_after` is the certificate's, epoch seconds, None when it was never issued. A revocation time is stated as the
    ledger has it, since edges compare it with their own set. It is never after thisUpdate (RFC 6960 4.2.2.1): where
    this host's clock is behind the ledger's by up to SKEW_S, thisUpdate is the revocation time; further behind,
    nothing is stated.
    """
    listed = feed.revoked(signing.issuer.issuer_no, serial)
    if listed is not None:
        return _of_entry(listed, signing, not_after, at, validity_s)
    if feed.fenced(signing.issuer.issuer_no):
        return NoStatement.FENCED  # also of what was never issued: the ledger may lack that it was
    if not_after is None:
        return _unissued(signing, at, validity_s)
    return _of_lease(GOOD, signing, not_after, at, validity_s)


def _of_entry(
    listed: tuple[int, int], signing: Signer, not_after: int | None, at: Moment, validity_s: float
) -> Statement | NoStatement:
    if is_blocking(listed[1]):
        return NoStatement.ORPHAN  # a report revokes nothing, but nothing else may be stated either
    end = next_update(at.now, validity_s, not_after, signing.pair.certificate.not_after)
    if end is None:
        return NoStatement.EXPIRED
    if listed[0] > at.now + SKEW_S:
        return NoStatement.REVOKED_AHEAD
    return revoked(max(at.now, listed[0]), end, at.position, *listed)


def is_shared(not_after: int, at: Moment, validity_s: float) -> bool:
    """Return whether `good` is the same for every certificate of the issuer that ends at `not_after` or later."""
    return not_after >= at.now + validity_s


def revoked(now: int, end: int, position: Position, revocation_time: int, reason: int) -> Statement:
    """Return the statement that a certificate is revoked."""
    shown = NO_REASON if reason in (CRLReason.unspecified, NO_REASON) else reason
    return Statement(REVOKED, now, end, position, revocation_time, shown)


def clip_to_crl_window(issuer: Issuer, statement: Statement) -> Statement | None:
    """Return a `good` cut to the issuer's mirrored CRL, for the place of the feed that it was read at (ADR 0011).

    None when no CRL lets anybody state `good`. For an issuer without a mirror the statement is returned unchanged.
    """
    if issuer.windows is None:
        return statement
    window = heard_window(issuer.windows, statement.position.generation, statement.position.seq)
    if window is None:
        return None
    this_update = min(statement.this_update, window.this_update)
    end = min(statement.next_update, window.next_update)
    return statement._replace(this_update=this_update, next_update=end) if this_update < end else None


def _unissued(signing: Signer, at: Moment, validity_s: float) -> Statement | NoStatement:
    """RFC 6960 2.2: what is stated of a serial number that was never issued."""
    match signing.issuer.unissued_policy:
        case UnissuedPolicy.UNKNOWN:
            stated = _of_lease(UNKNOWN, signing, None, at, validity_s)
        case UnissuedPolicy.GOOD:
            stated = _of_lease(GOOD, signing, None, at, validity_s)
            if signing.issuer.windows is not None:  # its certificates are never entered here: storable
                return stated
        case UnissuedPolicy.EXTENDED_REVOKE:
            end = next_update(at.now, validity_s, signing.pair.certificate.not_after)
            if end is None:
                return NoStatement.EXPIRED
            stated = Statement(REVOKED, at.now, end, at.position, 0, CRLReason.certificateHold, extended_revoke=True)
        case _:
            return NoStatement.NEVER_ISSUED
    return stated if isinstance(stated, NoStatement) else stated._replace(storable=False)


def _of_lease(
    status: int, signing: Signer, not_after: int | None, at: Moment, validity_s: float
) -> Statement | NoStatement:
    now, as_of, position = at
    end = next_update(now, validity_s, not_after, signing.pair.certificate.not_after)
    if end is None:
        return NoStatement.EXPIRED
    if as_of is None:
        return NoStatement.NO_LEASE
    if now < as_of - WALL_STEP_S:  # the wall clock stepped back and no poll has noticed yet
        return NoStatement.CLOCK_BEHIND
    this_update = min(now, as_of)
    end = min(end, this_update + int(validity_s))  # BR 4.9.10 limits the time between the two
    stated = Statement(status, this_update, end, position)
    clipped = clip_to_crl_window(signing.issuer, stated) if status == GOOD else stated
    if clipped is None or clipped.next_update <= now:
        return NoStatement.NO_CRL
    return clipped
