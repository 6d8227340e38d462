"""The loop's line to the signer: each question ends, with its own answer, whatever the signer says or does not say."""

import base64
import contextlib
import itertools
import random
import socket
import threading
import time
from pathlib import Path

import pytest

from _fastocsp.ocsp.signer_wire import DONE, pack_frame, pack_signed
from _fastocsp.revoked.rows import merge_groups
from _fastocsp.wire.codes import INTERNAL_ERROR, REVOKED, TRY_LATER, UNAUTHORIZED
from responder.edge.http_answers import OCSPAnswer, refusal_answer
from responder.edge.slow_path import respond
from responder.errors import TryLater, Unauthorized
from tests.responder.hotpath.test_loop_lanes import undated
from tests.support.breakage import busyness
from tests.support.ca import Authority
from tests.support.edge_loop import (
    ISSUER_NO,
    Asked,
    Running,
    SignerSide,
    ask,
    der_of,
    lease,
    nonce_question,
    question,
    read_answer,
    until,
)
from tests.support.http import get_octets, post_octets

GOOD = b"\x05" * 8
PLAIN = "/.well-known/pki/ocsp/demo"


def nonce_post(
    authority: Authority, nonce: bytes, serial: bytes = GOOD, path: str = PLAIN, *, close: bool = False
) -> bytes:
    """A POST with that nonce."""
    return post_octets(nonce_question(authority, serial, nonce), path, close=close)


def python_says(answer: OCSPAnswer, *, keep_alive: bool) -> bytes:
    """The slow lane's bytes, without the date."""
    written = respond(
        answer,
        is_get=False,
        if_none_match=b"",
        if_modified_since=b"",
        now=int(time.time()),
        max_age=3600,
        keep_alive=keep_alive,
    )
    return undated(written)


@pytest.mark.parametrize("close", [False, True], ids=["keep-alive", "close"])
@pytest.mark.parametrize("what", ["answer", "tryLater", "unauthorized", "internalError"])
def test_the_loop_writes_what_python_would(tmp_path: Path, authority: Authority, what: str, close: bool) -> None:
    """OCSPAnswer and refusals, byte for byte, and the counters that Python would count."""
    wanted = {
        "answer": (DONE, OCSPAnswer(b"", "nonce"), "answers:nonce"),
        "tryLater": (TRY_LATER, refusal_answer(TryLater()), "answers:try_later"),
        "unauthorized": (UNAUTHORIZED, refusal_answer(Unauthorized()), "answers:unauthorized"),
        "internalError": (INTERNAL_ERROR, refusal_answer(TryLater()), "answers:try_later"),
    }
    outcome, answer, label = wanted[what]
    with Running(tmp_path, authority) as running, running.signer() as signer, running.connect() as client:
        client.sendall(nonce_post(authority, b"n" * 32, close=close))
        (asked,) = signer.hear()
        assert asked == Asked(asked.number, ISSUER_NO, 1, GOOD, b"n" * 32)
        signer.say(signer.signed(asked) if outcome == DONE else pack_frame(asked.number, outcome, b""))
        head, body = read_answer(client, bytearray())
        if outcome == DONE:
            answer = answer._replace(body=der_of(asked))
        assert undated(head + b"\r\n\r\n" + body) == python_says(answer, keep_alive=not close)
        assert running.counted(label) == 1
        assert running.counted("signed_live") == (outcome == DONE)
        assert running.slow == []
        if close:
            assert client.recv(1) == b""
        else:
            running.put(GOOD)
            assert ask(client, post_octets(question(authority, GOOD)))[0].startswith(b"HTTP/1.1 200")


def test_a_get_is_asked_as_well(tmp_path: Path, authority: Authority) -> None:
    """With a condition too: what answers a nonce is never a 304."""
    with Running(tmp_path, authority) as running, running.signer() as signer, running.connect() as client:
        der = nonce_question(authority, GOOD, b"n")
        client.sendall(get_octets("/ocsp/" + base64.b64encode(der).decode(), "If-None-Match: *\r\n"))
        (asked,) = signer.hear()
        signer.say(signer.signed(asked))
        assert read_answer(client, bytearray())[1] == der_of(asked)


@pytest.mark.parametrize("how", ["no line", "another path", "an unknown issuer", "no serial", "33 octets"])
def test_what_is_not_plain_goes_to_python(tmp_path: Path, authority: Authority, how: str) -> None:
    """Nothing is asked of the signer that the loop has not checked as Python would."""
    with Running(tmp_path, authority) as running:
        signer = None if how == "no line" else running.signer()
        octets = {
            "no line": nonce_post(authority, b"n"),
            "another path": nonce_post(authority, b"n", path="/.well-known/pki/ocsp/other"),
            "an unknown issuer": nonce_post(authority, b"n").replace(b"\x2b\x0e\x03\x02\x1a", b"\x2b\x0e\x03\x02\x1b"),
            "no serial": nonce_post(authority, b"n", b"\x80" + b"\1" * 7),
            "33 octets": nonce_post(authority, b"n" * 33),
        }[how]
        with running.connect() as client:
            assert ask(client, octets)[1] == b"slow"
            if signer is not None:
                client.sendall(nonce_post(authority, b"last"))
                assert signer.hear()[0].nonce == b"last"
                signer.line.close()
                assert read_answer(client, bytearray())[1] == b"slow"
        assert len(running.slow) == (1 if signer is None else 2)


