"""Responses for arbitrary sound records and serials: the fast writer gives what asn1crypto gives, byte for byte.

`python -m tests.fuzz.fuzz_response [-max_total_time=N]`. The bytes are drawn upon for the fields of the record, so
that every input is one; what records may look like is fuzz_record's affair.
"""

import sys

import atheris
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from _fastocsp.cache.response_patches import Stencils
from _fastocsp.http.response import encode_head
from _fastocsp.ocsp.record import pack_record
from _fastocsp.ocsp.response import Template, encode_signed, responder_id_by_key
from _fastocsp.wire.codes import NO_REASON, REVOKED
from _fastocsp.wire.types import Record
from responder.domain.serial import serial_number, serial_octets
from tests.fuzz.runner import instrumented, run, seeds

with instrumented():
    from tests.reference import ocsp as reference

SIZES = {1: 20, 2: 32, 3: 48, 4: 64}
REASONS = [0, 1, 2, 3, 4, 5, 6, 9, 10, NO_REASON]
LAST = 2**32 - 1
RESPONDER_ID = responder_id_by_key(b"h" * 20)
ALGORITHM = bytes.fromhex("300a06082a8648ce3d040302")
ISSUERS = {n | absent: (n | absent, b"n" * size, b"k" * size) for n, size in SIZES.items() for absent in (0, 128)}
TEMPLATES = {
    algorithm: Template(
        hash_algorithm=algorithm,
        issuer_name_hash=name_hash,
        issuer_key_hash=key_hash,
        responder_id=RESPONDER_ID,
        responder=b"respondr",
        signature_algorithm=ALGORITHM,
    )
    for algorithm, name_hash, key_hash in ISSUERS.values()
}
STENCILS = Stencils()


def signature(drawn: atheris.FuzzedDataProvider) -> bytes:
    """Of ECDSA with numbers of any size, or bytes that mean nothing."""
    if drawn.ConsumeBool():
        size: int = drawn.ConsumeIntInRange(1, 1024)
        return b"s" * size
    r, s = (int.from_bytes(drawn.ConsumeBytes(drawn.ConsumeIntInRange(0, 50))) for _ in "rs")
    return encode_dss_signature(r, s)


def sound_record(drawn: atheris.FuzzedDataProvider) -> Record:
    """A record that contradicts itself nowhere."""
    status = drawn.ConsumeIntInRange(0, 2)
    this_update = drawn.ConsumeIntInRange(0, LAST - 1)
    produced_at = drawn.ConsumeIntInRange(this_update, LAST)
    return Record(
        hash_algorithm=drawn.ConsumeIntInRange(1, 4) | drawn.ConsumeIntInRange(0, 1) << 7,
        status=status,
        responder=b"respondr",
        this_update=this_update,
        next_update=drawn.ConsumeIntInRange(this_update + 1, LAST),
        produced_at=produced_at,
        reason=drawn.PickValueInList(REASONS) if status == REVOKED else NO_REASON,
        revocation_time=drawn.ConsumeIntInRange(0, produced_at) if status == REVOKED else 0,
        flags=drawn.ConsumeIntInRange(0, 1),
        signature=signature(drawn),
    )


def serial_key(drawn: atheris.FuzzedDataProvider) -> bytes:
    """The key of a number of at most 20 bytes; a sixteenth of them are negative."""
    octets = drawn.ConsumeBytes(drawn.ConsumeIntInRange(1, 20))
    return serial_octets(int.from_bytes(octets, "big", signed=drawn.ConsumeIntInRange(0, 15) == 0))


def is_key(octets: bytes) -> bool:
    """Whether these are the one spelling of a serial number."""
    try:
        return octets != b"" and serial_octets(serial_number(octets)) == octets
    except ValueError:
        return False


def refuses(made: Template, key: bytes, packed: bytes) -> bool:
    """Whether the writer takes no such key."""
    try:
        made.encode(key, packed)
    except ValueError:
        return True
    return False


def target(octets: bytes) -> None:
    """Fast writer, wrapped tbs and reference agree; and the copy of whatever answer of this shape came before."""
    drawn = atheris.FuzzedDataProvider(octets)
    record = sound_record(drawn)
    serial = serial_key(drawn)
    issuer, made = ISSUERS[record.hash_algorithm], TEMPLATES[record.hash_algorithm]
    packed, now = pack_record(record), drawn.ConsumeIntInRange(0, LAST)
    response = made.encode(serial, packed)
    spelt = drawn.ConsumeBytes(drawn.ConsumeIntInRange(0, 24))
    if not is_key(spelt) and not refuses(made, spelt, packed):
        raise AssertionError(f"no serial number's key: {spelt.hex()}")
    asked = reference.cert_id(*issuer, serial_number(serial))
    tbs = reference.response_data([(asked, record)], RESPONDER_ID, record.produced_at)
    wrapped = encode_signed(made, made.tbs(serial, record), record.signature)
    if {response, wrapped} != {reference.encode_response(tbs, ALGORITHM, record.signature, [])}:
        raise AssertionError(f"{record} {serial.hex()}")
    if STENCILS.encode(made, serial, packed, now) != encode_head(packed, now, len(response)) + response:
        raise AssertionError(f"written over another one: {record} {serial.hex()} {now}")


def main(argv: list[str]) -> None:
    """Run with libFuzzer's arguments."""
    run(argv, target, seeds("record"))


if __name__ == "__main__":
    main(sys.argv[1:])
