"""The interface of a signing key, wherever it lives.

It takes the whole TBS and hashes it itself, or takes its hash; it never shows its private half. A key in a file and a
key in an HSM look the same from here.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from cryptography.hazmat.primitives import hashes

from responder.domain.signature import PublicKey, scheme_of


class SigningKey(Protocol):
    """A private key one can sign with."""

    @property
    def public_key(self) -> PublicKey:
        """Public half of the key."""
        ...

    @property
    def signature_algorithm(self) -> bytes:
        """DER of the AlgorithmIdentifier of its signatures."""
        ...

    def sign(self, tbs: bytes) -> bytes:
        """Return the signature over those bytes, as it is in a BIT STRING; Transient when the key cannot be reached."""
        ...

    def sign_digest(self, digest: bytes) -> bytes:
        """Return the same signature, given the hash of the bytes; Refused by a kind of key that hashes nothing
        (Ed25519).
        """
        ...


@runtime_checkable
class PartsSigner(Protocol):
    """A key whose holder must see all that it signs, and so takes no hash."""

    def sign_parts(self, parts: Sequence[bytes | bytearray | memoryview]) -> bytes:
        """Signature over the parts one after the other."""
        ...


def sign_parts(key: SigningKey, parts: Sequence[bytes | bytearray | memoryview]) -> bytes:
    """Signature over the parts one after the other, which are not joined for it where the kind of key allows that."""
    if isinstance(key, PartsSigner):
        return key.sign_parts(parts)
    algorithm = scheme_of(key.public_key).hash
    if algorithm is None:
        return key.sign(b"".join(parts))
    digest = hashes.Hash(algorithm)
    for part in parts:
        digest.update(part)
    return key.sign_digest(digest.finalize())
