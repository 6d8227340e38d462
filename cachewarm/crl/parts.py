"""The CRLs of one issuer: the complete one, its delta and its shards; their names, URLs and scopes. Pure.

"" is the complete CRL, "delta" its delta, "0" .. "N-1" the shards; their URLs: U, U/delta, U/0 ..

A complete CRL of full scope has no issuing distribution point. The extension is critical, and a verifier that checks
the whole chain looks for a CRL of the self-signed root, whose certificate names no distribution point: a CRL that has
one is of another scope for it. A CRL of user or CA certificates only has one (RFC 5280 5.2.5). A delta has the same as
its base, byte for byte (5.2.4 c). A shard names its own URL, which is in its certificates.
"""

from _fastocsp.crl.fields import Scope
from cachewarm.errors import Refused
from cachewarm.ledger.issuers import Issuer

COMPLETE, DELTA = "", "delta"


def wanted_parts(issuer: Issuer) -> list[str]:
    """Return the names of the CRLs that are made besides the complete one."""
    return ([DELTA] if issuer.delta_crl else []) + [str(number) for number in range(issuer.crl_shards)]


def part_url(crl_url: str | None, part: str) -> str | None:
    """Return the URL at which that CRL is served; only a complete one may have none."""
    if part == COMPLETE:
        return crl_url
    if crl_url is None:
        raise Refused("deltas and shards need a CRL URL")
    return f"{crl_url}/{part}"


def scope_of(issuer: Issuer, part: str) -> Scope:
    """Return the issuing distribution point of that CRL; an empty one is not encoded."""
    base = COMPLETE if part == DELTA else part
    if base == COMPLETE and issuer.crl_scope == "all":
        return Scope()
    return Scope(
        url=part_url(issuer.crl_url, base),
        only_user_certs=issuer.crl_scope == "user",
        only_ca_certs=issuer.crl_scope == "ca",
    )
