"""Check a mirrored CRL that is served once more: form, signature, issuer, window, scope, entries."""

from cachewarm.crl.rules import CRLProblem
from cachewarm.crl.verify_published import Published
from cachewarm.ledger.issuers import Issuer
from cachewarm.mirror.validate import Acceptance, validate_alone


def acceptance_of(issuer: Issuer, *, accept_renumbered: bool = False) -> Acceptance:
    """Return what is accepted of that issuer's CRLs."""
    return Acceptance(
        scope=issuer.crl_scope, accept_unnumbered=issuer.accept_unnumbered, accept_renumbered=accept_renumbered
    )


def check_mirrored(issuer: Issuer, one: Published, now: int) -> str | None:
    """Return None when a client can use the CRL, else what is wrong."""
    is_delta = one.base_number is not None
    found = validate_alone(one.crl_der, issuer.cert_der, acceptance_of(issuer), now=now, is_delta=is_delta)
    if isinstance(found, CRLProblem):
        return str(found)
    if found.number != one.crl_number:
        return f"number: the CRL has {found.number}, its row {one.crl_number}"
    if found.entries != one.revoked_count:
        return f"entries: the CRL has {found.entries} entries, its row {one.revoked_count}"
    return None
