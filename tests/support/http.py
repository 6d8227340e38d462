"""How the end-to-end tests ask: requests by `cryptography`, sockets of our own, answers judged by outsiders."""

import socket
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp


def certificate(path: Path | str) -> x509.Certificate:
    """The PEM file's certificate."""
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


def question(
    cert: x509.Certificate,
    issuer: x509.Certificate,
    algorithm: hashes.HashAlgorithm | None = None,
    nonce: bytes | None = None,
) -> bytes:
    """DER of an OCSPRequest."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(cert, issuer, algorithm or hashes.SHA1())
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def post_octets(body: bytes, path: str = "/ocsp", *, close: bool = False, extra: str = "") -> bytes:
    """An HTTP/1.1 POST, byte for byte."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ocsp-request\r\n{extra}"
        f"Content-Length: {len(body)}\r\n{'Connection: close' + chr(13) + chr(10) if close else ''}\r\n"
    )
    return head.encode() + body


def get_octets(path: str, extra: str = "") -> bytes:
    """An HTTP/1.1 GET, byte for byte."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n".encode("latin-1")


def chunked_octets(body: bytes, path: str = "/ocsp", extra: str = "") -> bytes:
    """A POST in two chunks: a plain request that the hot and the slow lane leave to the cold one."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ocsp-request\r\n{extra}"
    parts = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:10], body[10:]) if part)
    return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n"


def said_until_closed(port: int, octets: bytes, *, shut: bool = False, timeout_s: float = 15.0) -> bytes:
    """Everything that the server says to these bytes, until it closes; `shut` closes our sending half first."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as talk:
        talk.sendall(octets)
        if shut:
            talk.shutdown(socket.SHUT_WR)
        while part := talk.recv(65536):
            said += part
    return said


class Talk:
    """One connection; it reads answers by their Content-Length."""

    def __init__(self, port: int, timeout_s: float = 10.0, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s, source_address=(source, 0))
        self._buffer = b""

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, octets: bytes, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Send, and read one answer."""
        self.socket.sendall(octets)
        return self.read(head_only=head_only)

    def read(self, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        """(status, fields with lower-case names, body)."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        status = int(lines[0].split()[1])
        length = 0 if head_only or status == 304 else int(fields.get("content-length", "0"))
        while len(self._buffer) < length:
            self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return status, fields, body

    def at_end(self) -> bool:
        """The server has closed, and said nothing more."""
        try:
            return not self._buffer and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _more(self) -> None:
        octets = self.socket.recv(65536)
        if not octets:
            raise EOFError(f"closed after {self._buffer!r}")
        self._buffer += octets


def openssl_ocsp(facts: dict[str, str], url: str, cert: Path | str, *options: str) -> str:
    """What `openssl ocsp` says, verification included."""
    issuer = facts["issuer_cert"]
    done = subprocess.run(
        ["openssl", "ocsp", *options, "-issuer", issuer, "-cert", str(cert), "-url", url, "-CAfile", issuer],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.stdout + done.stderr
