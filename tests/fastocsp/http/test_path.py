"""The GET form: the strict decoder, and the repair of slashes."""

import base64
import re
import urllib.parse

import pytest
from asn1crypto import core
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.http.path import decode_get
from _fastocsp.http.slash_repair import MAX_CANDIDATES, MAX_GAINED, MAX_LOST, candidates
from _fastocsp.ocsp.certid import encode_cert_id
from _fastocsp.wire.errors import MalformedRequest
from tests.fastocsp.corpus import flips, outcome, prefixes, vectors
from tests.reference import getpath as reference
from tests.reference import ocsp as reference_ocsp
from tests.reference import tlv

REQUESTS = vectors("request", "request")
PLAIN = REQUESTS["pyca-sha1.der"]
PATH = base64.b64encode(PLAIN)


def request_with(name_hash: bytes, key_hash: bytes = b"k" * 20, serial: int = 5) -> bytes:
    """An OCSPRequest with these hashes."""
    return reference_ocsp.encode_request([reference_ocsp.cert_id(1, name_hash, key_hash, serial)])


@pytest.mark.parametrize("name", REQUESTS)
def test_every_spelling_of_the_path_is_the_same_request(name: str) -> None:
    """Raw, percent-encoded in any case and of any character, base64url, unpadded, with slashes in front: H-1 .. H-7."""
    octets = REQUESTS[name]
    plain, url = base64.b64encode(octets), base64.urlsafe_b64encode(octets)
    quoted = urllib.parse.quote_from_bytes(plain, safe="").encode()
    every = b"".join(b"%%%02X" % c for c in plain)
    spellings = [plain, quoted, quoted.replace(b"%2B", b"%2b").replace(b"%2F", b"%2f"), every, every.lower(), url]
    spellings += [plain.rstrip(b"="), url.rstrip(b"="), b"/" + plain, b"//" + quoted, b"%2f" + plain]
    assert [decode_get(path) for path in spellings] == [octets] * len(spellings)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"/",
        b"=",
        PATH + b"\0",
        PATH + b"%00",
        PATH + b" ",
        PATH + b"%20",
        PATH + b"%0a",
        PATH + b"\n",
        PATH + b"?a=b",
        PATH + b"%",
        PATH + b"%2",
        PATH + b"%zz",
        PATH[:8] + b"%" + PATH[8:],
        PATH[:8] + b"%2G" + PATH[8:],
        PATH[:8] + b"=" + PATH[8:],
        PATH + b"====",
        PATH + b"A",
        urllib.parse.quote_from_bytes(urllib.parse.quote_from_bytes(PATH, safe="").encode(), safe="").encode(),
        b"../" + PATH,
        base64.b64encode(b"\x04\x02hi"),
        base64.b64encode(b"text"),
    ],
)
def test_what_is_not_the_base64_of_one_sequence_is_malformed(wrong: bytes) -> None:
    """NUL, white space, broken or double percent-encoding, misplaced or surplus `=`: H-4, H-6."""
    assert outcome(decode_get, wrong) is MalformedRequest


def test_fill_bits_must_be_zero() -> None:
    """A text that only a careless encoder writes is refused, RFC 4648 3.5."""
    path = base64.b64encode(b"\x30\x02\x05\x00")
    assert decode_get(path) == b"\x30\x02\x05\x00"
    assert outcome(decode_get, path.replace(b"A==", b"B==")) is MalformedRequest


def test_no_prefix_of_a_path_is_a_request() -> None:
    """A path cut anywhere, other than inside its padding, is malformed."""
    cut = [path for path in prefixes(PATH) if len(path) < len(PATH.rstrip(b"="))]
    assert {outcome(decode_get, path) for path in cut} == {MalformedRequest}


def one_sequence(path: bytes) -> bytes:
    """What the reference finds in the path, if that is exactly one DER SEQUENCE."""
    return tlv.only(reference.decode_get(path), tlv.SEQUENCE).der


def same_or_repaired(path: bytes) -> bool:
    """Whether we read what the reference reads, or a request whose path differs only in the lengths of slash runs."""
    read, expected = outcome(decode_get, path), outcome(one_sequence, path)
    if read == expected:
        return True
    spelled = base64.b64encode(read).rstrip(b"=")
    given_text = urllib.parse.unquote_to_bytes(path).strip(b"/=").translate(bytes.maketrans(b"-_", b"+/"))
    return expected is MalformedRequest and re.sub(b"/+", b"/", spelled) == re.sub(b"/+", b"/", given_text)


@given(st.binary(max_size=60) | st.text("MEAw/+-_=%2Ff", max_size=40).map(str.encode))
def test_random_paths_decode_as_the_reference_decodes_them(path: bytes) -> None:
    """The strict half agrees with urllib and base64, whatever the text."""
    assert same_or_repaired(path)


