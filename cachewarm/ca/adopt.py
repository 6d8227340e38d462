"""An issuer made elsewhere: its certificate, and the responder pair or the CA key that its operator brings along.

Everything is judged before anything is written. Rows and key file change in one transaction of the ledger, the file
last: a refusal leaves nothing, a crash between file and COMMIT leaves a key that no row names, and repeating the
command mends that. A key of an unknown owner is never overwritten.
"""

import re
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cachewarm.ca.authority import check_ca, may_sign_crls
from cachewarm.ca.certificate import Issued
from cachewarm.ca.external_responder import ExternalResponder
from cachewarm.ca.issuer_rows import issuer_row, responder_row
from cachewarm.ca.odd_names import load_certificate
from cachewarm.ca.profiles import check_url
from cachewarm.ca.registry import enter, public_urls
from cachewarm.ca.responder_certificate import key_path
from cachewarm.errors import Refused
from cachewarm.keys.soft_key import SoftKey
from cachewarm.ledger import issuers, responders
from cachewarm.ledger.connect import Connection
from responder.domain.issuer import check_issuer_id
from responder.domain.responder import ResponderCertificate
from responder.domain.signature import PublicKey
from responder.domain.status import UnissuedPolicy


@dataclass(frozen=True, kw_only=True)
class AdoptionRequest:
    """The CA and the choices of an operator, None for no choice. `ca_key`: file or PKCS#11 URI of the CA's key."""

    ca: x509.Certificate
    issuer_id: str | None
    responder: tuple[ExternalResponder, SoftKey] | None
    ca_key: str | None
    publishes_crl: bool | None
    unissued_policy: UnissuedPolicy | None
    ocsp_url: str | None
    crl_url: str | None
    crls: issuers.CRLWish = issuers.ONLY_COMPLETE

    def __post_init__(self) -> None:
        check_ca(self.ca)
        if self.responder is None and self.ca_key is None:
            raise Refused("who signs the answers? Bring a responder certificate with its key, or the CA's key")

    @property
    def cert_der(self) -> bytes:
        """DER of the CA certificate."""
        return self.ca.public_bytes(Encoding.DER)

    @property
    def responder_mode(self) -> str:
        """Return `external` if a responder pair was brought, and `delegated` if the CA key makes responders."""
        return "delegated" if self.responder is None else "external"


@dataclass(frozen=True)
class Adopted:
    """The issuer, whether it is new, and the outcome for its responder: new, replaced, the same, made here."""

    issuer: issuers.Issuer
    is_new: bool
    responder: str


async def adopt(
    connection: Connection, brought: AdoptionRequest, keys: Path, passphrase: bytes | None, *, base_url: str, actor: str
) -> Adopted:
    """Take the issuer in, or give the one that has this certificate its new responder."""
    known = await _known(connection, brought)
    brought = _with_source(brought, known)
    _check_crl_sign(brought)
    if _makes_crls(brought) and brought.ca_key is None and (known is None or known.key_path is None):
        raise Refused("a CRL is signed with the CA's own key, and that is not here: bring it, or publish no CRL")
    async with connection.transaction():
        issuer = await (
            _add(connection, brought, base_url, actor)
            if known is None
            else _change(connection, brought, known.issuer_id, actor)
        )
        if brought.responder is None:
            return Adopted(issuer, known is None, "made here")
        word = await _take_responder(
            connection, issuer, *brought.responder, keys=keys, passphrase=passphrase, actor=actor
        )
    return Adopted(issuer, known is None, word)


def _with_source(brought: AdoptionRequest, known: issuers.Issuer | None) -> AdoptionRequest:
    """A CA whose key is not here makes no CRL here: the CRL URL that is given for it is where its CRL comes from."""
    has_key = brought.ca_key is not None or (known is not None and known.key_path is not None)
    if not has_key and brought.crl_url is not None and brought.crls.source is None:
        brought = replace(brought, crl_url=None, crls=brought.crls._replace(source=brought.crl_url))
    if brought.crl_url is not None:
        check_url(brought.crl_url, "crl_url")
    source = brought.crls.source or (known.crl_source if known else None)
    if source is None:
        if brought.crls.delta_source is not None:
            raise Refused("a delta CRL needs its complete one: give its URL too")
        return brought
    if brought.crls.delta or brought.crls.shards:
        raise Refused("the CRLs of this issuer are fetched, not made: neither deltas nor shards are made of them")
    return brought


def _check_crl_sign(brought: AdoptionRequest) -> None:
    """RFC 5280 4.2.1.3, 6.3.3 (f): verifiers reject every CRL of a CA whose keyUsage lacks cRLSign."""
    if may_sign_crls(brought.ca) or not (brought.publishes_crl or brought.crls.source):
        return
    raise Refused(
        f"the keyUsage of {brought.ca.subject.rfc4514_string()} lacks cRLSign: verifiers reject its CRLs;"
        " add it with --no-crl, and answer by OCSP alone"
    )


def _makes_crls(brought: AdoptionRequest) -> bool:
    return bool(brought.publishes_crl) and brought.crls.source is None


