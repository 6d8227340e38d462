"""Delegated responders: made when there is none that can be used, replaced before the one there is ends.

A missing row, a missing file, a key that does not fit: each means "make a new one now", never a crash and never the
CA's own key (compat.md). Of several warmers one does it: the turn is an advisory lock per issuer. The key file comes
before the row; a crash between the two leaves a key without a certificate, which is a fault that makes a new one. The
certificates are in the inventory like any other that is made here.
"""

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import structlog

from cachewarm.ca.ca_keys import CAKeys, LocalCAKeys, Purpose
from cachewarm.ca.certificate import Issued
from cachewarm.ca.issuer_rows import responder_row
from cachewarm.ca.odd_names import load_certificate
from cachewarm.ca.registry import enter, load_authority
from cachewarm.ca.responder_certificate import Fault, Unusable, key_path, load_pair, make
from cachewarm.errors import Fatal, Refused, SignerAway, Transient
from cachewarm.keys.signing_key import SigningKey
from cachewarm.keys.soft_key import SoftKey
from cachewarm.ledger import issuers, responders
from cachewarm.ledger.connect import Connection
from cachewarm.records.keyring import Keyring

log = structlog.get_logger("responders")
#: Between two looks at an issuer for which nothing could be done. One whose key file changed is looked at until the
#: pause is the longest: its row follows soon, unless the process that writes both was killed.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0
#: Issuers of one round.
ROTATED = 200


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How responder certificates are made: where keys are, for how long, and how long before the end; seconds.

    Without `ca_keys` the keys of CAs are opened here, under the same passphrase.
    """

    folder: Path
    passphrase: bytes | None
    now: int
    validity_s: float
    grace_s: float
    ca_keys: CAKeys | None = None

    @property
    def grace(self) -> int:
        """Half of the validity at most: a grace of the whole life would make a new certificate every second."""
        return int(min(self.grace_s, self.validity_s / 2))


@dataclass(frozen=True)
class Rotation:
    """Ids of the issuers that got a new responder certificate, and what is wrong, by the id of the others.

    `errors` has the unforeseen exceptions, for their tracebacks.
    """

    made: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)


async def rotate_due(
    connection: Connection, folder: Path, passphrase: bytes | None, *, now: int, validity_s: float, grace_s: float
) -> Rotation:
    """Make what is missing or due for every issuer whose CA key is here."""
    terms = Terms(folder=folder, passphrase=passphrase, now=now, validity_s=validity_s, grace_s=grace_s)
    return await rotate(connection, await issuers.issuer_ids(connection), terms)


async def rotate(connection: Connection, issuer_ids: Sequence[str], terms: Terms) -> Rotation:
    """Make what is missing or due for these issuers.

    A fault of one issuer (a key that is missing, foreign, encrypted or readable for others, a CA that expired) stops
    nothing for the others. Transient and Fatal are the ledger's and end the round.
    """
    done, terms = Rotation(), replace(terms, ca_keys=_KeysOfRound(terms))
    for issuer in await issuers.list_issuers(connection, issuer_ids):
        try:
            fault = await _rotate_if_due(connection, issuer, terms, done)
        except (Transient, Fatal):
            raise
        except Refused as error:
            fault = str(error)
        except Exception as error:
            # whatever is wrong with this issuer, the next one must get its responder
            if connection.is_closed():
                raise
            done.errors[issuer.issuer_id] = error
            fault = f"{type(error).__name__}: {error}"
        if fault is not None:
            done.faults[issuer.issuer_id] = fault
    return done


class _KeysOfRound:
    """The keys of CAs for one round: a CA signer that is away is asked once, as each question may take seconds."""

    def __init__(self, terms: Terms) -> None:
        self._keys = terms.ca_keys or LocalCAKeys(terms.passphrase)
        self._away: SignerAway | None = None

    def key_of(self, issuer: issuers.Issuer, purpose: Purpose) -> SigningKey:
        """Return the key of that CA; see CAKeys."""
        if self._away is not None:
            raise self._away
        try:
            return self._keys.key_of(issuer, purpose)
        except SignerAway as error:
            self._away = error
            raise


class RotationSchedule:
    """Which issuers to look at: those that the keyring says cannot sign, or not for long, and whose key file changed.

    It reads no ledger and no file, so a round costs the same for ten thousand issuers as for one. An issuer for which
    nothing could be done is looked at again after a growing pause.
    """

    def __init__(self) -> None:
        self._again: dict[str, tuple[float, float]] = {}
        self.faults: dict[str, str] = {}

    def due(self, ring: Keyring, touched: Collection[str], ends_before: float) -> list[str]:
        """Return at most ROTATED issuers by id; `ends_before`: pairs that end before then are replaced (epoch s)."""
        now = time.monotonic()
        for issuer_id in touched:
            self._again[issuer_id] = (now, FIRST_PAUSE_S)
        lame = {
            issuer.issuer_id
            for number, issuer in ring.issuers.items()
            if (signing := ring.signing.get(number)) is None
            or signing.pair.certificate.not_after < ends_before
            or number in ring.behind
        }
        there = {issuer.issuer_id for issuer in ring.issuers.values()} if self._again.keys() - lame else lame
        self._again = {
            issuer_id: again
            for issuer_id, again in self._again.items()
            if issuer_id in lame or (issuer_id in there and again[1] < LONGEST_PAUSE_S)
        }
        for issuer_id in lame:
            self._again.setdefault(issuer_id, (now, FIRST_PAUSE_S))
        for issuer_id in self.faults.keys() - self._again.keys():
            del self.faults[issuer_id]
        return list(islice((issuer_id for issuer_id, (at, _) in self._again.items() if at <= now), ROTATED))

    def looked_at(self, issuer_ids: Collection[str], done: Rotation) -> None:
        """Note how it went."""
        now = time.monotonic()
        for issuer_id in issuer_ids:
            _, pause = self._again.pop(issuer_id, (0.0, FIRST_PAUSE_S))
            self._again[issuer_id] = (now + pause, min(2 * pause, LONGEST_PAUSE_S))
            if issuer_id in done.faults:
                self.faults[issuer_id] = done.faults[issuer_id]
            else:
                self.faults.pop(issuer_id, None)


async def _rotate_if_due(connection: Connection, issuer: issuers.Issuer, terms: Terms, done: Rotation) -> str | None:
    """Make a certificate when one is due; return what is wrong with a responder that cannot be made here."""
    why = await _why(connection, issuer, terms)
    if why is None:
        return None
    if issuer.responder_mode != "delegated" or issuer.key_path is None:
        return None if why.fault is Fault.IN_GRACE else f"{why.text}, and its CA key is not here"
    if await _make(connection, issuer, terms):
        done.made.append(issuer.issuer_id)
    return None


async def _why(connection: Connection, issuer: issuers.Issuer, terms: Terms) -> Unusable | None:
    certs = await responders.responder_certs(connection, issuer.issuer_id)
    newest = max(certs, key=lambda cert: cert.created_at, default=None)
    if newest is None:
        return Unusable(Fault.CERTIFICATE_BROKEN, "there is no responder certificate yet")
    ca = load_certificate(issuer.cert_der)
    path = key_path(terms.folder, issuer.issuer_id)
    pair = load_pair(path, newest.cert_der, ca, now=terms.now, grace_s=terms.grace, passphrase=terms.passphrase)
    if isinstance(pair, Unusable):
        ends_with_ca = newest.not_after >= ca.not_valid_after_utc and pair.fault is Fault.IN_GRACE
        return None if ends_with_ca else pair
    return None


def _issued(issuer: issuers.Issuer, terms: Terms) -> tuple[Issued, SoftKey]:
    """Return a new certificate and its key; it blocks while the holder of the CA's key is asked."""
    authority = load_authority(issuer, terms.ca_keys, Purpose.RESPONDER)
    return make(authority, issuer.issuer_id, now=terms.now, validity_s=int(terms.validity_s))


async def _make(connection: Connection, issuer: issuers.Issuer, terms: Terms) -> bool:
    async with connection.transaction():
        if not await responders.try_lock_responders(connection, issuer.issuer_no):
            return False
        # another warmer may have had the turn since the first look
        why = await _why(connection, issuer, terms)
        if why is None:
            return False
        issued, key = await asyncio.to_thread(_issued, issuer, terms)
        await enter(connection, issuer.issuer_id, issued)
        terms.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = key_path(terms.folder, issuer.issuer_id)
        key.store(path, terms.passphrase)
        await responders.add_responder_cert(connection, issuer.issuer_id, responder_row(issued, path), actor="warmer")
    log.info("responder certificate made", issuer_id=issuer.issuer_id, why=why.text, serial=issued.serial.hex())
    return True
