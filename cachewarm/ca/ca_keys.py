"""How the holder of a CA's key is reached: opened by this process, or through the CA signer (cachewarm/ca_signer)."""

from enum import StrEnum
from typing import Protocol

from cachewarm.errors import Refused
from cachewarm.keys.load import load_key
from cachewarm.keys.signing_key import SigningKey
from cachewarm.ledger.issuers import Issuer


class Purpose(StrEnum):
    """Purpose of a signature by a CA's key. The CA signer checks that the bytes to be signed are of that kind."""

    CERTIFICATE = "certificate"
    SUB_CA = "subordinate CA"
    RESPONDER = "responder certificate"
    CRL = "CRL"
    REQUEST = "certification request"


class CAKeys(Protocol):
    """The keys of the CAs that are here."""

    def key_of(self, issuer: Issuer, purpose: Purpose) -> SigningKey:
        """Return the key of that CA, for one purpose.

        Refused, in one sentence, when it is not here, cannot be opened or belongs to another CA; SignerUnavailable
        when its holder does not run. It blocks for as long as the holder takes.
        """
        ...


class LocalCAKeys:
    """Opens keys in this process, with FASTOCSP_CA_SIGNER=off and for a CA that is being made."""

    def __init__(self, passphrase: bytes | None) -> None:
        self._passphrase = passphrase

    def key_of(self, issuer: Issuer, purpose: Purpose) -> SigningKey:  # noqa: ARG002 - a key in hand signs anything
        """Return the key of that CA; Transient when its token is away."""
        if issuer.key_path is None:
            raise Refused(f"the private key of {issuer.issuer_id} is not here")
        return load_key(issuer.key_path, self._passphrase, whose=issuer.issuer_id)