async def _known(connection: Connection, brought: AdoptionRequest) -> issuers.Issuer | None:
    same = await issuers.issuer_of_certificate(connection, brought.cert_der)
    twin = same or await issuers.issuer_of_name_and_key(connection, brought.cert_der)
    if twin is not None and same is None:
        raise Refused(
            f"issuer {twin.issuer_id} has this name and this key: this is another certificate of the same CA;"
            f" add it with `fastocsp issuer add-cert {twin.issuer_id} --cert FILE`"
        )
    if same is not None:
        if brought.issuer_id not in (None, same.issuer_id):
            raise Refused(f"this certificate is issuer {same.issuer_id}'s already")
        return same
    wanted = brought.issuer_id or issuer_id_of(brought.ca)
    if await issuers.get_issuer(connection, wanted) is not None:
        raise Refused(f"there is an issuer {wanted} with another certificate: choose another id")
    return None


async def _add(connection: Connection, brought: AdoptionRequest, base_url: str, actor: str) -> issuers.Issuer:
    issuer_id = brought.issuer_id or issuer_id_of(brought.ca)
    ours = public_urls(base_url, issuer_id)
    urls = replace(
        ours,
        ocsp_url=brought.ocsp_url or ours.ocsp_url,
        crl_url=brought.crl_url or (ours.crl_url if _publishes(brought) else None),
    )
    row = issuer_row(brought.ca, urls, key_path=brought.ca_key)
    row["responder_mode"] = brought.responder_mode
    row["unissued_policy"] = brought.unissued_policy or _unissued(brought)
    row["publishes_crl"] = _publishes(brought) or False
    row["crls"] = brought.crls
    return await issuers.add_issuer(connection, issuer_id, actor=actor, **row)


async def _change(connection: Connection, brought: AdoptionRequest, issuer_id: str, actor: str) -> issuers.Issuer:
    return await issuers.change_issuer(
        connection,
        issuer_id,
        key_path=brought.ca_key,
        responder_mode=brought.responder_mode,
        ocsp_url=brought.ocsp_url,
        crl_url=brought.crl_url,
        unissued_policy=brought.unissued_policy,
        publishes_crl=_publishes(brought),
        crls=brought.crls,
        actor=actor,
    )


def _publishes(brought: AdoptionRequest) -> bool | None:
    """As asked; else with the CA's key come CRLs, and with a source; without either nothing changes."""
    if brought.publishes_crl is not None:
        return brought.publishes_crl
    return True if (brought.ca_key and may_sign_crls(brought.ca)) or brought.crls.source else None


def _unissued(brought: AdoptionRequest) -> UnissuedPolicy:
    """Where the CRL is all that is known of the certificates, what is not on it is good."""
    return UnissuedPolicy.GOOD if brought.crls.source else UnissuedPolicy.UNAUTHORIZED


async def _take_responder(
    connection: Connection,
    issuer: issuers.Issuer,
    accepted: ExternalResponder,
    key: SoftKey,
    *,
    keys: Path,
    passphrase: bytes | None,
    actor: str,
) -> str:
    await responders.lock_responders(connection, issuer.issuer_no)
    held = await responders.responder_certs(connection, issuer.issuer_id)
    path = key_path(keys, issuer.issuer_id)
    _refuse_foreign(path, passphrase, key.public_key, [cert.cert_der for cert in held])
    await _enter(connection, issuer, accepted.certificate, path, actor)
    key.store(path, passphrase)
    newest = max(held, key=lambda cert: cert.created_at, default=None)
    if newest is None:
        return "new"
    return "the same" if newest.cert_der == accepted.certificate.cert_der else "replaced"


async def _enter(
    connection: Connection, issuer: issuers.Issuer, certificate: ResponderCertificate, path: Path, actor: str
) -> None:
    made = Issued.of(load_certificate(certificate.cert_der))
    if made.cert_der not in await issuers.issuer_certificates(connection, issuer.issuer_id):
        await enter(connection, issuer.issuer_id, made)  # a CA that signs answers itself was issued by its parent
    await responders.forget_responder_cert(connection, issuer.issuer_id, made.serial)
    await responders.add_responder_cert(connection, issuer.issuer_id, responder_row(made, path), actor=actor)


def _refuse_foreign(path: Path, passphrase: bytes | None, ours: PublicKey, held: list[bytes]) -> None:
    if not path.exists():
        return
    try:
        there = SoftKey.load(path, passphrase).public_key
    except Refused as error:
        raise Refused(f"{path} is in the way and cannot be read ({error}): move it away first") from error
    known = [load_certificate(cert_der).public_key() for cert_der in held]
    if there != ours and there not in known:
        raise Refused(f"{path} holds a key that is no responder's of this issuer: move it away first")


def issuer_id_of(ca: x509.Certificate) -> str:
    """An id made of the subject's common name; Refused when there is nothing to make it of."""
    names = ca.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(names[0].value) if names else ""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9._]+", "-", ascii_text).strip("-._")[:63].strip("-._")
    try:
        return check_issuer_id(slug)
    except ValueError as error:
        raise Refused("the CA's common name makes no issuer id: choose one") from error
