"""Delegated responders: made when there is none that can be used, replaced before the one there is ends.

A missing row, a missing file, a key that does not fit: each means "make a new one now", never a crash and never the
CA's own key (compat.md). Of several warmers one does it: the turn is an advisory lock per issuer. The key file comes
before the row; a crash between the two leaves a key without a certificate, which is a fault that makes a new one.
"""

from pathlib import Path

import structlog
from cryptography import x509

from cachewarm.ca.issuer_rows import responder_row
from cachewarm.ca.registry import load_authority
from cachewarm.ca.responder_certificate import Fault, Unusable, key_path, load_pair, make
from cachewarm.ledger import issuers, responders
from cachewarm.ledger.connect import Connection

log = structlog.get_logger("responders")


async def rotate_due(
    connection: Connection, folder: Path, passphrase: bytes | None, *, now: int, validity_s: float, grace_s: float
) -> list[str]:
    """Make what is missing or due for every issuer whose CA key is here; the ids that got a new one."""
    rotated = []
    for issuer in await issuers.list_issuers(connection):
        grace = _grace(validity_s, grace_s)
        why = await _why(connection, issuer, folder, passphrase, now, grace)
        if why is None:
            continue
        if issuer.responder_mode != "delegated" or issuer.key_path is None:
            if why.fault is not Fault.IN_GRACE:
                log.error("responder unusable, and its CA key is not here", issuer_id=issuer.issuer_id, why=why.text)
            continue
        if await _rotate(connection, issuer, folder, passphrase, now, validity_s, grace):
            rotated.append(issuer.issuer_id)
    return rotated


def _grace(validity_s: float, grace_s: float) -> int:
    """A grace of the whole life would make a new one every second."""
    return int(min(grace_s, validity_s / 2))


async def _why(
    connection: Connection, issuer: issuers.Issuer, folder: Path, passphrase: bytes | None, now: int, grace_s: int
) -> Unusable | None:
    certs = await responders.responder_certs(connection, issuer.issuer_id)
    newest = max(certs, key=lambda cert: cert.created_at, default=None)
    if newest is None:
        return Unusable(Fault.CERTIFICATE_BROKEN, "there is none yet")
    ca = x509.load_der_x509_certificate(issuer.cert_der)
    path = key_path(folder, issuer.issuer_id)
    pair = load_pair(path, newest.cert_der, ca, now=now, grace_s=grace_s, passphrase=passphrase)
    if isinstance(pair, Unusable):
        ends_with_ca = newest.not_after >= ca.not_valid_after_utc and pair.fault is Fault.IN_GRACE
        return None if ends_with_ca else pair
    return None


async def _rotate(
    connection: Connection,
    issuer: issuers.Issuer,
    folder: Path,
    passphrase: bytes | None,
    now: int,
    validity_s: float,
    grace_s: int,
) -> bool:
    async with connection.transaction():
        if not await responders.try_lock_responders(connection, issuer.issuer_no):
            return False
        # looked at again now that it is our turn: another warmer may have had it a moment ago
        why = await _why(connection, issuer, folder, passphrase, now, grace_s)
        if why is None:
            return False
        authority = load_authority(issuer, passphrase)
        issued, key = make(authority, issuer.issuer_id, now=now, validity_s=int(validity_s))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = key_path(folder, issuer.issuer_id)
        key.store(path, passphrase)
        await responders.add_responder_cert(connection, issuer.issuer_id, responder_row(issued, path), actor="warmer")
    log.info("responder certificate made", issuer_id=issuer.issuer_id, why=why.text, serial=issued.serial.hex())
    return True
