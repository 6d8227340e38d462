"""Keys of CAs, opened when they are used and matched with the certificates in the ledger.

A few hundred stay open; each is opened again after that, which takes a tenth of a millisecond for a file. A key that
cannot be opened is a fault of its issuer alone.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import structlog

from cachewarm.ca.odd_names import load_certificate
from cachewarm.errors import CachewarmError, Refused, Transient
from cachewarm.keys.load import load_key
from cachewarm.keys.signing_key import SigningKey
from cachewarm.keys.token_uri import is_token_uri
from cachewarm.ledger.ca_signer import SigningIssuer

log = structlog.get_logger("ca signer")
#: Keys that stay open.
OPEN_KEYS = 256


class Mismatch(Refused):
    """A key that is not the one of its CA's certificate."""


class KeyStore:
    """Opens the keys of issuers; safe for threads. `folder` is where a key file is searched first, by its name."""

    def __init__(self, folder: Path | None, passphrase: bytes | None) -> None:
        self._folder, self._passphrase = folder, passphrase
        self._open: OrderedDict[tuple[str, bytes], SigningKey] = OrderedDict()
        self._lock = threading.Lock()
        #: What is wrong, by issuer.
        self.faults: dict[str, str] = {}

    def open_key(self, issuer: SigningIssuer) -> SigningKey | None:
        """Return the key when it is open already."""
        with self._lock:
            return self._open.get((issuer.key_path or "", issuer.cert_der))

    def key_of(self, issuer: SigningIssuer) -> SigningKey:
        """Return the key. Refused, naming the file, when it is not here, does not open or is another CA's (Mismatch).

        Transient when its token is away. The fault is logged once, and once more when it is gone.
        """
        name = (issuer.key_path or "", issuer.cert_der)
        try:
            key = self.open_key(issuer) or self._opened(issuer)
        except CachewarmError as error:
            if self.faults.get(issuer.issuer_id) != str(error):
                self.faults[issuer.issuer_id] = str(error)
                log.error("CA key not usable", issuer_id=issuer.issuer_id, error=str(error))
            raise
        if self.faults.pop(issuer.issuer_id, None) is not None:
            log.info("CA key usable again", issuer_id=issuer.issuer_id)
        with self._lock:
            self._open[name] = key
            self._open.move_to_end(name)
            while len(self._open) > OPEN_KEYS:
                self._open.popitem(last=False)
        return key

    def check(self, issuers: Iterable[SigningIssuer]) -> None:
        """Open each key once. Mismatch for the first one that is another CA's; other faults are noted and logged."""
        for issuer in issuers:
            try:
                self.key_of(issuer)
            except Mismatch:
                raise
            except (Refused, Transient):
                continue

    def place_of(self, issuer: SigningIssuer) -> str:
        """Return the file or URI of the issuer's key. Refused when the ledger has none."""
        reference = issuer.key_path
        if reference is None:
            raise Refused(f"the private key of {issuer.issuer_id} is not here")
        if is_token_uri(reference) or self._folder is None:
            return reference
        moved = self._folder / Path(reference).name
        return str(moved) if moved.exists() else reference

    def _opened(self, issuer: SigningIssuer) -> SigningKey:
        place = self.place_of(issuer)
        key = load_key(place, self._passphrase, whose=issuer.issuer_id)
        if load_certificate(issuer.cert_der).public_key() != key.public_key:
            raise Mismatch(f"{place} is not the key of {issuer.issuer_id}: the ledger has a certificate of another key")
        return key
