"""The local CA at work: what it makes is in the ledger before anybody sees it.

A key is on disk before its issuer's row, and a certificate is in the inventory before it is handed out: a crash in
between leaves a file without a row, or a row of a certificate that was not handed out, never the other way round.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Required, TypedDict, Unpack

from cryptography import x509

from cachewarm.ca.authority import Authority, init_root, init_sub
from cachewarm.ca.ca_keys import CAKeys, LocalCAKeys, Purpose
from cachewarm.ca.certificate import Issued, moment
from cachewarm.ca.issue import Terms, issue
from cachewarm.ca.issuer_rows import issuer_row
from cachewarm.ca.lineage import require_issuance
from cachewarm.ca.odd_names import load_certificate
from cachewarm.ca.profiles import ROOT_VALIDITY_S, Pointers
from cachewarm.errors import Refused
from cachewarm.keys.key_file import write_new
from cachewarm.keys.pkcs11_key import existing_token_key, new_token_key
from cachewarm.keys.signing_key import SigningKey
from cachewarm.keys.soft_key import KeyKind, SoftKey
from cachewarm.ledger import ca_signer, inventory, issuers
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.issuer_states import hold_issuance
from responder.domain.issuer import check_issuer_id
from responder.domain.signature import PublicKey
from responder.domain.status import UnissuedPolicy

PKI = "/.well-known/pki"


def public_urls(base_url: str, issuer_id: str) -> Pointers:
    """Where an issuer's answers, certificate and CRL are served (compat.md)."""
    return Pointers(
        ocsp_url=f"{base_url}{PKI}/ocsp/{issuer_id}",
        ca_issuers_url=f"{base_url}{PKI}/issuer/{issuer_id}",
        crl_url=f"{base_url}{PKI}/crl/{issuer_id}",
    )


def pointers_of(issuer: issuers.Issuer) -> Pointers:
    """Return the URLs in certificates of that issuer."""
    return Pointers(issuer.ocsp_url, issuer.ca_issuers_url, issuer.crl_url, issuer.crl_shards)


def ca_key_path(keys: Path, issuer_id: str) -> Path:
    """Where a local CA's key is."""
    return keys / f"ca-{issuer_id}.key"


class CAWish(TypedDict, total=False):
    """The kind of CA that is wanted. `parent` and its authority are None for a root.

    `key_uri` names a key in a token: one that is generated there, or with `existing_key` one that the token has.
    Without it the key is a new file. `kind` None means P-256 for a new key, and any kind for an existing one.
    """

    kind: Required[KeyKind | None]
    key_uri: str | None
    existing_key: bool
    parent: Required[issuers.Issuer | None]
    parent_authority: Required[Authority | None]
    base_url: Required[str]
    validity_s: int | None
    policy: UnissuedPolicy
    crls: issuers.CRLWish


