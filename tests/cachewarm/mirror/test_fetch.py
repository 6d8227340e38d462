"""Fetching from sources that fail, stall, lie and lead astray."""

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from cachewarm.crl.rules import Rule
from cachewarm.mirror.deadline_socket import Watch, reach_of
from cachewarm.mirror.faults import NotMirrored, SourceFault
from cachewarm.mirror.fetch import Limits, Validators, fetch
from cachewarm.mirror.pem import crls_in
from tests.support.breakage import busyness, is_within
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
    assert is_within(begun, LIMITS.total_s + 1)


def test_five_redirects_are_followed_and_no_sixth(source: Source) -> None:
    """Each to the next; relative ones as well."""
    for hop in range(6):
        source.answers[f"/{hop}"] = Answer(status=301, fields={"Location": f"/{hop + 1}"})
    source.put(DER, "/6")
    assert fetch(source.url("/1"), Validators(), LIMITS).body == DER
    assert fault_of(source.url("/0")) is SourceFault.REDIRECTS


def test_a_body_without_a_length_is_bounded_too(source: Source) -> None:
    """Bytes are counted as they come."""
    source.put(bytes(5000), fields={}, claimed=4000)
    with pytest.raises(NotMirrored):
        fetch(source.url(), Validators(), Limits(1000, 0.5, 1.5))


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server that sends header bytes for ever, each well within the idle limit."""
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
    assert 1.0 < time.monotonic() - begun < 3 * busyness()


def test_nobody_there_no_file_no_scheme(tmp_path: Path) -> None:
    """Unreachable, each."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/", (tmp_path / "none").as_uri(), "ldap://127.0.0.1/", "file://host/x"):
        assert fault_of(url) is SourceFault.UNREACHABLE
    path = tmp_path / "large"
    path.write_bytes(bytes(5000))
    assert fault_of(path.as_uri()) is SourceFault.OVERSIZED


def test_a_304_to_an_unconditional_request_is_a_failure(source: Source) -> None:
    """There is nothing that could be unchanged."""
    source.answers["/crl"] = Answer(status=304)
    assert fault_of(source.url()) is SourceFault.STATUS


@pytest.mark.parametrize("value", ["\x01", "é", "x" * 2000])
def test_validators_that_cannot_be_sent_back_are_not_kept(source: Source, value: str) -> None:
    """One that http.client refuses to send would end every later request."""
    source.put(DER, fields={"ETag": value})
    found = fetch(source.url(), Validators(), LIMITS)
    assert (found.body, found.validators.etag) == (DER, None)


def test_a_file_source_is_a_regular_file(tmp_path: Path) -> None:
    """Neither a FIFO, which would wait for a writer, nor a device, nor a folder."""
    os.mkfifo(tmp_path / "fifo")
    begun = time.monotonic()
    for path in (tmp_path / "fifo", Path("/dev/zero"), tmp_path):
        assert fault_of(path.as_uri()) is SourceFault.UNREACHABLE
    assert is_within(begun, 1)


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("1.1.1.1", 2),
        ("2606:4700:4700::1111", 2),
        ("10.1.2.3", 1),
        ("192.168.0.1", 1),
        ("fd00::1", 1),
        ("127.0.0.1", 0),
        ("::1", 0),
        ("::ffff:127.0.0.1", 0),
        ("169.254.169.254", 0),
        ("fe80::1%eth0", 0),
        ("0.0.0.0", 0),
    ],
)
def test_addresses_are_public_private_or_local(address: str, reach: int) -> None:
    """Who can reach them."""
    assert reach_of(address) == reach


@pytest.mark.parametrize(
    ("first", "then"), [("1.1.1.1", "10.0.0.1"), ("1.1.1.1", "127.0.0.1"), ("10.0.0.1", "10.0.0.1")]
)
def test_a_fetch_never_goes_further_inwards(first: str, then: str) -> None:
    """Checked on the address that is connected to, whatever name it has; outwards and back is inwards."""
    watch = Watch()
    for ip in (first, "8.8.8.8"):
        watch.allow(ip, "outside.example")
        watch.arrive(ip)
    with pytest.raises(NotMirrored) as refused:
        watch.allow(then, "rebound.example")
    assert refused.value.fault is SourceFault.REDIRECTS


def test_the_body_of_a_redirect_is_not_read(source: Source) -> None:
    """However long it is: it would be in memory at once."""
    source.answers["/crl"] = Answer(b"x" * 50_000, status=302, fields={"Location": "/other"}, pause_s=0.01)
    source.put(DER, "/other")
    assert fetch(source.url(), Validators(), LIMITS).body == DER


def test_a_redirect_to_another_scheme_is_refused(source: Source) -> None:
    """Neither up nor down; the message names the URL and the options to configure it with."""
    source.answers["/crl"] = Answer(status=302, fields={"Location": "https://127.0.0.1/crl"})
    with pytest.raises(NotMirrored, match="may not change the scheme") as refused:
        fetch(source.url(), Validators(), LIMITS)
    assert "https://127.0.0.1/crl" in str(refused.value)
    assert "--crl-source (--delta-url for a delta)" in str(refused.value)
    assert refused.value.fault is SourceFault.REDIRECTS


def test_a_fetch_can_be_ended_from_outside(dripping: str) -> None:
    """A warmer that stops does not wait for a slow source."""
    watch = Watch()
    timer = threading.Timer(0.3, watch.end)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(NotMirrored):
        fetch(dripping, Validators(), Limits(4096, 20, 30), watch)
    assert is_within(begun, 3)
