"""`fastocsp ca init --csr-out` and `fastocsp ca complete`: a CA below one that is elsewhere."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cachewarm.cli.ca_state import say_what_to_start
from cachewarm.cli.options import AsJson, DataDir, actor_name, given_by, run_with_ledger, settings_of
from cachewarm.cli.parameters import Option
from cachewarm.config import Settings
from cachewarm.console import reported, say, show
from cachewarm.errors import Refused
from cachewarm.keys.key_kind import KeyKind

if TYPE_CHECKING:
    from cryptography import x509

    from cachewarm.ca.adopt import Adopted


def request_ca(
    settings: Settings,
    issuer_id: str,
    subject: "x509.Name",
    out: Path,
    *,
    kind: KeyKind | None,
    key_uri: str | None,
    existing_key: bool,
) -> dict[str, Any]:
    """Make the key and the request; return what is to be shown. The ledger is read and not changed."""
    import asyncio

    from cachewarm.ca.subordinate import file_key, token_request_key, write_request
    from cachewarm.ledger import issuers

    async def taken(connection: Any) -> bool:
        return await issuers.get_issuer(connection, issuer_id) is not None

    if asyncio.run(run_with_ledger(settings, taken, name="fastocsp ca init")):
        raise Refused(f"there is an issuer {issuer_id} already")
    if key_uri is None:
        key, place = file_key(settings.ca_keys.absolute(), issuer_id, kind, settings.passphrase)
    else:
        key, place = token_request_key(key_uri, kind, out, existing=existing_key), key_uri
    is_new = write_request(out, key, subject)
    token = "" if key_uri is None else f" --key-uri '{key_uri}'"
    say(f"{out} is {'written' if is_new else 'the same request as before'}; its key is {place}")
    say(f"when it is signed: fastocsp ca complete --id {issuer_id}{token} --cert FILE --chain FILE")
    return {"issuer_id": issuer_id, "request": str(out), "new": is_new, "key_path": place}


def complete_command(
    *,
    issuer_id: Annotated[str, Option("--id", help="The --id of the request.")],
    cert: Annotated[Path, Option("--cert", help="The signed certificate.", exists=True, dir_okay=False)],
    chain: Annotated[
        Path | None,
        Option(
            "--chain",
            help="PEM with the certificate above it, unless that is an issuer here.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    key_uri: Annotated[
        str | None,
        Option("--key-uri", metavar="PKCS11_URI", help="The --key-uri of the request.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Bring the certificate that was made of the request of `ca init --csr-out`. Repeating it is safe."""
    import asyncio

    from cachewarm.ca.certificate import read_certificate
    from cachewarm.ca.registry import ca_key_path, check_id
    from cachewarm.ca.subordinate import read_chain

    with reported():
        with given_by("--id"):
            check_id(issuer_id)
        settings = settings_of(data_dir)
        with given_by("--cert"):
            certificate = read_certificate(cert.read_bytes(), name=str(cert))
        with given_by("--chain"):
            above = [] if chain is None else read_chain(chain)
        place = key_uri or str(ca_key_path(settings.ca_keys.absolute(), issuer_id))
        done = asyncio.run(_complete(settings, issuer_id, certificate, above, place))
        say(f"{done.issuer.issuer_id} is ready; its key is {place}")
        say_what_to_start(settings)
        show(
            {
                "issuer_id": done.issuer.issuer_id,
                "new": done.is_new,
                "key_path": place,
                "ocsp_url": done.issuer.ocsp_url,
                "crl_url": done.issuer.crl_url,
                "ca_issuers_url": done.issuer.ca_issuers_url,
            },
            as_json=as_json,
        )


async def _complete(
    settings: Settings, issuer_id: str, certificate: "x509.Certificate", above: "list[x509.Certificate]", place: str
) -> "Adopted":
    from cryptography.hazmat.primitives.serialization import Encoding

    from cachewarm.ca.adopt import AdoptionRequest, adopt
    from cachewarm.ca.odd_names import load_certificate
    from cachewarm.ca.registry import public_urls
    from cachewarm.ca.subordinate import check_returned
    from cachewarm.keys.load import load_key
    from cachewarm.ledger import issuers

    base_url = settings.require_public_url()

    async def act(connection: Any) -> "Adopted":
        key = load_key(place, settings.passphrase, whose=issuer_id)
        known = [load_certificate(each.cert_der) for each in await issuers.list_issuers(connection)]
        check_returned(certificate, key, [*above, *known], now=int(time.time()))
        urls = public_urls(base_url, issuer_id)
        is_new = await issuers.issuer_of_certificate(connection, certificate.public_bytes(Encoding.DER)) is None
        brought = AdoptionRequest(
            ca=certificate,
            issuer_id=issuer_id,
            responder=None,
            ca_key=place,
            publishes_crl=True,
            unissued_policy=None,
            ocsp_url=urls.ocsp_url if is_new else None,
            crl_url=urls.crl_url if is_new else None,
        )
        keys = settings.keys.absolute()
        return await adopt(connection, brought, keys, settings.passphrase, base_url=base_url, actor=actor_name())

    return await run_with_ledger(settings, act, name="fastocsp ca complete")
