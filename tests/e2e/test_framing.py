"""Messages on a connection: order, pieces, halves, and every framing that has two readings (RFC 9112)."""

import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from cryptography.x509 import ocsp

from tests.e2e import wanted
from tests.e2e.wanted import Demo, assert_good, assert_refused, demo_of, status_in
from tests.support.breakage import is_within
from tests.support.http import Talk, chunked_octets, get_octets, post_octets, question, said_until_closed
from tests.support.instance import Instance

TYPE = b"Content-Type: application/ocsp-request\r\n"


@pytest.fixture
def demo(instance: Instance) -> Demo:
    """The shared instance's."""
    return demo_of(instance)


@pytest.fixture
def talk(instance: Instance) -> Iterator[Talk]:
    """One connection."""
    with Talk(instance.port) as connection:
        yield connection


def refused_and_closed(port: int, octets: bytes, *, allowed: tuple[int, ...] = (400,)) -> None:
    """One answer with such a status, not cacheable; then the connection ends, and nothing behind was answered."""
    said = said_until_closed(port, octets)
    assert said.count(b"HTTP/1.1 ") == 1, said
    head = said.partition(b"\r\n\r\n")[0].lower()
    assert int(head[9:12]) in allowed, said
    assert b"connection: close" in head
    assert b"cache-control: no-store" in head


def test_connections_persist_until_they_are_closed(demo: Demo, talk: Talk) -> None:
    """H-22: many requests on one connection; `Connection: close` is repeated and honoured, in each lane."""
    for _ in range(20):
        assert_good(demo, talk.ask(get_octets(demo.path)))
        assert_good(demo, talk.ask(post_octets(demo.good)))
    nonce = question(demo.good_cert, demo.issuer, nonce=b"n" * 16)
    for octets in (
        post_octets(demo.good, close=True),
        post_octets(nonce, close=True),
        chunked_octets(demo.good, extra="Connection: close\r\n"),
    ):
        with Talk(demo.port) as last:
            status, fields, _ = last.ask(octets)
            assert (status, fields["connection"]) == (200, "close")
            assert last.at_end()


def test_pipelined_requests_are_answered_in_order(demo: Demo, talk: Talk) -> None:
    """H-23: hot, slow, refused and cold ones mixed, sent at once; what follows a cold one is cold."""
    nonces = [bytes((n,)) * 16 for n in range(6)]
    slow = [post_octets(question(demo.good_cert, demo.issuer, nonce=nonce)) for nonce in nonces]
    hot, bad, cold = get_octets(demo.path), post_octets(b"bad"), chunked_octets(demo.revoked)
    order = [hot, slow[0], hot, bad, slow[1], slow[2], hot, cold, hot, slow[3], bad, cold, slow[4], hot, slow[5], hot]
    talk.socket.sendall(b"".join(order))
    answered = iter(nonces)
    for asked in order:
        said = talk.read()
        if asked is bad:
            assert_refused(said, wanted.MALFORMED, 400)
        elif asked is cold:
            assert status_in(said[2], demo.revoked_cert.serial_number) is ocsp.OCSPCertStatus.REVOKED
        elif asked is hot:
            assert_good(demo, said)
        else:
            assert next(answered) in said[2]


@pytest.mark.parametrize("shut", [False, True])
def test_thousands_of_pipelined_requests(demo: Demo, *, shut: bool) -> None:
    """More than all buffers hold, read late: every one is answered, also when the sending half is closed."""
    count = 8000

    def send(to: socket.socket) -> None:
        to.sendall(get_octets(demo.path) * count)
        if shut:
            to.shutdown(socket.SHUT_WR)

    with Talk(demo.port) as talk:
        talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sending = threading.Thread(target=send, args=(talk.socket,))
        sending.start()
        time.sleep(0.5)
        for _ in range(count):
            status, _, body = talk.read()
            assert status == 200
            assert body.startswith(b"\x30\x82")
        sending.join()


