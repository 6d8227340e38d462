"""Nonces while the signer is stopped, killed and started again: every question ends, each answer is its own."""

import itertools
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

from tests.e2e.test_hot_cold import COLD, comparable
from tests.support.fixtures import scratch
from tests.support.http import Talk, certificate, post_octets, question
from tests.support.instance import Instance

TIMEOUT_S = 1.0
#: A question that the signer has lets a moment pass until its time is up, and Python may ask once more.
LONGEST_S = 2 * TIMEOUT_S + 2
TRY_LATER = bytes.fromhex("30030a0103")
PIPELINED = 3


@pytest.fixture(scope="module")
def served() -> Iterator[Instance]:
    """One worker whose signer may be killed."""
    folder = scratch()
    running = Instance(folder / "data", workers=1, FASTOCSP_SIGNER_TIMEOUT=f"{TIMEOUT_S}s").start()
    yield running
    running.stop()
    shutil.rmtree(folder)


class Stream:
    """Clients that ask about everything, with nonces that nobody else has, until told to end."""

    def __init__(self, instance: Instance, clients: int = 6) -> None:
        facts = instance.facts
        self._port, self._issuer = instance.port, certificate(facts["issuer_cert"])
        self._certs = [certificate(path) for path in sorted(Path(facts["certs_dir"]).glob("*.pem"))[:40]]
        self._ended = threading.Event()
        self.said: Counter[str] = Counter()
        self.wrong: list[object] = []
        self.longest_s = 0.0
        self._threads = [threading.Thread(target=self._guarded, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Wait for what is under way."""
        self._ended.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _guarded(self, number: int) -> None:
        try:
            self._ask(number)
        except Exception as error:
            self.wrong.append(error)

    def _ask(self, number: int) -> None:
        with Talk(self._port, timeout_s=20) as talk:
            for turn in itertools.count(number):
                if self._ended.is_set():
                    return
                asked = [(self._certs[(turn * 7 + n) % len(self._certs)], os.urandom(32)) for n in range(PIPELINED)]
                ders = [question(cert, self._issuer, nonce=nonce) for cert, nonce in asked]
                begun = time.monotonic()
                talk.socket.sendall(b"".join(post_octets(der) for der in ders))
                for cert, nonce in asked:
                    status, _, body = talk.read()
                    now = time.monotonic()
                    self.longest_s, begun = max(self.longest_s, now - begun), now
                    self._judge(cert, nonce, status, body)

    def _judge(self, cert: x509.Certificate, nonce: bytes, status: int, body: bytes) -> None:
        if body == TRY_LATER:
            self.said["tryLater"] += 1
            return
        response = ocsp.load_der_ocsp_response(body)
        told = response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        if (status, told, response.serial_number) != (200, nonce, cert.serial_number):
            self.wrong.append((status, told, nonce))
        key = response.certificates[0].public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))
        self.said["answered"] += 1


def until_answered(stream: Stream, timeout_s: float = 15.0) -> None:
    """Fifty more answers."""
    goal, deadline = stream.said["answered"] + 50, time.monotonic() + timeout_s
    while stream.said["answered"] < goal:
        assert time.monotonic() < deadline, (stream.said, stream.wrong)
        time.sleep(0.02)


def test_every_question_ends_while_the_signer_dies_and_comes_back(served: Instance) -> None:
    """Stopped for longer than its time, let go on, killed twice: an answer with its own nonce, or tryLater, in time."""
    stream = Stream(served)
    try:
        until_answered(stream)
        pid = served.facts["pids"]["signer"]
        os.kill(pid, signal.SIGSTOP)
        before = stream.said["tryLater"]
        time.sleep(3 * TIMEOUT_S)
        os.kill(pid, signal.SIGCONT)
        assert stream.said["tryLater"] > before, "the stop did not take hold"
        assert '"error": "no answer in time"' in (served.folder / "logs" / "edge.log").read_text()
        until_answered(stream)
        for _ in range(2):
            os.kill(served.facts["pids"]["signer"], signal.SIGKILL)
            until_answered(stream)
    finally:
        stream.end()
    assert stream.wrong == []
    assert stream.longest_s < LONGEST_S


def test_a_nonce_is_answered_by_the_loop_as_by_the_cold_lane(served: Instance) -> None:
    """Status and fields, kept alive or not; the bodies differ by what is signed anew."""
    facts = served.facts
    der = question(certificate(facts["good_cert"]), certificate(facts["issuer_cert"]), nonce=b"n" * 32)
    for close in (False, True):
        heads = []
        for extra in ("", COLD):
            with Talk(served.port) as talk:
                status, fields, body = talk.ask(post_octets(der, close=close, extra=extra))
            assert fields.pop("content-length") == str(len(body))
            heads.append(comparable((status, fields, b"")))
            assert ocsp.load_der_ocsp_response(body).certificate_status is ocsp.OCSPCertStatus.GOOD
        assert heads[0] == heads[1]
