"""Templates under arbitrary records and serials: the fast writer equals the wrapped tbs, and asn1crypto reads it.

`python -m tests.fuzz.fuzz_response [-max_total_time=N]`. The first octet says how long the serial is, the serial
follows, the rest is the record.
"""

import sys

from asn1crypto import ocsp

from _fastocsp.record import RECORD_HEAD
from _fastocsp.response import Template, encode_signed, responder_id_by_key
from tests.fuzz.runner import instrumented, run, seeds

with instrumented():
    from tests.reference.record import unpack_record

SIZES = {1: 20, 2: 32, 3: 48, 4: 64}


def template(hash_algorithm: int, responder: bytes) -> Template:
    """A template that the record belongs to."""
    size = SIZES[hash_algorithm & 0x0F]
    return Template(
        hash_algorithm=hash_algorithm,
        issuer_name_hash=b"n" * size,
        issuer_key_hash=b"k" * size,
        responder_id=responder_id_by_key(b"h" * 20),
        responder=responder,
        signature_algorithm=bytes.fromhex("300a06082a8648ce3d040302"),
    )


def target(octets: bytes) -> None:
    """A record and a serial that are sound in themselves always make one readable response."""
    length = 1 + octets[0] % 20 if octets else 1
    serial, rest = octets[1 : 1 + length], octets[1 + length :]
    record = unpack_record(rest)
    if len(rest) == RECORD_HEAD:
        return
    made = template(record.hash_algorithm, record.responder)
    response = made.encode(serial, rest)
    if response != encode_signed(made, made.tbs(serial, rest), record.signature):
        raise AssertionError(octets.hex())
    single = ocsp.OCSPResponse.load(response, strict=True).response_data["responses"][0]
    if single["cert_id"]["serial_number"].native != int.from_bytes(serial):
        raise AssertionError(octets.hex())


def main(argv: list[str]) -> None:
    """Run with libFuzzer's arguments."""
    run(argv, target, (b"\x02\x80\x01\x02" + octets for octets in seeds("record")))


if __name__ == "__main__":
    main(sys.argv[1:])
