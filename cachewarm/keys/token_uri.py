"""PKCS#11 URIs (RFC 7512): which key of which token, through which module, and where the PIN is.

    pkcs11:token=LABEL;object=LABEL?module-path=FILE&pin-source=file:FILE

Understood besides: `serial` and `id`, and `pin-source=credential:NAME` for a credential of the service manager. A PIN
in the URI (`pin-value`) is refused: URIs are stored, listed and logged.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

from cachewarm.errors import Refused

SCHEME = "pkcs11:"
_PATH = {"token", "serial", "object", "id", "type", "manufacturer", "model"}
_QUERY = {"module-path", "pin-source"}


@dataclass(frozen=True, kw_only=True)
class TokenURI:
    """A private key in a token; `pin_source` is a path, or the name of a credential after `credential:`."""

    text: str
    module: Path
    token: str | None
    serial: str | None
    label: str | None
    key_id: bytes | None
    pin_source: str

    def pin(self) -> str:
        """Read the PIN; Refused when its file cannot be read."""
        path = Path(self.pin_source)
        if self.pin_source.startswith("credential:"):
            folder = os.environ.get("CREDENTIALS_DIRECTORY")
            if not folder:
                raise Refused(f"{self.text}: the service manager passed no credentials to this process")
            path = Path(folder, self.pin_source.removeprefix("credential:"))
        try:
            pin = path.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"{self.text}: the PIN cannot be read from {path}: {error}") from error
        if not pin:
            raise Refused(f"{self.text}: {path} is empty: it should hold the PIN")
        return pin


def is_token_uri(reference: str) -> bool:
    """Return whether a key is named by a PKCS#11 URI, and not by a file."""
    return reference.startswith(SCHEME)


def parse_token_uri(text: str) -> TokenURI:
    """Return what the URI names; Refused, in one sentence, for one that names no key or not where its PIN is."""
    if not is_token_uri(text):
        raise Refused(f"{text!r} is no PKCS#11 URI: it begins with {SCHEME}")
    path, _, query = text.removeprefix(SCHEME).partition("?")
    attributes, settings = _pairs(text, path, ";", _PATH), _pairs(text, query, "&", _QUERY)
    wanted = {"type": "private", **{name: unquote(value) for name, value in attributes.items()}}
    if wanted["type"] != "private":
        raise Refused(f"{text}: type={wanted['type']} is no private key")
    if not {"token", "serial"} & attributes.keys():
        raise Refused(f"{text}: names no token: write token=LABEL")
    if not {"object", "id"} & attributes.keys():
        raise Refused(f"{text}: names no key: write object=LABEL")
    for name, hint in (("module-path", "the token's library"), ("pin-source", "file:FILE with the PIN")):
        if name not in settings:
            raise Refused(f"{text}: lacks {name}={hint}")
    source = unquote(settings["pin-source"])
    if source.startswith("|"):
        raise Refused(f"{text}: a PIN comes from a file or a credential, not from a command")
    return TokenURI(
        text=text,
        module=Path(unquote(settings["module-path"])),
        token=wanted.get("token"),
        serial=wanted.get("serial"),
        label=wanted.get("object"),
        key_id=unquote_to_bytes(attributes["id"]) if "id" in attributes else None,
        pin_source=source.removeprefix("file://").removeprefix("file:"),
    )


def _pairs(text: str, part: str, separator: str, known: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in filter(None, part.split(separator)):
        name, equals, value = pair.partition("=")
        if name == "pin-value":
            raise Refused("a PKCS#11 URI with a PIN in it is refused: it would be stored and logged; use pin-source")
        if not equals or name not in known or name in found:
            raise Refused(f"{text}: {name!r} is not understood: {', '.join(sorted(known))}")
        found[name] = value
    return found
