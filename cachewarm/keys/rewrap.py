"""Brings the key files of a folder into today's form, under today's passphrase, one after the other.

Each file is replaced whole or not at all, so the work can be stopped anywhere and run again: what is done already is
found as it should be. A file that cannot be opened is reported and left alone, and the others are done.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cachewarm.errors import Refused
from cachewarm.keys.envelope import is_current, is_sealed
from cachewarm.keys.key_file import read_secret, write_atomically
from cachewarm.keys.soft_key import SoftKey


class Form(StrEnum):
    """How a key is kept in its file."""

    SEALED = "sealed"
    ENCRYPTED = "encrypted PEM"
    PLAIN = "plain PEM"
    OTHER = "no key"


class Outcome(StrEnum):
    """The outcome for a file; with --dry-run what it would be."""

    CURRENT = "as it should be"
    SEALED = "sealed"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Rewrapped:
    """One file; `problem` is a sentence when it failed."""

    path: Path
    form: Form
    outcome: Outcome
    problem: str = ""


def key_files(folder: Path) -> list[Path]:
    """Return the key files of a folder, by name."""
    return sorted(path for path in folder.glob("*.key") if path.is_file())


def form_of(path: Path) -> Form:
    """Return the form of a key file; OSError when it cannot be read."""
    with path.open("rb") as file:
        text = file.read(65536)
    if is_sealed(text):
        return Form.SEALED
    if b"PRIVATE KEY-----" not in text:
        return Form.OTHER
    return Form.ENCRYPTED if b"ENCRYPTED" in text else Form.PLAIN


def rewrap(paths: Iterable[Path], passphrase: bytes, before: bytes | None, *, dry_run: bool) -> list[Rewrapped]:
    """Seal the keys under `passphrase`; those that it does not open are opened with `before`."""
    return [_rewrap_one(path, passphrase, before, dry_run=dry_run) for path in paths]


def _rewrap_one(path: Path, passphrase: bytes, before: bytes | None, *, dry_run: bool) -> Rewrapped:
    form = Form.OTHER
    try:
        form, text = form_of(path), read_secret(path)
        key, opened_by = _open(path, [passphrase] if before is None else [passphrase, before])
        if form is Form.SEALED and opened_by == passphrase and is_current(text, path):
            return Rewrapped(path=path, form=form, outcome=Outcome.CURRENT)
        if not dry_run:
            content, stat = key.file_content(path, passphrase), path.stat()
            if read_secret(path) != text:
                raise Refused(f"{path} was changed by somebody else just now: run it again")
            write_atomically(path, content, owner=(stat.st_uid, stat.st_gid))
            SoftKey.load(path, passphrase)
    except (Refused, OSError) as error:
        return Rewrapped(path=path, form=form, outcome=Outcome.FAILED, problem=str(error))
    return Rewrapped(path=path, form=form, outcome=Outcome.SEALED)


def _open(path: Path, passphrases: list[bytes]) -> tuple[SoftKey, bytes]:
    """Return the key, and the passphrase that opened it (the first one for a key that needs none)."""
    for passphrase in passphrases[:-1]:
        try:
            return SoftKey.load(path, passphrase), passphrase
        except Refused:
            continue
    return SoftKey.load(path, passphrases[-1]), passphrases[-1]
