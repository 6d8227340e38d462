"""`python -m tests.fastocsp.leak N`: N rounds through every codec; prints by how many KiB the process grew."""

import base64
import resource
import sys
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress

from _fastocsp.cache.response_patches import Stencils
from _fastocsp.crl.entry_writer import EntryWriter
from _fastocsp.http.path import decode_get
from _fastocsp.ocsp.certid import parse_cert_id
from _fastocsp.ocsp.nonce_answers import SharedStatement, answer_batch
from _fastocsp.ocsp.record import pack_record, unpack_record
from _fastocsp.ocsp.request import parse_request
from _fastocsp.ocsp.response import Template, encode_signed, responder_id_by_key
from _fastocsp.ocsp.signer_wire import pack_asked, pack_signed, split_frames, unpack_asked, unpack_signed
from _fastocsp.revoked.image import RevokedImage, image_size
from _fastocsp.wire.errors import WireError
from _fastocsp.wire.types import Record
from tests.fastocsp.corpus import octets_of
from tests.reference.crl import Entry
from tests.support.copy_rows import stream

REQUEST = octets_of("request", "openssl-signed.der")
PATH, BAD_PATH = base64.b64encode(REQUEST), base64.b64encode(REQUEST).replace(b"/", b"//")
RECORD = Record(1, 1, b"respondr", 1, 2, 1, reason=1, revocation_time=1, signature=b"s" * 71)
GOOD = pack_record(RECORD._replace(status=0, reason=255, revocation_time=0))
ROWS = stream([Entry(bytes((n + 1, n)), 5, n % 5) for n in range(100)])
LISTED = RevokedImage(bytearray(image_size({}, 1)), writable=True)
LISTED.build({}, 1)


def template(signature_algorithm: bytes = b"\x30\x00", certs: Sequence[bytes] = (b"\x30\x00",)) -> Template:
    """A template, made anew in some rounds."""
    return Template(
        hash_algorithm=1,
        issuer_name_hash=b"n" * 20,
        issuer_key_hash=b"k" * 20,
        responder_id=responder_id_by_key(b"h" * 20),
        responder=b"respondr",
        signature_algorithm=signature_algorithm,
        certs=certs,
    )


def one_round(made: Template, number: int) -> None:
    """Good bytes and bad ones."""
    parse_request(REQUEST)
    parse_cert_id(parse_request(REQUEST).cert_ids[0].der)
    octets = pack_record(RECORD)
    unpack_record(octets)
    made.encode(b"\x80", octets)
    stencils = Stencils()
    for _ in range(2):
        stencils.encode(made, b"\x80", GOOD, 1)
    frames = pack_asked(number, 1, 1, b"s" * 16, b"n" * 32) + pack_signed(number, octets, b"DER")
    (asked, signed), _ = split_frames(frames, 2)
    unpack_asked(asked[2])
    unpack_signed(signed[2])
    split_frames(frames[: number % len(frames)], 2)
    stated = SharedStatement(made, GOOD, 0, lambda tbs: tbs[:8])
    answer_batch(frames, 2, {(1, 1): stated}, OrderedDict([((1, b"s" * 16), number)]), LISTED)
    for parse, bad in ((parse_request, REQUEST[: number % len(REQUEST)]), (unpack_record, octets[: number % 100])):
        with suppress(WireError):
            parse(bad)
    if number % 10 == 0:
        writer = EntryWriter(3)
        with suppress(WireError):
            writer.feed(ROWS[: len(ROWS) - number % 7])
            writer.take_parts()
        encode_signed(template(), made.tbs(b"\x80", RECORD, b"n" * 32), b"s")
        decode_get(PATH)
        with suppress(WireError):
            decode_get(BAD_PATH)


def peak_kib() -> int:
    """The largest resident set so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Warm up, run, print the growth."""
    made, rounds = template(), int(sys.argv[1])
    for number in range(2000):
        one_round(made, number)
    before = peak_kib()
    for number in range(rounds):
        one_round(made, number)
    print(peak_kib() - before)  # noqa: T201 - the caller reads it


if __name__ == "__main__":
    main()
