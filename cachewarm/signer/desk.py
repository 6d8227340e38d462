"""What the signer says of a certificate: from its own replica of the feed, the inventory and the issuer's policy.

The order is the safety: revoked is looked up first and needs nobody; `good` needs a lease of this process and the
certificate in the inventory; where CRLs are mirrored, a CRL that holds. A caller can choose the CertID and the nonce,
never the status.
"""

from collections.abc import Callable, Sequence

from _fastocsp.codes import GOOD, REVOKED, UNKNOWN
from cachewarm.errors import Transient
from cachewarm.keyring import Keyring, Signing
from cachewarm.mint import Statement, mint, mint_answer, revoked, within
from cachewarm.signer.issued import Issued, Unreachable
from responder.domain.status import CRLReason, UnissuedPolicy
from responder.domain.window import next_update
from responder.errors import TryLater, Unauthorized
from responder.feed.local import LocalFeed
from responder.sources.base import Found, Key
from responder.sources.signed import SignedAnswer

#: With the inventory out of reach a revoked certificate's end is unknown: its answer is kept short.
BLIND_VALIDITY_S = 3600
#: A wall clock this far before the lease's own time is not believed.
WALL_STEP_S = 1


class Desk:
    """Answers keys; it owns no socket."""

    def __init__(
        self, feed: LocalFeed, issued: Issued, keyring: Callable[[], Keyring], now: Callable[[], int], validity_s: float
    ) -> None:
        self._feed, self._issued, self._keyring, self._now, self._validity = feed, issued, keyring, now, validity_s

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

    def _signing(self, key: Key) -> Signing:
        signing = self._keyring().signing.get(key.issuer_no)
        if signing is None:
            raise TryLater  # an edge asks only for issuers that it knows: this ring has not been read yet, or is behind
        if key.hash_algorithm not in signing.templates:
            raise Unauthorized
        return signing

    async def _statement(self, key: Key, signing: Signing) -> tuple[Statement, bool]:
        listed = self._feed.revoked(key.issuer_no, key.serial)
        try:
            not_after = await self._issued.not_after(key.issuer_no, key.serial)
        except Unreachable as error:
            if listed is None:
                raise TryLater from error
            return self._revoked(listed, signing, BLIND_VALIDITY_S, None), True
        # asked again after the await: what was heard meanwhile counts
        listed = self._feed.revoked(key.issuer_no, key.serial)
        if listed is not None:
            return self._revoked(listed, signing, self._validity, not_after), True
        if not_after is None:
            return self._unissued(signing), _is_listed_only(signing)
        return self._of_lease(GOOD, signing, not_after), True

    def _revoked(
        self, listed: tuple[int, int], signing: Signing, validity_s: float, not_after: int | None
    ) -> Statement:
        now = self._now()
        end = self._end(signing, min(validity_s, self._validity), not_after)
        try:
            return revoked(now, end, self._feed.position, *listed)
        except Transient as error:
            raise TryLater from error

    def _unissued(self, signing: Signing) -> Statement:
        """RFC 6960 2.2: what is said of a serial that was never issued."""
        match signing.issuer.unissued_policy:
            case UnissuedPolicy.UNKNOWN:
                return self._of_lease(UNKNOWN, signing, None)
            case UnissuedPolicy.GOOD:
                return self._of_lease(GOOD, signing, None)
            case UnissuedPolicy.EXTENDED_REVOKE:
                end = self._end(signing, self._validity, None)
                hold = CRLReason.certificateHold
                return Statement(REVOKED, self._now(), end, self._feed.position, 0, hold, extended_revoke=True)
        raise Unauthorized

    def _of_lease(self, status: int, signing: Signing, not_after: int | None) -> Statement:
        as_of, now = self._feed.as_of, self._now()
        if as_of is None or now < as_of - WALL_STEP_S:  # the wall clock stepped back and no poll has noticed yet
            raise TryLater
        this_update = min(now, as_of)
        end = min(self._end(signing, self._validity, not_after), this_update + int(self._validity))
        said = Statement(status, this_update, end, self._feed.position)
        statement = within(signing.issuer, said) if status == GOOD else said
        if statement is None or statement.next_update <= now:
            raise TryLater
        return statement

    def _end(self, signing: Signing, validity_s: float, not_after: int | None) -> int:
        end = next_update(self._now(), validity_s, not_after, signing.pair.certificate.not_after)
        if end is None:
            raise Unauthorized
        return end


def _is_listed_only(signing: Signing) -> bool:
    """An issuer whose certificates nobody here ever sees: its `good` may be kept, the gate hears of its revocations."""
    return signing.issuer.windows is not None and signing.issuer.unissued_policy is UnissuedPolicy.GOOD
