"""OCSPRequest: strictness, and what is reported instead of refused."""

from contextlib import suppress
from pathlib import Path

import pytest
from asn1crypto import core
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.ocsp.request import parse_request
from _fastocsp.wire import codes
from _fastocsp.wire.errors import MalformedRequest
from _fastocsp.wire.types import OCSPRequest
from tests.fastocsp.corpus import flips, octets_of, outcome, prefixes, vectors
from tests.fastocsp.strategies import cert_id_members
from tests.fastocsp.tools import ask
from tests.reference import ocsp as reference

REQUESTS = vectors("request", "request")
PLAIN = REQUESTS["pyca-sha1.der"]


def parsed(name: str) -> OCSPRequest:
    """A vector, parsed."""
    return parse_request(octets_of("request", f"{name}.der"))


@pytest.mark.parametrize("name", REQUESTS)
def test_no_prefix_of_a_request_is_a_request(name: str) -> None:
    """A request cut anywhere is malformed."""
    assert {outcome(parse_request, cut) for cut in prefixes(REQUESTS[name])} == {MalformedRequest}


@pytest.mark.parametrize("name", REQUESTS)
def test_octets_after_a_request_are_refused(name: str) -> None:
    """Trailing bytes are malformed, and the offset says where they begin."""
    with pytest.raises(MalformedRequest) as caught:
        parse_request(REQUESTS[name] + b"\0")
    assert caught.value.offset == len(REQUESTS[name])


@pytest.mark.parametrize("name", REQUESTS)
def test_flipped_octets_read_as_the_reference_reads_them(name: str) -> None:
    """Whatever one wrong byte does, parser and reference say the same."""
    for flipped in flips(REQUESTS[name][:400]):
        octets = flipped + REQUESTS[name][400:]
        assert outcome(parse_request, octets) == outcome(reference.parse_request, octets), octets.hex()


def test_every_value_of_every_octet_reads_as_the_reference_reads_it() -> None:
    """For one plain request all 255 wrong values of each byte are tried."""
    for octets in flips(PLAIN, tuple(range(1, 256))):
        assert outcome(parse_request, octets) == outcome(reference.parse_request, octets), octets.hex()


@given(st.binary(max_size=200))
def test_random_octets_give_a_value_or_a_wire_error(octets: bytes) -> None:
    """No bytes provoke another exception."""
    with suppress(MalformedRequest):
        parse_request(octets)


@given(st.lists(cert_id_members(), min_size=1, max_size=5), st.none() | st.binary(max_size=140))
def test_what_asn1crypto_encodes_is_what_is_read(
    cert_ids: list[tuple[int, bytes, bytes, int]], nonce: bytes | None
) -> None:
    """decode(encode(x)) == x, for any number of CertIDs and any nonce."""
    made = [reference.cert_id(*members) for members in cert_ids]
    extensions = [] if nonce is None else [{"extn_id": "nonce", "extn_value": core.OctetString(nonce)}]
    read = parse_request(reference.encode_request(made, extensions))
    assert read.nonce == nonce
    assert [(c.hash_algorithm, c.issuer_name_hash, c.issuer_key_hash, c.serial_number) for c in read.cert_ids] == [
        (algorithm, name, key, reference.serial_key(serial)) for algorithm, name, key, serial in cert_ids
    ]
    assert [c.der for c in read.cert_ids] == [one.dump() for one in made]


@pytest.mark.parametrize("name", ["unknown-critical", "single-critical"])
def test_unknown_critical_extensions_are_reported(name: str) -> None:
    """In the request and in a single request alike, O-9."""
    assert parsed(name).unknown_critical


@pytest.mark.parametrize(
    "name", ["unknown-harmless", "service-locator", "preferred", "asn1crypto-acceptable", "pyca-nonce-critical"]
)
def test_known_or_harmless_extensions_are_not_reported(name: str) -> None:
    """Known ones may be critical, unknown ones may be there, O-9."""
    assert not parsed(name).unknown_critical


@pytest.mark.parametrize(("name", "length"), [("nonce-empty", 0), ("nonce-33", 33), ("nonce-1000", 1000)])
def test_nonces_of_any_length_are_reported(name: str, length: int) -> None:
    """Which lengths to refuse is the caller's decision, O-11."""
    assert len(parsed(name).nonce or b"") == length
    assert parsed(name).nonce is not None


@pytest.mark.parametrize("name", ["nonce-bare", "nonce-trailing"])
def test_a_nonce_that_is_not_one_octet_string_is_reported(name: str) -> None:
    """The extension is there and no nonce can be repeated, O-10."""
    assert (parsed(name).nonce, parsed(name).nonce_malformed) == (None, True)


@pytest.mark.parametrize("name", ["odd-parameters", "unknown-hash", "short-hashes"])
def test_a_cert_id_that_means_no_issuer_has_no_hash(name: str) -> None:
    """Unknown hashes and wrong lengths are no errors but identify nobody, O-16."""
    (cert_id,) = parsed(name).cert_ids
    assert cert_id[:3] == (codes.HASH_NONE, b"", b"")


def test_an_over_long_serial_is_empty() -> None:
    """No certificate has one, O-25."""
    assert parsed("huge-serial").cert_ids[0].serial_number == b""


def test_a_negative_serial_has_a_key_of_its_own() -> None:
    """One byte 00, which no longer magnitude begins with, and the content of the INTEGER."""
    key = parsed("negative-serial").cert_ids[0].serial_number
    assert key[:2] == b"\x00\xfa"
    assert key[1:] in octets_of("request", "negative-serial.der")


def test_requestor_name_and_signature_are_kept() -> None:
    """What nobody reads is handed on as it came, O-7, O-8."""
    octets, read = octets_of("request", "openssl-signed.der"), parsed("openssl-signed")
    assert read.requestor_name is not None
    assert read.signature is not None
    assert read.requestor_name in octets
    assert octets.endswith(read.signature)


def test_openssl_reads_the_same_serial(tmp_path: Path) -> None:
    """A third opinion: `openssl ocsp -reqin` prints the serial and the hash that we read."""
    (tmp_path / "request.der").write_bytes(octets_of("request", "high-bit-serial.der"))
    text = ask(tmp_path, "openssl", "ocsp", "-reqin", "request.der", "-req_text").stdout
    (cert_id,) = parsed("high-bit-serial").cert_ids
    assert f"Serial Number: {cert_id.serial_number.hex().upper()}" in text
    assert f"Issuer Name Hash: {cert_id.issuer_name_hash.hex().upper()}" in text


def test_only_bytes_are_parsed() -> None:
    """Other types are the caller's mistake, not the client's."""
    with pytest.raises(TypeError):
        parse_request(None)  # type: ignore[arg-type]
