"""What Locust's users do; chosen by SCENARIO, options in `run`. A failure is an answer that is wrong or missing.

edge-direct        clients ask the edge itself: GET and POST, nonces, some on a connection of their own
cdn-origin         a cache asks its origin: GET only, keep-alive, half of it conditional, and answers must say how long
stampede           everybody asks about one certificate at once, pauses, and all again
revocation-storm   as edge-direct, while one user revokes through the admin API and then reads `revoked` at the edge
slowloris          nine tenths trickle their head or send nothing, and must be cut off; the others are served
"""

import base64
import contextlib
import itertools
import json
import os
import random
import socket
import ssl
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from locust import User, between, constant, events, task

SCENARIO = os.environ["SCENARIO"]
ZIPF, POST, NONCE, CLOSE = (
    float(os.environ.get(name, given))
    for name, given in {"ZIPF": "1", "POST": "0.3", "NONCE": "0.02", "CLOSE": "0.2"}.items()
)
FACTS: dict[str, Any] = json.loads(Path(os.environ["FACTS"]).read_text())
PATH = f"/.well-known/pki/ocsp/{FACTS['issuer_id']}"
CUT_OFF_S = 8.0


def certificate(path: str | Path) -> x509.Certificate:
    """The PEM file's certificate."""
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


ISSUER = certificate(FACTS["issuer_cert"])
#: Those at the end are revoked by the storm; the others are asked about, the first ones most.
PATHS = sorted(Path(FACTS["certs_dir"]).glob("*.pem"))
CERTIFICATES = [certificate(path) for path in PATHS[:-100]]
DOOMED = iter(PATHS[-100:])
WEIGHTS = list(itertools.accumulate(1 / (rank + 1) ** ZIPF for rank in range(len(CERTIFICATES))))


def question(asked: x509.Certificate, nonce: bytes | None = None) -> bytes:
    """DER of an OCSPRequest."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(asked, ISSUER, hashes.SHA1())
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


PLAIN = [question(one) for one in CERTIFICATES]


class Asking(User):
    """A socket, and questions over it."""

    abstract = True
    connection: socket.socket | None = None

    def open(self) -> socket.socket:
        """The connection, a new one if there is none."""
        if self.connection is None:
            there = urllib.parse.urlsplit(str(self.host))
            self.connection = socket.create_connection((there.hostname or "", there.port or 80), timeout=10)
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.connection

    def close(self) -> None:
        """Let go of it."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def on_stop(self) -> None:
        """Locust is done with this user."""
        self.close()

    def ask(self, name: str, octets: bytes, *, close: bool = False) -> tuple[bytes, bytes]:
        """(head, body), and tell Locust how it went; empty when it failed."""
        begun, wrong, head, body = time.perf_counter(), None, b"", b""
        try:
            head, body = self._exchange(octets)
            if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 304")):
                wrong = ValueError(head[:40])
            elif body and body[4:9] != b"\x0a\x01\x00\xa0\x82" and b"Retry-After" not in head:
                wrong = ValueError(body[:12])
        except OSError as error:
            wrong = error  # type: ignore[assignment]
        if close or wrong:
            self.close()
        report("OCSP", name, begun, len(body), wrong)
        return head, body

    def _exchange(self, octets: bytes) -> tuple[bytes, bytes]:
        connection, said = self.open(), b""
        connection.sendall(octets)
        while b"\r\n\r\n" not in said:
            said += self._more(connection)
        head, _, body = said.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += self._more(connection)
        return head, body

    def _more(self, connection: socket.socket) -> bytes:
        part = connection.recv(65536)
        if not part:
            raise ConnectionError("closed before the answer")
        return part

    def one(self) -> None:
        """A request of the mix."""
        number = random.choices(range(len(PLAIN)), cum_weights=WEIGHTS)[0]
        close = random.random() < CLOSE
        if random.random() < NONCE:
            self.ask("nonce", post(question(CERTIFICATES[number], os.urandom(32)), close=close), close=close)
        elif random.random() < POST:
            self.ask("POST", post(PLAIN[number], close=close), close=close)
        else:
            self.ask("GET", get(PLAIN[number], close=close), close=close)


def report(kind: str, name: str, begun: float, length: int, wrong: Exception | None) -> None:
    """To Locust."""
    took = (time.perf_counter() - begun) * 1000
    events.request.fire(  # type: ignore[no-untyped-call]
        request_type=kind, name=name, response_time=took, response_length=length, exception=wrong, context={}
    )


def get(der: bytes, extra: str = "", *, close: bool = False) -> bytes:
    """RFC 6960 A.1."""
    path = f"{PATH}/{urllib.parse.quote(base64.b64encode(der).decode(), safe='')}"
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{extra}{ending(close)}\r\n".encode()


def post(der: bytes, *, close: bool = False) -> bytes:
    """The same as POST."""
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\nContent-Length: {len(der)}\r\n"
    )
    return f"{head}{ending(close)}\r\n".encode() + der


