"""The Ed25519 key that signs backups: in the state folder, made when it is first needed.

Its public half is written beside it, and printed as `ed25519:BASE64`. Keep that somewhere else: with it, `--key` of
`fastocsp backup verify` and `fastocsp restore` accepts archives of this installation alone.
"""

import base64
import binascii
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cachewarm.errors import Refused
from cachewarm.keys.key_file import write_atomically, write_new
from cachewarm.keys.soft_key import KeyKind, SoftKey

PRIVATE, PUBLIC = "backup-signing.key", "backup-signing.pub"
_PREFIX, _CONTEXT = "ed25519:", b"fastocsp backup manifest\n"


class BackupKey:
    """The key that signs; `public` is its public half as a text."""

    def __init__(self, key: SoftKey) -> None:
        if not isinstance(key.public_key, Ed25519PublicKey):
            raise Refused(f"{PRIVATE} is no Ed25519 key")
        self._key = key
        self.public = _PREFIX + base64.b64encode(key.public_key.public_bytes_raw()).decode()

    @classmethod
    def of(cls, folder: Path, passphrase: bytes | None) -> "BackupKey":
        """Return the key of that state folder, made when there is none, and sealed where there is a passphrase."""
        path = folder / PRIVATE
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileExistsError):  # another command was faster
                write_new(path, SoftKey.generate(KeyKind.ED25519).file_content(path, passphrase))
        key = cls(SoftKey.load(path, passphrase))
        if known_key(folder) != key.public:
            write_atomically(folder / PUBLIC, f"{key.public}\n".encode(), 0o644)
        return key

    def sign(self, manifest: bytes) -> bytes:
        """Return the signature over a manifest."""
        return self._key.sign(_CONTEXT + manifest)


def known_key(folder: Path) -> str | None:
    """Return the public key of that state folder, or None."""
    try:
        return (folder / PUBLIC).read_text().strip()
    except OSError:
        return None


def parse_key(text: str) -> str:
    """Return a public key as it is printed; `text` is that or the name of a file with it. ValueError otherwise."""
    if not text.startswith(_PREFIX):
        try:
            text = Path(text).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError("must be ed25519:BASE64, or a file with that in it") from error
    if _bytes_of(text) is None:
        raise ValueError("must be ed25519:BASE64, or a file with that in it")
    return text


def signature_holds(key: str, signature: bytes, manifest: bytes) -> bool:
    """Report whether that public key made the signature over the manifest."""
    octets = _bytes_of(key)
    if octets is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(octets).verify(signature, _CONTEXT + manifest)
    except InvalidSignature:
        return False
    return True


def _bytes_of(key: str) -> bytes | None:
    try:
        octets = base64.b64decode(key.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        return None
    is_ours = key == _PREFIX + base64.b64encode(octets).decode()  # the one way to write it
    return octets if is_ours and len(octets) == 32 else None
