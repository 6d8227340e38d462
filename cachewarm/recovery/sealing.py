"""Seals members of an archive to age recipients (age-encryption.org/v1), piece by piece, with the library pyrage.

A piece is encrypted by itself: memory stays bounded by its size, and the hashes of an archive are of sealed bytes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cachewarm.errors import Refused
from responder.secret_files import read_secret_text


def _pyrage() -> Any:
    try:
        import pyrage
    except ImportError as error:
        raise Refused("sealed backups need the library pyrage: install fastocsp[backup]") from error
    return pyrage


class Sealer:
    """Encrypts to recipients, the public halves of identities: `age1...`."""

    def __init__(self, recipients: Sequence[str]) -> None:
        self._library = _pyrage()
        self.recipients = list(recipients)
        self._keys = []
        for text in recipients:
            try:
                self._keys.append(self._library.x25519.Recipient.from_str(text))
            except self._library.RecipientError as error:
                raise Refused(f"{text!r} is no age recipient: {error}") from error

    def seal(self, content: bytes) -> bytes:
        """Return the encrypted content."""
        return bytes(self._library.encrypt(content, self._keys))


class Opener:
    """Decrypts with the identities of a file, as `age-keygen` writes it."""

    def __init__(self, path: Path) -> None:
        self._library = _pyrage()
        try:
            lines = [line.strip() for line in read_secret_text(path).splitlines()]
        except ValueError as error:
            raise Refused(str(error)) from error
        try:
            self._keys = [
                self._library.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")
            ]
        except self._library.IdentityError as error:
            raise Refused(f"{path} holds no age identity: {error}") from error
        self._path = path

    def open(self, content: bytes, name: str) -> bytes:
        """Return the decrypted content; Refused when no identity opens it."""
        try:
            return bytes(self._library.decrypt(content, self._keys))
        except self._library.DecryptError as error:
            raise Refused(f"{self._path} does not open {name}: {error}") from error
