"""Serve a request to the CA signer: the issuer from the ledger, the TBS by its policy, the key, a signature."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from cachewarm.ca.ca_keys import Purpose
from cachewarm.ca.lineage import require_issuance
from cachewarm.ca.odd_names import load_certificate
from cachewarm.ca_signer.crl_policy import PassingCRL, judge_crl, part_of
from cachewarm.ca_signer.key_store import KeyStore
from cachewarm.ca_signer.policies import MOST_TBS, Forbidden, Terms, judge
from cachewarm.ca_signer.wire import Reason
from cachewarm.errors import CachewarmError, Refused
from cachewarm.keys.signing_key import SigningKey
from cachewarm.keys.soft_key import SoftKey
from cachewarm.ledger import ca_signer
from cachewarm.ledger.ca_signer import SigningIssuer
from cachewarm.ledger.connect import Queries, lent
from responder.domain.signature import scheme_of

#: Bytes of a CRL for an Ed25519 key, which hashes nothing ahead (RFC 8032): two million entries.
MOST_UNHASHED = 128 << 20
_ISSUANCE = (Purpose.CERTIFICATE, Purpose.SUB_CA)


class SigningService:
    """Signs for the issuers of one ledger; `require_reach` raises Transient for a key that cannot be opened now."""

    def __init__(
        self,
        ledger: Queries,
        keys: KeyStore,
        responder_validity_s: float,
        require_reach: Callable[[SigningIssuer, KeyStore], None] = lambda _issuer, _keys: None,
    ) -> None:
        self._ledger, self.keys, self._responder_validity_s = ledger, keys, int(responder_validity_s)
        self._require_reach = require_reach
        self._last_numbers: dict[tuple[str, str], int] = {}
        self._crl_turns: dict[str, asyncio.Lock] = {}
        self._unhashed = asyncio.Semaphore(1)
        self.signed: Counter[str] = Counter()

    async def open(self, issuer_id: str, purpose: Purpose) -> None:
        """Open the key of the issuer, and look whether it may be used for that purpose. Refused, Transient."""
        await self._key(await self._issuer(issuer_id, purpose))

    async def sign(self, issuer_id: str, purpose: Purpose, pieces: AsyncIterator[bytes]) -> bytes:
        """Return the signature over the TBS that comes in those pieces. Refused (Forbidden by a policy), Transient."""
        tbs = b"" if purpose is Purpose.CRL else await _whole(pieces, MOST_TBS)
        issuer = await self._issuer(issuer_id, purpose)
        key, ca = await self._key(issuer), load_certificate(issuer.cert_der)
        if purpose is Purpose.CRL:
            signature = await self._sign_crl(issuer, ca, key, pieces)
        else:
            terms = Terms(ca=ca, now=int(time.time()), responder_validity_s=self._responder_validity_s)
            judge(purpose, tbs, terms)
            signature = await _used(key, key.sign, tbs)
        self.signed[purpose] += 1
        return signature

    async def look_again(self) -> None:
        """Try the keys that could not be opened, so that a fault ends without a request. It raises nothing."""
        for issuer_id in list(self.keys.faults):
            with contextlib.suppress(CachewarmError):
                await self._key(await ca_signer.signing_issuer(self._ledger, issuer_id))

    async def _issuer(self, issuer_id: str, purpose: Purpose) -> SigningIssuer:
        async with lent(self._ledger) as connection:
            issuer = await ca_signer.signing_issuer(connection, issuer_id)
            if issuer.state == "removed":
                raise Forbidden(Reason.STATE, f"{issuer.issuer_id} is removed: nothing is signed for it")
            if purpose in _ISSUANCE:
                try:
                    await require_issuance(connection, issuer)
                except Refused as error:
                    raise Forbidden(Reason.STATE, str(error)) from error
            return issuer

    async def _key(self, issuer: SigningIssuer) -> SigningKey:
        try:
            self._require_reach(issuer, self.keys)
            key = self.keys.open_key(issuer)
            return await asyncio.to_thread(self.keys.key_of, issuer) if key is None else key
        except Refused as error:
            raise Forbidden(Reason.KEY, str(error)) from error

    async def _sign_crl(
        self, issuer: SigningIssuer, ca: x509.Certificate, key: SigningKey, pieces: AsyncIterator[bytes]
    ) -> bytes:
        passing, algorithm = PassingCRL(), scheme_of(key.public_key).hash
        if algorithm is None:
            async with self._unhashed:
                whole = bytearray()
                async for piece in pieces:
                    passing.feed(piece)
                    whole += piece
                    if len(whole) > MOST_UNHASHED:
                        raise Forbidden(Reason.FORM, f"a CRL of over {MOST_UNHASHED} bytes needs a key that hashes")
                async with self._judged(issuer, ca, passing):
                    return await _used(key, key.sign, bytes(whole))
        digest = hashes.Hash(algorithm)
        async for piece in pieces:
            passing.feed(piece)
            digest.update(piece)
        async with self._judged(issuer, ca, passing):
            return await _used(key, key.sign_digest, digest.finalize())

    def _judged(self, issuer: SigningIssuer, ca: x509.Certificate, passing: PassingCRL) -> "_CRLTurn":
        turn = self._crl_turns.setdefault(issuer.issuer_id, asyncio.Lock())
        return _CRLTurn(self._ledger, turn, self._last_numbers, issuer, ca, passing)


class _CRLTurn:
    """One CRL of an issuer at a time is judged and signed; its number counts as used once it was signed."""

    def __init__(
        self,
        ledger: Queries,
        turn: asyncio.Lock,
        last_numbers: dict[tuple[str, str], int],
        issuer: SigningIssuer,
        ca: x509.Certificate,
        passing: PassingCRL,
    ) -> None:
        self._ledger, self._turn, self._last_numbers = ledger, turn, last_numbers
        self._issuer, self._ca, self._passing = issuer, ca, passing

    async def __aenter__(self) -> None:
        await self._turn.acquire()
        try:
            crl = self._passing.fields()
            self._number = crl.number or 0
            self._part = (self._issuer.issuer_id, part_of(crl, self._issuer.crl_url))
            numbers = await ca_signer.crl_numbers(self._ledger, self._issuer.issuer_id)
            last = max(self._last_numbers.get(self._part, -1), numbers.published.get(self._part[1], -1))
            judge_crl(crl, self._ca, int(time.time()), last=last, spent=numbers.spent)
        except BaseException:
            self._turn.release()
            raise

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            self._last_numbers[self._part] = self._number
        self._turn.release()


async def _used(key: SigningKey, sign: Callable[[bytes], bytes], octets: bytes) -> bytes:
    """Return the signature: at once by a key in memory, in a thread by one that others may be waited for."""
    return sign(octets) if isinstance(key, SoftKey) else await asyncio.to_thread(sign, octets)


async def _whole(pieces: AsyncIterator[bytes], most: int) -> bytes:
    octets = bytearray()
    async for piece in pieces:
        octets += piece
        if len(octets) > most:
            raise Forbidden(Reason.FORM, f"it has more than {most} bytes")
    return bytes(octets)
