"""The quickstart's CA and certificates: made once, kept by a restart."""

import time
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from cachewarm.ca.ca_keys import CAKeys, Purpose
from cachewarm.ca.certificate import parse_subject
from cachewarm.ca.issue import Terms, issue
from cachewarm.ca.odd_names import load_certificate
from cachewarm.ca.profiles import DAY_S
from cachewarm.ca.registry import enter_issued, found_ca, load_authority, pointers_of
from cachewarm.ca_signer.client import ca_keys_of
from cachewarm.config import Settings
from cachewarm.console import progress, say
from cachewarm.errors import Refused
from cachewarm.keys.soft_key import KeyKind, SoftKey
from cachewarm.ledger import issuers, samples
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.revocations import Revocation, bulk_revoke
from responder.domain.status import CRLReason

ISSUER_ID = "demo"
BATCH = 500
#: Those that the Baseline Requirements (7.2.2) allow for the certificates of subscribers.
_REASONS = (
    CRLReason.keyCompromise,
    CRLReason.superseded,
    CRLReason.cessationOfOperation,
    CRLReason.affiliationChanged,
    CRLReason.privilegeWithdrawn,
)


async def prepare(connection: Connection, settings: Settings, certificates: int, revoked: int) -> dict[str, str | Path]:
    """Make the CA, that many certificates and revocations, and return the names and paths of Demo.

    What is there already is counted.
    """
    issuer = await issuers.get_issuer(connection, ISSUER_ID)
    if issuer is None:
        issuer = await found_ca(
            connection,
            issuer_id=ISSUER_ID,
            kind=KeyKind.P256,
            subject=parse_subject("CN=fastocsp demo CA,O=fastocsp quickstart,C=DE"),
            parent=None,
            parent_authority=None,
            base_url=settings.base_url,
            keys=settings.ca_keys,
            passphrase=settings.passphrase,
            now=int(time.time()),
            actor="quickstart",
        )
    else:
        _refuse_wrong_passphrase(issuer, ca_keys_of(settings))
    folder = settings.data_dir / "certs"
    folder.mkdir(exist_ok=True)
    await _issue_missing(connection, issuer, settings, folder, certificates)
    await _revoke_missing(connection, issuer, revoked)
    issuer_cert = settings.data_dir / "issuer.pem"
    issuer_cert.write_bytes(pem(issuer.cert_der))
    return await _chosen(connection, issuer, folder, issuer_cert)


def _refuse_wrong_passphrase(issuer: issuers.Issuer, keys: CAKeys) -> None:
    """Refused when the CA's key does not open: nothing would ever be signed. A key that is gone stops no start."""
    try:
        load_authority(issuer, keys, Purpose.CRL)  # a frozen CA is started like any other
    except Refused as error:
        if issuer.key_path is not None and Path(issuer.key_path).exists():
            raise
        say(f"{error}; what is signed already is answered")


async def _issue_missing(
    connection: Connection, issuer: issuers.Issuer, settings: Settings, folder: Path, wanted: int
) -> None:
    have = await samples.count_certificates(connection, ISSUER_ID)
    if have >= wanted:
        return
    try:
        authority = load_authority(issuer, ca_keys_of(settings))
    except Refused as error:
        say(f"{error}; no demo certificates are issued")
        return
    terms = Terms(pointers_of(issuer), validity_s=90 * DAY_S)
    key = SoftKey.generate(KeyKind.P256)
    with progress("issuing demo certificates", wanted - have) as meter:
        for first in range(have, wanted, BATCH):
            numbers = range(first, min(first + BATCH, wanted))
            now = int(time.time())
            made = [issue(authority, key.public_key, terms, names=[f"host{n}.demo.test"], now=now) for n in numbers]
            await enter_issued(connection, ISSUER_ID, *made, crl_shards=issuer.crl_shards)
            for each in made:
                (folder / f"{each.serial.hex()}.pem").write_bytes(each.pem)
            meter.advance(len(made))


async def _revoke_missing(connection: Connection, issuer: issuers.Issuer, wanted: int) -> None:
    have = await samples.count_revocations(connection, issuer.issuer_id)
    serials = await samples.oldest_good(connection, issuer.issuer_id, max(0, wanted - have))
    chosen = [
        Revocation(serial, reason=_REASONS[number % len(_REASONS)]) for number, serial in enumerate(serials, have)
    ]
    if chosen:
        await bulk_revoke(connection, issuer.issuer_id, chosen, actor="quickstart")


async def _chosen(
    connection: Connection, issuer: issuers.Issuer, folder: Path, issuer_cert: Path
) -> dict[str, str | Path]:
    paths = {}
    for status in ("good", "revoked"):
        found = await samples.first_with_status(connection, issuer.issuer_id, status)
        paths[status] = folder / f"{found.serial_number.hex()}.pem" if found else folder / "none.pem"
        if found and not paths[status].exists():
            paths[status].write_bytes(pem(found.cert_der))
    return {
        "issuer_id": issuer.issuer_id,
        "issuer_cert": issuer_cert,
        "good_cert": paths["good"],
        "revoked_cert": paths["revoked"],
        "certs_dir": folder,
    }


def pem(der: bytes) -> bytes:
    """The certificate as PEM."""
    return load_certificate(der).public_bytes(Encoding.PEM)