async def found_ca(
    connection: Connection,
    *,
    issuer_id: str,
    subject: x509.Name,
    keys: Path,
    passphrase: bytes | None,
    now: int,
    actor: str,
    **wish: Unpack[CAWish],
) -> issuers.Issuer:
    """Make a root, or a sub-CA of `parent`. Refused when the id is taken or a key of that name exists.

    A key that was generated in a token stays there, whatever happens after it.
    """
    check_id(issuer_id)
    if await issuers.get_issuer(connection, issuer_id) is not None:
        raise Refused(f"there is an issuer {issuer_id} already")
    path, key_uri = ca_key_path(keys, issuer_id), wish.get("key_uri")
    if key_uri is None and path.exists():
        raise Refused(f"{path} exists already: it is the key of an earlier {issuer_id}; move it away first")
    in_file = SoftKey.generate(wish["kind"] or KeyKind.P256) if key_uri is None else None
    key: SigningKey = in_file or _key_in_token(key_uri or "", wish)
    parent, parent_authority, validity_s = wish["parent"], wish["parent_authority"], wish.get("validity_s")
    if parent is None or parent_authority is None:
        made = init_root(key, subject, now=now, validity_s=ROOT_VALIDITY_S if validity_s is None else validity_s)
    else:
        if parent.crl_scope == "user":
            raise Refused(f"the CRLs of {parent.issuer_id} are about user certificates alone: a CA would be on none")
        made = init_sub(key, subject, parent_authority, now=now, pointers=pointers_of(parent), validity_s=validity_s)
    if in_file is not None:
        write_new(path, in_file.file_content(path, passphrase))
    try:
        async with connection.transaction():
            if parent is not None:
                await enter_issued(connection, parent.issuer_id, made, crl_shards=parent.crl_shards)
            row = issuer_row(made.certificate, public_urls(wish["base_url"], issuer_id), key_path=key_uri or path)
            row["unissued_policy"] = wish.get("policy", UnissuedPolicy.UNAUTHORIZED)
            row["crls"] = wish.get("crls", issuers.ONLY_COMPLETE)
            return await issuers.add_issuer(connection, issuer_id, actor=actor, **row)
    except Refused:
        if in_file is not None:
            path.unlink()  # nobody has seen it; after a lost connection it stays, the row may be there
        raise


def _key_in_token(key_uri: str, wish: CAWish) -> SigningKey:
    if wish.get("existing_key", False):
        return existing_token_key(key_uri, wish["kind"])
    return new_token_key(key_uri, wish["kind"] or KeyKind.P256)


async def issue_leaf(
    connection: Connection,
    issuer: issuers.Issuer,
    authority: Authority,
    *,
    names: Sequence[str],
    public_key: PublicKey,
    terms: Terms,
    now: int,
    subject: x509.Name | None = None,
) -> Issued:
    """A certificate, entered into the inventory."""
    made = issue(authority, public_key, terms, names=names, now=now, subject=subject)
    await enter_issued(connection, issuer.issuer_id, made, crl_shards=terms.pointers.crl_shards)
    return made


async def enter_issued(connection: Connection, issuer_id: str, *made: Issued, crl_shards: int = 0) -> int:
    """Enter certificates that were issued here; how many were new.

    Refused when the issuer may not issue (lineage.py): it may have been frozen since they were signed. A responder's
    certificate is entered by `enter`, as answers go on.
    """
    async with connection.transaction():
        await hold_issuance(connection, issuer_id)
        await require_issuance(connection, await ca_signer.signing_issuer(connection, issuer_id))
        return await enter(connection, issuer_id, *made, crl_shards=crl_shards)


async def enter(connection: Connection, issuer_id: str, *made: Issued, crl_shards: int = 0) -> int:
    """Certificates into the inventory; how many were new.

    Refused when they name shards that the issuer has no more: somebody changed their number since they were made.
    """
    async with connection.transaction():
        if crl_shards:
            await issuers.hold_shards(connection, issuer_id, crl_shards)
        return await inventory.add_certificates(
            connection,
            issuer_id,
            [
                inventory.NewCertificate(
                    serial_number=each.serial,
                    not_before=moment(each.not_before),
                    not_after=moment(each.not_after),
                    subject=each.subject,
                    cert_der=each.cert_der,
                )
                for each in made
            ],
        )


def load_authority(
    issuer: issuers.Issuer, keys: CAKeys | None = None, purpose: Purpose = Purpose.CERTIFICATE
) -> Authority:
    """Return the CA with its key for that purpose; without `keys` it is opened here, and has no passphrase.

    Refused when the key is not here, cannot be read or belongs to another CA; see CAKeys.
    """
    key = (keys or LocalCAKeys(None)).key_of(issuer, purpose)
    return Authority(load_certificate(issuer.cert_der), key)


def check_id(issuer_id: str) -> None:
    """Refused for an id that cannot be a path segment."""
    try:
        check_issuer_id(issuer_id)
    except ValueError as error:
        raise Refused(str(error)) from error
