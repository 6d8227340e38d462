"""A private key that an operator brings with a passphrase of its own: opened once, and kept under ours from then on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cachewarm.errors import Refused
from cachewarm.keys.key_file import write_new
from cachewarm.keys.rewrap import Form, form_of
from cachewarm.keys.soft_key import SoftKey


@dataclass(frozen=True)
class BroughtKey:
    """Where the key is: a file or a PKCS#11 URI. `content`, unless None, is what `new_key_file` writes there."""

    reference: str
    content: bytes | None = None

    @classmethod
    def copied(cls, key: SoftKey, path: Path, passphrase: bytes | None) -> "BroughtKey":
        """Return the key as a file of ours. Refused without a passphrase, or when that file has another key."""
        if passphrase is None:
            raise Refused("set FASTOCSP_CONFIG_ENCRYPTION_KEY first: the key would be kept without a passphrase")
        if not path.exists():
            return cls(str(path), key.file_content(path, passphrase))
        if SoftKey.load(path, passphrase).public_key != key.public_key:
            raise Refused(f"{path} has another key: move it away first")
        return cls(str(path))


@contextmanager
def new_key_file(brought: BroughtKey | None) -> Iterator[None]:
    """Write the file that is to be kept; it is taken away again when the body is refused."""
    if brought is None or brought.content is None:
        yield
        return
    path = Path(brought.reference)
    write_new(path, brought.content)
    try:
        yield
    except Refused:
        path.unlink()
        raise


def open_brought_key(path: Path, ours: bytes | None, theirs: bytes | None) -> tuple[SoftKey, bool]:
    """Return the key, and whether it opens as it is with our passphrase or without any.

    With neither passphrase one is asked for on a terminal. Refused in one sentence; the passphrase is in none.
    """
    try:
        return SoftKey.load(path, ours), True
    except Refused:
        if form_of(path) is not Form.ENCRYPTED:
            raise
        if theirs is None and sys.stdin.isatty():
            theirs = _asked_for(path)
        if theirs is None:
            raise
    return SoftKey.load(path, theirs), False


def _asked_for(path: Path) -> bytes:
    import click

    return str(click.prompt(f"Passphrase of {path}", hide_input=True, err=True)).encode()
