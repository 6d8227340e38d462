"""A GET that was answered a moment ago is known by its bytes; what is answered to it is decided anew each time."""

import random
import struct
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest

from _fastocsp.ocsp.issuers import IssuerIndex
from _fastocsp.wire import codes
from tests.support.ca import Authority
from tests.support.edge_loop import ISSUER_NO, Running, ask, lease, question
from tests.support.http import get_octets

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


def test_another_responder_is_seen_at_once(tmp_path: Path, authority: Authority) -> None:
    """Its certificate is in the next answer: nothing is left of an old template, which lay where the new one does."""
    octets = [get(authority, SERIAL), get(authority, OTHER)]
    with Running(tmp_path, authority) as running, running.connect() as client:
        for serial in (SERIAL, OTHER):
            running.put(serial)
        for number in range(40):
            running.template = authority.template(codes.SHA1, certs=[b"\x30\x01" + bytes([number])])
            running.lane.take_issuers(running.index())
            for asked, serial in zip(octets * 2, (SERIAL, OTHER) * 2, strict=True):
                record = running.table.get(ISSUER_NO, codes.SHA1, serial)
                assert record is not None
                assert ask(client, asked)[1] == running.template.encode(serial, record)


def test_records_that_move(tmp_path: Path, authority: Authority) -> None:
    """Whatever was put, grew, shrank, went or gave its room to another: the answer is the one that the table has.

    The table looks each record up anew, while the loop begins where it was found last.
    """
    rng = random.Random(1)
    serials = [b"\x05" + rng.randbytes(15) for _ in range(60)]
    octets = [get(authority, serial) for serial in serials]
    with Running(tmp_path, authority) as running, running.connect() as client:
        for seq in range(6000):
            at = rng.randrange(60)
            if rng.random() < 0.1:
                running.table.discard(ISSUER_NO, codes.SHA1, serials[at])
            elif rng.random() < 0.4:
                # now and then all of one size, so that chunks change their class
                size = rng.choice([64, 500, 900]) if seq // 500 % 2 else rng.randrange(40, 1000)
                running.put_bare(serials[at], size, seq)
                for _ in range(10):
                    running.put_bare(b"\x06" + rng.randbytes(15), size, seq)
            asked = rng.randrange(60)
            known = running.table.get(ISSUER_NO, codes.SHA1, serials[asked])
            body = running.template.encode(serials[asked], known) if known else b"slow"
            assert ask(client, octets[asked])[1] == body
        assert running.table.evicted > 1000
        assert running.counted("answers:hit") > 2000


def test_what_looks_like_an_entry_is_none(tmp_path: Path, authority: Authority) -> None:
    """Where a record was found there is now the inside of a larger one, made to look like the record of a later day."""
    rng, octets = random.Random(1), get(authority, SERIAL)
    with Running(tmp_path, authority) as running, running.connect() as client:
        for seq in range(1, 200):
            before = [b"\x07" + rng.randbytes(15) for _ in range(rng.randrange(1, 200))]
            for serial in [*before, SERIAL]:
                running.put_bare(serial, 64, seq)
            record = running.table.get(ISSUER_NO, codes.SHA1, SERIAL)
            assert record is not None
            assert ask(client, octets)[1] == running.template.encode(SERIAL, record)
            forged = record[:5] + (10**6).to_bytes(6, "big") + record[11:]
            whose = len(forged) << 21 | len(SERIAL) << 16 | ISSUER_NO
            entry = struct.pack("<QI", codes.SHA1 << 56 | 2, whose) + SERIAL + forged
            entry += bytes(-len(entry) % 8)
            for serial in [*before, SERIAL]:
                assert running.table.discard(ISSUER_NO, codes.SHA1, serial)
            # in a signature, which begins at a multiple of eight: again and again, at every place in turn
            for number in range(60 if seq > 1 else 1000):
                turned = number % (len(entry) // 8) * 8
                signature = ((entry[turned:] + entry[:turned]) * 9)[:1000]
                running.put_bare(b"\x06" + rng.randbytes(15), 1000, seq, signature)
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
