"""The keyring: which responder pair signs for which issuer now. Read by the signer and the warmer, changed by neither.

Unusable key pairs are skipped and logged once; a pair that was usable stays while its replacement is only half there
(the key file comes before the ledger's row). A fault of one issuer is that issuer's alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from _fastocsp.ocsp.response import Template
from cachewarm.ca.odd_names import load_certificate
from cachewarm.ca.responder_certificate import Fault, ResponderPair, Unusable, key_path, load_pair
from cachewarm.ledger import issuers, responders
from cachewarm.ledger.connect import Connection, translated
from responder.domain.catalog import templates
from responder.domain.issuer import Issuer
from responder.domain.responder import responder_key_id
from responder.feed.catalog import read_issuers

log = structlog.get_logger("keyring")
#: The edges read the catalog every second.
SETTLING_S = 4


@dataclass(frozen=True)
class Signing:
    """An issuer, the pair that signs for it, and the templates of its answers by hash algorithm."""

    issuer: Issuer
    pair: ResponderPair
    templates: Mapping[int, Template] = field(repr=False)


@dataclass(frozen=True)
class Keyring:
    """By issuer number. `issuers` has those without a pair too; `responders` every certificate still in the ledger."""

    issuers: Mapping[int, Issuer] = field(default_factory=dict)
    signing: Mapping[int, Signing] = field(default_factory=dict)
    responders: Mapping[int, frozenset[bytes]] = field(default_factory=dict)
    unusable: Mapping[int, Unusable] = field(default_factory=dict)

    @property
    def without_pair(self) -> list[str]:
        """Ids of the issuers whose pair is unusable."""
        return [self.issuers[number].issuer_id for number in self.unusable]


async def load_keyring(
    connection: Connection, folder: Path, passphrase: bytes | None, now: int, before: Keyring | None = None
) -> Keyring:
    """The ring as ledger and key folder have it now."""
    before = before or Keyring()
    with translated():
        found = {issuer.issuer_no: issuer for issuer in await read_issuers(connection)}
    certs = await responders.responder_certs(connection)
    signing: dict[int, Signing] = {}
    unusable: dict[int, Unusable] = {}
    known: dict[int, frozenset[bytes]] = {}
    for number, issuer in found.items():
        ours = sorted((cert for cert in certs if cert.issuer_id == issuer.issuer_id), key=lambda cert: cert.created_at)
        known[number] = frozenset(responder_key_id(cert.cert_der) for cert in ours)
        kept = before.signing.get(number)
        if not ours:
            continue
        if _is_settling(ours, kept, now):
            signing[number] = before.signing[number]
            continue
        made = _signing_or_fault(issuer, ours[-1].cert_der, (folder, passphrase, now), kept)
        if isinstance(made, Signing):
            signing[number] = made
        else:
            unusable[number] = made
            _log_change(issuer.issuer_id, made, before.unusable.get(number))
    return Keyring(found, signing, known, unusable)


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


def _is_settling(ours: list[responders.ResponderCert], before: Signing | None, now: int) -> bool:
    """A new certificate signs only when every edge can know it, as long as the one before is known and can."""
    newest = ours[-1]
    if before is None or before.pair.certificate.cert_der not in [cert.cert_der for cert in ours[:-1]]:
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