@given(st.binary(max_size=300), st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]))
def test_every_sequence_survives_the_way_through_a_path(content: bytes, encode: object) -> None:
    """decode(encode(x)) == x for any SEQUENCE, requests or not."""
    octets = core.Sequence(contents=content).dump()
    assert decode_get(encode(octets)) == octets  # type: ignore[operator]


@pytest.mark.parametrize("path", [PATH, urllib.parse.quote_from_bytes(PATH, safe="A").encode()])
def test_flipped_paths_decode_as_the_reference_decodes_them(path: bytes) -> None:
    """One wrong character in a raw or percent-encoded path gives what the reference gives."""
    for flipped in flips(path, (1, 2, 4, 8, 16, 32, 64, 128)):
        assert same_or_repaired(flipped), flipped


@pytest.mark.parametrize(("ones", "run"), [(b"\xff\xff", 2), (b"\xff\xff\xfc", 3), (b"\xff\xff\xff", 4)])
def test_one_collapsed_run_is_repaired(ones: bytes, run: int) -> None:
    """Slashes that a proxy made `/` are put back when they are the only ones, H-3; one run too many is cut as well."""
    octets = request_with(b"n" + ones + b"n" * (19 - len(ones)))
    path = base64.b64encode(octets)
    whole = b"/" * run
    assert path.count(whole) == 1
    assert path.count(b"/") == run
    for found in (b"/", b"//", whole + b"/"):
        assert decode_get(path.replace(whole, found)) == octets


def test_a_truncated_path_is_not_repaired() -> None:
    """Many missing symbols are no collapsed slashes, even when one run could be made long enough."""
    octets = request_with(b"n" + b"\xff" * 6 + b"n" * 13)
    path = base64.b64encode(octets)
    assert outcome(decode_get, path.replace(b"/" * 8, b"/")) is MalformedRequest


@pytest.mark.parametrize("slashes", [1, 4, 12])
def test_doubled_slashes_are_repaired(slashes: int) -> None:
    """Every `/` that a proxy made `//` is put back, however many there are."""
    octets = request_with(b"n" + (b"\x0f\xf0\x00" * slashes + b"n" * 20)[:18] + b"n", b"\x0f\xf0\x00" * 6 + b"kk")
    path = base64.b64encode(octets)
    assert path.count(b"/") >= slashes
    assert decode_get(path.replace(b"/", b"//")) == octets


def test_two_possible_repairs_are_none() -> None:
    """When the slashes can be put back in two ways, both of them requests, nothing is guessed."""
    octets = request_with(b"n\xff\xffnnnn\xff\xff" + b"n" * 11)
    path = base64.b64encode(octets)
    collapsed = path
    while b"//" in collapsed:
        collapsed = collapsed.replace(b"//", b"/")
    assert collapsed != path
    assert len(list(candidates(collapsed))) > 1
    assert outcome(decode_get, collapsed) is MalformedRequest


@given(
    st.lists(st.sampled_from([b"\xff\xff\xff", b"\x0f\xff", b"nk", b"\xff"]), min_size=40, max_size=40).map(b"".join)
)
def test_a_collapsed_path_is_never_misread(hashes: bytes) -> None:
    """Whatever the hashes, a path without its doubled slashes gives the same request or none."""
    octets = request_with(hashes[:20], hashes[20:40])
    collapsed = base64.b64encode(octets)
    while b"//" in collapsed:
        collapsed = collapsed.replace(b"//", b"/")
    assert outcome(decode_get, collapsed) in (octets, MalformedRequest)


@given(st.binary(max_size=5000) | st.text("MFYw/=", max_size=400).map(str.encode))
def test_candidates_are_few(text: bytes) -> None:
    """A hostile path cannot make the repair long."""
    found = list(candidates(text))
    assert len(found) <= MAX_CANDIDATES
    symbols = len(text.strip(b"/").rstrip(b"="))
    assert all(-MAX_GAINED <= len(one) - symbols <= MAX_LOST for one in found)


def test_the_longest_runs_are_not_searched() -> None:
    """Thousands of slashes are refused without a search."""
    head = base64.b64encode(request_with(b"n" * 20))[:8]
    for text in (head + b"A/" * 2000, head + b"A//" * 1300, head + b"/" * 4000):
        assert outcome(decode_get, text) is MalformedRequest


def test_the_path_of_a_cert_id_is_no_request() -> None:
    """decode_get promises a SEQUENCE, the parser says whether it is a request."""
    octets = encode_cert_id(1, b"n" * 20, b"k" * 20, b"\x05")
    assert decode_get(base64.b64encode(octets)) == octets
