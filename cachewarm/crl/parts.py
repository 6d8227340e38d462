"""The CRLs of one issuer: the complete one, its delta and its shards; their names, URLs and scopes. Pure.

"" is the complete CRL, "delta" its delta, "0" .. "N-1" the shards; their URLs: U, U/delta, U/0 .. A delta has the scope
of its base, octet for octet (RFC 5280 5.2.4 c); a shard names its own URL, which is in its certificates (5.2.5).
"""

from _fastocsp.crl.fields import Scope
from cachewarm.errors import Refused
from cachewarm.ledger.issuers import Issuer

COMPLETE, DELTA = "", "delta"


def wanted_parts(issuer: Issuer) -> list[str]:
    """What is made besides the complete CRL."""
    return ([DELTA] if issuer.delta_crl else []) + [str(number) for number in range(issuer.crl_shards)]


def part_url(crl_url: str | None, part: str) -> str | None:
    """Where that CRL is served; only a complete one may have no URL."""
    if part == COMPLETE:
        return crl_url
    if crl_url is None:
        raise Refused("deltas and shards need a CRL URL")
    return f"{crl_url}/{part}"


def scope_of(issuer: Issuer, part: str) -> Scope:
    """The issuing distribution point of that CRL."""
    return Scope(
        url=part_url(issuer.crl_url, COMPLETE if part == DELTA else part),
        only_user_certs=issuer.crl_scope == "user",
        only_ca_certs=issuer.crl_scope == "ca",
    )
