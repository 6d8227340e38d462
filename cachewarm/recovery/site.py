"""Files and settings of this host besides the ledger, and what no archive holds."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from cachewarm.config import Settings
from cachewarm.errors import Refused
from cachewarm.keys.rewrap import Form, form_of, key_files
from cachewarm.ledger.table_copies import KeyReference
from responder.config import gather, secret_fields

_SCHEME = "pkcs11:"
_LARGEST = 64 << 10


@dataclass(frozen=True, kw_only=True)
class KeyFile:
    """A key file of this host: its member of the archive, where it is, and its path below the key folder."""

    member: str
    path: Path
    place: str
    form: Form


def key_files_of(settings: Settings, references: list[KeyReference]) -> list[KeyFile]:
    """Return the key files of this host: those of the key folders, CA_KEY_PATH, and others that the ledger names.

    A sealed file opens under its own name only, so names are kept: files of other folders get a folder of their own.
    """
    outside = [Path(each.path) for each in references if not each.path.startswith(_SCHEME)]
    if settings.ca_key_path is not None:
        outside.insert(0, settings.ca_key_path)
    folders = {
        folder.absolute(): [path.absolute() for path in key_files(folder)]
        for folder in (settings.keys, settings.ca_keys)
        if folder == settings.keys or folder.is_dir()
    }
    for path in outside:
        if path.is_file():
            beside = folders.setdefault(path.absolute().parent, [])
            if path.absolute() not in beside:
                beside.append(path.absolute())
    for path in (path for paths in folders.values() for path in paths):
        if path.stat().st_size > _LARGEST:
            raise Refused(f"{path} has {path.stat().st_size} bytes: it is no key file, move it out of the key folder")
    numbers = itertools.count(1)
    return [
        KeyFile(
            member=f"keys/{next(numbers):06}",
            path=path,
            place=path.name if number == 1 else f"from-{number}/{path.name}",
            form=form_of(path),
        )
        for number, paths in enumerate(folders.values(), 1)
        for path in paths
    ]


def refuse_open_keys(files: list[KeyFile]) -> None:
    """Refused when a key file is not encrypted: a reader of the archive would have the key."""
    bare = [each.path for each in files if each.form not in (Form.SEALED, Form.ENCRYPTED)]
    if bare:
        more = f" and {len(bare) - 1} more are" if len(bare) > 1 else " is"
        raise Refused(
            f"{bare[0]}{more} not encrypted: seal the archive with --recipient, seal the keys with `fastocsp keys "
            "rewrap`, or pass --allow-plain-keys"
        )


def not_included(references: list[KeyReference], files: list[KeyFile]) -> list[str]:
    """Return, in sentences, what a restore has to find elsewhere."""
    held, names = {str(each.path) for each in files}, {each.path.name for each in files}
    lines = []
    for each in references:
        whose = f"{'CA key' if each.used_by == 'ca' else 'responder key'} of {each.issuer_id}"
        if each.path.startswith(_SCHEME):
            lines.append(f"{whose}: it is in a token only ({each.path.partition('?')[0]})")
        elif each.used_by == "ca" and Path(each.path).name in names:
            continue  # the CA signer takes the file of that name in CA_KEY_DIR
        elif str(Path(each.path).absolute()) not in held:
            again = "a signer makes a new one" if each.used_by == "responder" else "bring it from its own backup"
            lines.append(f"{whose}: {each.path} is not on this host; {again}")
    return [
        *lines,
        "passphrases: CONFIG_ENCRYPTION_KEY is needed to open the keys",
        "passwords of the ledger's logins: they are made again",
        "API keys, the TLS key of the admin listener, the key that signs backups: they are made again",
        "journals of edges and signers: each host has its own",
        "Redis: it is filled again from the ledger",
    ]


def settings_of_site(data_dir: Path | None) -> tuple[dict[str, str], list[str]]:
    """Return the settings that are given, without secrets, and the names of the secrets that were left out."""
    given = gather(Settings, data_dir=data_dir)
    secret = set(secret_fields(Settings))
    shown = {name: str(value) for name, value in sorted(given.items()) if name not in secret}
    return shown, sorted(name for name in given if name in secret)
