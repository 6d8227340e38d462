"""CRLs in what a source sends: DER, PEM, text and marks around it, several blocks, and hostile bytes in linear time."""

import base64
import time

import pytest

from cachewarm.crl.parse import ReadCRL
from cachewarm.crl.rules import CRLProblem, Rule
from cachewarm.mirror.pem import crls_in
from cachewarm.mirror.validate import choose_crl
from tests.support.foreign_ca import STOLEN, ForeignCA

CA, OTHER = ForeignCA(), ForeignCA("Other CA")
OLD, NEW = CA.crl(1, {5: None}, begins=-600), CA.crl(2, {5: None, 6: STOLEN})
BEGIN, END = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"


@pytest.mark.parametrize(
    "body",
    [
        NEW,
        CA.pem(NEW),
        b"\xef\xbb\xbf" + CA.pem(NEW),
        CA.pem(NEW).decode().encode("utf-16"),
        b"0 Certificate Revocation List (CRL):\n    Version 2 (0x1)\n" + CA.pem(NEW) + b"trailing text\n",
        b"\r\n" + CA.pem(NEW).replace(b"\n", b"\r\n"),
        BEGIN + base64.b64encode(NEW) + END,
    ],
    ids=["der", "pem", "utf-8 mark", "utf-16", "text that begins with the byte of a SEQUENCE", "crlf", "one line"],
)
def test_one_crl_is_found_whatever_is_around_it(body: bytes) -> None:
    """Byte for byte."""
    assert crls_in(body) == [NEW]


@pytest.mark.parametrize("order", [(OTHER.crl(9, {}), OLD, NEW), (NEW, OLD, OTHER.crl(9, {}))])
def test_the_newest_crl_of_the_issuer_is_chosen(order: tuple[bytes, ...]) -> None:
    """Among several blocks, in any order, with one between them that does not parse."""
    body = b"".join(CA.pem(der) for der in order) + BEGIN + b"\nAAAA\n" + END
    chosen = choose_crl(body, CA.cert_der)
    assert isinstance(chosen, ReadCRL)
    assert chosen.der == NEW


def test_a_complete_crl_and_its_delta_are_told_apart() -> None:
    """In one file."""
    delta = CA.crl(3, {7: None}, base=2)
    body = CA.pem(delta) + CA.pem(NEW)
    for is_delta, der in ((False, NEW), (True, delta)):
        chosen = choose_crl(body, CA.cert_der, is_delta=is_delta)
        assert isinstance(chosen, ReadCRL)
        assert chosen.der == der


@pytest.mark.parametrize(
    "body",
    [
        BEGIN + b"\nA\n" + END,
        BEGIN + b"\n" + base64.b64encode(NEW),
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        BEGIN + b"\n====\n" + END,
    ],
)
def test_pem_that_is_broken_is_a_problem_of_form(body: bytes) -> None:
    """Said as a value."""
    problem = crls_in(body)
    assert isinstance(problem, CRLProblem)
    assert problem.rule is Rule.FORM


@pytest.mark.parametrize(
    "body",
    [
        BEGIN + b" " * 2_000_000,
        BEGIN + b"A" * 2_000_000,
        BEGIN * 100_000,
        (BEGIN + b"\nAAAA\n") * 60_000,
        b"\n" * 2_000_000 + BEGIN,
        b"-" * 2_000_000 + b"-----BEGIN",
    ],
    ids=["blanks", "letters", "begins", "blocks without an end", "lines", "dashes"],
)
def test_hostile_pem_of_megabytes_takes_less_than_a_second(body: bytes) -> None:
    """The scan is linear: 40 kB of the first kind took 40 s with a backtracking expression."""
    begun = time.process_time()
    assert not isinstance(choose_crl(body, CA.cert_der), ReadCRL)
    assert time.process_time() - begun < 1