def test_no_question_gets_the_answer_of_another(tmp_path: Path, authority: Authority) -> None:
    """Twenty connections, pipelined, some closed midway; the signer answers in any order, in pieces of any size."""
    rng = random.Random(7)
    with Running(tmp_path, authority, nonce_lane=64) as running, running.signer() as signer:
        ended = threading.Event()
        answering = threading.Thread(target=answer_at_random, args=(signer, rng, ended))
        answering.start()
        numbers = itertools.count()
        wrong: list[tuple[bytes, bytes]] = []

        def stream() -> None:
            for _ in range(15):
                with running.connect(20) as client:
                    nonces = [next(numbers).to_bytes(4, "big") * 8 for _ in range(6)]
                    client.sendall(b"".join(nonce_post(authority, nonce, b"\x05" + nonce[:4]) for nonce in nonces))
                    left = bytearray()
                    for nonce in nonces[: rng.randrange(1, 7)]:
                        body = read_answer(client, left)[1]
                        if body != der_of(Asked(0, 0, 0, b"\x05" + nonce[:4], nonce)):
                            wrong.append((nonce, body))

        threads = [threading.Thread(target=stream) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        ended.set()
        answering.join(20)
        assert wrong == []
        assert running.counted("answers:nonce") >= 300
        assert running.counted("answers:try_later") == 0


def answer_at_random(signer: SignerSide, rng: random.Random, ended: threading.Event) -> None:
    """Until the line ends; what is left over is answered in the next round."""
    waiting: list[Asked] = []
    signer.line.settimeout(0.002)
    while not ended.is_set():
        try:
            waiting += signer.hear()
            if len(waiting) < 10:
                continue
        except TimeoutError:
            pass
        rng.shuffle(waiting)
        octets = b"".join(signer.signed(asked) for asked in waiting)
        waiting.clear()
        signer.line.settimeout(5)
        while octets:
            part = rng.randrange(1, 400)
            signer.say(octets[:part])
            octets = octets[part:]
        signer.line.settimeout(0.002)


def test_a_signer_that_says_nothing_is_waited_for_that_long(tmp_path: Path, authority: Authority) -> None:
    """Then `tryLater`, as Python says it; the answer that comes late is nobody's, the next question has its own."""
    with Running(tmp_path, authority, asking_s=0.4) as running, running.signer() as signer, running.connect() as client:
        begun = time.monotonic()
        head, body = ask(client, nonce_post(authority, b"first"))
        assert 0.4 <= time.monotonic() - begun < 2 * busyness()
        assert undated(head + b"\r\n\r\n" + body) == python_says(refusal_answer(TryLater()), keep_alive=True)
        assert (running.counted("signer_failed"), running.counted("answers:try_later")) == (1, 1)
        (first,) = signer.hear()
        client.sendall(nonce_post(authority, b"second"))
        (second,) = signer.hear()
        signer.say(signer.signed(first) + signer.signed(second))
        assert read_answer(client, bytearray())[1] == der_of(second)
        assert running.slow == []
        assert running.lost_lines == 0


def test_a_late_answer_meets_nobody_in_the_place_of_its_question(tmp_path: Path, authority: Authority) -> None:
    """Whichever later question has that place: forty of them, each told what was meant for the first."""
    limits = {"asking_s": 0.3, "nonce_lane": 4}
    with Running(tmp_path, authority, **limits) as running, running.signer() as signer, running.connect() as client:
        ask(client, nonce_post(authority, b"first"))
        (first,) = signer.hear()
        for number in range(40):
            client.sendall(nonce_post(authority, bytes((number,))))
            (asked,) = signer.hear()
            signer.say(signer.signed(first) + signer.signed(asked))
            assert read_answer(client, bytearray())[1] == der_of(asked)


@pytest.mark.parametrize("how", ["closed", "reset", "not a frame", "too long", "no record", "two records", "no DER"])
def test_a_line_that_breaks_leaves_its_questions_to_python(tmp_path: Path, authority: Authority, how: str) -> None:
    """Every one of them; another line is asked for, and serves."""
    with Running(tmp_path, authority) as running:
        signer = running.signer()
        clients = [running.connect() for _ in range(5)]
        for client in clients:
            client.sendall(nonce_post(authority, b"n"))
        asked = signer.hear(5)[2]
        record = running.sign(GOOD)
        octets = {
            "not a frame": b"\0\0\0\1" + b"x" * 20,
            "too long": (1 << 20).to_bytes(4, "big") + b"\0" * 70000,
            "no record": pack_signed(asked.number, b"", b"DER"),
            "two records": pack_frame(
                asked.number, DONE, b"\2" + (len(record).to_bytes(2, "big") + record) * 2 + b"DER"
            ),
            "no DER": pack_signed(asked.number, record, b""),
        }.get(how, b"")
        if octets:
            signer.say(octets)
        if how == "reset":
            signer.line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if not octets:
            signer.line.close()
        for client in clients:
            assert read_answer(client, bytearray())[1] == b"slow"
        until(lambda: running.lost_lines == 1)
        assert len(running.slow) == 5
        with running.signer() as other:
            clients[0].sendall(nonce_post(authority, b"again"))
            (again,) = other.hear()
            other.say(other.signed(again))
            assert read_answer(clients[0], bytearray())[1] == der_of(again)
        for client in clients:
            client.close()
        signer.line.close()


@pytest.mark.parametrize("how", ["revoked meanwhile", "the lease has run out", "a new image"])
def test_the_gate_is_asked_after_the_signer(tmp_path: Path, authority: Authority, how: str) -> None:
    """What it does not let pass is not answered, it goes to Python; `revoked` as the set has it passes."""
    with Running(tmp_path, authority) as running, running.signer() as signer, running.connect() as client:
        client.sendall(nonce_post(authority, b"n"))
        (asked,) = signer.hear()
        if how == "the lease has run out":
            running.feed.renew(lease(-1))
        elif how == "a new image":
            running.feed.replace({})
        else:
            revoked_at = int(time.time()) - 700
            running.feed.replace(merge_groups({}, [(1, ISSUER_NO, GOOD, revoked_at, 1)]))
            running.lane.gate.remap()
        signer.say(signer.signed(asked))
        assert read_answer(client, bytearray())[1] == b"slow"
        assert running.counted("contradicted") == (how == "revoked meanwhile")
        assert running.counted("answers:nonce") == 0
        if how == "revoked meanwhile":
            client.sendall(nonce_post(authority, b"again"))
            (asked,) = signer.hear()
            signer.say(signer.signed(asked, status=REVOKED, reason=1, revocation_time=revoked_at))
            assert read_answer(client, bytearray())[1] == der_of(asked)


def test_who_goes_away_keeps_his_place_until_the_signer_is_done(tmp_path: Path, authority: Authority) -> None:
    """Asking and vanishing is no way round the limit, and its answer meets nobody."""
    with Running(tmp_path, authority, nonce_lane=1) as running, running.signer() as signer:
        with running.connect() as vanishing:
            vanishing.sendall(nonce_post(authority, b"gone"))
            (gone,) = signer.hear()
            vanishing.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        until(lambda: running.loop.open_connections == 0)
        with running.connect() as client:
            assert ask(client, nonce_post(authority, b"n"))[1] == bytes.fromhex("30030a0103")
            signer.say(signer.signed(gone))
            until(lambda: running.counted("signed_live") == 1)
            client.sendall(nonce_post(authority, b"n"))
            (asked,) = signer.hear()
            signer.say(signer.signed(asked))
            assert read_answer(client, bytearray())[1] == der_of(asked)


def test_a_signer_that_does_not_read_costs_no_question(tmp_path: Path, authority: Authority) -> None:
    """The line fills up, what does not fit goes to Python, and what was sent is answered when the signer goes on."""
    with Running(tmp_path, authority, max_connections=6000, nonce_lane=6000, slow_lane=6000, asking_s=30) as running:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        running.loop.take_signer(ours.detach())
        with SignerSide(running, theirs) as signer:
            clients = [running.connect(20) for _ in range(1500)]
            for number, client in enumerate(clients):
                client.sendall(nonce_post(authority, number.to_bytes(4, "big") * 8))
            until(lambda: len(running.slow) > 0, 20)
            signer.line.settimeout(0.2)
            answered = 0
            while answered + len(running.slow) < 1500:
                with contextlib.suppress(TimeoutError):
                    (asked,) = signer.hear()
                    signer.say(signer.signed(asked))
                    answered += 1
            bodies = [read_answer(client, bytearray())[1] for client in clients]
            for number, body in enumerate(bodies):
                assert body == b"slow" or body.endswith(number.to_bytes(4, "big") * 8)
            assert 0 < bodies.count(b"slow") == 1500 - answered
            for client in clients:
                client.close()


def test_the_drain_waits_for_the_signer(tmp_path: Path, authority: Authority) -> None:
    """A question under way is answered, then its connection is closed and the loop is empty."""
    with Running(tmp_path, authority) as running, running.signer() as signer, running.connect() as client:
        client.sendall(nonce_post(authority, b"n"))
        (asked,) = signer.hear()
        running.loop.drain()
        assert not running.empty.wait(0.3)
        signer.say(signer.signed(asked))
        assert read_answer(client, bytearray())[1] == der_of(asked)
        assert client.recv(1) == b""
        assert running.empty.wait(5)


def test_a_loop_that_ends_closes_its_line(tmp_path: Path, authority: Authority) -> None:
    """With a question under way: nothing is left behind."""
    with Running(tmp_path, authority) as running:
        signer = running.signer()
        with running.connect() as client:
            client.sendall(nonce_post(authority, b"n"))
            signer.hear()
    del running.loop
    assert signer.line.recv(1) == b""
    signer.line.close()
