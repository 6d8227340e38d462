"""`fastocsp issuer`: CAs made elsewhere, with the responder that signs for them.

Exit status: 0 done, 1 failed, 2 usage. What is refused leaves neither a file nor a row.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from cachewarm.cli.ca_state import say_what_to_start
from cachewarm.cli.crl_options import (
    AcceptUnnumbered,
    CRLScope,
    CRLShards,
    CRLSource,
    DeltaCRL,
    DeltaSource,
    check_source,
    crl_wish,
)
from cachewarm.cli.issuer_state import remove_command, restore_command
from cachewarm.cli.options import AsJson, DataDir, actor_name, given_by, run_with_ledger, settings_of
from cachewarm.cli.parameters import Argument, Group, Option, Spec
from cachewarm.config import Settings
from cachewarm.console import reported, say, show, show_rows
from cachewarm.errors import Refused
from responder.domain.status import UnissuedPolicy
from responder.secret_files import read_secret_text

if TYPE_CHECKING:
    from cryptography import x509

    from cachewarm.ca.adopt import Adopted, AdoptionRequest
    from cachewarm.ledger import issuers
    from cachewarm.status.issuers import Overview

app = Group(help="Issuers whose certificates are answered for.")
app.command("remove")(remove_command)
app.command("restore")(restore_command)


def _file(option: str, text: str) -> Spec:
    return Option(option, help=text, exists=True, dir_okay=False, show_default=False)


Cert = Annotated[Path | None, _file("--cert", "The CA's certificate; default: FASTOCSP_CA_CERT_PATH.")]
CaKey = Annotated[Path | None, _file("--key", "The CA's key, which stays where it is; default: FASTOCSP_CA_KEY_PATH.")]
KeyUri = Annotated[
    str | None,
    Option("--key-uri", metavar="PKCS11_URI", help="The CA's key is in this token (docs/keys.md).", show_default=False),
]
KeyPassphrase = Annotated[
    Path | None,
    _file(
        "--key-passphrase-file",
        "Passphrase of --key and --responder-key, where it is not FASTOCSP_CONFIG_ENCRYPTION_KEY; else asked for. "
        "The CA's key is then copied into the key folder, under ours.",
    ),
]
ResponderCert = Annotated[Path | None, _file("--responder-cert", "Responder certificate, issued by the CA.")]
ResponderKey = Annotated[Path | None, _file("--responder-key", "Its key, PEM; a copy is kept.")]
Id = Annotated[str | None, Option("--id", help="Short name.", show_default="from the CA's common name")]
PublishesCrl = Annotated[
    bool | None, Option("--crl/--no-crl", help="Make CRLs.", show_default="when the CA's key is here")
]
Unissued = Annotated[
    UnissuedPolicy | None,
    Option("--unissued", help="Answer for a serial number never issued.", show_default="unauthorized"),
]
OcspUrl = Annotated[
    str | None, Option("--ocsp-url", metavar="URL", help="For new certificates.", show_default="our own")
]
CrlUrl = Annotated[
    str | None,
    Option(
        "--crl-url",
        metavar="URL",
        help="With the CA's key: for new certificates and CRLs, the one in the old ones. Without it: --crl-source.",
    ),
]


@app.command("add")
def add_command(
    *,
    cert: Cert = None,
    responder_cert: ResponderCert = None,
    responder_key: ResponderKey = None,
    key: CaKey = None,
    key_uri: KeyUri = None,
    key_passphrase_file: KeyPassphrase = None,
    issuer_id: Id = None,
    crl: PublishesCrl = None,
    unissued: Unissued = None,
    ocsp_url: OcspUrl = None,
    crl_url: CrlUrl = None,
    crl_shards: CRLShards = None,
    delta_crl: DeltaCRL = None,
    crl_scope: CRLScope = None,
    crl_source: CRLSource = None,
    delta_url: DeltaSource = None,
    accept_unnumbered: AcceptUnnumbered = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Answer for a CA made elsewhere; for a CA that is here already, replace its responder.

    Bring a responder certificate with its key, or the CA's key, which then makes responders by itself.
    """
    import asyncio

    from cachewarm.ca.adopt import AdoptionRequest
    from cachewarm.ca.profiles import check_url
    from cachewarm.ca.registry import check_id
    from cachewarm.cli.issuer_keys import ca_key_of, responder_of
    from cachewarm.keys.brought_key import new_key_file

    with reported():
        if issuer_id is not None:
            with given_by("--id"):
                check_id(issuer_id)
        if ocsp_url is not None:
            with given_by("--ocsp-url"):
                check_url(ocsp_url, "the URL")
        for option, url in (("--crl-url", crl_url), ("--crl-source", crl_source), ("--delta-url", delta_url)):
            with given_by(option):
                _ = url if url is None else check_source(url)
        settings = settings_of(data_dir)
        ca = _ca(cert or settings.ca_cert_path)
        with given_by("--key-passphrase-file"):
            passphrase = None if key_passphrase_file is None else read_secret_text(key_passphrase_file).encode()
        ca_key = ca_key_of(ca, cert, key, key_uri, settings, passphrase=passphrase, issuer_id=issuer_id)
        if crl_url is not None and ca_key is not None:
            with given_by("--crl-url"):
                check_url(crl_url, "the URL")
        brought = AdoptionRequest(
            ca=ca,
            issuer_id=issuer_id,
            responder=responder_of(responder_cert, responder_key, ca, settings, passphrase),
            ca_key=None if ca_key is None else ca_key.reference,
            publishes_crl=crl,
            unissued_policy=unissued,
            ocsp_url=ocsp_url,
            crl_url=crl_url,
            crls=crl_wish(crl_shards, delta_crl, crl_scope, crl_source, delta_url, accept_unnumbered),
        )
        with new_key_file(ca_key):
            done = asyncio.run(_add(settings, brought))
        if ca_key is not None:
            say_what_to_start(settings)
        _report(done, brought, as_json=as_json)


