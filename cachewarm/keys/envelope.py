"""Private keys at rest: one slow derivation per folder and passphrase, one key of its own per file.

A sealed file is PEM-like text, of these bytes:

    version u8 (1) | iterations u32 | folder salt 16 | file salt 16 | nonce 12 | AES-256-GCM ciphertext and tag

PBKDF2-HMAC-SHA256 (RFC 8018 5.2) makes a folder's key of passphrase and folder salt, HKDF-SHA256 (RFC 5869) the file's
key of that and the file salt. All files of a folder share its salt, so that a process which opens ten thousand of them
derives once. The associated data are the bytes before the nonce and the file's name: a key that was copied over another
one's name does not open. Integers are big-endian.

What leaves the installation (the key of an issued certificate, an export) is standard PKCS#8 instead, see pkcs8.py.
"""

import base64
import os
import struct
import textwrap
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from cachewarm.errors import Refused

#: 0.2 s of one core; what OWASP's password storage guide asks of PBKDF2-HMAC-SHA256.
ITERATIONS = 600_000
#: A damaged file must not keep a process busy for long: 0.7 s.
MOST_ITERATIONS = 2_000_000
_BEGIN, _END = b"-----BEGIN FASTOCSP SEALED KEY-----\n", b"-----END FASTOCSP SEALED KEY-----\n"
_HEAD = struct.Struct(">BI16s16s")
_VERSION, _NONCE, _TAG = 1, 12, 16


def is_sealed(text: bytes) -> bool:
    """Return whether a file's content is in this form."""
    return text.startswith(_BEGIN)


def seal(secret: bytes, passphrase: bytes, path: Path) -> bytes:
    """Return the content of the file at `path`, sealed with its folder's salt, or a new one where nothing is sealed."""
    folder_salt = next(_salts(path.parent), None) or os.urandom(16)
    head = _HEAD.pack(_VERSION, ITERATIONS, folder_salt, os.urandom(16))
    nonce = os.urandom(_NONCE)
    octets = head + nonce + _cipher(head, passphrase).encrypt(nonce, secret, head + _name_of(path))
    lines = textwrap.wrap(base64.b64encode(octets).decode(), 64)
    return _BEGIN + "\n".join(lines).encode() + b"\n" + _END


def open_sealed(text: bytes, passphrase: bytes, path: Path) -> bytes:
    """Return what was sealed as the file at `path`; Refused, in one sentence that names the file."""
    head, nonce, ciphertext = _parts(text, path)
    try:
        return _cipher(head, passphrase).decrypt(nonce, ciphertext, head + _name_of(path))
    except InvalidTag as error:
        raise Refused(
            f"{path} cannot be opened: the passphrase is wrong, or the file was changed or renamed"
        ) from error


def is_current(text: bytes, path: Path) -> bool:
    """Return whether a sealed file has its folder's salt and today's number of iterations."""
    head, _, _ = _parts(text, path)
    _, iterations, folder_salt, _ = _HEAD.unpack(head)
    return bool(iterations >= ITERATIONS and folder_salt == next(_salts(path.parent), folder_salt))


def _parts(text: bytes, path: Path) -> tuple[bytes, bytes, bytes]:
    """Return (head, nonce, ciphertext) of a sealed file; Refused for anything else."""
    try:
        octets = base64.b64decode(text.removeprefix(_BEGIN).partition(_END)[0], validate=False)
        version, iterations, _, _ = _HEAD.unpack_from(octets)
    except (ValueError, struct.error) as error:
        raise Refused(f"{path} is damaged: it is no sealed key") from error
    if version != _VERSION:
        raise Refused(f"{path} was sealed by a newer version (form {version})")
    if not 1 <= iterations <= MOST_ITERATIONS or len(octets) < _HEAD.size + _NONCE + _TAG:
        raise Refused(f"{path} is damaged: it is no sealed key")
    rest = octets[_HEAD.size :]
    return octets[: _HEAD.size], rest[:_NONCE], rest[_NONCE:]


def _cipher(head: bytes, passphrase: bytes) -> AESGCM:
    _, iterations, folder_salt, file_salt = _HEAD.unpack(head)
    derived = HKDF(hashes.SHA256(), 32, salt=file_salt, info=b"fastocsp sealed key 1")
    return AESGCM(derived.derive(_folder_key(passphrase, folder_salt, iterations)))


@lru_cache(maxsize=16)
def _folder_key(passphrase: bytes, salt: bytes, iterations: int) -> bytes:
    return PBKDF2HMAC(hashes.SHA256(), 32, salt, iterations).derive(passphrase)


def _name_of(path: Path) -> bytes:
    """Return the file's own name: its folder may be moved, by a restore for example."""
    return os.fsencode(path.name)


def _salts(folder: Path) -> Iterator[bytes]:
    """Yield the folder salts of sealed files, in the order of their names."""
    for path in sorted(folder.glob("*.key")) if folder.is_dir() else ():
        try:
            with path.open("rb") as file:
                text = file.read(4096)
            if is_sealed(text):
                yield _HEAD.unpack(_parts(text, path)[0])[2]
        except (OSError, Refused):
            continue
