"""CertID by itself."""

import pytest
from hypothesis import given

from _fastocsp.ocsp.certid import encode_cert_id, parse_cert_id
from _fastocsp.wire import codes
from _fastocsp.wire.errors import MalformedRequest
from _fastocsp.wire.types import CertID
from tests.fastocsp.corpus import flips, outcome, prefixes
from tests.fastocsp.strategies import Members, cert_id_members
from tests.reference import ocsp as reference
from tests.reference import tlv

PLAIN = encode_cert_id(codes.SHA1, b"n" * 20, b"k" * 20, b"\x80")


def by_reference(octets: bytes) -> CertID:
    """The CertID as the reference reads it."""
    return reference.parse_cert_id(tlv.only(octets, tlv.SEQUENCE))


@given(cert_id_members())
def test_a_cert_id_is_read_as_written(members: Members) -> None:
    """decode(encode(x)) == x, and asn1crypto writes the same bytes."""
    algorithm, name_hash, key_hash, serial = members
    key = reference.serial_key(serial)
    octets = encode_cert_id(algorithm, name_hash, key_hash, key)
    assert octets == reference.cert_id(*members).dump()
    assert parse_cert_id(octets) == CertID(algorithm, name_hash, key_hash, key, octets)


def test_damaged_cert_ids_read_as_the_reference_reads_them() -> None:
    """Every prefix and bytes behind are malformed, and each flipped bit reads as the reference reads it."""
    assert {outcome(parse_cert_id, cut) for cut in [*prefixes(PLAIN), PLAIN + b"\0"]} == {MalformedRequest}
    for octets in flips(PLAIN, (1, 2, 4, 8, 16, 32, 64, 128)):
        assert outcome(parse_cert_id, octets) == outcome(by_reference, octets), octets.hex()


@pytest.mark.parametrize(
    "members", [(0, b"", b""), (5, b"", b""), (1, b"n" * 20, b"k" * 32), (2, b"n" * 20, b"k" * 20)]
)
def test_hashes_that_do_not_fit_are_not_written(members: tuple[int, bytes, bytes]) -> None:
    """The algorithm decides the length of both hashes."""
    with pytest.raises(ValueError, match="hash"):
        encode_cert_id(*members, b"\x01")
