"""Secrets that a setting does not hold itself: a file that it names, or a credential of the service manager.

FASTOCSP_NAME_FILE names a file, as containers mount secrets; $CREDENTIALS_DIRECTORY/fastocsp.NAME in lower case is what
systemd's LoadCredential= puts there. The setting itself comes first, then the file, then the credential.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

SUFFIX = "_FILE"
_MOST_OCTETS = 65536


def read_secret_text(path: Path) -> str:
    """Return the text of a secret's file without the newline at its end; ValueError, in one sentence."""
    try:
        with path.open("rb") as file:
            octets = file.read(_MOST_OCTETS + 1)
        text = octets.decode()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text") from error
    if len(octets) > _MOST_OCTETS:
        raise ValueError(f"{path} has more than {_MOST_OCTETS} bytes: it is no secret")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ValueError(f"{path} is empty")
    return text


def secrets_from_files(
    prefix: str, fields: Iterable[str], environ: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Return the secrets among these fields that files hold, and every problem with them."""
    found, problems = {}, []
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    for field in fields:
        name = prefix + field.upper()
        named, given = environ.get(name + SUFFIX), name in environ
        if named is not None and given:
            problems.append(f"{name} and {name}{SUFFIX} are both set: keep one")
        if given:
            continue
        path = Path(named) if named else None
        if path is None and credentials:
            beside = Path(credentials, f"{prefix.rstrip('_').lower()}.{field}")
            path = beside if beside.exists() else None
        if path is None:
            continue
        try:
            found[field] = read_secret_text(path)
        except ValueError as error:
            problems.append(f"{name}{SUFFIX if named else ''}: {error}")
    return found, problems


def file_names(prefix: str, fields: Iterable[str]) -> set[str]:
    """Return the names of settings that name a secret's file."""
    return {prefix + field.upper() + SUFFIX for field in fields}
