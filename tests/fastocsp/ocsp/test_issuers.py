"""Which issuer a CertID means: both hashes, of one issuer, under one algorithm."""

import hashlib

import pytest

from _fastocsp.ocsp.issuers import IssuerIndex
from _fastocsp.wire import codes
from tests.support.ca import ALGORITHMS, Authority

ISSUERS = 300


def hashes_of(number: int, algorithm: int) -> tuple[bytes, bytes]:
    """Name and key hash of an issuer; keys come in pairs, as after a change of name."""
    digest = ALGORITHMS[algorithm]
    return hashlib.new(digest, b"name %d" % number).digest(), hashlib.new(digest, b"key %d" % (number // 2)).digest()


@pytest.fixture(scope="module")
def index() -> IssuerIndex:
    """Three hundred issuers under four algorithms."""
    made = IssuerIndex()
    for number in range(1, ISSUERS + 1):
        for algorithm in ALGORITHMS:
            made.add(number, b"issuer-%d" % number, algorithm, *hashes_of(number, algorithm))
    return made


def test_every_issuer_is_found_by_its_two_hashes(index: IssuerIndex) -> None:
    """With and without the mark of absent parameters."""
    for number in range(1, ISSUERS + 1):
        for algorithm in ALGORITHMS:
            assert index.find(algorithm, *hashes_of(number, algorithm)) == number
            assert index.find(algorithm | codes.PARAMETERS_ABSENT, *hashes_of(number, algorithm)) == number
        assert index.names[number] == b"issuer-%d" % number


def test_half_a_match_is_none(index: IssuerIndex) -> None:
    """Name of one and key of another, another algorithm's number, a cut or longer hash, a wrong bit: 0 (O-16, O-29)."""
    name, key = hashes_of(7, codes.SHA256)
    other_name, other_key = hashes_of(100, codes.SHA256)
    wrong = [(name, other_key), (other_name, key), (key, name), (name[:20], key[:20]), (name + b"\0", key + b"\0")]
    wrong += [
        (name, key[:31]),
        (b"", b""),
        (name[:-1] + bytes((name[-1] ^ 1,)), key),
        (name, key[:-1] + bytes((key[-1] ^ 1,))),
    ]
    assert {index.find(codes.SHA256, *pair) for pair in wrong} == {0}
    assert {index.find(algorithm, name, key) for algorithm in (0, 1, 3, 4, 5, 255)} == {0}


def test_an_empty_index_knows_nobody() -> None:
    """Before the first catalog."""
    assert IssuerIndex().find(1, b"n" * 20, b"k" * 20) == 0
    assert IssuerIndex().find_template(1, 1, b"respondr") is None


@pytest.mark.parametrize(
    ("number", "name", "key"),
    [(0, b"n", b"k"), (65536, b"n", b"k"), (1, b"", b""), (1, b"n" * 65, b"k" * 65), (1, b"n", b"kk")],
)
def test_what_no_cert_id_can_say_is_not_added(number: int, name: bytes, key: bytes) -> None:
    """Number 0 means `nobody`; hashes have 1 to 64 bytes, both the same."""
    with pytest.raises(ValueError, match="out of range"):
        IssuerIndex().add(number, b"id", 1, name, key)


def test_a_template_is_found_by_issuer_algorithm_and_responder(authority: Authority) -> None:
    """Of several responders the one that signed; PARAMETERS_ABSENT is another template."""
    index = IssuerIndex()
    plain, absent = authority.template(codes.SHA1), authority.template(codes.SHA1 | codes.PARAMETERS_ABSENT)
    for template in (plain, absent):
        index.add_template(3, template)
    assert index.find_template(3, codes.SHA1, authority.responder) is plain
    assert index.find_template(3, codes.SHA1 | codes.PARAMETERS_ABSENT, authority.responder) is absent
    assert index.find_template(3, codes.SHA256, authority.responder) is None
    assert index.find_template(4, codes.SHA1, authority.responder) is None
    assert index.find_template(3, codes.SHA1, b"somebody") is None
    with pytest.raises(ValueError, match="8 octets"):
        index.find_template(3, codes.SHA1, b"short")


def test_index_of_many_issuers_finds_each_template_among_all(authority: Authority) -> None:
    """While it grows, every row keeps its place in the buckets; hashes that begin alike share one."""
    index, count = IssuerIndex(), 3000
    kinds = [each | absent for each in ALGORITHMS for absent in (0, codes.PARAMETERS_ABSENT)]
    made = {kind: authority.template(kind) for kind in kinds}
    for number in range(1, count + 1):
        key = b"same" + number.to_bytes(28, "big") if number % 2 else hashlib.sha256(b"%d" % number).digest()
        index.add(number, b"ca-%d" % number, codes.SHA256, b"n" * 32, key)
        for kind in kinds:
            index.add_template(number, made[kind])
        assert index.find(codes.SHA256, b"n" * 32, key) == number
    for each in (1, 3, count - 1):
        assert index.find(codes.SHA256, b"n" * 32, b"same" + each.to_bytes(28, "big")) == each
    assert all(
        index.find_template(number, kind, authority.responder) is made[kind] for number in (1, count) for kind in kinds
    )
