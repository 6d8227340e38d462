"""What the signer says of a certificate: from its own replica of the feed, the inventory and the issuer's policy.

The order is the safety: revoked is looked up first and needs nobody; `good` needs a lease of this process and the
certificate in the inventory; where CRLs are mirrored, a CRL that holds. A caller can choose the CertID and the nonce,
never the status.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from _fastocsp.ocsp.response import Template
from _fastocsp.wire.codes import GOOD, REVOKED, UNKNOWN
from cachewarm.errors import Transient
from cachewarm.keys.signing_key import SigningKey
from cachewarm.records.keyring import Keyring, Signing
from cachewarm.records.mint import Statement, mint, mint_answer, revoked, unsigned_octets, within
from cachewarm.signer.inventory_cache import Issued, Unreachable
from responder.domain.status import CRLReason, UnissuedPolicy
from responder.domain.window import next_update
from responder.errors import TryLater, Unauthorized
from responder.feed.local import LocalFeed
from responder.feed.machine import Position
from responder.sources.base import Found, Key
from responder.sources.signer import SignedAnswer

#: With the inventory out of reach a revoked certificate's end is unknown: its answer is kept short.
BLIND_VALIDITY_S = 3600
#: A wall clock this far before the lease's own time is not believed.
WALL_STEP_S = 1


class Moment(NamedTuple):
    """One reading of what time decides: epoch seconds, those that `good` may be said for (None: no lease), the feed."""

    now: int
    as_of: int | None
    position: Position


class Unsigned(NamedTuple):
    """An answer for one certificate and a nonce, but for its signature."""

    template: Template
    record: bytes
    tbs: bytes
    key: SigningKey


class Kept(NamedTuple):
    """What was last said of an issuer's good certificates, and its records by hash algorithm."""

    signing: Signing
    at: Moment
    statement: Statement
    records: dict[int, bytes]


