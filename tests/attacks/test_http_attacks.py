"""Requests that have no right answer but a refusal: versions, chunk sizes (RFC 9110 15.6.6, RFC 9112 2.3 and 7.1)."""

import pytest

from responder.web.message_cutter import BadChunk, BodyTooLarge, ChunkedBody, MessageCutter
from tests.attacks.cold_server import cold_server, replies

HOST = b"Host: localhost\r\n"
CHUNKED = b"POST /ocsp HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"POST /ocsp HTTP/1.1\r\n" + HOST + b"Connection: close\r\nContent-Length: 4\r\n\r\nlast"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /ocsp/AAAA", 400),
        (b"GET /ocsp/AAAA ", 400),
        (b"GET /ocsp/AAAA HTTP/1.2", 400),
        (b"GET /ocsp/AAAA HTTP/1", 400),
        (b"GET /ocsp/AAAA FOO/1.1", 400),
        (b"GET /ocsp/AAAA HTTP/0.9", 505),
        (b"GET /ocsp/AAAA HTTP/2.0", 505),
        (b"POST /ocsp HTTP/2.0", 505),
        (b"GET /ocsp/AAAA HTTP/3.0", 505),
        (b"GET /ocsp/AAAA HTTP/9.9", 505),
    ],
)
async def test_request_without_a_version_of_http_1_is_refused_and_the_connection_closed(
    request_line: bytes, status: int
) -> None:
    """Whole and byte by byte; what follows is not answered."""
    octets = request_line + b"\r\n" + HOST + b"\r\n" + LAST
    async with cold_server() as (port, _):
        for pieces in ([octets], [octets[at : at + 1] for at in range(len(octets))]):
            received = await replies(port, *pieces)
            assert received.startswith(b"HTTP/1.1 %d " % status), received
            assert received.count(b"HTTP/1.1 ") == 1
            assert b"Connection: close" in received


@pytest.mark.parametrize(
    ("chunks", "status"),
    [
        (b"F" * 17 + b"\r\nabc", 400),
        (b"F" * 16 + b"\r\nabc", 400),
        (b"7" + b"F" * 15 + b"\r\nabc", 400),
        (b"FFFFFFFF\r\nabc", 400),
        (b"3\r\nabc\r\nFFFFFFFFFFFFFFFF\r\nabc", 400),
        (b"7FFFFFFF\r\nabc", 413),
        (b"4001\r\nabc", 413),
        (b"4000\r\n" + b"a" * 0x4000 + b"\r\n1\r\na", 413),
        (b"3;" + b"x" * 4000, 400),
        (b"3;" + b"x" * 4000 + b"\r\nabc\r\n0\r\n\r\n", 400),
        (b"xyz\r\n", 400),
        (b"-1\r\n", 400),
        (b"\r\nabc", 400),
    ],
)
async def test_chunk_beyond_any_limit_is_refused_at_once(chunks: bytes, status: int) -> None:
    """The connection is closed; nothing waits for bytes that never come."""
    async with cold_server() as (port, _):
        received = await replies(port, CHUNKED + chunks)
        assert received.startswith(b"HTTP/1.1 %d " % status), received
        assert received.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("chunks", "body"),
    [
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"0" * 100 + b"3;name=value\r\nabc\r\n1\r\n\n\r\n0\r\nA: b\r\nC: d\r\n\r\n", b"abc\n"),
        (b"0\r\n\r\n", b""),
    ],
)
async def test_chunked_body_is_followed_by_the_next_request(chunks: bytes, body: bytes) -> None:
    """In one piece, byte by byte, and behind another request: the cutter finds where each message ends."""
    first = b"POST /ocsp HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nfirst"
    octets = first + CHUNKED + chunks + b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n" + LAST
    async with cold_server() as (port, _):
        for pieces in ([octets], [octets[at : at + 1] for at in range(len(octets))]):
            received = await replies(port, *pieces)
            assert [part.partition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 200 OK")[1:]] == [
                b"first",
                body,
                b"",
                b"last",
            ]


def test_cutter_returns_pieces_of_one_message_part_each() -> None:
    """Head, body, head; chunks end with their trailer."""
    head = b"POST / HTTP/1.1\r\nA: b\r\n\r\n"
    cutter = MessageCutter(100)
    assert cutter.cut(head + b"bodyGET") == len(head)
    assert cutter.request_line == b"POST / HTTP/1.1\r"
    cutter.begin_body(chunked=False, length=4)
    assert (cutter.cut(b"bo"), cutter.cut(b"dyGET")) == (2, 2)
    assert cutter.cut(head[:-2]) == len(head) - 2
    assert cutter.cut(head[-2:] + b"5") == 2
    cutter.begin_body(chunked=True, length=0)
    assert cutter.cut(b"5;a\r\n12345\r\n0\r\nT: u\r\n\r\nGET") == len(b"5;a\r\n12345\r\n0\r\nT: u\r\n\r\n")


def test_chunks_are_counted_over_the_whole_body() -> None:
    """The sum of what they announce is bounded, before it has come."""
    body = ChunkedBody(10)
    assert body.take(b"5\r\n12345\r\n5\r\n12345\r\n") == 20
    with pytest.raises(BodyTooLarge):
        body.take(b"1\r\n")
    with pytest.raises(BadChunk):
        ChunkedBody(10).take(b"80000000\r\n")
