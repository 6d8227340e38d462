"""Certificates, requests and responders with bytes turned: one kind of error, whatever the parsers below raise."""

import contextlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from cachewarm.ca.authority import Authority
from cachewarm.ca.certificate import Issued, parse_subject, read_certificate
from cachewarm.ca.describe import describe
from cachewarm.ca.external_responder import validate
from cachewarm.ca.issue import Terms, issue, issue_request
from cachewarm.ca.responder_certificate import ResponderPair, Unusable, load_pair, make
from cachewarm.errors import Refused
from cachewarm.keys.builders import sign_request
from cachewarm.keys.soft_key import KeyKind, SoftKey
from responder.domain.issuer import Issuer
from responder.domain.responder import ResponderCertificate
from tests.cachewarm.conftest import NOW, POINTERS, house_of

HOUSE = house_of(KeyKind.P256)
KEY = SoftKey.generate(KeyKind.P256)
TERMS = Terms(POINTERS, must_staple=True)
LEAF = issue(HOUSE.sub, KEY.public_key, TERMS, names=["a.example", "192.0.2.1"], now=NOW).cert_der
SUB = HOUSE.chain[1].cert_der
RESPONDER, RESPONDER_KEY = make(HOUSE.sub, "issuing", now=NOW)
REQUEST = sign_request(
    x509.CertificateSigningRequestBuilder()
    .subject_name(parse_subject("a.example"))
    .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example")]), critical=False),
    KEY,
).public_bytes(Encoding.DER)

TURNS = st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from("xid"), st.integers(1, 255)), min_size=1, max_size=4)
#: cryptography warns of serial numbers and country names that RFC 5280 forbids; it is not ours to be stricter.
pytestmark = pytest.mark.filterwarnings("ignore")


def turned(octets: bytes, turns: list[tuple[int, str, int]]) -> bytes:
    """Those bytes, some changed, some inserted, some deleted."""
    result = bytearray(octets)
    for place, how, value in turns:
        at = place % len(result)
        if how == "x":
            result[at] ^= value
        elif how == "i":
            result.insert(at, value)
        else:
            del result[at]
    return bytes(result)


@settings(max_examples=300)
@given(base=st.sampled_from([LEAF, SUB, RESPONDER.cert_der]), turns=TURNS)
def test_certificate_is_read_or_refused(base: bytes, turns: list[tuple[int, str, int]]) -> None:
    """What `read_certificate` lets in can be shown, entered in a ledger and tried as a CA without another error."""
    octets = turned(base, turns)
    try:
        certificate = read_certificate(octets)
    except Refused:
        return
    describe(certificate)
    for attempt in (lambda: Issued.of(certificate), lambda: Authority(certificate, HOUSE.sub.key)):
        with contextlib.suppress(Refused):
            assert attempt() is not None


@settings(max_examples=300)
@given(base=st.sampled_from([LEAF, SUB, RESPONDER.cert_der]), turns=TURNS)
def test_domain_reads_it_or_raises_value_error(base: bytes, turns: list[tuple[int, str, int]]) -> None:
    """The read side knows one kind of error; what it takes has the fields it promises."""
    octets = turned(base, turns)
    with contextlib.suppress(ValueError):
        assert len(Issuer.from_certificate(octets, issuer_id="a", issuer_no=1).key_hashes) == 4
    with contextlib.suppress(ValueError):
        assert len(ResponderCertificate.from_der(octets).responder) == 8


@settings(max_examples=300)
@given(turns=TURNS)
def test_turned_responder_is_never_a_pair(
    tmp_path_factory: pytest.TempPathFactory, turns: list[tuple[int, str, int]]
) -> None:
    """A row whose certificate rotted is unusable, never a crash and never a pair; an operator's is refused."""
    octets = turned(RESPONDER.cert_der, turns)
    if octets == RESPONDER.cert_der:
        return
    path = tmp_path_factory.getbasetemp() / "rotted.key"
    if not path.exists():
        RESPONDER_KEY.store(path)
    assert isinstance(load_pair(path, octets, HOUSE.sub.certificate, now=NOW), Unusable)
    assert isinstance(load_pair(path, RESPONDER.cert_der, HOUSE.sub.certificate, now=NOW), ResponderPair)
    with pytest.raises(Refused):
        validate(octets, RESPONDER_KEY, HOUSE.sub.certificate, now=NOW)


@settings(max_examples=300)
@given(turns=TURNS)
def test_turned_request_is_refused(turns: list[tuple[int, str, int]]) -> None:
    """Its signature covers what we take from it."""
    octets = turned(REQUEST, turns)
    if octets == REQUEST:
        return
    with pytest.raises(Refused):
        issue_request(HOUSE.sub, octets, TERMS, now=NOW)