def test_a_bad_message_behind_a_good_one_does_not_harm_it(demo: Demo) -> None:
    """H-23, H-29: what was asked before is answered, then the refusal, then the end; in every lane."""
    nonce = post_octets(question(demo.good_cert, demo.issuer, nonce=b"n" * 16))
    for first in (
        get_octets(demo.path),
        nonce,
        chunked_octets(demo.good),
        chunked_octets(question(demo.good_cert, demo.issuer, nonce=b"m" * 9)),
    ):
        with Talk(demo.port) as talk:
            talk.socket.sendall(first + b"POST /ocsp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
            assert status_in(talk.read()[2], demo.good_cert.serial_number) is ocsp.OCSPCertStatus.GOOD
            assert talk.read()[0] == 400
            assert talk.at_end()


def test_requests_in_pieces(demo: Demo) -> None:
    """H-24: a GET, a POST and a chunked POST, split in two at every byte."""
    for octets in (get_octets(demo.path), post_octets(demo.good), chunked_octets(demo.good)):
        with Talk(demo.port) as talk:
            talk.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(1, len(octets)):
                talk.socket.sendall(octets[:at])
                time.sleep(0.0005)
                assert_good(demo, talk.ask(octets[at:]))


def test_a_request_octet_by_octet(demo: Demo, talk: Talk) -> None:
    """H-24: nothing is answered early."""
    talk.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for octets in (get_octets(demo.path), post_octets(demo.good)):
        for octet in octets[:-1]:
            talk.socket.sendall(bytes((octet,)))
        assert_good(demo, talk.ask(octets[-1:]))


@pytest.mark.parametrize("lane", ["hot", "slow", "cold", "slow and cold", "crl"])
def test_a_client_that_has_said_all_is_answered(demo: Demo, lane: str) -> None:
    """H-24: the sending half is closed right after the request."""
    nonce = question(demo.good_cert, demo.issuer, nonce=b"n" * 16)
    octets = {
        "hot": post_octets(demo.good),
        "slow": post_octets(nonce),
        "cold": chunked_octets(demo.good),
        "slow and cold": chunked_octets(nonce),
        "crl": get_octets("/.well-known/pki/crl/demo"),
    }[lane]
    for _ in range(5):
        said = said_until_closed(demo.port, octets, shut=True)
        assert said.startswith(b"HTTP/1.1 200 OK\r\n"), said


def test_half_a_request_and_the_end(demo: Demo) -> None:
    """H-31: a short body is not answered as if it were whole; the connection ends soon."""
    for octets in (post_octets(demo.good)[:-1], get_octets(demo.path)[:-1], chunked_octets(demo.good)[:-4], b"", b"G"):
        said = said_until_closed(demo.port, octets, shut=True)
        assert b" 200 " not in said, octets


def test_http_1_0(demo: Demo) -> None:
    """H-25: with and without Host, as `openssl ocsp` asks: answered with a length, not chunked, and closed."""
    get, post = demo.path.encode(), b"Content-Length: %d\r\n\r\n%s" % (len(demo.good), demo.good)
    for host in (
        b"",
        b"Host: x\r\n",
        b"Accept: */*\r\nExpect: 100-continue\r\n",
    ):
        for octets in (
            b"GET " + get + b" HTTP/1.0\r\n" + host + b"\r\n",
            b"POST /ocsp HTTP/1.0\r\n" + host + TYPE + post,
        ):
            said = said_until_closed(demo.port, octets)
            head, _, body = said.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK"), said
            assert b"chunked" not in head.lower()
            assert b"content-length: %d" % len(body) in head.lower()
            assert status_in(body, demo.good_cert.serial_number) is ocsp.OCSPCertStatus.GOOD


@pytest.mark.parametrize("lane", ["hot", "slow", "nonce", "cold", "crl", "crl 304"])
def test_an_http_1_0_client_that_asks_for_it_keeps_its_connection(demo: Demo, lane: str) -> None:
    """RFC 9112 C.2.2: three requests on one connection, each answer with a length and `Connection: keep-alive`; the
    last, without that option, is answered and closed.
    """
    crl = b"/.well-known/pki/crl/demo"
    target, lines = {
        "hot": (demo.path.encode(), b""),
        "cold": (demo.path.encode(), b"Expect: nothing\r\n"),
        "crl": (crl, b""),
        "crl 304": (crl, b"If-None-Match: *\r\n"),
    }.get(lane, (b"", b""))
    asked = {"slow": b"bad", "nonce": nonce_question(demo)}.get(lane)
    with socket.create_connection(("127.0.0.1", demo.port), timeout=10) as connected:
        for option in (b"keep-alive", b"Keep-Alive", b"keep-alive", b""):
            head = lines + (b"Connection: " + option + b"\r\n" if option else b"")
            if asked is None:
                connected.sendall(b"GET " + target + b" HTTP/1.0\r\n" + head + b"\r\n")
            else:
                length = b"Content-Length: %d\r\n" % len(asked)
                connected.sendall(b"POST /ocsp HTTP/1.0\r\n" + TYPE + length + head + b"\r\n" + asked)
            fields, body = one_answer(connected)
            assert (b"connection: keep-alive" in fields) == bool(option)
            assert b"transfer-encoding" not in fields
            assert bool(body) == (lane != "crl 304")
        assert connected.recv(1) == b""


def nonce_question(demo: Demo) -> bytes:
    """DER with a nonce."""
    return question(demo.good_cert, demo.issuer, nonce=b"n" * 16)


def one_answer(connected: socket.socket) -> tuple[bytes, bytes]:
    """Read one answer; its fields in lower case, and its body."""
    said = b""
    while b"\r\n\r\n" not in said:
        more = connected.recv(65536)
        assert more, said
        said += more
    head, _, body = said.partition(b"\r\n\r\n")
    fields = head.lower()
    found = re.search(rb"\r\ncontent-length: (\d+)", fields)
    length = int(found[1]) if found and b" 304 " not in fields[:20] else 0
    while len(body) < length:
        body += connected.recv(65536)
    assert len(body) == length
    return fields, body


def test_absolute_form(demo: Demo, talk: Talk) -> None:
    """H-25: GET and POST by absolute URL, as a proxy sends them."""
    assert_good(demo, talk.ask(get_octets(f"http://ocsp.example.com{demo.path}")))
    assert_good(demo, talk.ask(post_octets(demo.good, "http://ocsp.example.com/.well-known/pki/ocsp/demo")))


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"Host: a\r\nHost: a\r\n",
        b"Host: a\r\nHost: b\r\n",
        b"Host:\r\n",
        b"Host : a\r\n",
        b"Host: a\r\nA : b\r\n",
        b"Host: a\r\n: b\r\n",
        b"Host: a\r\nnothing\r\n",
        b"Host: a\r\nA: \0\r\n",
        b"Host: a\r\nA\0: b\r\n",
        b"Host: a\r\nA: b\x0b\r\n",
        b"Host: a\r\nA: b\rc\r\n",
        b" Host: a\r\n",
        b"Host: a\r\nTransfer-Encoding: gzip\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked, chunked\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Host: a\r\nTransfer-Encoding: gzip, chunked\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked, identity\r\n",
        b"Host: a\r\nTransfer-Encoding: identity\r\n",
        b"Host: a\r\nTransfer-Encoding:\r\n",
        b"Host: a\r\nTransfer-Encoding: \x0bchunked\r\n",
        b"Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Host: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        b"Host: a\r\nContent-Length: 5, 6\r\n",
        b"Host: a\r\nContent-Length: +5\r\n",
        b"Host: a\r\nContent-Length: -5\r\n",
        b"Host: a\r\nContent-Length: 0x5\r\n",
        b"Host: a\r\nContent-Length: 5 5\r\n",
        b"Host: a\r\nContent-Length: \r\n",
        b"Host: a\r\nContent-Length: 99999999999999999999999\r\n",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_ambiguous_messages_are_refused_and_the_connection_ends(demo: Demo, lines: bytes, method: str) -> None:
    """H-26, H-30: one answer, 4xx or 501, and what follows is not read as a request."""
    target = demo.path if method == "GET" else "/ocsp"
    octets = f"{method} {target} HTTP/1.1\r\n".encode() + lines + TYPE + b"\r\n"
    refused_and_closed(demo.port, octets + get_octets(demo.path), allowed=(400, 411, 413, 501))


@pytest.mark.parametrize("lines", [b"Transfer-Encoding: chunked\r\n", b"Host: a\r\nTransfer-Encoding: chunked\r\n"])
def test_chunks_over_http_1_0_are_refused(demo: Demo, lines: bytes) -> None:
    """H-30."""
    octets = b"POST /ocsp HTTP/1.0\r\n" + lines + TYPE + b"\r\n0\r\n\r\n"
    refused_and_closed(demo.port, octets + get_octets(demo.path), allowed=(400, 501))


@pytest.mark.parametrize(
    "noise",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 600,
        b"junk\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /ocsp/MA\r\n\r\n",
        b"GET /ocsp/MA HTTP/9\r\n\r\n",
        b"GET /ocsp/MA HTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /ocsp/MA HTTP/2.0\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET  /ocsp/MA  HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0" * 100,
        b"GET /ocsp/\0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET ocsp HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_noise_gets_400_or_silence(demo: Demo, noise: bytes) -> None:
    """H-26: never a 5xx but 501 and 505, never 200, never a wait."""
    begun = time.monotonic()
    said = said_until_closed(demo.port, noise, shut=True)
    assert is_within(begun, 5)
    assert said == b"" or int(said[9:12]) in (400, 404, 405, 501, 505), said


def test_an_empty_line_in_front_is_ignored(demo: Demo, talk: Talk) -> None:
    """H-26, RFC 9112 2.2."""
    assert_good(demo, talk.ask(b"\r\n" + get_octets(demo.path)))
    assert_good(demo, talk.ask(b"\r\n" + post_octets(demo.good)))


def chunked(*chunks: bytes, last: bytes = b"0\r\n\r\n", coding: bytes = b"chunked") -> bytes:
    """A chunked POST of these chunks as they are."""
    return (
        b"POST /ocsp HTTP/1.1\r\nHost: x\r\n"
        + TYPE
        + b"Transfer-Encoding: "
        + coding
        + b"\r\n\r\n"
        + b"".join(chunks)
        + last
    )


def test_chunks_in_every_shape(demo: Demo, talk: Talk) -> None:
    """H-28: many, extensions, trailers, upper and lower case, padded sizes, another case of the word; in step."""
    body = demo.good
    size = b"%x" % len(body)
    whole = body + b"\r\n"
    shapes = [
        chunked(*(b"1\r\n%c\r\n" % octet for octet in body)),
        chunked(size + b"\r\n" + whole, coding=b"ChunkEd"),
        chunked(size.upper() + b";a=b;c\r\n" + whole),
        chunked(size + b';a="b c"\r\n' + whole, last=b"0;x\r\n\r\n"),
        chunked(size.rjust(12, b"0") + b"\r\n" + whole, last=b"000\r\n\r\n"),
        chunked(size + b"\r\n" + whole, last=b"0\r\nA: b\r\nHost: y\r\n\r\n"),
    ]
    for octets in shapes:
        assert_good(demo, talk.ask(octets))


@pytest.mark.parametrize(
    "broken",
    [
        chunked(b"zz\r\nab\r\n"),
        chunked(b"-1\r\nab\r\n"),
        chunked(b"0x2\r\nab\r\n"),
        chunked(b" 2\r\nab\r\n"),
        chunked(b"2\r\nabc\r\n"),
        chunked(b"2\nab\n"),
        chunked(b"\r\nab\r\n"),
        chunked(b"2\r\nabXX"),
        chunked(b"ffffffffffffffffff\r\nab\r\n"),
        chunked(b"2;" + b"a" * 70000),
        chunked(b"2\r\nab\r\n", last=b"0\r\nA: " + b"b" * 40000 + b"\r\n\r\n"),
        chunked(b"2\r\nab\r\n", last=b"0\r\nContent-Length: 7\r\n\r\n"),
        chunked(b"2\r\nab\r\n", last=b"0\r\n b\r\n\r\n"),
    ],
)
def test_broken_chunks_are_refused_and_the_connection_ends(demo: Demo, broken: bytes) -> None:
    """H-29."""
    refused_and_closed(demo.port, broken + get_octets(demo.path), allowed=(400, 413, 431))


def test_a_get_with_a_body_is_one_request(demo: Demo, talk: Talk) -> None:
    """H-21: its body, plain or chunked, is not the next request."""
    smuggled = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    get = b"GET " + demo.path.encode() + b" HTTP/1.1\r\nHost: x\r\n"
    for octets in (
        get + b"Content-Length: %d\r\n\r\n" % len(smuggled) + smuggled,
        get + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(smuggled), smuggled),
    ):
        assert_good(demo, talk.ask(octets))
        assert_refused(talk.ask(post_octets(b"bad")), wanted.MALFORMED, 400)


def test_no_framing_is_no_body(demo: Demo, talk: Talk) -> None:
    """H-31, O-1: a POST without length, or of length 0, is answered as empty; the next bytes are the next request."""
    for lines in (b"", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"):
        end = b"0\r\n\r\n" if b"chunked" in lines else b""
        said = talk.ask(b"POST /ocsp HTTP/1.1\r\nHost: x\r\n" + TYPE + lines + b"\r\n" + end + get_octets(demo.path))
        assert_refused(said, wanted.MALFORMED, 400)
        assert_good(demo, talk.read())


def test_expect_100_continue(demo: Demo, talk: Talk) -> None:
    """H-32: 100, then the answer; a final status at once for a body that is too large or of a wrong type."""
    octets = post_octets(demo.good, extra="Expect: 100-continue\r\n")
    talk.socket.sendall(octets[: -len(demo.good)])
    assert talk.read()[0] == 100
    assert_good(demo, talk.ask(demo.good))
    for lines, status in (
        (b"Content-Length: 99999\r\n" + TYPE, 413),
        (b"Content-Length: 5\r\nContent-Type: text/plain\r\n", 415),
    ):
        with Talk(demo.port) as refused:
            said = refused.ask(b"POST /ocsp HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n" + lines + b"\r\n")
            assert said[0] == status
            assert said[1]["connection"] == "close"
            assert refused.at_end()


def test_an_unknown_expectation(demo: Demo, talk: Talk) -> None:
    """H-32: 417 or ignored."""
    assert talk.ask(post_octets(demo.good, extra="Expect: the-inquisition\r\n"))[0] in (200, 417)


@pytest.mark.parametrize("how", ["declared", "sent", "chunked", "one chunk"])
def test_a_body_over_the_limit(demo: Demo, how: str) -> None:
    """H-33: 413 at once, and the client that sends all of it first can still read the answer."""
    body, chunks = b"\0" * 2_000_000, b"1000\r\n" + b"\0" * 4096 + b"\r\n"
    head = b"POST /ocsp HTTP/1.1\r\nHost: x\r\n" + TYPE
    octets = {
        "declared": head + b"Content-Length: 2000000\r\n\r\n",
        "sent": head + b"Content-Length: 2000000\r\n\r\n" + body,
        "chunked": head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks * 400 + b"0\r\n\r\n",
        "one chunk": head + b"Transfer-Encoding: chunked\r\n\r\n1e8480\r\n" + body,
    }[how]
    begun = time.monotonic()
    refused_and_closed(demo.port, octets, allowed=(413,))
    assert is_within(begun, 5)


def test_the_largest_body(demo: Demo, talk: Talk) -> None:
    """16384 bytes are read, 16385 are not."""
    assert_refused(talk.ask(post_octets(b"\x30" * 16384)), wanted.MALFORMED, 400)
    assert talk.ask(post_octets(b"\x30" * 16385))[0] == 413


@pytest.mark.parametrize(("size", "allowed"), [(7000, {200}), (40000, {431, 400}), (200000, {431, 400})])
def test_long_heads(demo: Demo, size: int, allowed: set[int]) -> None:
    """H-27: 8 KiB work, 32 KiB and more are 431, and the answer survives."""
    said = said_until_closed(demo.port, post_octets(demo.good, extra=f"A: {'b' * size}\r\n", close=True))
    assert int(said[9:12]) in allowed


def test_many_fields(demo: Demo, talk: Talk) -> None:
    """Hundreds of short ones."""
    assert_good(demo, talk.ask(get_octets(demo.path, "".join(f"A{n}: b\r\n" for n in range(400)))))


@pytest.mark.parametrize("size", [9000, 40000, 300000])
def test_long_request_lines(demo: Demo, size: int) -> None:
    """H-6: 414, 431 or 400, and the answer survives."""
    said = said_until_closed(demo.port, get_octets("/ocsp/" + "M" * size, "Connection: close\r\n"))
    assert int(said[9:12]) in (400, 414, 431)
    if size > 32768:
        assert int(said[9:12]) in (414, 431)


def test_clients_that_vanish_harm_nobody(demo: Demo, instance: Instance) -> None:
    """H-24: resets in the middle of requests and before answers."""
    pids = instance.facts["pids"]["edge"]
    for n in range(200):
        octets = [get_octets(demo.path), post_octets(demo.good), chunked_octets(demo.good)][n % 3]
        with socket.create_connection(("127.0.0.1", demo.port)) as gone:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            gone.sendall(octets[: len(octets) * (n % 5) // 4])
    with Talk(demo.port) as talk:
        assert_good(demo, talk.ask(get_octets(demo.path)))
    assert instance.facts["pids"]["edge"] == pids


@pytest.mark.parametrize(("version", "status"), [(b"", 400), (b" HTTP/2.0", 505), (b" HTTP/0.9", 505)])
def test_request_line_of_another_version_is_refused(demo: Demo, version: bytes, status: int) -> None:
    """The hot lane leaves it to the full parser, which answers once and closes; also behind a plain request."""
    odd = b"GET " + demo.path.encode() + version + b"\r\nHost: localhost\r\n\r\n"
    refused_and_closed(demo.port, odd + get_octets(demo.path), allowed=(status,))
    said = said_until_closed(demo.port, get_octets(demo.path) + odd + get_octets(demo.path))
    assert [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]] == [200, status]


@pytest.mark.parametrize("size", [b"FFFFFFFFFFFFFFFF", b"7FFFFFFFFFFFFFFF", b"FFFFFFFF"])
def test_chunk_size_beyond_any_limit_is_refused_at_once(demo: Demo, size: bytes) -> None:
    """It is not waited for."""
    head = b"POST /ocsp HTTP/1.1\r\nHost: localhost\r\n" + TYPE + b"Transfer-Encoding: chunked\r\n\r\n"
    refused_and_closed(demo.port, head + size + b"\r\nabc")
