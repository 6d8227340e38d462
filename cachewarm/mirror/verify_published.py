"""A mirrored CRL that is served, looked at again: form, signature, issuer, window, scope, entries."""

from _fastocsp.crl.entry_reader import EntryReader
from _fastocsp.wire.errors import WireError
from cachewarm.crl.verify_published import Published
from cachewarm.ledger.issuers import Issuer
from cachewarm.mirror.faults import NotMirrored
from cachewarm.mirror.validate import checked


def check_mirrored(issuer: Issuer, one: Published, now: int) -> str | None:
    """None when a client can use it, else what is wrong."""
    is_delta = one.base_number is not None
    try:
        read = checked(one.crl_der, issuer.cert_der, issuer.crl_scope, now, is_delta=is_delta)
        reader = EntryReader(one.crl_der, read.this_update, is_delta)
        while reader.read():
            pass
    except (NotMirrored, WireError) as error:
        return str(error)
    if read.number != one.crl_number:
        return f"number: the CRL says {read.number}, its row {one.crl_number}"
    if reader.count != one.revoked_count:
        return f"entries: the CRL has {reader.count} entries, its row says {one.revoked_count}"
    return None
