"""The HTTP recogniser: sure of what it takes, and never the one to guess."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _fastocsp.http.headers import KnownSections
from _fastocsp.http.request import recognise_octets
from tests.fastocsp.corpus import flips, octets_of, prefixes
from tests.reference.wire import recognise

BODY = octets_of("request", "pyca-sha1.der")
PATH = base64.b64encode(BODY)
HOST = b"Host: ocsp.example.com\r\n"
POSTED = b"Content-Type: application/ocsp-request\r\nContent-Length: %d\r\n" % len(BODY)


KNOWN = KnownSections()


def get(fields: bytes = HOST, target: bytes = b"/ocsp/" + PATH, version: bytes = b"1.1") -> bytes:
    """A GET, byte for byte."""
    return b"GET " + target + b" HTTP/" + version + b"\r\n" + fields + b"\r\n"


def post(fields: bytes = HOST + POSTED, target: bytes = b"/ocsp", body: bytes = BODY, version: bytes = b"1.1") -> bytes:
    """A POST, byte for byte."""
    return b"POST " + target + b" HTTP/" + version + b"\r\n" + fields + b"\r\n" + body


PLAIN = {
    "get": get(),
    "get by issuer": get(target=b"/.well-known/pki/ocsp/demo/" + PATH),
    "get of nothing sensible": get(target=b"/ocsp/%zz//"),
    "get with conditions": get(
        HOST + b'If-None-Match: "a", W/"b"\r\nIf-Modified-Since: never\r\nX-Forwarded-For: ::1\r\n'
    ),
    "get over HTTP/1.0": get(b"", version=b"1.0"),
    "get over HTTP/1.0 with Host": get(version=b"1.0"),
    "crl that the client has": get(HOST + b'If-None-Match: "a"\r\n', b"/.well-known/pki/crl/demo/delta"),
    "crl with a date": get(HOST + b"If-Modified-Since: never\r\n", b"/.well-known/pki/crl/demo"),
    "crl of an odd name": get(HOST + b"If-None-Match: *\r\n", b"/.well-known/pki/crl/%zz//"),
    "post": post(),
    "post with a slash": post(target=b"/ocsp/"),
    "post by issuer": post(target=b"/.well-known/pki/ocsp/demo"),
    "post over HTTP/1.0": post(POSTED, version=b"1.0"),
    "post in capitals": post((HOST + POSTED).upper()),
    "post with odd spacing": post(
        b"Host:x\r\nContent-Type:\t application/ocsp-request \t\r\nContent-Length:%d\r\n" % len(BODY)
    ),
    "post that closes": post(HOST + POSTED + b"Connection: Close\r\n"),
    "post that stays": post(HOST + b"Connection: keep-alive\r\nUser-Agent: \xe9\xff\r\nAccept:\r\n" + POSTED),
}
PASSED_ON = {
    "another path": get(target=b"/health"),
    "a crl that the client has not": get(target=b"/.well-known/pki/crl/demo"),
    "no crl": get(HOST + b"If-None-Match: *\r\n", b"/.well-known/pki/crl/"),
    "a post to a crl": post(HOST + POSTED + b"If-None-Match: *\r\n", b"/.well-known/pki/crl/demo"),
    "a longer word": get(target=b"/ocspx/" + PATH),
    "no path": get(target=b"/ocsp"),
    "an empty path": get(target=b"/ocsp/"),
    "no issuer": get(target=b"/.well-known/pki/ocsp//" + PATH),
    "an encoded issuer": get(target=b"/.well-known/pki/ocsp/de%6Do/" + PATH),
    "a post by an encoded issuer": post(target=b"/.well-known/pki/ocsp/%64emo"),
    "a query": get(target=b"/ocsp/" + PATH + b"?a=b"),
    "a fragment": get(target=b"/ocsp/" + PATH + b"#a"),
    "an octet over 126 in the path": get(target=b"/ocsp/\x80"),
    "a space in the path": get(target=b"/ocsp/a b"),
    "absolute form": get(target=b"http://x/ocsp/" + PATH),
    "HEAD": get().replace(b"GET", b"HEAD"),
    "lower case": get().replace(b"GET", b"get"),
    "HTTP/2.0": get(version=b"2.0"),
    "HTTP/1.2": get(version=b"1.2"),
    "HTTP/1.1x": get(version=b"1.1x"),
    "no Host": get(b""),
    "two Hosts": get(HOST * 2),
    "two Hosts over HTTP/1.0": get(HOST * 2, version=b"1.0"),
    "an empty Host": get(b"Host:\r\n"),
    "a GET with a length": get(HOST + b"Content-Length: 0\r\n"),
    "a GET with a body": get(HOST + b"Content-Length: 3\r\n") + b"abc",
    "space before the colon": get(b"Host : x\r\n"),
    "a folded line": get(HOST + b"A: b\r\n c\r\n"),
    "a nameless field": get(HOST + b": b\r\n"),
    "no colon": get(HOST + b"nothing\r\n"),
    "NUL in a field": get(HOST + b"A: \0\r\n"),
    "DEL in a field": get(HOST + b"A: \x7f\r\n"),
    "CR in a field": get(HOST + b"A: b\rc\r\n"),
    "bare line feeds": get().replace(b"\r\n", b"\n"),
    "a bare line feed": get(HOST + b"A: b\n"),
    "Upgrade": get(HOST + b"Upgrade: h2c\r\n"),
    "Connection: upgrade": get(HOST + b"Connection: upgrade\r\n"),
    "a list of connection options": get(HOST + b"Connection: close, te\r\n"),
    "If-None-Match twice": get(HOST + b'If-None-Match: "a"\r\n' * 2),
    "an empty If-None-Match": get(HOST + b"If-None-Match: \r\n"),
    "X-Forwarded-For twice": get(HOST + b"X-Forwarded-For: ::1\r\n" * 2),
    "a long head": get(HOST + b"A: " + b"b" * 8192 + b"\r\n"),
    "a post to more": post(target=b"/ocsp/x"),
    "no length": post(HOST + b"Content-Type: application/ocsp-request\r\n"),
    "no type": post(HOST + b"Content-Length: %d\r\n" % len(BODY)),
    "another type": post((HOST + POSTED).replace(b"-request", b"-response")),
    "a parameter of the type": post((HOST + POSTED).replace(b"-request", b"-request; a=b")),
    "the type twice": post(HOST + POSTED + b"Content-Type: application/ocsp-request\r\n"),
    "two types, the right one last": post(HOST + b"Content-Type: text/plain\r\n" + POSTED),
    "two types, the right one first": post(HOST + POSTED + b"Content-Type: text/plain\r\n"),
    "the length twice": post(HOST + POSTED + POSTED[-len(b"Content-Length: %d\r\n" % len(BODY)) :]),
    "two lengths": post(HOST + POSTED + b"Content-Length: 5\r\n"),
    "no body": post((HOST + POSTED).replace(b"%d" % len(BODY), b"0"), body=b""),
    "a body over the limit": post((HOST + POSTED).replace(b"%d" % len(BODY), b"16385")),
    "Transfer-Encoding": post(HOST + POSTED + b"Transfer-Encoding: chunked\r\n"),
    "Expect": post(HOST + POSTED + b"Expect: 100-continue\r\n"),
    "TE": get(HOST + b"TE: trailers\r\n"),
    "Trailer": get(HOST + b"Trailer: a\r\n"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an empty line first": b"\r\n" + get(),
}
PASSED_ON |= {
    f"length {wrong!r}": post(HOST + b"Content-Type: application/ocsp-request\r\nContent-Length: " + wrong + b"\r\n")
    for wrong in (
        b"+5",
        b"-5",
        b"05",
        b"5 ,5",
        b"5, 5",
        b"0x5",
        b"5.0",
        b"",
        b"1e2",
        b"4294967296",
        b"18446744073709551621",
    )
}


def same(octets: bytes, max_body: int = 16384) -> bool:
    """Both take the same, or neither takes anything; a complete head is decided upon at once, or earlier.

    And the same by who knows the header sections of all that was read before, and of this one.
    """
    expected, read = recognise(octets, max_body), recognise_octets(octets, max_body)
    by_memory = [recognise_octets(octets, max_body, KNOWN) for _ in range(2)]
    return by_memory == [read, read] and (read == expected or (expected is None and read is False))


@pytest.mark.parametrize("name", PLAIN)
def test_what_clients_send_is_taken(name: str) -> None:
    """Whole, and with anything behind it, every span is what the reference finds."""
    octets = PLAIN[name]
    expected = recognise(octets)
    assert expected
    assert expected["consumed"] == len(octets)
    for more in (b"", b"\0", b"GET ", octets, b"\r\n" * 3, b"\xff" * 20000):
        assert recognise_octets(octets + more) == expected


@pytest.mark.parametrize("name", PLAIN)
def test_no_prefix_is_taken_or_passed_on(name: str) -> None:
    """In whatever pieces a plain request arrives, nothing is decided before its last byte."""
    assert {recognise_octets(octets) for octets in prefixes(PLAIN[name])} == {None}


@pytest.mark.parametrize("name", PASSED_ON)
def test_whatever_is_not_plain_is_passed_on(name: str) -> None:
    """Whole it is False, so nobody waits; no prefix of it is taken."""
    octets = PASSED_ON[name]
    assert recognise_octets(octets) is False
    assert recognise(octets) in (False, None)
    assert not any(recognise_octets(octets[:n]) for n in range(len(octets)))


@pytest.mark.parametrize("name", PLAIN)
def test_flipped_requests_are_read_as_the_reference_reads_them(name: str) -> None:
    """Every byte with eight single bits wrong, complemented, and made a line feed, colon or space."""
    octets = PLAIN[name]
    for flipped in flips(octets, (1, 2, 4, 8, 16, 32, 64, 128, 255)):
        assert same(flipped), flipped
    for at in range(len(octets)):
        for octet in b"\r\n: \t/?#\0":
            changed = octets[:at] + bytes((octet,)) + octets[at + 1 :]
            assert same(changed), changed


@pytest.mark.parametrize("name", PLAIN)
def test_octets_taken_out_or_put_in(name: str) -> None:
    """One byte too few or one too many anywhere: the same as the reference."""
    octets = PLAIN[name]
    for at in range(len(octets)):
        assert same(octets[:at] + octets[at + 1 :]), at
        for put in (b"\r", b"\n", b" ", b"a", b"\r\n"):
            assert same(octets[:at] + put + octets[at:]), (at, put)


def test_a_known_section_is_the_whole_of_it() -> None:
    """Of two sections of one length, with the same beginning or end; and one that another line goes on."""
    known, more = KnownSections(), b"Connection: close\r\n"
    for fields in (HOST + POSTED, HOST + more, HOST + b"Connection: clos_\r\n", more + HOST, b"host: x\r\n" + more):
        for octets in (get(fields), post(fields), get(fields, version=b"1.0"), get(fields)[:-2] + HOST + b"\r\n"):
            for behind in range(3 * 8):
                expected = recognise(octets + b"G" * behind) or False
                assert [recognise_octets(octets + b"G" * behind, known=known) for _ in range(2)] == [expected] * 2


def test_what_a_request_says_of_itself_is_read_anew() -> None:
    """Conditions and addresses are the bytes of one request, though another one, which is gone, was the same."""
    known = KnownSections()
    for name in ("If-None-Match", "If-Modified-Since", "X-Forwarded-For"):
        for _ in range(5):
            octets = bytearray(get(HOST + name.encode() + b": 192.0.2.1\r\n"))
            before, asked = bytes(octets), bytes(octets)
            assert recognise_octets(before, known=known)
            del before
            others = [bytes(len(octets)) for _ in range(100)]
            read = recognise_octets(asked, known=known)
            assert read
            assert read[name.lower().replace("-", "_").removeprefix("x_")] == b"192.0.2.1"
            del others


@pytest.mark.parametrize("size", range(8150, 8250))
def test_a_known_section_counts_as_part_of_the_head(size: int) -> None:
    """Behind a target that is as long as the limit lets it be, and longer."""
    known, fields = KnownSections(), HOST + b"A: " + b"b" * 90 + b"\r\n"
    for length in (300, size):
        octets = get(fields, b"/ocsp/" + b"a" * (length - len(get(fields, b"/ocsp/"))))
        assert len(octets) == length
        assert recognise_octets(octets, known=known) == recognise_octets(octets)
    assert recognise_octets(get(fields, b"/ocsp/a"), known=known)


LINES = [HOST, POSTED, b"Host: b\r\n", b"host:\t\r\n", b"Content-Length: 4\r\n", b"Content-Length: 4 \r\n", b"A:\r\n"]
LINES += [b"Connection: close\r\n", b"connection:keep-alive\r\n", b"If-None-Match: *\r\n", b"X-Forwarded-For: 1\r\n"]
LINES += [
    b"Content-Type: application/OCSP-request\r\n",
    b"Content-Type: x\r\n",
    b"Expect: 1\r\n",
    b"\r\n",
    b" a\r\n",
    b"a\n",
]


@given(
    st.sampled_from([b"GET ", b"POST ", b"PUT "]),
    st.sampled_from([b"/ocsp", b"/ocsp/", b"/ocsp/a/b", b"/.well-known/pki/ocsp/x", b"/.well-known/pki/ocsp//", b"/x"]),
    st.sampled_from([b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b" HTTP/1.1\n", b"\r\n"]),
    st.lists(st.sampled_from(LINES), max_size=6),
    st.tuples(st.binary(max_size=8), st.integers(0, 5)),
)
@settings(max_examples=1000)
def test_assembled_requests_are_read_as_the_reference_reads_them(
    method: bytes, target: bytes, version: bytes, lines: list[bytes], tail: tuple[bytes, int]
) -> None:
    """Any order of right and wrong lines, and a limit in the middle of the body."""
    body, max_body = tail
    octets = method + target + version + b"".join(lines) + b"\r\n" + body
    assert same(octets), octets
    assert same(octets, max_body), octets


@given(st.binary(max_size=400))
def test_noise_is_never_taken(octets: bytes) -> None:
    """Random bytes, alone and behind a plausible beginning."""
    for begin in (b"", b"GET /ocsp", b"POST /ocsp HTTP/1.1\r\n"):
        assert same(begin + octets)


@pytest.mark.parametrize("size", range(8100, 8300))
def test_the_limit_of_a_head_is_the_same_in_pieces(size: int) -> None:
    """Around the limit the verdict does not depend on how much came at once."""
    start = get(HOST)[:-2] + b"A: "
    octets = start + b"b" * (size - len(start) - 4) + b"\r\n\r\n"
    assert len(octets) == size
    assert same(octets)
    pieces = [recognise_octets(octets[:n]) for n in range(8000, size)]
    assert not any(pieces)
    assert recognise_octets(octets) is not None
