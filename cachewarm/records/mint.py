"""Minting: a statement about one certificate becomes a signed compact record. RFC 6960 4.2.2.

The statement (records/statement.py) was made at a position of the feed, and the record carries it: a store that has a
newer one refuses it. Nothing here decides the status.
"""

from _fastocsp.ocsp.record import FLAG_EXTENDED_REVOKE, Record, pack_record, seal_record, unpack_record
from _fastocsp.ocsp.response import Template, encode_signed, tbs_response_data
from cachewarm.errors import Refused
from cachewarm.keys.signing_key import SigningKey
from cachewarm.records.statement import Statement
from responder.domain.responder import ResponderCertificate
from responder.domain.serial import serial_hex


def unsigned_record(statement: Statement, template: Template, now: int) -> Record:
    """Return the record of that statement, to be signed."""
    status, this_update, next_update, position, revocation_time, reason, extended_revoke, _ = statement
    return Record(
        template.hash_algorithm,
        status,
        template.responder,
        this_update,
        next_update,
        max(now, this_update),  # producedAt is not before thisUpdate (O-21)
        reason,
        revocation_time,
        position.generation,
        position.seq,
        FLAG_EXTENDED_REVOKE if extended_revoke else 0,
    )


def unsigned_octets(statement: Statement, template: Template, now: int) -> bytes:
    """Return the same, packed."""
    return pack_record(unsigned_record(statement, template, now))


def mint(statement: Statement, serial: bytes, template: Template, key: SigningKey, now: int) -> bytes:
    """Return the signed record."""
    unsigned = unsigned_octets(statement, template, now)
    return seal_record(unsigned, key.sign(template.tbs(serial, unsigned)))


def mint_answer(
    statements: list[tuple[Statement, bytes, Template]], key: SigningKey, now: int, nonce: bytes | None
) -> tuple[bytes, tuple[bytes, ...]]:
    """Return a whole OCSPResponse for several certificates or with a nonce, and the unsigned records that it states."""
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
        raise Refused(f"the record just made for serial {serial_hex(serial)} does not verify: {error!r}") from error
