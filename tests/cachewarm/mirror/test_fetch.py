"""Fetching from sources that fail, stall, lie and lead astray."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from cachewarm.crl.rules import Rule
from cachewarm.mirror.faults import NotMirrored, SourceFault
from cachewarm.mirror.fetch import Limits, Validators, fetch
from cachewarm.mirror.pem import crls_in
from tests.support.foreign_ca import Answer, ForeignCA, Source, serving

LIMITS = Limits(4096, 0.5, 1.5)
CA = ForeignCA()
DER = CA.crl(1, {5: None})


def fault_of(url: str, limits: Limits = LIMITS) -> SourceFault | Rule:
    """Why nothing came."""
    with pytest.raises(NotMirrored) as refused:
        fetch(url, Validators(), limits)
    return refused.value.fault


def test_der_and_pem_are_the_same_crl(source: Source, tmp_path: Path) -> None:
    """Over http and from a file."""
    for number, body in enumerate((DER, CA.pem(DER), b"\r\n" + CA.pem(DER).replace(b"\n", b"\r\n"))):
        source.put(body)
        assert crls_in(fetch(source.url(), Validators(), LIMITS).body or b"") == [DER]
        path = tmp_path / f"{number} crl"
        path.write_bytes(body)
        assert crls_in(fetch(path.as_uri(), Validators(), LIMITS).body or b"") == [DER]


def test_https_is_believed_only_under_a_root_that_the_host_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And under the name that the URL has."""
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "root.pem")
    with serving(tls) as secure:
        secure.put(DER)
        assert fault_of(secure.url()) is SourceFault.UNREACHABLE
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
        assert fetch(secure.url(), Validators(), LIMITS).body == DER
        assert fault_of(secure.url().replace("localhost", "127.0.0.1")) is SourceFault.UNREACHABLE


def test_what_is_unchanged_is_not_sent_again(source: Source) -> None:
    """The entity tag and the date go back; a 304 keeps them."""
    source.put(DER, fields={"ETag": '"a"', "Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT"})
    first = fetch(source.url(), Validators(), LIMITS)
    second = fetch(source.url(), first.validators, LIMITS)
    assert second.body is None
    assert second.validators == first.validators
    assert source.asked[1][1]["if-none-match"] == '"a"'
    assert source.asked[1][1]["if-modified-since"] == "Sat, 01 Jan 2022 00:00:00 GMT"


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(status=404), SourceFault.STATUS),
        (Answer(b"x", status=503), SourceFault.STATUS),
        (Answer(b"x", status=206), SourceFault.STATUS),
        (Answer(bytes(5000)), SourceFault.OVERSIZED),
        (Answer(DER, claimed=len(DER) + 1), SourceFault.TRUNCATED),
        (Answer(DER, pause_s=0.3), SourceFault.SLOW),
        (Answer(DER, silent_s=0.8), SourceFault.SLOW),
        (Answer(DER, fields={"Content-Encoding": "gzip"}), Rule.FORM),
        (Answer(status=302, fields={"Location": "/crl"}), SourceFault.REDIRECTS),
        (Answer(status=302, fields={"Location": "file:///etc/hostname"}), SourceFault.REDIRECTS),
        (Answer(status=302, fields={"Location": "ftp://127.0.0.1/crl"}), SourceFault.REDIRECTS),
        (Answer(status=308, fields={}), SourceFault.REDIRECTS),
    ],
    ids=lambda value: value.value if isinstance(value, SourceFault | Rule) else "",
)
def test_each_failure_has_its_word(source: Source, answer: Answer, fault: SourceFault | Rule) -> None:
    """And comes within the time limit."""
    source.answers["/crl"] = answer
    begun = time.monotonic()
    assert fault_of(source.url()) is fault
    assert time.monotonic() - begun < LIMITS.total_s + 1


def test_five_redirects_are_followed_and_no_sixth(source: Source) -> None:
    """Each to the next; relative ones as well."""
    for hop in range(6):
        source.answers[f"/{hop}"] = Answer(status=301, fields={"Location": f"/{hop + 1}"})
    source.put(DER, "/6")
    assert fetch(source.url("/1"), Validators(), LIMITS).body == DER
    assert fault_of(source.url("/0")) is SourceFault.REDIRECTS


def test_a_body_without_a_length_is_bounded_too(source: Source) -> None:
    """Octets are counted as they come."""
    source.put(bytes(5000), fields={}, claimed=4000)
    with pytest.raises(NotMirrored):
        fetch(source.url(), Validators(), Limits(1000, 0.5, 1.5))


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server that sends header octets for ever, each well within the idle limit."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
            while not over.wait(0.05):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/crl"
    over.set()
    thread.join()
    listener.close()


def test_the_time_limit_is_for_the_whole(dripping: str) -> None:
    """A header that never ends is cut off by the clock, not by the idle limit."""
    begun = time.monotonic()
    assert fault_of(dripping) is SourceFault.SLOW
    assert 1.0 < time.monotonic() - begun < 3


def test_nobody_there_no_file_no_scheme(tmp_path: Path) -> None:
    """Unreachable, each."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/", (tmp_path / "none").as_uri(), "ldap://127.0.0.1/", "file://host/x"):
        assert fault_of(url) is SourceFault.UNREACHABLE
    path = tmp_path / "large"
    path.write_bytes(bytes(5000))
    assert fault_of(path.as_uri()) is SourceFault.OVERSIZED
