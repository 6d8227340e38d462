"""`fastocsp ca issue`: one certificate, for a key made here or for a request brought along.

Order: both files are written beside their places, the certificate is in the ledger, the files get their names. A
failure leaves nothing; a crash leaves files named `.NAME.PID.first`, never a certificate that the ledger has not.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from cachewarm.cli.options import AsJson, DataDir, Validity, given_by, run_with_ledger, seconds_of, settings_of
from cachewarm.cli.parameters import Argument, Option
from cachewarm.config import Settings
from cachewarm.console import reported, show
from cachewarm.errors import Refused
from cachewarm.keys.key_kind import KeyKind

if TYPE_CHECKING:
    from cryptography import x509

    from cachewarm.ca.authority import Authority
    from cachewarm.ca.certificate import Issued
    from cachewarm.ca.issue import Terms
    from cachewarm.ledger import issuers

Names = Annotated[list[str], Option("--name", help="Host name, address, mail address or URI; repeat it.")]
Csr = Annotated[Path | None, Option("--csr", help="Certification request, PEM or DER.", exists=True, dir_okay=False)]
Key = Annotated[KeyKind | None, Option("--key", help="Kind of the new key.", show_default="p256")]
Out = Annotated[Path, Option("--out", help="Folder for NAME.pem and NAME.key.", file_okay=False)]
File = Path | None

_PROFILES_HELP = "tls-server or tls-client."


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Wishes of the command line, checked as far as possible without the ledger."""

    names: Sequence[str]
    subject: "x509.Name | None"
    csr: bytes | None
    kind: KeyKind
    profile: str
    validity_s: int | None
    must_staple: bool
    urls: dict[str, str | None]
    cert_out: Path
    key_out: Path | None