@app.command("add-cert")
def add_cert_command(
    issuer_id: Annotated[str, Argument(metavar="ISSUER_ID")],
    cert: Annotated[Path, _file("--cert", "Another certificate of this CA: same name, same key.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Add another certificate of an issuer: a renewal, or a cross-certificate. Repeating it is safe.

    The one that lasts longest is served at the issuer's URL, and new certificates may be valid until its end.
    """
    import asyncio

    from cachewarm.ca.odd_names import load_certificate

    with reported():
        ca = _ca(cert)
        issuer, count = asyncio.run(_add_cert(settings_of(data_dir), issuer_id, ca))
        newest = load_certificate(issuer.cert_der)
        result = {
            "issuer_id": issuer.issuer_id,
            "certificates": count,
            "serving": newest == ca,
            "not_after": newest.not_valid_after_utc.isoformat(),
        }
        say(f"{issuer.issuer_id} has {count} certificates; the one that is served expires {newest.not_valid_after_utc}")
        show(result, as_json=as_json)


async def _add_cert(settings: Settings, issuer_id: str, ca: "x509.Certificate") -> "tuple[issuers.Issuer, int]":
    from cryptography.hazmat.primitives.serialization import Encoding

    from cachewarm.ledger import issuers

    cert_der = ca.public_bytes(Encoding.DER)

    async def act(connection: Any) -> "tuple[issuers.Issuer, int]":
        wanted = (await issuers.require_issuer(connection, issuer_id)).issuer_id
        issuer = await issuers.add_issuer_certificate(connection, wanted, cert_der, actor=actor_name())
        return issuer, len(await issuers.issuer_certificates(connection, wanted))

    return await run_with_ledger(settings, act, name="fastocsp issuer add-cert")


@app.command("list")
def list_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Every issuer, one a line."""
    import asyncio

    from cachewarm.status.issuers import row_of

    with reported():
        seen = asyncio.run(_overviews(settings_of(data_dir)))
        show_rows([row_of(each) for each in seen], as_json=as_json, name="issuers")


@app.command("show")
def show_command(
    issuer_id: Annotated[str, Argument(metavar="ISSUER_ID")], data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """One issuer: its responder and when that ends, its coverage, its CRL."""
    import asyncio

    from cachewarm.status.issuers import fields_of

    with reported():
        settings = settings_of(data_dir)
        seen = {each.issuer.issuer_id: each for each in asyncio.run(_overviews(settings))}
        if issuer_id not in seen:
            raise Refused(f"there is no issuer {issuer_id!r}; there are: {', '.join(seen) or 'none yet'}")
        show(fields_of(seen[issuer_id]), as_json=as_json)


async def _add(settings: Settings, brought: "AdoptionRequest") -> "Adopted":
    from cachewarm.ca.adopt import adopt

    # only who has the CA's key can issue certificates with our URLs
    base_url = settings.base_url if brought.ca_key is None else settings.require_public_url()

    async def act(connection: Any) -> "Adopted":
        keys = settings.keys.absolute()
        return await adopt(connection, brought, keys, settings.passphrase, base_url=base_url, actor=actor_name())

    return await run_with_ledger(settings, act, name="fastocsp issuer add")


async def _overviews(settings: Settings) -> "list[Overview]":
    from cachewarm.status.issuers import overviews

    return await run_with_ledger(settings, overviews, name="fastocsp issuer")


def _ca(path: Path | None) -> "x509.Certificate":
    from cachewarm.ca.authority import check_ca
    from cachewarm.ca.certificate import read_certificate

    if path is None:
        raise click.BadParameter("name the CA's certificate", param_hint="--cert")
    with given_by("--cert"):
        ca = read_certificate(path.read_bytes(), name=str(path))
        check_ca(ca)
    return ca


def _report(done: "Adopted", brought: "AdoptionRequest", *, as_json: bool) -> None:
    from cachewarm.ca.authority import may_sign_crls

    issuer = done.issuer
    remarks = brought.responder[0].remarks if brought.responder else ()
    if not may_sign_crls(brought.ca):
        remarks = (*remarks, "no CRLs are made: the CA's keyUsage lacks cRLSign, and verifiers would reject them")
    for remark in remarks:
        say(f"remark: {remark}")
    say(f"{issuer.issuer_id} is {'added' if done.is_new else 'there already'}; its responder: {done.responder}")
    show(_result(done, issuer, remarks), as_json=as_json)


def _result(done: "Adopted", issuer: "issuers.Issuer", remarks: tuple[str, ...]) -> dict[str, object]:
    return {
        "issuer_id": issuer.issuer_id,
        "new": done.is_new,
        "responder": done.responder,
        "responder_mode": issuer.responder_mode,
        "publishes_crl": issuer.publishes_crl,
        "unissued_policy": issuer.unissued_policy.value,
        "ca_key": issuer.key_path,
        "ocsp_url": issuer.ocsp_url,
        "crl_url": issuer.crl_url,
        "crl_shards": issuer.crl_shards,
        "delta_crl": issuer.delta_crl,
        "crl_scope": issuer.crl_scope,
        "crl_source": issuer.crl_source,
        "delta_source": issuer.delta_source,
        "remarks": list(remarks),
    }
