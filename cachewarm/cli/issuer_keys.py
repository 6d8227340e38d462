"""The keys that `fastocsp issuer add` is given: a responder's with its certificate, and the CA's own."""

import time
from pathlib import Path

import click
from cryptography import x509

from cachewarm.ca.adopt import issuer_id_of
from cachewarm.ca.authority import Authority
from cachewarm.ca.external_responder import ExternalResponder, validate
from cachewarm.ca.registry import ca_key_path
from cachewarm.cli.options import given_by
from cachewarm.config import Settings
from cachewarm.keys.brought_key import BroughtKey, open_brought_key
from cachewarm.keys.pkcs11_key import load_token_key
from cachewarm.keys.soft_key import SoftKey
from cachewarm.keys.token_uri import parse_token_uri


def responder_of(
    cert: Path | None, key: Path | None, ca: x509.Certificate, settings: Settings, passphrase: bytes | None
) -> tuple[ExternalResponder, SoftKey] | None:
    """Return the pair, validated against the CA; None when neither is given."""
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        missing = "--responder-key" if key is None else "--responder-cert"
        raise click.BadParameter("certificate and key come together", param_hint=missing)
    with given_by("--responder-key"):
        private, _ = open_brought_key(key, settings.passphrase, passphrase)
    with given_by("--responder-cert"):
        return validate(cert.read_bytes(), private, ca, now=int(time.time())), private


def ca_key_of(
    ca: x509.Certificate,
    cert: Path | None,
    key: Path | None,
    key_uri: str | None,
    settings: Settings,
    *,
    passphrase: bytes | None,
    issuer_id: str | None,
) -> BroughtKey | None:
    """Return --key-uri or --key, else CA_KEY_PATH when it is about this CA; None when the key is not here."""
    if key_uri is not None:
        if key is not None:
            raise click.BadParameter("name the key's file or its place in a token", param_hint="--key, --key-uri")
        with given_by("--key-uri"):
            Authority(ca, load_token_key(parse_token_uri(key_uri).text))
        return BroughtKey(key_uri)
    path = key
    if path is None and (cert is None or (settings.ca_cert_path and cert.samefile(settings.ca_cert_path))):
        path = settings.ca_key_path
    if path is None:
        return None
    with given_by("--key"):
        private, is_ours = open_brought_key(path, settings.passphrase, passphrase)
        Authority(ca, private)
        if is_ours:
            return BroughtKey(str(path.absolute()))
        target = ca_key_path(settings.ca_keys.absolute(), issuer_id or issuer_id_of(ca))
        return BroughtKey.copied(private, target, settings.passphrase)
