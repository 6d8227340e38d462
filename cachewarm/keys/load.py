"""A private key by its reference in the ledger: the path of a file, or the PKCS#11 URI of a key in a token."""

from pathlib import Path

from cachewarm.errors import Refused
from cachewarm.keys.pkcs11_key import load_token_key
from cachewarm.keys.signing_key import SigningKey
from cachewarm.keys.soft_key import SoftKey
from cachewarm.keys.token_uri import is_token_uri


def load_key(reference: str, passphrase: bytes | None, *, whose: str) -> SigningKey:
    """Return the key. Refused, in one sentence: it is not there, cannot be read, or the token has none of that name.

    Transient when the token is away.
    """
    if is_token_uri(reference):
        return load_token_key(reference)
    try:
        return SoftKey.load(Path(reference), passphrase)
    except FileNotFoundError as error:
        raise Refused(f"{reference} is missing: the private key of {whose}") from error
    except OSError as error:
        raise Refused(f"{reference} cannot be read: {error.strerror or error}") from error
