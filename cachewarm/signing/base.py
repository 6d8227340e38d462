"""What a signing key is, wherever it lives.

It takes the whole TBS, hashes it itself and never shows its private half; a key in a file and a key in an HSM look
the same from here.
"""

from typing import Protocol

from responder.domain.signature import PublicKey


class SigningKey(Protocol):
    """A private key one can sign with."""

    @property
    def public_key(self) -> PublicKey:
        """The public half."""
        ...

    @property
    def signature_algorithm(self) -> bytes:
        """DER of the AlgorithmIdentifier of its signatures."""
        ...

    def sign(self, tbs: bytes) -> bytes:
        """Signature over those octets, as it stands in a BIT STRING; Transient when the key cannot be reached."""
        ...