class Desk:
    """Answers keys; it owns no socket."""

    def __init__(
        self, feed: LocalFeed, issued: Issued, keyring: Callable[[], Keyring], now: Callable[[], int], validity_s: float
    ) -> None:
        self._feed, self._issued, self._keyring, self._now, self._validity = feed, issued, keyring, now, validity_s
        self._kept: dict[int, Kept] = {}

    async def record(self, key: Key) -> Found:
        """A fresh record; storable unless the serial was never issued. Unauthorized or TryLater otherwise."""
        signing = self._signing(key)
        statement, storable = await self._statement(key, signing)
        record = mint(statement, key.serial, signing.templates[key.hash_algorithm], signing.pair.key, self._now())
        return Found(record, storable)

    async def answer(self, keys: Sequence[Key], nonce: bytes | None) -> SignedAnswer:
        """A whole answer for keys of one issuer."""
        signing = self._signing(keys[0])
        if any(key.issuer_no != keys[0].issuer_no for key in keys):
            raise Unauthorized
        stated = []
        for key in keys:
            statement, _ = await self._statement(key, self._signing(key))
            stated.append((statement, key.serial, signing.templates[key.hash_algorithm]))
        return SignedAnswer(*mint_answer(stated, signing.pair.key, self._now(), nonce))

    def moment(self) -> Moment:
        """Now. It serves a batch of questions that nothing is awaited in."""
        return Moment(self._now(), self._feed.as_of, self._feed.position)

    def state_at_once(self, key: Key, nonce: bytes, at: Moment) -> Unsigned | None:
        """What is to be signed about a certificate known to be issued; None when the ledger must be asked."""
        not_after = self._issued.known(key.issuer_no, key.serial)
        if not_after is None:
            return None
        signing = self._signing(key)
        statement, _ = self._said(key, signing, not_after, at)
        template = signing.templates[key.hash_algorithm]
        record = self._octets(statement, template, key.issuer_no, at)
        return Unsigned(template, record, template.tbs(key.serial, record, nonce), signing.pair.key)

    def _signing(self, key: Key) -> Signing:
        signing = self._keyring().signing.get(key.issuer_no)
        if signing is None:
            raise TryLater  # an edge asks only for issuers that it knows: this ring has not been read yet, or is behind
        if key.hash_algorithm not in signing.templates:
            raise Unauthorized
        return signing

    async def _statement(self, key: Key, signing: Signing) -> tuple[Statement, bool]:
        try:
            not_after = await self._issued.not_after(key.issuer_no, key.serial)
        except Unreachable as error:
            listed = self._feed.revoked(key.issuer_no, key.serial)
            if listed is None:
                raise TryLater from error
            return self._revoked(listed, signing, BLIND_VALIDITY_S, None, self.moment()), True
        return self._said(key, signing, not_after, self.moment())

    def _said(self, key: Key, signing: Signing, not_after: int | None, at: Moment) -> tuple[Statement, bool]:
        """What is said, and whether it may be kept. Nothing was awaited since `at`: what was heard by then counts."""
        listed = self._feed.revoked(key.issuer_no, key.serial)
        if listed is not None:
            return self._revoked(listed, signing, self._validity, not_after, at), True
        if not_after is None:
            return self._unissued(signing, at), _is_listed_only(signing)
        return self._good(signing, not_after, at), True

    def _revoked(
        self, listed: tuple[int, int], signing: Signing, validity_s: float, not_after: int | None, at: Moment
    ) -> Statement:
        end = _end(signing, min(validity_s, self._validity), not_after, at)
        try:
            return revoked(at.now, end, at.position, *listed)
        except Transient as error:
            raise TryLater from error

    def _unissued(self, signing: Signing, at: Moment) -> Statement:
        """RFC 6960 2.2: what is said of a serial that was never issued."""
        match signing.issuer.unissued_policy:
            case UnissuedPolicy.UNKNOWN:
                return self._of_lease(UNKNOWN, signing, None, at)
            case UnissuedPolicy.GOOD:
                return self._of_lease(GOOD, signing, None, at)
            case UnissuedPolicy.EXTENDED_REVOKE:
                end = _end(signing, self._validity, None, at)
                hold = CRLReason.certificateHold
                return Statement(REVOKED, at.now, end, at.position, 0, hold, extended_revoke=True)
        raise Unauthorized

    def _good(self, signing: Signing, not_after: int, at: Moment) -> Statement:
        """The same for all certificates of an issuer that end after the answer does, as long as it is this moment."""
        if not_after < at.now + self._validity:
            return self._of_lease(GOOD, signing, not_after, at)
        kept = self._kept.get(signing.issuer.issuer_no)
        if kept is None or kept.signing is not signing or kept.at != at:
            kept = Kept(signing, at, self._of_lease(GOOD, signing, not_after, at), {})
            self._kept[signing.issuer.issuer_no] = kept
        return kept.statement

    def _octets(self, statement: Statement, template: Template, issuer_no: int, at: Moment) -> bytes:
        kept = self._kept.get(issuer_no)
        if kept is None or kept.statement is not statement:
            return unsigned_octets(statement, template, at.now)
        record = kept.records.get(template.hash_algorithm)
        if record is None:
            record = kept.records[template.hash_algorithm] = unsigned_octets(statement, template, at.now)
        return record

    def _of_lease(self, status: int, signing: Signing, not_after: int | None, at: Moment) -> Statement:
        now, as_of, position = at
        if as_of is None or now < as_of - WALL_STEP_S:  # the wall clock stepped back and no poll has noticed yet
            raise TryLater
        this_update = min(now, as_of)
        end = min(_end(signing, self._validity, not_after, at), this_update + int(self._validity))
        said = Statement(status, this_update, end, position)
        statement = within(signing.issuer, said) if status == GOOD else said
        if statement is None or statement.next_update <= now:
            raise TryLater
        return statement


def _end(signing: Signing, validity_s: float, not_after: int | None, at: Moment) -> int:
    end = next_update(at.now, validity_s, not_after, signing.pair.certificate.not_after)
    if end is None:
        raise Unauthorized
    return end


def _is_listed_only(signing: Signing) -> bool:
    """An issuer whose certificates nobody here ever sees: its `good` may be kept, the gate hears of its revocations."""
    return signing.issuer.windows is not None and signing.issuer.unissued_policy is UnissuedPolicy.GOOD
