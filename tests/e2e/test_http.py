"""The ways to ask over HTTP that RFC 6960 A, RFC 9110 and real clients know, and the fields of the answers."""

import base64
import hashlib
import time
import urllib.parse
from collections.abc import Callable, Iterator

import pytest
from cryptography.x509 import ocsp

from _fastocsp.http.path import decode_get
from _fastocsp.wire.errors import MalformedRequest
from tests.e2e import wanted
from tests.e2e.wanted import Demo, assert_dated, assert_good, assert_refused, demo_of, parse_imf, status_in
from tests.support.http import Talk, chunked_octets, get_octets, post_octets
from tests.support.instance import Instance


@pytest.fixture
def demo(instance: Instance) -> Demo:
    """The shared instance's."""
    return demo_of(instance)


@pytest.fixture
def talk(instance: Instance) -> Iterator[Talk]:
    """One connection."""
    with Talk(instance.port) as connection:
        yield connection


def quote(text: str) -> str:
    """Percent-encoded as RFC 6960 A.1.1 wants it."""
    return urllib.parse.quote(text, safe="")


SPELLINGS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "percent-encoded": quote,
    "percent-encoded in lower case": lambda b64: (
        quote(b64).replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d")
    ),
    "everything percent-encoded": lambda b64: "".join(f"%{ord(c):02x}" for c in b64),
    "without padding": lambda b64: b64.rstrip("="),
    "base64url": lambda b64: b64.translate(str.maketrans("+/", "-_")),
    "a slash more in front": lambda b64: "/" + b64,
    "an encoded slash in front": lambda b64: "%2f" + b64,
    "slashes doubled": lambda b64: b64.replace("/", "//"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("base", ["/ocsp/", "/.well-known/pki/ocsp/demo/"])
@pytest.mark.parametrize("extra", ["", "Expect: nothing\r\n"], ids=["hot", "cold"])
def test_every_spelling_of_a_get_is_understood(demo: Demo, talk: Talk, spelling: str, base: str, extra: str) -> None:
    """H-1 .. H-5, H-7: the same certificate is good, and no redirect.

    Doubled slashes can be undone in one way only, or the request is refused (H-3): that depends on the serial number.
    """
    b64 = base64.b64encode(demo.good).decode()
    assert {"+", "/"} <= set(b64)
    answer = talk.ask(get_octets(base + SPELLINGS[spelling](b64), extra))
    if spelling == "slashes doubled" and not is_repairable(SPELLINGS[spelling](b64)):
        assert (answer[0], answer[2]) == (400, wanted.MALFORMED)
    else:
        assert_good(demo, answer)


def is_repairable(text: str) -> bool:
    """Report whether the codec finds exactly one request that the text can have been."""
    try:
        decode_get(text.encode())
    except MalformedRequest:
        return False
    return True


def test_a_query_changes_nothing_or_is_refused(demo: Demo, talk: Talk) -> None:
    """H-4."""
    status, _, body = talk.ask(get_octets(demo.path + "?a=b"))
    assert status == 200
    assert status_in(body, demo.good_cert.serial_number) is ocsp.OCSPCertStatus.GOOD


@pytest.mark.parametrize(
    "rest",
    [
        "%",
        "%zz",
        "%00",
        "!",
        "AAAA",
        "MAA",
        "MFEw",
        "..%2f..%2fetc",
        "%0d%0aX: y",
        "M" * 3000,
        "%4D%46",
        "\x80",
        "MFEw%20",
        "//////",
        "%2525",
    ],
)
@pytest.mark.parametrize("base", ["/ocsp/", "/.well-known/pki/ocsp/demo/"])
def test_a_get_of_nothing_is_malformed(talk: Talk, rest: str, base: str) -> None:
    """H-6: malformedRequest with 400, never a redirect or a 5xx; bytes that no target may have: a bare 400."""
    status, fields, body = talk.ask(get_octets(base + rest))
    assert status == 400
    assert body == wanted.MALFORMED or (rest in ("\x80", "%0d%0aX: y") and body == b"Bad Request\n")
    assert fields["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("", 200),
        ("Content-Type: application/ocsp-request\r\n", 200),
        ("content-type:APPLICATION/OCSP-Request\r\n", 200),
        ("Content-Type: application/ocsp-request; charset=x\r\n", 200),
        ("Content-Type: application/ocsp-request ;q=1\r\n", 200),
        ("Content-Type: text/plain\r\n", 415),
        ("Content-Type: application/ocsp-response\r\n", 415),
        ("Content-Type: application/ocsp-requests\r\n", 415),
        ("Content-Type: text/plain\r\nContent-Type: application/ocsp-request\r\n", 415),
    ],
)
@pytest.mark.parametrize("path", ["/ocsp", "/ocsp/", "/.well-known/pki/ocsp/demo", "/.well-known/pki/ocsp/demo/"])
def test_content_types_of_a_post(demo: Demo, talk: Talk, fields: str, status: int, path: str) -> None:
    """H-8: absent is accepted, parameters and case do not matter, anything else is 415."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {len(demo.good)}\r\n\r\n"
    said = talk.ask(head.encode() + demo.good)
    assert said[0] == status
    if status == 200:
        assert_good(demo, said)


METHODS = ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/ocsp", {"POST"}),
        ("/ocsp/MA", {"GET", "HEAD"}),
        ("/.well-known/pki/ocsp/demo", {"POST"}),
        ("/.well-known/pki/ocsp/demo/MA", {"GET", "HEAD"}),
        ("/.well-known/pki/crl/demo", {"GET", "HEAD"}),
    ],
)
def test_other_methods_are_told_what_is_allowed(talk: Talk, method: str, path: str, allowed: set[str]) -> None:
    """H-20: 405 with Allow."""
    status, fields, _ = talk.ask(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    assert status == 405
    assert set(fields["allow"].split(", ")) == allowed
    assert fields["cache-control"] == "no-store"


@pytest.mark.parametrize("method", ["get", "post", "FROB", "G\xcbT", "GE T", ""])
def test_unknown_methods_are_refused(instance: Instance, demo: Demo, method: str) -> None:
    """H-20: a lower-case or invented method is 400, 405 or 501."""
    with Talk(instance.port) as talk:
        status, _, _ = talk.ask(f"{method} {demo.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode("latin-1"))
    assert status in (400, 405, 501)


@pytest.mark.parametrize(
    "path", ["good", "/ocsp/AAAA", "/.well-known/pki/crl/demo", "/.well-known/pki/issuer/demo", "/nothing", "/health"]
)
def test_head_is_the_head_of_the_get(demo: Demo, talk: Talk, path: str) -> None:
    """H-15: the same status and fields, no body, and in step afterwards."""
    path = demo.path if path == "good" else path
    got = talk.ask(get_octets(path))
    head = talk.ask(get_octets(path).replace(b"GET", b"HEAD", 1), head_only=True)
    for name in ("date", "cache-control"):
        got[1].pop(name), head[1].pop(name)
    assert head[:2] == got[:2]
    assert_good(demo, talk.ask(get_octets(demo.path)))


def test_the_fields_of_a_cacheable_answer(demo: Demo, talk: Talk) -> None:
    """H-9 .. H-13: exact length, max-age and Expires end at nextUpdate, Last-Modified is thisUpdate, a strong tag."""
    for octets in (get_octets(demo.path), post_octets(demo.good), chunked_octets(demo.good)):
        _, fields, body = talk.ask(octets)
        answer = next(iter(ocsp.load_der_ocsp_response(body).responses))
        assert answer.next_update_utc is not None
        this_update, next_update = answer.this_update_utc.timestamp(), answer.next_update_utc.timestamp()
        max_age, *others = fields["cache-control"].split(", ")
        assert others == ["public", "no-transform", "must-revalidate"]
        assert parse_imf(fields["date"]) + int(max_age.removeprefix("max-age=")) <= next_update
        assert time.time() + int(max_age.removeprefix("max-age=")) <= next_update + 2
        assert parse_imf(fields["expires"]) == next_update
        assert parse_imf(fields["last-modified"]) == this_update
        assert fields["etag"].startswith('"')
        assert "pragma" not in fields
        assert_dated(fields)


def test_a_tag_names_one_body(demo: Demo, talk: Talk) -> None:
    """H-13: another status, hash or certificate has another tag; the same answer has the same."""
    tags: dict[str, set[str]] = {}
    for octets in [demo.good, demo.revoked] * 3:
        _, fields, body = talk.ask(post_octets(octets))
        tags.setdefault(fields["etag"], set()).add(hashlib.sha256(body).hexdigest())
    assert len(tags) == 2
    assert all(len(bodies) == 1 for bodies in tags.values())


@pytest.mark.parametrize("lane", ["", "Expect: nothing\r\n"], ids=["hot", "cold"])
def test_conditions(demo: Demo, talk: Talk, lane: str) -> None:
    """H-16 .. H-18: a list, weak, star; repeated fields; dates; 304 with the fields of the 200 and no body."""
    _, whole, body = talk.ask(get_octets(demo.path))
    tag, modified = whole["etag"], whole["last-modified"]
    late = "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n"
    fresh = [
        f"If-None-Match: {tag}",
        f"If-None-Match: W/{tag}",
        "If-None-Match: *",
        f'If-None-Match: "a", W/"b" ,{tag}',
        f'If-None-Match: "a"\r\nIf-None-Match: {tag}',
    ]
    fresh += [
        f"If-Modified-Since: {modified}",
        late.strip(),
        f"If-None-Match: {tag}\r\nIf-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
    ]
    for fields in fresh:
        status, head, nothing = talk.ask(get_octets(demo.path, f"{fields}\r\n{lane}"))
        assert (status, nothing) == (304, b""), fields
        assert {name: head[name] for name in ("etag", "expires", "last-modified")} == {
            name: whole[name] for name in ("etag", "expires", "last-modified")
        }
        assert head["cache-control"].endswith(", public, no-transform, must-revalidate")
        assert head.get("content-length", str(len(body))) == str(len(body))
        assert_dated(head)
    stale = [
        'If-None-Match: "a"',
        'If-None-Match: "a", "b"',
        f"If-None-Match: {tag[:-1]}",
        "If-None-Match: garbage",
        f'If-None-Match: "a"\r\n{late.strip()}',
    ]
    stale += [
        "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
        "If-Modified-Since: yesterday",
        "If-Modified-Since: 4102444800",
        "If-Modified-Since: Fri, 31 Feb 2100 00:00:00 GMT",
    ]
    for fields in stale:
        assert talk.ask(get_octets(demo.path, f"{fields}\r\n{lane}"))[0] == 200, fields
    for fields in fresh:
        assert_good(demo, talk.ask(post_octets(demo.good, extra=f"{fields}\r\n{lane}")))


def test_a_conditional_head(demo: Demo, talk: Talk) -> None:
    """304 to HEAD as well, in step afterwards."""
    _, whole, _ = talk.ask(get_octets(demo.path))
    octets = get_octets(demo.path, f"If-None-Match: {whole['etag']}\r\n").replace(b"GET", b"HEAD")
    assert talk.ask(octets, head_only=True)[0] == 304
    assert_good(demo, talk.ask(get_octets(demo.path)))


def test_ranges_are_ignored_or_right(demo: Demo, talk: Talk) -> None:
    """H-19."""
    assert_good(demo, talk.ask(get_octets(demo.path, "Range: bytes=0-3\r\n")))


def test_no_answer_is_compressed(demo: Demo, talk: Talk) -> None:
    """H-35."""
    _, fields, _ = talk.ask(get_octets(demo.path, "Accept-Encoding: gzip, br\r\n"))
    assert "content-encoding" not in fields


@pytest.mark.parametrize("spelling", ["{:x}", "{:032x}", "{:040x}"])
def test_the_serial_number_in_the_path(demo: Demo, talk: Talk, spelling: str) -> None:
    """P-5: lower-case hex, even length or plain, is the same signed answer for people; it is cacheable."""
    for cert, status in ((demo.good_cert, ocsp.OCSPCertStatus.GOOD), (demo.revoked_cert, ocsp.OCSPCertStatus.REVOKED)):
        got, fields, body = talk.ask(get_octets(f"{demo.by_issuer}/{spelling.format(cert.serial_number)}"))
        assert got == 200
        assert fields["etag"]
        assert status_in(body, cert.serial_number) is status


@pytest.mark.parametrize("serial", ["0", "00", "1234", "f" * 40, "f" * 41, "0x12", "-1", "AB", "zz", "%00"])
def test_other_serial_numbers_in_the_path(talk: Talk, serial: str) -> None:
    """Unknown, too long, not hex: refused, never good."""
    status, _, body = talk.ask(get_octets(f"/.well-known/pki/ocsp/demo/{serial}"))
    assert (status, body) in ((200, wanted.UNAUTHORIZED), (400, wanted.MALFORMED))


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/pki/ocsp/nobody",
        "/.well-known/pki/ocsp/dem",
        "/.well-known/pki/ocsp/demo2",
        "/.well-known/pki/ocsp/%00",
    ],
)
@pytest.mark.parametrize("lane", [post_octets, chunked_octets], ids=["hot", "cold"])
def test_an_unknown_issuer_in_the_path(demo: Demo, talk: Talk, path: str, lane: Callable[[bytes, str], bytes]) -> None:
    """P-3, P-4: unauthorized, whatever the CertID says; by GET and by serial number too."""
    assert_refused(talk.ask(lane(demo.good, path)))
    assert_refused(talk.ask(get_octets(f"{path}/{base64.b64encode(demo.good).decode()}")))
    assert_refused(talk.ask(get_octets(f"{path}/{demo.good_cert.serial_number:x}")))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/ocspx",
        "/.well-known/pki",
        "/.well-known/pki/crl/nobody",
        "/.well-known/pki/issuer/nobody",
        "/admin",
        "//nothing//",
    ],
)
def test_what_is_not_there_is_404(talk: Talk, path: str) -> None:
    """Not cacheable, and no redirect."""
    status, fields, _ = talk.ask(get_octets(path))
    assert status == 404
    assert fields["cache-control"] == "no-store"
    assert_dated(fields)


@pytest.mark.parametrize("lane", ["", "Expect: nothing\r\n"], ids=["plain", "cold"])
def test_an_issuer_in_the_path_may_be_percent_encoded(demo: Demo, talk: Talk, lane: str) -> None:
    """RFC 3986 6.2.2.2: `de%6Do` is `demo`, in every lane."""
    path = demo.path.removeprefix("/ocsp")
    for base in (
        "/.well-known/pki/ocsp/de%6Do",
        "/.well-known/pki/ocsp/%64%65%6d%6f",
        "/%2ewell-known/pki/%6fcsp/demo",
    ):
        assert_good(demo, talk.ask(get_octets(base + path, lane)))
        assert_good(demo, talk.ask(post_octets(demo.good, base, extra=lane)))
