"""Other programs that answer, each measured where it is found on PATH.

`openssl ocsp` signs every answer anew and closes every connection. `cfssl ocspserve` has whole answers in memory, the
very bytes that our edge serves. `lighttpd` and `h2o` have them as files, as nginx has. `haproxy` returns one of them
for every path, from memory: a rule for each would be looked for one after the other.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from base64 import b64encode
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.beside import await_answer, write_files
from tests.support.ca import Authority
from tests.support.http import post_octets

#: Certificates that `openssl ocsp` has in its index.
ANSWERS = 200


class Peer(Protocol):
    """A program that runs."""

    port: int

    @property
    def pids(self) -> list[int]:
        """Processes that work for an answer."""

    def stop(self) -> None:
        """End it."""


def children(pid: int) -> list[int]:
    """Of that process, now."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class OneProcess:
    """A peer that is one process."""

    _process: "subprocess.Popen[bytes]"

    @property
    def pids(self) -> list[int]:
        """The one."""
        return [self._process.pid]

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)


class Lighttpd(OneProcess):
    """One process; file `n.ors` is the n-th body."""

    program = "lighttpd"

    def __init__(self, folder: Path, port: int, bodies: list[bytes]) -> None:
        write_files(folder / "files", bodies)
        (folder / "lighttpd.conf").write_text(
            f'server.document-root = "{folder}/files"\nserver.port = {port}\nserver.bind = "127.0.0.1"\n'
            'mimetype.assign = (".ors" => "application/ocsp-response")\n'
            "server.max-keep-alive-requests = 100000000\nserver.max-keep-alive-idle = 300\n"
        )
        path = shutil.which(self.program) or ""
        self._process = subprocess.Popen([path, "-D", "-f", str(folder / "lighttpd.conf")], stderr=subprocess.DEVNULL)
        self.port = port
        await_answer(f"http://127.0.0.1:{port}/0.ors")


class Haproxy(OneProcess):
    """One process, one thread; the first body for everybody."""

    program = "haproxy"

    def __init__(self, folder: Path, port: int, bodies: list[bytes]) -> None:
        write_files(folder, bodies[:1])
        (folder / "haproxy.cfg").write_text(
            "global\n  nbthread 1\n  maxconn 4096\n"
            "defaults\n  mode http\n  timeout client 300s\n  timeout http-keep-alive 300s\n"
            "  timeout connect 5s\n  timeout server 5s\n"
            f"frontend answers\n  bind 127.0.0.1:{port} defer-accept\n"
            f'  http-request return status 200 content-type "application/ocsp-response" file {folder}/0.ors\n'
        )
        path = shutil.which(self.program) or ""
        self._process = subprocess.Popen([path, "-db", "-q", "-f", str(folder / "haproxy.cfg")])
        self.port = port
        await_answer(f"http://127.0.0.1:{port}/0.ors")


class H2o(OneProcess):
    """One process, one thread; file `n.ors` is the n-th body."""

    program = "h2o"

    def __init__(self, folder: Path, port: int, bodies: list[bytes]) -> None:
        write_files(folder / "files", bodies)
        (folder / "h2o.conf").write_text(
            f"num-threads: 1\nhttp1-request-timeout: 300\nfile.etag: off\nuser: {getpass.getuser()}\n"
            f"listen:\n  host: 127.0.0.1\n  port: {port}\n"
            f'hosts:\n  default:\n    paths:\n      "/":\n        file.dir: {folder}/files\n'
        )
        path = shutil.which(self.program) or ""
        self._process = subprocess.Popen([path, "-c", str(folder / "h2o.conf")], stderr=subprocess.DEVNULL)
        self.port = port
        await_answer(f"http://127.0.0.1:{port}/0.ors")


class Cfssl(OneProcess):
    """`cfssl ocspserve` over whole answers."""

    program = "cfssl"

    def __init__(self, folder: Path, port: int, bodies: list[bytes]) -> None:
        folder.mkdir()
        (folder / "responses").write_bytes(b"\n".join(map(b64encode, bodies)))
        words = f"cfssl ocspserve -loglevel 5 -address 127.0.0.1 -port {port} -responses responses".split()
        self._process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.port = port
        await_answer(f"http://127.0.0.1:{port}/")


class OpensslOCSP:
    """`openssl ocsp -port`, on `multi` processes when not 0; every certificate is good."""

    def __init__(self, folder: Path, port: int, authority: Authority, multi: int) -> None:
        folder.mkdir()
        self.port = port
        key = authority.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        files = {
            "ca": authority.root.public_bytes(Encoding.PEM),
            "cert": authority.delegate.public_bytes(Encoding.PEM),
            "key": key,
            "index": b"".join(b"V\t491231235959Z\t\t%02X\tunknown\t/CN=%d\n" % (n, n) for n in range(16, 16 + ANSWERS)),
        }
        for name, octets in files.items():
            (folder / name).write_bytes(octets)
        words = f"openssl ocsp -port {self.port} -index index -CA ca -rsigner cert -rkey key -ndays 1".split()
        words += ["-multi", str(multi)] if multi else []
        self._process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        await_openssl(self.port, openssl_messages(authority)[0])

    @property
    def pids(self) -> list[int]:
        """The process and those that it has made."""
        return [self._process.pid, *children(self._process.pid)]

    def stop(self) -> None:
        """End it."""
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        self._process.wait(10)


def await_openssl(port: int, message: bytes) -> None:
    """Until it answers; anything but a good question would end it."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as talk:
                talk.sendall(message)
                if talk.recv(65536).startswith(b"HTTP/1.0 200"):
                    return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def openssl_messages(authority: Authority) -> list[bytes]:
    """Questions about what the index has."""
    from tests.support.edge_loop import question as question_of

    return [post_octets(question_of(authority, bytes((n,))), "/", close=True) for n in range(16, 16 + 100)]
