"""The CRL over HTTP: fields, conditions and what is not there (C-1, P-6, H-10 .. H-19)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.wanted import assert_dated, parse_imf
from tests.support.http import Talk, get_octets, said_until_closed
from tests.support.instance import FreshInstance, Instance

PATH = "/.well-known/pki/crl/demo"


@pytest.fixture
def talk(instance: Instance) -> Iterator[Talk]:
    """One connection."""
    with Talk(instance.port) as connection:
        yield connection


def test_the_first_crl_is_there_when_the_quickstart_is(own_folder: Path) -> None:
    """Whoever tries the printed commands at once gets a CRL."""
    running = FreshInstance(own_folder / "data", 1, 10, 1).start()
    try:
        with Talk(running.port) as connection:
            assert connection.ask(get_octets(PATH))[0] == 200
    finally:
        running.stop()


def test_the_fields_of_a_crl(talk: Talk) -> None:
    """Type, length, a weak tag, an hour at most and never past nextUpdate."""
    status, fields, body = talk.ask(get_octets(PATH))
    assert (status, fields["content-type"]) == (200, "application/pkix-crl")
    assert int(fields["content-length"]) == len(body)
    assert fields["etag"].startswith('W/"')
    public, max_age, last = fields["cache-control"].split(", ")
    assert (public, last) == ("public", "must-revalidate")
    age = int(max_age.removeprefix("max-age="))
    assert 0 < age <= 3600
    assert parse_imf(fields["date"]) + age <= parse_imf(fields["expires"])
    assert parse_imf(fields["last-modified"]) <= parse_imf(fields["date"])
    assert_dated(fields)


def test_conditions_of_a_crl(talk: Talk) -> None:
    """304 with the same fields and no body; anything that is no condition is ignored, never an error."""
    _, whole, _ = talk.ask(get_octets(PATH))
    tag = whole["etag"]
    for condition in (
        f"If-None-Match: {tag}",
        f"If-None-Match: {tag[2:]}",
        "If-None-Match: *",
        f'If-None-Match: "a", {tag}',
        f"If-Modified-Since: {whole['last-modified']}",
    ):
        status, fields, body = talk.ask(get_octets(PATH, f"{condition}\r\n"))
        assert (status, body) == (304, b""), condition
        for name in ("etag", "expires", "last-modified"):
            assert fields[name] == whole[name]
    dates = [
        "yesterday",
        "",
        "0",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 31 Feb 2100 00:00:00 GMT",
        "Fri, 01 Jan 99999 00:00:00 GMT",
    ]
    dates += [
        "Fri, 01 Jan 2100 00:00:00 +9999",
        "Fri, 01 Jan 2100 99:00:00 GMT",
        "Fri, 01 Jan 0001 00:00:00 +2359",
        "\xff",
        "1" * 5000,
        ",,,",
        "a b c d e f g h",
    ]
    for date in dates:
        status, _, _ = talk.ask(get_octets(PATH, f"If-Modified-Since: {date}\r\n"))
        assert status == 200, date
    for tags in ('"a"', "garbage", "", ",", '"', "W/"):
        assert (
            talk.ask(get_octets(PATH, f"If-None-Match: {tags}\r\nIf-Modified-Since: {whole['last-modified']}\r\n"))[0]
            == 200
        ), tags


def test_a_range_is_right_or_ignored(talk: Talk) -> None:
    """H-19."""
    status, fields, body = talk.ask(get_octets(PATH, "Range: bytes=0-9\r\n"))
    whole = talk.ask(get_octets(PATH))[2]
    assert (status, body) in ((200, whole), (206, whole[:10]))
    assert "content-range" in fields or status == 200


def test_a_crl_over_http_1_0(instance: Instance) -> None:
    """With a length, closed at the end."""
    head, _, body = said_until_closed(instance.port, f"GET {PATH} HTTP/1.0\r\n\r\n".encode()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"content-length: %d" % len(body) in head.lower()


@pytest.mark.parametrize(
    "path", ["/nobody", "/demo/", "/demo/delta", "/demo/0", "/", "", "/%00", "/..%2f..", "/demo%00", "/DEMO"]
)
def test_other_crls_are_404(talk: Talk, path: str) -> None:
    """Not cacheable."""
    status, fields, _ = talk.ask(get_octets(PATH.removesuffix("/demo") + path))
    assert status == 404
    assert fields["cache-control"] == "no-store"
