"""nginx serving one answer's bytes from a file: the yardstick, as fast as it is usually set up."""

import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

CONFIG = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; keepalive_timeout 300s;
  open_file_cache max=1000 inactive=600s; open_file_cache_valid 600s;
  types {{ application/ocsp-response ors; }}
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port}; root {folder}/files; server_tokens off; etag on;
    add_header Cache-Control "max-age=86400, public, no-transform, must-revalidate";
    expires 1d;
  }}
}}
"""


class Nginx:
    """One worker process."""

    def __init__(self, folder: Path, port: int, body: bytes) -> None:
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        (folder / "files").mkdir(parents=True)
        (folder / "files" / "answer.ors").write_bytes(body)
        (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=port))
        self._process = subprocess.Popen([program, "-c", str(folder / "nginx.conf"), "-p", str(folder)])
        self.url = f"http://127.0.0.1:{port}/answer.ors"
        self._await()

    def _await(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                urllib.request.urlopen(self.url, timeout=1).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    @property
    def worker(self) -> int:
        """Process that serves."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0])

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
