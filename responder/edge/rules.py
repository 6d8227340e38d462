"""Every rule of an OCSP answer, for what the hot lane leaves: misses, nonces, several CertIDs, refusals.

The slow lane and the cold lane both answer through this, so they cannot differ. The gate is asked last, for each
record, however it was come by: table, Redis or a fresh signature.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

from _fastocsp.http.path import decode_get
from _fastocsp.ocsp.record import Record, unpack_record
from _fastocsp.ocsp.request import parse_request
from _fastocsp.ocsp.response import Template
from _fastocsp.shared.counters import Counters
from _fastocsp.table.table import Table
from _fastocsp.wire.codes import GOOD, HASH_NONE, REVOKED, UNKNOWN
from _fastocsp.wire.errors import MalformedRequest
from _fastocsp.wire.types import CertID, OCSPRequest
from responder.domain.catalog import Catalog
from responder.domain.key import Key
from responder.domain.serial import parse_serial
from responder.domain.status import HashAlgorithm
from responder.edge.http_answers import OCSPAnswer
from responder.errors import (
    Closed,
    ClosedUnauthorized,
    ForbiddenNonce,
    Malformed,
    MalformedNonce,
    SourceError,
    TryLater,
    Unauthorized,
)
from responder.hotpath.gate import Gate
from responder.sources.base import Found, Source
from responder.sources.signer import SignerSource
from responder.telemetry import INDEX

#: While the signer's replica is behind the edge's own, ask again; it polls as often as we do.
CATCH_UP_TRIES, CATCH_UP_PAUSE_S = 40, 0.025
#: A signature that contradicts the edge's set and is of no older place of the feed will not change by asking again: for
#: so long the certificate is answered tryLater without another signature, for so many certificates at a time.
CONTRADICTION_S, CONTRADICTIONS = 5.0, 10_000
MAX_CERT_IDS = 255
_SERIAL_HEX = re.compile(rb"-?[0-9a-f]{1,40}")
PASS, CONTRADICTED, FENCED = 1, 0, -3
Serial = tuple[int, bytes]
#: A place of the feed: generation, seq.
Place = tuple[int, int]


@dataclass(frozen=True)
class Policy:
    """The settings that decide an answer."""

    nonce_policy: str
    on_closed: str


@dataclass(frozen=True)
class Tiers:
    """Where answers come from when the table has none.

    `source` may return a record from Redis; `fresh` has it signed now; `signer` makes whole answers for a nonce or
    several CertIDs, at most as many at a time as `lane` admits.
    """

    source: Source
    fresh: Source
    signer: SignerSource
    lane: asyncio.Semaphore


class Answerer:
    """One worker's answers beyond the hot lane."""

    def __init__(
        self,
        *,
        policy: Policy,
        table: Table,
        gate: Gate,
        tiers: Tiers,
        catalog: Callable[[], Catalog],
        now: Callable[[], int],
        counters: Counters,
        place: Callable[[], Place],
    ) -> None:
        self._policy, self._table, self._gate = policy, table, gate
        self._source, self._fresh, self._signer, self._lane = tiers.source, tiers.fresh, tiers.signer, tiers.lane
        self._catalog, self._now, self._counters = catalog, now, counters
        self._place = place
        self._contradictions: OrderedDict[Serial, tuple[float, Place]] = OrderedDict()

    async def by_path(self, rest: bytes, issuer_id: bytes) -> OCSPAnswer:
        """A GET: base64 of a request, or the hex serial number that a person typed."""
        if issuer_id and _SERIAL_HEX.fullmatch(rest):
            return await self.by_serial(rest.decode(), issuer_id)
        try:
            der = decode_get(rest)
        except MalformedRequest as error:
            raise Malformed from error
        return await self.by_der(der, issuer_id)

    async def by_serial(self, serial: str, issuer_id: bytes) -> OCSPAnswer:
        """The answer to a SHA-256 CertID of that serial."""
        issuer = self._catalog().by_id.get(issuer_id.decode("latin-1"))
        if issuer is None:
            raise Unauthorized
        try:
            octets = parse_serial(serial)
        except ValueError as error:
            raise Unauthorized from error
        return await self._single(Key(issuer.issuer_no, HashAlgorithm.SHA256, octets))

    async def by_der(self, der: bytes, issuer_id: bytes) -> OCSPAnswer:
        """The answer to an OCSPRequest; `issuer_id` b"" finds the issuer by the CertID alone."""
        try:
            request = parse_request(der)
        except MalformedRequest as error:
            raise Malformed from error
        self._check_extensions(request)
        keys = [self._key_of(cert_id, issuer_id) for cert_id in request.cert_ids]
        if request.nonce is None and len(keys) == 1:
            return await self._single(keys[0])
        if len(keys) > MAX_CERT_IDS:
            raise Unauthorized
        return await self._signed_now(keys, request.nonce)

    def _check_extensions(self, request: OCSPRequest) -> None:
        if request.unknown_critical:
            raise Unauthorized
        if self._policy.nonce_policy == "rfc9654":
            if request.nonce_malformed or (request.nonce is not None and not 1 <= len(request.nonce) <= 128):
                raise MalformedNonce
        elif request.nonce_malformed or (request.nonce is not None and not 1 <= len(request.nonce) <= 32):
            raise ForbiddenNonce

    def _names(self, issuer_id: bytes, number: int) -> bool:
        """Report whether that id, or former id, is the issuer's."""
        issuer = self._catalog().by_id.get(issuer_id.decode("latin-1"))
        return issuer is not None and issuer.issuer_no == number

    def _key_of(self, cert_id: CertID, issuer_id: bytes) -> Key:
        if cert_id.hash_algorithm == HASH_NONE or not cert_id.serial_number:
            raise Unauthorized
        index = self._catalog().index
        number = index.find(cert_id.hash_algorithm, cert_id.issuer_name_hash, cert_id.issuer_key_hash)
        if not number or (issuer_id and not self._names(issuer_id, number)):
            raise Unauthorized
        return Key(number, cert_id.hash_algorithm, cert_id.serial_number)

    async def _single(self, key: Key) -> OCSPAnswer:
        self._refuse_fenced(key)
        kept = self._table.get(*key)
        if kept is not None and self._in_window(unpack_record(kept)) and self._template(key, kept) is not None:
            if self._passes(key, kept):
                return self._encode(key, kept, "hit")
            self._table.discard(*key)
            self._refuse_contradicted(key)
            found = await self._fresh.fetch(key)
        else:
            self._refuse_contradicted(key)
            found = await self._source.fetch(key)
        if not self._is_usable(found, key) and not self._is_new(found):
            found = await self._fresh.fetch(key)  # what Redis had may be older than the set
        for _ in range(CATCH_UP_TRIES):
            if self._is_usable(found, key):
                return self._keep(key, found)
            if found is not None and await self._comes_to_agree(key, found.record):
                return self._keep(key, found)
            found = await self._fresh.fetch(key)
        raise TryLater

    def _is_usable(self, found: Found | None, key: Key) -> TypeGuard[Found]:
        return found is not None and self._template(key, found.record) is not None and self._passes(key, found.record)

    def _is_new(self, found: Found | None) -> bool:
        return found is not None and unpack_record(found.record).produced_at >= self._now() - 1

    def _keep(self, key: Key, found: Found) -> OCSPAnswer:
        if found.storable:
            self._table.put(*key, found.record)
        return self._encode(key, found.record, "miss")

    def _encode(self, key: Key, octets: bytes, label: str) -> OCSPAnswer:
        template = self._template(key, octets)
        if template is None:
            raise TryLater
        cacheable = unpack_record(octets).status in (GOOD, REVOKED)
        body = template.encode(key.serial, octets)
        return OCSPAnswer(body, label if cacheable else "unknown", octets if cacheable else None)

    def _template(self, key: Key, octets: bytes) -> Template | None:
        """None while the catalog does not know the responder yet."""
        record = unpack_record(octets)
        return self._catalog().index.find_template(key.issuer_no, key.hash_algorithm, record.responder)

    async def _signed_now(self, keys: list[Key], nonce: bytes | None) -> OCSPAnswer:
        """One answer for a nonce or several CertIDs, in a lane of its own; never cached."""
        if self._lane.locked():
            raise TryLater
        for key in keys:
            self._refuse_fenced(key)
            self._refuse_contradicted(key)
        async with self._lane:
            for _ in range(CATCH_UP_TRIES):
                try:
                    signed = await self._signer.answer(keys, nonce)
                except SourceError as error:
                    raise TryLater from error
                contradicted = [each for each in zip(keys, signed.records, strict=True) if not self._passes(*each)]
                if not contradicted:
                    return OCSPAnswer(signed.der, "nonce" if nonce is not None else "several")
                if all([await self._comes_to_agree(*each) for each in contradicted]):
                    return OCSPAnswer(signed.der, "nonce" if nonce is not None else "several")
        raise TryLater

    def _passes(self, key: Key, record: bytes) -> bool:
        verdict = self._gate.check_record(key.issuer_no, key.serial, record)
        if verdict == PASS:
            return True
        if verdict == CONTRADICTED:
            self._counters.add(INDEX["contradicted"])
            return False
        if verdict == FENCED:
            raise TryLater
        raise ClosedUnauthorized if self._policy.on_closed == "unauthorized" else Closed

    async def _comes_to_agree(self, key: Key, octets: bytes) -> bool:
        """After a contradiction: return whether the record passes by now; False where it is to be signed again.

        TryLater, which is remembered, when signer and edge are at the same place of the feed and disagree: the ledger
        lost what one of them knows, and asking again would only cost signatures.
        """
        record = unpack_record(octets)
        signed_at = record.generation, record.seq
        for _ in range(CATCH_UP_TRIES):
            place = self._place()
            await asyncio.sleep(CATCH_UP_PAUSE_S)
            if self._template(key, octets) is None or signed_at < place:
                return False
            if self._passes(key, octets):
                return True
            if signed_at == place == self._place():
                self._note_contradiction(key, place)
                break
        raise TryLater

    def _note_contradiction(self, key: Key, place: Place) -> None:
        serial = key.issuer_no, key.serial
        self._contradictions[serial] = time.monotonic() + CONTRADICTION_S, place
        self._contradictions.move_to_end(serial)
        if len(self._contradictions) > CONTRADICTIONS:
            self._contradictions.popitem(last=False)

    def _refuse_fenced(self, key: Key) -> None:
        """Raise TryLater where nothing but a revocation may be answered and none is listed.

        Redis and the signer are not queried for what the gate would stop.
        """
        if self._gate.is_fenced(key.issuer_no) and not self._gate.is_revoked(key.issuer_no, key.serial):
            raise TryLater

    def _refuse_contradicted(self, key: Key) -> None:
        """Raise TryLater for a certificate whose signatures contradicted the set as it still is."""
        if not self._contradictions:
            return
        serial = key.issuer_no, key.serial
        until, place = self._contradictions.get(serial, (0.0, (0, 0)))
        if time.monotonic() < until and place == self._place():
            raise TryLater
        self._contradictions.pop(serial, None)

    def _in_window(self, record: Record) -> bool:
        return record.status != UNKNOWN and record.this_update <= self._now() < record.next_update
