"""`fastocsp ca`: a CA of our own, made, used and looked at.

Exit status: 0 done, 1 failed, 2 usage. Nothing that exists is ever overwritten.
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cachewarm.cli.ca_issue import issue_command
from cachewarm.cli.ca_state import freeze_command, say_what_to_start, thaw_command
from cachewarm.cli.ca_subordinate import complete_command, request_ca
from cachewarm.cli.crl_options import CRLScope, CRLShards, DeltaCRL, crl_wish
from cachewarm.cli.options import (
    AsJson,
    DataDir,
    Validity,
    actor_name,
    given_by,
    run_with_ledger,
    seconds_of,
    settings_of,
    with_ledger,
)
from cachewarm.cli.parameters import Argument, Group, Option
from cachewarm.config import Settings
from cachewarm.console import reported, say, show
from cachewarm.keys.key_kind import KeyKind
from responder.domain.status import UnissuedPolicy

if TYPE_CHECKING:
    from cryptography import x509

    from cachewarm.ledger import issuers

app = Group(help="The local CA.")
app.command("issue")(issue_command)
app.command("complete")(complete_command)
app.command("freeze")(freeze_command)
app.command("thaw")(thaw_command)

IssuerIdOption = Annotated[str, Option("--id", help="Short name: a-z 0-9 . _ -; part of the public URLs.")]
Subject = Annotated[str, Option("--subject", metavar="NAME", help="CN=Example CA,O=Example,C=DE")]
Key = Annotated[
    KeyKind | None, Option("--key", help="Kind of the CA's key.", show_default="p256, or that of the existing key")
]
Parent = Annotated[
    str | None, Option("--parent", metavar="ISSUER_ID", help="The CA above it; without one it is a root.")
]
Unissued = Annotated[UnissuedPolicy, Option("--unissued", help="Answer for a serial number never issued.")]
KeyUri = Annotated[
    str | None,
    Option(
        "--key-uri",
        metavar="PKCS11_URI",
        help="The CA's key is generated in this token, and stays there (docs/keys.md).",
        show_default=False,
    ),
]
ExistingKey = Annotated[bool, Option("--existing-key", help="With --key-uri: use the key that the token has.")]
CsrOut = Annotated[
    Path | None,
    Option(
        "--csr-out",
        metavar="FILE",
        help="Write a request to be signed elsewhere, and make no certificate; then `ca complete`.",
        dir_okay=False,
        show_default=False,
    ),
]
PublicUrl = Annotated[
    str | None,
    Option("--public-url", metavar="URL", help="http:// base of the URLs in certificates.", show_default=False),
]


@app.command("init")
def init_command(
    *,
    issuer_id: IssuerIdOption,
    subject: Subject,
    key: Key = None,
    key_uri: KeyUri = None,
    existing_key: ExistingKey = False,
    csr_out: CsrOut = None,
    parent: Parent = None,
    validity: Validity = None,
    unissued: Unissued = UnissuedPolicy.UNAUTHORIZED,
    public_url: PublicUrl = None,
    crl_shards: CRLShards = None,
    delta_crl: DeltaCRL = None,
    crl_scope: CRLScope = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a root, or a CA below --parent, and answer for what it issues."""
    import asyncio

    import click

    from cachewarm.ca.certificate import parse_subject
    from cachewarm.ca.profiles import check_url
    from cachewarm.ca.registry import check_id
    from cachewarm.keys.token_uri import parse_token_uri

    with reported():
        with given_by("--id"):
            check_id(issuer_id)
        with given_by("--subject"):
            name = parse_subject(subject)
        if public_url is not None:
            with given_by("--public-url"):
                check_url(public_url, "the base URL")
        if key_uri is not None:
            with given_by("--key-uri"):
                parse_token_uri(key_uri)
        elif existing_key:
            raise click.BadParameter("name the key in the token with --key-uri", param_hint="--existing-key")
        seconds = seconds_of(validity)
        settings = settings_of(data_dir, public_url=public_url)
        if csr_out is not None:
            later = {
                "--parent": parent,
                "--validity": validity,
                "--unissued": unissued if unissued is not UnissuedPolicy.UNAUTHORIZED else None,
                "--public-url": public_url,
                "--crl-shards": crl_shards,
                "--delta-crl": delta_crl,
                "--crl-scope": crl_scope,
            }
            given = ", ".join(name for name, value in later.items() if value is not None)
            if given:
                raise click.BadParameter(
                    f"{given} cannot be part of a request: parent and validity are chosen by whoever signs it, the"
                    " others are set once the certificate has been brought back",
                    param_hint="--csr-out",
                )
            result = request_ca(
                settings, issuer_id, name, csr_out, kind=key, key_uri=key_uri, existing_key=existing_key
            )
            show(result, as_json=as_json)
            return
        base_url = settings.require_public_url()
        made = asyncio.run(
            _init(
                settings=settings,
                base_url=base_url,
                issuer_id=issuer_id,
                subject=name,
                kind=key,
                key_uri=key_uri,
                existing_key=existing_key,
                parent_id=parent,
                validity_s=seconds,
                policy=unissued,
                crls=crl_wish(crl_shards, delta_crl, crl_scope),
            )
        )
        where = "keep a copy of it in a safe place" if key_uri is None else "back up the token by its own means"
        say(f"{made.issuer_id} is ready; its key is {made.key_path}: {where}")
        say_what_to_start(settings)
        show(_result(made), as_json=as_json)


