"""The keyring: which responder pair signs for which issuer now. Read by the signer and the warmer, changed by neither.

Unusable key pairs are skipped and logged once; a pair that was usable stays while its replacement is only half there
(the key file comes before the ledger's row). A fault of one issuer is that issuer's alone.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from _fastocsp.ocsp.response import Template
from cachewarm.ca.odd_names import load_certificate
from cachewarm.ca.responder_certificate import Fault, ResponderPair, Unusable, key_path, load_pair
from cachewarm.ledger import issuers, responders
from cachewarm.ledger.chunks import chunks
from cachewarm.ledger.connect import Connection, translated
from responder.domain.catalog import templates
from responder.domain.issuer import Issuer
from responder.domain.responder import responder_key_id
from responder.feed.catalog import read_issuers

log = structlog.get_logger("keyring")
#: The edges read the catalog every second.
SETTLING_S = 4
#: Issuers of one query.
READ_TOGETHER = 200


@dataclass(frozen=True)
class Signing:
    """An issuer, the pair that signs for it, and the templates of its answers by hash algorithm."""

    issuer: Issuer
    pair: ResponderPair
    templates: Mapping[int, Template] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Keyring:
    """By issuer number. `issuers` has those without a pair too; `responders` every certificate still in the ledger.

    `behind`: issuers whose newest certificate does not sign, not yet or because its key is not here.
    """

    issuers: Mapping[int, Issuer] = field(default_factory=dict)
    signing: Mapping[int, Signing] = field(default_factory=dict)
    responders: Mapping[int, frozenset[bytes]] = field(default_factory=dict)
    unusable: Mapping[int, Unusable] = field(default_factory=dict)
    behind: frozenset[int] = frozenset()

    @property
    def without_pair(self) -> list[str]:
        """Ids of the issuers whose pair is unusable."""
        return [self.issuers[number].issuer_id for number in self.unusable]


async def load_keyring(
    connection: Connection,
    folder: Path,
    passphrase: bytes | None,
    now: int,
    before: Keyring | None = None,
    only: Collection[str] | None = None,
) -> Keyring:
    """Return the ring as ledger and key folder have it now; the one before itself where nothing is different.

    `only`: the issuers, by id, that may have changed since the ring before.
    """
    before = before or Keyring()
    ids = await issuers.issuer_ids(connection) if only is None else sorted(only)
    new = _Entries(before, None if only is None else set(ids))
    for chunk in chunks(ids, READ_TOGETHER):
        with translated():
            found = await read_issuers(connection, chunk)
        certs = await responders.responder_certs_of(connection, chunk)
        for issuer in found:
            new.take(issuer, certs.get(issuer.issuer_id, []), (folder, passphrase, now))
            await asyncio.sleep(0)  # reading a key takes a while, and there may be thousands
    return new.ring()


class _Entries:
    """A ring that is being read: what is kept of the one before, and what is new."""

    def __init__(self, before: Keyring, reread: set[str] | None) -> None:
        def kept(number: int) -> bool:
            return reread is not None and before.issuers[number].issuer_id not in reread

        self._before = before
        self._issuers = {number: each for number, each in before.issuers.items() if kept(number)}
        self._signing = {number: each for number, each in before.signing.items() if kept(number)}
        self._responders = {number: each for number, each in before.responders.items() if kept(number)}
        self._unusable = {number: each for number, each in before.unusable.items() if kept(number)}
        self._behind = {number for number in before.behind if kept(number)}

    def take(self, issuer: Issuer, ours: list[responders.ResponderCert], where: tuple[Path, bytes | None, int]) -> None:
        """Read one issuer; `ours` are its responder certificates, the newest last."""
        number, before = issuer.issuer_no, self._before
        former = before.issuers.get(number)
        issuer = former if former is not None and former == issuer else issuer
        self._issuers[number] = issuer
        self._responders[number] = frozenset(responder_key_id(cert.cert_der) for cert in ours)
        if not ours:
            return
        kept = before.signing.get(number)
        if kept is not None and _is_settling(ours, kept, where[2]):
            made: Signing | Unusable = _signing(issuer, kept.pair, kept)
        else:
            made = _signing_or_fault(issuer, ours[-1].cert_der, where, kept)
        if isinstance(made, Unusable):
            self._unusable[number] = made
            _log_change(issuer.issuer_id, made, before.unusable.get(number))
            return
        self._signing[number] = made
        if made.pair.certificate.cert_der != ours[-1].cert_der:
            self._behind.add(number)

    def ring(self) -> Keyring:
        """Return what was read, by number."""
        ring = Keyring(
            issuers=dict(sorted(self._issuers.items())),
            signing=self._signing,
            responders=self._responders,
            unusable=self._unusable,
            behind=frozenset(self._behind),
        )
        return self._before if ring == self._before else ring


def domain_issuer(row: issuers.Issuer) -> Issuer:
    """The row as the read side knows it."""
    return Issuer.from_certificate(
        row.cert_der,
        issuer_id=row.issuer_id,
        issuer_no=row.issuer_no,
        unissued_policy=row.unissued_policy,
        ocsp_url=row.ocsp_url,
        crl_url=row.crl_url,
        ca_issuers_url=row.ca_issuers_url,
        publishes_crl=row.publishes_crl,
    )


def _is_settling(ours: list[responders.ResponderCert], before: Signing, now: int) -> bool:
    """A new certificate signs only when every edge can know it, as long as the one before is known and can."""
    newest = ours[-1]
    if before.pair.certificate.cert_der not in [cert.cert_der for cert in ours[:-1]]:
        return False
    return now - newest.created_at.timestamp() < SETTLING_S and now + SETTLING_S < before.pair.certificate.not_after


def _signing_or_fault(
    issuer: Issuer, cert_der: bytes, where: tuple[Path, bytes | None, int], before: Signing | None
) -> Signing | Unusable:
    """Return what signs for the issuer. Nothing of one issuer's, however broken, costs the others their keyring."""
    try:
        pair = _pair(issuer, cert_der, *where, before)
        return _signing(issuer, pair, before) if isinstance(pair, ResponderPair) else pair
    except Exception as error:
        return Unusable(Fault.CERTIFICATE_BROKEN, f"{type(error).__name__}: {error}")


def _pair(
    issuer: Issuer, cert_der: bytes, folder: Path, passphrase: bytes | None, now: int, before: Signing | None
) -> ResponderPair | Unusable:
    path = key_path(folder, issuer.issuer_id)
    kept = before.pair if before is not None and now <= before.pair.certificate.not_after else None
    if kept is not None and kept.certificate.cert_der == cert_der and path.exists():
        return kept
    ca = load_certificate(issuer.cert_der)
    pair = load_pair(path, cert_der, ca, now=now, passphrase=passphrase)
    replaced = isinstance(pair, Unusable) and pair.fault is Fault.KEY_MISMATCH
    return kept if replaced and kept is not None else pair


def _signing(issuer: Issuer, pair: ResponderPair, before: Signing | None) -> Signing:
    if before is not None and before.issuer == issuer and before.pair is pair:
        return before
    return Signing(issuer, pair, templates(issuer, pair.certificate))


def _log_change(issuer_id: str, now: Unusable, before: Unusable | None) -> None:
    if before is None or before.fault != now.fault:
        log.warning("no usable responder", issuer_id=issuer_id, fault=now.fault.value, why=now.text)
