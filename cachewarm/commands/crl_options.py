"""Options that say which CRLs an issuer has besides the complete one."""

from enum import StrEnum
from typing import Annotated

import typer

from cachewarm.ledger.issuers import CRLWish


class Scope(StrEnum):
    """onlyContainsUserCerts and onlyContainsCACerts of RFC 5280 5.2.5."""

    ALL = "all"
    USER = "user"
    CA = "ca"


CRLShards = Annotated[
    int | None,
    typer.Option(
        "--crl-shards",
        min=0,
        max=4096,
        metavar="N",
        help="Split CRLs too; each new certificate names its shard.",
        show_default="0",
    ),
]
DeltaCRL = Annotated[
    bool | None, typer.Option("--delta-crl/--no-delta-crl", help="Make delta CRLs too.", show_default="no")
]
CRLScope = Annotated[
    Scope | None,
    typer.Option("--crl-scope", help="What it issues, and its CRLs are about.", show_default="all"),
]


def crl_wish(shards: int | None, delta: bool | None, scope: Scope | None) -> CRLWish:
    """What the command line said."""
    return CRLWish(delta, shards, None if scope is None else scope.value)
