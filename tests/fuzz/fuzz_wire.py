"""HTTP messages under arbitrary bytes: taken as the reference takes them, whole and in two pieces, or not at all.

`python -m tests.fuzz.fuzz_wire [-max_total_time=N]`
"""

import base64
import sys
from collections.abc import Iterable

from _fastocsp.http.headers import KnownSections
from _fastocsp.http.request import recognise_octets
from tests.fuzz.runner import instrumented, run, seeds

with instrumented():
    from tests.reference import wire as reference

KNOWN = KnownSections()
HOST = b" HTTP/1.1\r\nHost: x\r\n"
TYPE = b"Content-Type: application/ocsp-request\r\nContent-Length: "


def target(octets: bytes) -> None:
    """Same verdict, or passed on before the reference can tell; nothing is taken before its last byte."""
    expected, read = reference.recognise(octets), recognise_octets(octets)
    if read != expected and not (expected is None and read is False):
        raise AssertionError(f"{octets!r}: {read} is not {expected}")
    if recognise_octets(octets, known=KNOWN) != read:
        raise AssertionError(f"{octets!r}: another verdict by the sections that are known")
    if read:
        before = recognise_octets(octets[: read["consumed"] - 1])
        if before is not None:
            raise AssertionError(f"{octets!r}: {before} an octet too early")


def messages() -> Iterable[bytes]:
    """A GET and a POST of every request, and the fields that matter."""
    for der in seeds("request"):
        yield b"GET /ocsp/" + base64.b64encode(der) + HOST + b"If-None-Match: *\r\nX-Forwarded-For: ::1\r\n\r\n"
        yield b"POST /.well-known/pki/ocsp/demo" + HOST + TYPE + b"%d\r\n\r\n" % len(der) + der
    yield b"POST /ocsp/ HTTP/1.0\r\nConnection: close\r\nExpect: 100-continue\r\n" + TYPE + b"1\r\n\r\n0"


def main(argv: list[str]) -> None:
    """Run with libFuzzer's arguments."""
    run(argv, target, messages())


if __name__ == "__main__":
    main(sys.argv[1:])
