"""What is measured beside us: nginx with files, as fast as it gets, and the floor of constant bytes."""

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

CONFIG = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; multi_accept on; }}
http {{
  access_log off; sendfile off; keepalive_requests 100000000; keepalive_timeout 300s;
  open_file_cache max=10000 inactive=600s; open_file_cache_valid 600s;
  types {{ application/ocsp-response ors; }}
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096 deferred; root {folder}/files; server_tokens off;
    # as many fields as an answer of ours: nginx cannot leave out Server and Connection, so ETag and Last-Modified go
    etag off; max_ranges 0; add_header Last-Modified ""; expires 1d;
  }}
}}
"""


class Nginx:
    """One worker process; file `n.ors` is the n-th body."""

    def __init__(self, folder: Path, port: int, bodies: list[bytes]) -> None:
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        write_files(folder / "files", bodies)
        (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=port))
        self._process = subprocess.Popen([program, "-c", str(folder / "nginx.conf"), "-p", str(folder)])
        self.port = port
        await_answer(f"http://127.0.0.1:{port}/0.ors")

    @property
    def worker(self) -> int:
        """Process that serves."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0])

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)


class Floor:
    """`floor.c`, compiled here, with two whole HTTP messages: for one request more, and for the last."""

    def __init__(self, folder: Path, port: int, message: bytes, last: bytes) -> None:
        folder.mkdir()
        (folder / "message").write_bytes(message)
        (folder / "last").write_bytes(last)
        words = [compiled(folder, "floor"), str(port), str(folder / "message"), str(folder / "last")]
        self._process = subprocess.Popen(words)
        self.port, self.worker = port, self._process.pid
        await_answer(f"http://127.0.0.1:{port}/")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)


def write_files(folder: Path, bodies: list[bytes]) -> None:
    """`n.ors` is the n-th body."""
    folder.mkdir(parents=True)
    for number, body in enumerate(bodies):
        (folder / f"{number}.ors").write_bytes(body)


def compiled(folder: Path, name: str) -> str:
    """The program of that C file beside this one."""
    program, source = str(folder / name), str(Path(__file__).with_name(f"{name}.c"))
    subprocess.run([*os.environ.get("CC", "cc").split(), "-O2", "-Wall", "-o", program, source], check=True)
    return program


def await_answer(url: str) -> None:
    """Until somebody answers there."""
    deadline = time.monotonic() + 10
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
