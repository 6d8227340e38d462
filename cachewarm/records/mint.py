"""Minting: a statement about one certificate becomes a signed compact record. RFC 6960 4.2.2.

Whoever decided the statement read it at a feed position, and the record carries it: a store that has a newer one
refuses it. Nothing here asks what the status is.
"""

from typing import NamedTuple

from _fastocsp.ocsp.record import FLAG_EXTENDED_REVOKE, Record, pack_record, seal_record, unpack_record
from _fastocsp.ocsp.response import Template, encode_signed, tbs_response_data
from _fastocsp.wire.codes import GOOD, NO_REASON, REVOKED
from cachewarm.errors import Refused, Transient
from cachewarm.keys.signing_key import SigningKey
from responder.domain.crl_window import heard_window
from responder.domain.issuer import Issuer
from responder.domain.responder import ResponderCertificate
from responder.domain.status import CRLReason
from responder.feed.machine import Position


class Statement(NamedTuple):
    """What is said of a certificate, and until when at most; `reason` NO_REASON unless revoked."""

    status: int
    this_update: int
    next_update: int
    position: Position
    revocation_time: int = 0
    reason: int = NO_REASON
    extended_revoke: bool = False


def good(this_update: int, end: int, position: Position) -> Statement:
    """The certificate is not revoked."""
    return Statement(GOOD, this_update, end, position)


def within(issuer: Issuer, statement: Statement) -> Statement | None:
    """A `good` cut to what the issuer's mirrored CRL says, for the place of the feed that it was read at (ADR 0011).

    None when no CRL lets anybody say so. What is not mirrored stays as it is.
    """
    if issuer.windows is None:
        return statement
    window = heard_window(issuer.windows, statement.position.generation, statement.position.seq)
    if window is None:
        return None
    this_update = min(statement.this_update, window.this_update)
    end = min(statement.next_update, window.next_update)
    return statement._replace(this_update=this_update, next_update=end) if this_update < end else None


def revoked(now: int, end: int, position: Position, revocation_time: int, reason: int) -> Statement:
    """It is, since then; Transient when the ledger's clock is ahead of ours (O-24: never in the future)."""
    if revocation_time > now:
        raise Transient(f"revocation time lies {revocation_time - now} s ahead of this host's clock")
    shown = NO_REASON if reason in (CRLReason.unspecified, NO_REASON) else reason
    return Statement(REVOKED, now, end, position, revocation_time, shown)


def unsigned_record(statement: Statement, template: Template, now: int) -> Record:
    """The record of that statement, to be signed."""
    status, this_update, next_update, position, revocation_time, reason, extended_revoke = statement
    return Record(
        template.hash_algorithm,
        status,
        template.responder,
        this_update,
        next_update,
        now,
        reason,
        revocation_time,
        position.generation,
        position.seq,
        FLAG_EXTENDED_REVOKE if extended_revoke else 0,
    )


def unsigned_octets(statement: Statement, template: Template, now: int) -> bytes:
    """The same, packed."""
    return pack_record(unsigned_record(statement, template, now))


def mint(statement: Statement, serial: bytes, template: Template, key: SigningKey, now: int) -> bytes:
    """The signed record."""
    unsigned = unsigned_octets(statement, template, now)
    return seal_record(unsigned, key.sign(template.tbs(serial, unsigned)))


def mint_answer(
    statements: list[tuple[Statement, bytes, Template]], key: SigningKey, now: int, nonce: bytes | None
) -> tuple[bytes, tuple[bytes, ...]]:
    """A whole OCSPResponse for several certificates or with a nonce, and the unsigned records that it states."""
    records = [unsigned_record(statement, template, now) for statement, _, template in statements]
    singles = [(template, serial, record) for (_, serial, template), record in zip(statements, records, strict=True)]
    tbs = tbs_response_data(singles, now, nonce)
    der = encode_signed(singles[0][0], tbs, key.sign(tbs))
    return der, tuple(pack_record(record) for record in records)


def check(record: bytes, serial: bytes, template: Template, responder: ResponderCertificate) -> None:
    """Refuse before publishing: parse back and verify. Refused when either fails."""
    try:
        unpacked = unpack_record(record)
        responder.verify(unpacked.signature, template.tbs(serial, unpacked))
    except Exception as error:
        # whatever is wrong with a record of our own making, it must not be published
        raise Refused(f"the record just made for serial {serial.hex()} does not verify: {error!r}") from error