@app.command("show")
def show_command(
    *,
    target: Annotated[str, Argument(metavar="ISSUER_ID|FILE", help="A file that exists, else an issuer.")],
    pem: Annotated[bool, Option("--pem", help="The certificate itself.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show a certificate: an issuer's, or the one in a PEM or DER file."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from cachewarm.ca.describe import describe

    with reported():
        certificate, state = _certificate(target, data_dir)
        if pem:
            sys.stdout.write(certificate.public_bytes(Encoding.PEM).decode())
        else:
            show(describe(certificate) | ({} if state is None else {"state": state}), as_json=as_json)


async def _init(
    *,
    settings: Settings,
    base_url: str,
    issuer_id: str,
    subject: "x509.Name",
    kind: KeyKind | None,
    key_uri: str | None,
    existing_key: bool,
    parent_id: str | None,
    validity_s: int | None,
    policy: UnissuedPolicy,
    crls: "issuers.CRLWish",
) -> "issuers.Issuer":
    from cachewarm.ca.ca_keys import Purpose
    from cachewarm.ca.registry import found_ca, load_authority
    from cachewarm.ca_signer.client import ca_keys_of
    from cachewarm.ledger import issuers

    async def act(connection: Any) -> "issuers.Issuer":
        parent = await issuers.require_issuer(connection, parent_id) if parent_id is not None else None
        return await found_ca(
            connection,
            issuer_id=issuer_id,
            kind=kind,
            key_uri=key_uri,
            existing_key=existing_key,
            subject=subject,
            parent=parent,
            parent_authority=load_authority(parent, ca_keys_of(settings), Purpose.SUB_CA) if parent else None,
            base_url=base_url,
            keys=settings.ca_keys.absolute(),
            passphrase=settings.passphrase,
            now=int(time.time()),
            validity_s=validity_s,
            policy=policy,
            crls=crls,
            actor=actor_name(),
        )

    return await run_with_ledger(settings, act, name="fastocsp ca init", repeatable=False)


def _certificate(target: str, data_dir: Path | None) -> "tuple[x509.Certificate, str | None]":
    """Return the certificate, and the state of an issuer."""
    from cachewarm.ca.certificate import read_certificate
    from cachewarm.ca.odd_names import load_certificate
    from cachewarm.ledger import issuers

    path = Path(target)
    if path.is_file():
        return read_certificate(path.read_bytes(), name=target), None

    async def stored(connection: Any) -> issuers.Issuer:
        return await issuers.require_issuer(connection, target)

    issuer = with_ledger(settings_of(data_dir), stored)
    return load_certificate(issuer.cert_der), issuer.state


def _result(made: "issuers.Issuer") -> dict[str, Any]:
    from cachewarm.ca.describe import describe
    from cachewarm.ca.odd_names import load_certificate

    said = describe(load_certificate(made.cert_der))
    chosen = ("subject", "issuer", "serial", "not_before", "not_after", "key", "sha256")
    return (
        {"issuer_id": made.issuer_id}
        | {name: said[name] for name in chosen}
        | {
            "unissued_policy": made.unissued_policy.value,
            "key_path": made.key_path,
            "ocsp_url": made.ocsp_url,
            "crl_url": made.crl_url,
            "ca_issuers_url": made.ca_issuers_url,
            "crl_shards": made.crl_shards,
            "delta_crl": made.delta_crl,
            "crl_scope": made.crl_scope,
        }
    )