def ending(close: bool) -> str:
    """The field that says so."""
    return "Connection: close\r\n" if close else ""


if SCENARIO in {"edge-direct", "revocation-storm"}:

    class Client(Asking):
        """One of many."""

        wait_time = between(0, 0.02)

        @task
        def request(self) -> None:
            """The mix."""
            self.one()


if SCENARIO == "revocation-storm":

    class Revoker(Asking):
        """Revokes, and does not believe it until it has read it."""

        fixed_count = 1
        wait_time = constant(0.1)

        @task
        def revoke(self) -> None:
            """One certificate; the edge says `revoked` from the moment on that the revocation is confirmed."""
            path = next(DOOMED, None)
            if path is None:
                return
            begun, wrong = time.perf_counter(), None
            url = f"{FACTS['admin_url']}/api/v1/certificates/{FACTS['issuer_id']}:{path.stem}/revoke?wait=10"
            try:
                word = told(url, {"reason": "keyCompromise"})
                _, body = self.ask("after revoke", post(question(certificate(path))))
                status = ocsp.load_der_ocsp_response(body).certificate_status
                if word == "CONFIRMED" and status is not ocsp.OCSPCertStatus.REVOKED:
                    wrong = ValueError(f"{word}, but {status}")
            except (OSError, ValueError) as error:
                wrong = ValueError(str(error))
            report("admin", "revoke", begun, 0, wrong)


def told(url: str, body: dict[str, str]) -> str:
    """The admin API's word on it."""
    context = ssl.create_default_context(cafile=FACTS["admin_ca"])
    request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")
    request.add_header("Authorization", f"Bearer {FACTS['api_key']}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=20, context=context) as answer:
        return str(json.loads(answer.read())["result"])


if SCENARIO == "cdn-origin":

    class Cache(Asking):
        """A cache that fills and revalidates."""

        wait_time = between(0, 0.02)

        def on_start(self) -> None:
            """Nothing kept yet."""
            self.tags: dict[int, str] = {}

        @task
        def fill(self) -> None:
            """A GET, conditional if there is a copy."""
            number = random.choices(range(len(PLAIN)), cum_weights=WEIGHTS)[0]
            tag = self.tags.get(number)
            head, _ = self.ask("304" if tag else "fill", get(PLAIN[number], f"If-None-Match: {tag}\r\n" if tag else ""))
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if ": " in line)
            if head and "max-age" not in fields.get("Cache-Control", "") and "Retry-After" not in fields:
                report("OCSP", "without max-age", time.perf_counter(), 0, ValueError(str(fields)))
            if "ETag" in fields:
                self.tags[number] = fields["ETag"]


if SCENARIO == "stampede":

    class Herd(Asking):
        """All ask about the same one, whose number changes each second."""

        wait_time = constant(0.01)

        @task
        def request(self) -> None:
            """Wait for the second to turn, then ask on a new connection."""
            time.sleep(1 - time.time() % 1)
            self.ask("stampede", get(PLAIN[int(time.time()) % len(PLAIN)], close=True), close=True)


if SCENARIO == "slowloris":

    class Served(Asking):
        """What the others must not keep from being answered."""

        weight = 1
        wait_time = between(0, 0.02)

        @task
        def request(self) -> None:
            """The mix."""
            self.one()

    class Slow(Asking):
        """Must be cut off within HEADER_TIMEOUT and a bit."""

        weight = 9
        wait_time = constant(0)

        @task
        def hold(self) -> None:
            """Half a head and then a byte now and then, or nothing at all."""
            begun, wrong, octets = time.perf_counter(), None, get(PLAIN[0])
            connection = self.open()
            connection.settimeout(0.2)
            silent = random.random() < 0.5
            with contextlib.suppress(ConnectionError):
                while time.perf_counter() < begun + CUT_OFF_S:
                    if not silent:
                        connection.sendall(octets[:1])
                        octets = octets[1:]
                    with contextlib.suppress(TimeoutError):
                        if not connection.recv(1):
                            break
            if time.perf_counter() > begun + CUT_OFF_S:
                wrong = ValueError("was not cut off")
            self.close()
            report("slow", "silent" if silent else "trickling", begun, 0, wrong)


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def tell(environment: Any, **_: object) -> None:
    """What `run` reads."""
    rows = {
        f"{entry.method} {entry.name}": {
            "requests": entry.num_requests,
            "failures": entry.num_failures,
            "p50_ms": entry.get_response_time_percentile(0.5),
            "p99_ms": entry.get_response_time_percentile(0.99),
        }
        for entry in environment.stats.entries.values()
    }
    wrong = sorted({f"{error.name}: {error.error}"[:200] for error in environment.stats.errors.values()})
    failures = sum(row["failures"] for row in rows.values())
    Path(os.environ["TOLD"]).write_text(json.dumps({"rows": rows, "failures": failures, "wrong": wrong}))