def issue_command(
    *,
    issuer_id: Annotated[str, Argument(metavar="ISSUER_ID", help="The CA, whose key is here.")],
    name: Names = [],  # noqa: B006 - click passes a list of its own
    profile: Annotated[str, Option("--profile", help=_PROFILES_HELP)] = "tls-server",
    csr: Csr = None,
    key: Key = None,
    subject: Annotated[str | None, Option("--subject", metavar="NAME", help="Default: the first name.")] = None,
    validity: Validity = None,
    must_staple: Annotated[bool, Option("--must-staple", help="Servers must staple an answer.")] = False,
    ocsp_url: Annotated[str | None, Option("--ocsp-url", metavar="URL", help="Instead of the issuer's.")] = None,
    no_ocsp_url: Annotated[bool, Option("--no-ocsp-url", help="Leave it out.")] = False,
    crl_url: Annotated[str | None, Option("--crl-url", metavar="URL", help="Instead of the issuer's.")] = None,
    no_crl_url: Annotated[bool, Option("--no-crl-url", help="Leave it out.")] = False,
    ca_issuers_url: Annotated[str | None, Option("--ca-issuers-url", metavar="URL", help="Likewise.")] = None,
    no_ca_issuers_url: Annotated[bool, Option("--no-ca-issuers-url", help="Leave it out.")] = False,
    out: Out = Path(),
    cert_out: Annotated[File, Option("--cert-out", help="File of the certificate.", dir_okay=False)] = None,
    key_out: Annotated[File, Option("--key-out", help="File of the key.", dir_okay=False)] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Issue a certificate. Without --csr a key is made too: mode 0600, encrypted under CONFIG_ENCRYPTION_KEY."""
    import asyncio

    with reported():
        if csr is not None and (key or key_out or subject):
            raise click.BadParameter("the request brings key and subject along", param_hint="--csr")
        urls = {
            "ocsp_url": _url("--ocsp-url", ocsp_url, without=no_ocsp_url),
            "ca_issuers_url": _url("--ca-issuers-url", ca_issuers_url, without=no_ca_issuers_url),
            "crl_url": _url("--crl-url", crl_url, without=no_crl_url),
        }
        stem = _stem(name, csr)
        wish = Wish(
            names=_names(name),
            subject=_subject(subject),
            csr=_request(csr),
            kind=key or KeyKind.P256,
            profile=_profile(profile),
            validity_s=seconds_of(validity),
            must_staple=must_staple,
            urls={field: url for field, url in urls.items() if url is not _ISSUERS},
            cert_out=cert_out or out / f"{stem}.pem",
            key_out=None if csr else key_out or out / f"{stem}.key",
        )
        settings = settings_of(data_dir)
        made = asyncio.run(_issue(settings, issuer_id, wish))
        show(_result(issuer_id, made, wish), as_json=as_json)


async def _issue(settings: Settings, issuer_id: str, wish: Wish) -> "Issued":
    """Read the issuer, make the certificate once, enter it. A restart of Postgres costs neither of the two steps."""
    from cachewarm.ca.registry import enter_issued, load_authority
    from cachewarm.ca_signer.client import ca_keys_of
    from cachewarm.keys.key_file import new_file
    from cachewarm.ledger import issuers

    _require_free(wish)

    async def read(connection: Any) -> "issuers.Issuer":
        return await issuers.require_issuer(connection, issuer_id)

    issuer = await run_with_ledger(settings, read, name="fastocsp ca issue")
    authority = load_authority(issuer, ca_keys_of(settings))
    terms = _terms(issuer, wish)
    made, files = _make(authority, terms, wish, settings.passphrase)

    async def write(connection: Any) -> int:
        return await enter_issued(connection, issuer.issuer_id, made, crl_shards=terms.pointers.crl_shards)

    with ExitStack() as held:
        for path, octets, mode in files:
            held.enter_context(new_file(path, octets, mode))
        await run_with_ledger(settings, write, name="fastocsp ca issue")
    return made


def _make(
    authority: "Authority", terms: "Terms", wish: Wish, passphrase: bytes | None
) -> "tuple[Issued, list[tuple[Path, bytes, int]]]":
    """The certificate, and the files to write: path, bytes, mode."""
    from cachewarm.ca.issue import issue, issue_request
    from cachewarm.keys.key_file import SECRET_MODE
    from cachewarm.keys.soft_key import SoftKey

    now = int(time.time())
    if wish.csr is not None or wish.key_out is None:
        made = issue_request(authority, wish.csr or b"", terms, names=wish.names, now=now)
        return made, [(wish.cert_out, made.pem, 0o644)]
    key = SoftKey.generate(wish.kind)
    made = issue(authority, key.public_key, terms, names=wish.names, now=now, subject=wish.subject)
    return made, [(wish.cert_out, made.pem, 0o644), (wish.key_out, key.to_pem(passphrase), SECRET_MODE)]


def _terms(issuer: "issuers.Issuer", wish: Wish) -> "Terms":
    from cachewarm.ca.issue import Terms
    from cachewarm.ca.profiles import PROFILES, Pointers
    from cachewarm.ca.registry import pointers_of

    if issuer.crl_scope == "ca":
        raise Refused(f"the CRLs of {issuer.issuer_id} are about CA certificates alone: this one would be on none")
    own = pointers_of(issuer)
    pointers = Pointers(
        wish.urls.get("ocsp_url", own.ocsp_url),
        wish.urls.get("ca_issuers_url", own.ca_issuers_url),
        wish.urls.get("crl_url", own.crl_url),
        0 if "crl_url" in wish.urls else own.crl_shards,  # a URL that is given names no shard of ours
    )
    return Terms(pointers, PROFILES[wish.profile], wish.validity_s, wish.must_staple)


def _require_free(wish: Wish) -> None:
    for path in filter(None, (wish.key_out, wish.cert_out)):
        if path.exists() or path.is_symlink():
            raise Refused(f"{path} exists already: nothing is overwritten")
        if not path.parent.is_dir() and path.parent.exists():
            raise Refused(f"{path.parent} is not a folder")


#: No URL was named: the issuer's own is taken.
_ISSUERS = "the issuer's"


def _url(option: str, url: str | None, *, without: bool) -> str | None:
    from cachewarm.ca.profiles import check_url

    if url is None:
        return None if without else _ISSUERS
    if without:
        raise click.BadParameter("a URL and none at all exclude each other", param_hint=option)
    with given_by(option):
        return check_url(url, "the URL")


def _names(names: Sequence[str]) -> Sequence[str]:
    from cachewarm.ca.profiles import parse_names

    with given_by("--name"):
        parse_names(names)
    return names


def _subject(text: str | None) -> "x509.Name | None":
    from cachewarm.ca.certificate import parse_subject

    if text is None:
        return None
    with given_by("--subject"):
        return parse_subject(text)


def _request(path: Path | None) -> bytes | None:
    from cachewarm.ca.issue import read_request

    if path is None:
        return None
    octets = path.read_bytes()
    with given_by("--csr"):
        read_request(octets)
    return octets


def _profile(name: str) -> str:
    from cachewarm.ca.profiles import PROFILES

    if name not in PROFILES:
        raise click.BadParameter(f"{name!r} is none of {', '.join(PROFILES)}", param_hint="--profile")
    return name


def _stem(names: Sequence[str], csr: Path | None) -> str:
    """The first name as a file name: `*.example` is `_.example`, a slash or a colon is an underscore."""
    if not names and csr is None:
        raise click.BadParameter("a certificate needs a name, or a request that has one", param_hint="--name")
    first = names[0] if names or csr is None else csr.stem
    return "".join(letter if letter.isalnum() or letter in ".-@_" else "_" for letter in first).lstrip(".") or "_"


def _result(issuer_id: str, made: "Issued", wish: Wish) -> dict[str, Any]:
    from cachewarm.ca.describe import describe

    said = describe(made.certificate)
    chosen = ("subject", "serial", "not_before", "not_after", "key", "names", "ocsp_url", "crl_url", "must_staple")
    files = {"cert": str(wish.cert_out), "key_file": str(wish.key_out) if wish.key_out else None}
    return {"issuer_id": issuer_id} | {name: said[name] for name in chosen} | files
