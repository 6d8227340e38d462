"""Decide answers of the signer from its own replica of the feed, the inventory and the issuer's policy.

The decision itself is records/statement.py. This module looks up what it needs, turns "nothing may be stated" into the
refusal that clients see, and caches what is the same for many certificates. A caller can choose the CertID and the
nonce, never the status.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from _fastocsp.ocsp.nonce_answers import SharedStatement, answer_batch
from _fastocsp.ocsp.response import Template
from cachewarm.keys.signing_key import SigningKey
from cachewarm.records.keyring import Keyring, Signing
from cachewarm.records.mint import mint, mint_answer, unsigned_octets
from cachewarm.records.statement import Moment, NoStatement, Statement, is_shared, statement_for
from cachewarm.signer.inventory_cache import InventoryCache, Unreachable
from responder.domain.key import Key
from responder.errors import TryLater, Unauthorized
from responder.feed.local import LocalFeed
from responder.sources.base import Found
from responder.sources.signer import SignedAnswer

#: Seconds that the answer for a revoked certificate lasts while the inventory is out of reach and its end is unknown.
BLIND_VALIDITY_S = 3600
#: These do not change by waiting; every other reason does.
_FINAL = (NoStatement.EXPIRED, NoStatement.NEVER_ISSUED)


class Unsigned(NamedTuple):
    """An answer for one certificate and a nonce, but for its signature."""

    template: Template
    record: bytes
    tbs: bytes
    key: SigningKey


class SharedStatements:
    """The `good` of each issuer that is the same for all of its certificates, at one moment and with one keyring."""

    def __init__(self) -> None:
        self._at: tuple[Moment, Keyring] | None = None
        self.by_issuer: dict[tuple[int, int], SharedStatement] = {}

    def begin(self, at: Moment, keyring: Keyring) -> None:
        """Forget what was stated at another moment, or would be signed with keys that may have been replaced."""
        if self._at is None or self._at[0] != at or self._at[1] is not keyring:
            self._at, self.by_issuer = (at, keyring), {}


class Batch(NamedTuple):
    """The outcome of the frames at the head of a connection's bytes.

    `answers` are whole frames; `left` are the (number, kind, body) that memory alone cannot answer; `failed` are the
    (number, error) of those that could not be signed; `read` counts frames, `used` their bytes.
    """

    answers: list[bytes]
    left: list[tuple[int, int, bytes]]
    failed: list[tuple[int, Exception]]
    read: int
    used: int


class SignerDecisions:
    """Answers keys; owns no socket."""

    def __init__(
        self,
        feed: LocalFeed,
        inventory: InventoryCache,
        keyring: Callable[[], Keyring],
        now: Callable[[], int],
        validity_s: float,
    ) -> None:
        self._feed, self._inventory, self._keyring = feed, inventory, keyring
        self._now, self._validity = now, validity_s
        self._shared = SharedStatements()

    async def record(self, key: Key) -> Found:
        """Return a fresh record and whether it may be stored. Unauthorized or TryLater otherwise."""
        signing = self._signing(key)
        statement = await self._statement(key, signing)
        record = mint(statement, key.serial, signing.templates[key.hash_algorithm], signing.pair.key, self._now())
        return Found(record, statement.storable)

    async def answer(self, keys: Sequence[Key], nonce: bytes | None) -> SignedAnswer:
        """Return a whole answer for keys of one issuer."""
        signing = self._signing(keys[0])
        if any(key.issuer_no != keys[0].issuer_no for key in keys):
            raise Unauthorized
        stated = []
        for key in keys:
            statement = await self._statement(key, self._signing(key))
            stated.append((statement, key.serial, signing.templates[key.hash_algorithm]))
        return SignedAnswer(*mint_answer(stated, signing.pair.key, self._now(), nonce))

    def moment(self) -> Moment:
        """Return now, for a batch of requests during which nothing is awaited."""
        at = Moment(self._now(), self._feed.as_of, self._feed.position)
        self._shared.begin(at, self._keyring())
        return at

    def answer_batch(self, octets: bytes, most: int) -> Batch:
        """Answer what compiled code can of the first `most` frames, at the last `moment`: a nonce, and one issued
        certificate that is good.
        """
        return Batch(*answer_batch(octets, most, self._shared.by_issuer, self._inventory.recent, self._feed.image))

    def state_at_once(self, key: Key, nonce: bytes, at: Moment) -> Unsigned | None:
        """Return what is to be signed about a certificate known to be issued; None when the ledger must be queried.

        A statement that holds for other certificates too is kept for `answer_batch`.
        """
        not_after = self._inventory.known(key.issuer_no, key.serial)
        if not_after is None:
            return None
        signing = self._signing(key)
        template = signing.templates[key.hash_algorithm]
        record = unsigned_octets(self._stated(signing, key.serial, not_after, at), template, at.now)
        if is_shared(not_after, at, self._validity) and self._feed.revoked(key.issuer_no, key.serial) is None:
            self._shared.by_issuer[key.issuer_no, key.hash_algorithm] = SharedStatement(
                template, record, math.ceil(at.now + self._validity), signing.pair.key.sign
            )
        return Unsigned(template, record, template.tbs(key.serial, record, nonce), signing.pair.key)

    def _signing(self, key: Key) -> Signing:
        signing = self._keyring().signing.get(key.issuer_no)
        if signing is None:
            raise TryLater  # edges request known issuers only: this keyring has not been read yet, or is behind
        if key.hash_algorithm not in signing.templates:
            raise Unauthorized
        return signing

    async def _statement(self, key: Key, signing: Signing) -> Statement:
        try:
            not_after = await self._inventory.not_after(key.issuer_no, key.serial)
        except Unreachable as error:
            if self._feed.revoked(key.issuer_no, key.serial) is None:
                raise TryLater from error
            return _answerable(
                statement_for(
                    self._feed, signing, key.serial, None, self.moment(), min(BLIND_VALIDITY_S, self._validity)
                )
            )
        return self._stated(signing, key.serial, not_after, self.moment())

    def _stated(self, signing: Signing, serial: bytes, not_after: int | None, at: Moment) -> Statement:
        """Nothing was awaited since `at`: what the feed brought by then counts."""
        return _answerable(statement_for(self._feed, signing, serial, not_after, at, self._validity))


def _answerable(stated: Statement | NoStatement) -> Statement:
    if isinstance(stated, Statement):
        return stated
    raise Unauthorized if stated in _FINAL else TryLater
