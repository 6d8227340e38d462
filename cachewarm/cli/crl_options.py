"""Options that say which CRLs an issuer has besides the complete one."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from cachewarm.cli.parameters import Option

if TYPE_CHECKING:
    from cachewarm.ledger.issuers import CRLWish


class Scope(StrEnum):
    """onlyContainsUserCerts and onlyContainsCACerts of RFC 5280 5.2.5."""

    ALL = "all"
    USER = "user"
    CA = "ca"


CRLShards = Annotated[
    int | None,
    Option(
        "--crl-shards",
        min=0,
        max=4096,
        metavar="N",
        help="Split CRLs too; each new certificate names its shard.",
        show_default="0",
    ),
]
DeltaCRL = Annotated[bool | None, Option("--delta-crl/--no-delta-crl", help="Make delta CRLs too.", show_default="no")]
CRLScope = Annotated[
    Scope | None,
    Option("--crl-scope", help="What it issues, and its CRLs are about.", show_default="all"),
]
CRLSource = Annotated[
    str | None,
    Option(
        "--crl-source",
        metavar="URL",
        help="Fetch the CA's CRL there (http, https, file), serve it on, take status from it.",
        show_default="--crl-url, without the CA's key",
    ),
]
DeltaSource = Annotated[
    str | None,
    Option("--delta-url", metavar="URL", help="The same for its deltas.", show_default="as the CRL says"),
]
AcceptUnnumbered = Annotated[
    bool | None,
    Option(
        "--accept-unnumbered/--no-accept-unnumbered",
        help="Take CRLs without a CRL number too, ordered by thisUpdate.",
        show_default="no",
    ),
]


def crl_wish(
    shards: int | None,
    delta: bool | None,
    scope: Scope | None,
    source: str | None = None,
    delta_source: str | None = None,
    accept_unnumbered: bool | None = None,
) -> "CRLWish":
    """Return what the command line wants."""
    from cachewarm.ledger.issuers import CRLWish

    return CRLWish(
        delta=delta,
        shards=shards,
        scope=None if scope is None else scope.value,
        source=source,
        delta_source=delta_source,
        unnumbered=accept_unnumbered,
    )


def check_source(url: str) -> str:
    """The URL itself; ValueError when no CRL can be fetched there."""
    parts = urlsplit(url)
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"not a URL in ASCII: {url!r}")
    if parts.scheme == "file" and parts.path.startswith("/") and parts.netloc in ("", "localhost"):
        return url
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"a CRL is fetched from http://HOST/.., https://HOST/.. or file:///PATH, not from {url!r}")
    return url
