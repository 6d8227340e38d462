"""A CA that is not ours, made by `cryptography` alone, and a server that hands out what it signs, or worse."""

import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

HOLD = x509.ReasonFlags.certificate_hold
STOLEN = x509.ReasonFlags.key_compromise
REMOVED = x509.ReasonFlags.remove_from_crl
Entries = Mapping[int, x509.ReasonFlags | None]
REVOKED_AT = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)


def name_of(common_name: str) -> x509.Name:
    """A subject."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class ForeignCA:
    """Its key, its certificate, its CRLs."""

    def __init__(self, common_name: str = "Foreign CA") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name_of(common_name)
        now = datetime.now(UTC).replace(microsecond=0)
        ski = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=4000))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(True, False, False, False, False, True, True, False, False),
                critical=True,
            )
            .add_extension(ski, critical=False)
            .sign(self.key, hashes.SHA256())
        )

    @property
    def cert_der(self) -> bytes:
        """Its certificate."""
        return self.certificate.public_bytes(Encoding.DER)

    def crl(
        self,
        number: int | None,
        entries: Entries,
        *,
        begins: float = -60,
        lasts: float = 3600,
        base: int | None = None,
        more: tuple[tuple[x509.ExtensionType, bool], ...] = (),
        entry_more: tuple[tuple[x509.ExtensionType, bool], ...] = (),
        revoked_at: datetime = REVOKED_AT,
    ) -> bytes:
        """DER of a CRL; `begins` is thisUpdate in seconds from now, `lasts` how long from then."""
        this = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=begins)
        building = x509.CertificateRevocationListBuilder().issuer_name(self.name)
        building = building.last_update(this).next_update(this + timedelta(seconds=lasts))
        if number is not None:
            building = building.add_extension(x509.CRLNumber(number), critical=False)
        if base is not None:
            building = building.add_extension(x509.DeltaCRLIndicator(base), critical=True)
        for extension, critical in more:
            building = building.add_extension(extension, critical=critical)
        for serial, reason in entries.items():
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(revoked_at)
            if reason is not None:
                entry = entry.add_extension(x509.CRLReason(reason), critical=False)
            for extension, critical in entry_more:
                entry = entry.add_extension(extension, critical=critical)
            building = building.add_revoked_certificate(entry.build())
        return building.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def pem(self, der: bytes) -> bytes:
        """The same CRL as PEM."""
        return x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)


@dataclass
class Answer:
    """What the server sends: `claimed` is its Content-Length, `pause_s` lies between two bytes of the body."""

    body: bytes = b""
    status: int = 200
    fields: dict[str, str] = field(default_factory=dict)
    claimed: int | None = None
    pause_s: float = 0.0
    silent_s: float = 0.0


@dataclass
class Source:
    """Answers by path, and what was asked."""

    base: str
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def url(self, path: str = "/crl") -> str:
        """Of that path."""
        return self.base + path

    def put(self, body: bytes, path: str = "/crl", **more: Any) -> None:
        """Hand this out from now on."""
        self.answers[path] = Answer(body, **more)


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Source]:
    """A server on loopback; over TLS its name is localhost."""
    source = Source("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """An answer, unless the asker has it by its entity tag."""
            source.asked.append((self.path, {name.lower(): text for name, text in self.headers.items()}))
            answer = source.answers.get(self.path, Answer(status=404))
            time.sleep(answer.silent_s)
            is_known = self.headers.get("If-None-Match", "") == answer.fields.get("ETag")
            self.send_response(304 if is_known else answer.status)
            for name, text in answer.fields.items():
                self.send_header(name, text)
            claimed = len(answer.body) if answer.claimed is None else answer.claimed
            self.send_header("Content-Length", "0" if is_known else str(claimed))
            self.end_headers()
            try:
                if not is_known:
                    self._send(answer)
            except OSError:
                pass
            self.close_connection = True

        def _send(self, answer: Answer) -> None:
            if not answer.pause_s:
                self.wfile.write(answer.body)
                return
            for at in range(len(answer.body)):
                self.wfile.write(answer.body[at : at + 1])
                time.sleep(answer.pause_s)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    source.base = f"http://127.0.0.1:{server.server_address[1]}"
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        source.base = f"https://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield source
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
