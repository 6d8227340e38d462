"""What the demo CA's answers must be, for the tests that ask in odd ways."""

import base64
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from tests.support.http import certificate, question
from tests.support.instance import Instance

MALFORMED, TRY_LATER, UNAUTHORIZED = (bytes.fromhex(f"30030a010{n}") for n in (1, 3, 6))
OCSP_TYPE = "application/ocsp-response"
Said = tuple[int, dict[str, str], bytes]


class Demo(NamedTuple):
    """The demo CA, a good and a revoked certificate of it, and a question about each."""

    port: int
    issuer: x509.Certificate
    good_cert: x509.Certificate
    revoked_cert: x509.Certificate
    good: bytes
    revoked: bytes

    @property
    def path(self) -> str:
        """GET path of the good one, percent-encoded where it must be."""
        return "/ocsp/" + base64.b64encode(self.good).decode()

    @property
    def by_issuer(self) -> str:
        """POST path that names the issuer."""
        return "/.well-known/pki/ocsp/demo"


def demo_of(instance: Instance) -> Demo:
    """Of that instance; the good question has `+` and `/` in its base64, so that both are tried."""
    facts = instance.facts
    issuer, revoked = certificate(facts["issuer_cert"]), certificate(facts["revoked_cert"])
    good = certificate(facts["good_cert"])
    for algorithm in (hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
        asked = question(good, issuer, algorithm)
        if {b"+", b"/"} <= {bytes((octet,)) for octet in base64.b64encode(asked)}:
            break
    return Demo(instance.port, issuer, good, revoked, asked, question(revoked, issuer))


def status_in(body: bytes, serial_number: int) -> ocsp.OCSPCertStatus:
    """The status that a successful answer gives this serial number."""
    answer = ocsp.load_der_ocsp_response(body)
    assert answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    (single,) = [one for one in answer.responses if one.serial_number == serial_number]
    return single.certificate_status


def assert_good(demo: Demo, said: Said) -> None:
    """The whole, cacheable `good`."""
    status, fields, body = said
    assert status == 200, (status, body[:40])
    assert status_in(body, demo.good_cert.serial_number) is ocsp.OCSPCertStatus.GOOD
    assert fields["content-type"] == OCSP_TYPE
    assert_dated(fields)


def assert_refused(said: Said, body: bytes = UNAUTHORIZED, http_status: int = 200) -> None:
    """An unsigned error answer that no cache may keep."""
    status, fields, got = said
    assert (status, got.hex()) == (http_status, body.hex())
    assert fields["content-type"] == OCSP_TYPE
    assert fields["cache-control"] == "no-store"
    assert not {"etag", "expires", "last-modified"} & fields.keys()
    assert_dated(fields)


def assert_dated(fields: dict[str, str]) -> None:
    """Date is there, and every date is an IMF-fixdate to the letter (H-10)."""
    assert abs(parse_imf(fields["date"]) - datetime.now(UTC).timestamp()) < 5
    for name in ("expires", "last-modified"):
        if name in fields:
            parse_imf(fields[name])


def parse_imf(text: str) -> float:
    """Epoch seconds; the text must be what the standard library would write."""
    read = datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert format_datetime(read, usegmt=True) == text
    return read.timestamp()
