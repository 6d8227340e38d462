"""A GET that was answered a moment ago is known by its octets; what is answered to it is decided anew each time."""

from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest

from _fastocsp import codes
from _fastocsp.issuers import IssuerIndex
from tests.e2e.asking import get_octets
from tests.fastocsp.authority import Authority
from tests.responder.edge.running import ISSUER_NO, Running, ask, lease, question

SERIAL, OTHER = b"\x05" * 16, b"\x06" * 16


def get(authority: Authority, serial: bytes, path: str = "/ocsp/", extra: str = "") -> bytes:
    """The GET about that serial."""
    return get_octets(path + quote(b64encode(question(authority, serial)).decode(), safe=""), extra)


def test_the_second_answer_is_the_first(tmp_path: Path, authority: Authority) -> None:
    """Through every path and condition, and beside another serial that takes no answer of it."""
    with Running(tmp_path, authority) as running, running.connect() as client:
        bodies = {serial: running.put(serial) for serial in (SERIAL, OTHER)}
        for path in ("/ocsp/", "/.well-known/pki/ocsp/demo/"):
            for serial, body in list(bodies.items()) * 3:
                assert ask(client, get(authority, serial, path))[1] == body
        head, _ = ask(client, get(authority, SERIAL))
        tag = head.partition(b"ETag: ")[2].partition(b"\r\n")[0].decode()
        for _ in range(2):
            extra = f"If-None-Match: {tag}\r\n"
            assert ask(client, get(authority, SERIAL, extra=extra))[0].startswith(b"HTTP/1.1 304")
        assert not running.slow


@pytest.mark.parametrize("change", ["renewed", "gone", "of another issuer", "lease over"])
def test_a_change_is_seen_at_once(tmp_path: Path, authority: Authority, change: str) -> None:
    """A newer record is served; without record, issuer or lease the question is the slow lane's."""
    octets = get(authority, SERIAL)
    with Running(tmp_path, authority) as running, running.connect() as client:
        first = running.put(SERIAL)
        assert [ask(client, octets)[1] for _ in range(3)] == [first] * 3
        if change == "renewed":
            newer = running.put(SERIAL, seq=99)
            assert newer != first
            assert ask(client, octets)[1] == newer
            return
        if change == "gone":
            running.table.discard(ISSUER_NO, codes.SHA1, SERIAL)
        elif change == "of another issuer":
            running.lane.take_issuers(IssuerIndex())
        else:
            running.feed.renew(lease(-1))
        assert ask(client, octets)[1] == b"slow"


def test_a_path_that_names_another_issuer_is_another_target(tmp_path: Path, authority: Authority) -> None:
    """What follows the issuer's name is the same; so is what follows a shorter path."""
    with Running(tmp_path, authority) as running, running.connect() as client:
        body = running.put(SERIAL)
        assert ask(client, get(authority, SERIAL, "/.well-known/pki/ocsp/demo/"))[1] == body
        for path in ("/.well-known/pki/ocsp/dem/", "/.well-known/pki/ocsp/demo2/", "/ocsp/demo/"):
            for _ in range(2):
                assert ask(client, get(authority, SERIAL, path))[1] == b"slow"


def test_the_limit_counts_what_is_known(tmp_path: Path, authority: Authority) -> None:
    """The fourth question of three a minute is refused."""
    octets = get(authority, SERIAL)
    with Running(tmp_path, authority, per_minute=3) as running, running.connect() as client:
        body = running.put(SERIAL)
        said = [ask(client, octets)[1] for _ in range(4)]
        assert said == [body] * 3 + [bytes.fromhex("30030a0106")]
