"""A real cache in front: nginx keeps OCSP answers and CRLs, asks again when they are due, and never keeps them longer.

nginx's wall clock is turned (wall.c), the origin's is not: so hours go by for the cache alone.
"""

import os
import shutil
import signal
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.breakage import GOOD, certificates, eventually, pid_of, revoke, says, stopped
from tests.support.fixtures import scratch
from tests.support.http import Talk, certificate, get_octets, question
from tests.support.instance import Instance, free_port
from tests.support.wall import WallClock

CRL = "/.well-known/pki/crl/demo"
_CONF = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 128; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/temp; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  proxy_cache_path {folder}/cache keys_zone=pki:1m inactive=7d;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{origin}; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_cache pki; proxy_cache_revalidate on; proxy_cache_key $request_uri;
      add_header X-Cache $upstream_cache_status always;
    }}
  }}
}}
"""


class Cache:
    """The nginx of one instance."""

    def __init__(self, folder: Path, origin: int) -> None:
        found = shutil.which("nginx") or "/usr/sbin/nginx"
        assert Path(found).exists(), "this test needs nginx: apt-get install nginx-light"
        folder.mkdir()
        self.clock, self.port = WallClock(folder), free_port()
        (folder / "nginx.conf").write_text(_CONF.format(folder=folder, port=self.port, origin=origin))
        self._process = subprocess.Popen(
            [found, "-p", folder, "-c", folder / "nginx.conf"], env={"PATH": os.environ["PATH"], **self.clock.settings}
        )
        eventually(self._listens, 10, "nginx does not listen")

    def _listens(self) -> bool:
        try:
            with Talk(self.port):
                return True
        except OSError:
            return False

    def get(self, path: str) -> tuple[str, int, dict[str, str], bytes]:
        """(what the cache did, status, fields, body)."""
        with Talk(self.port) as talk:
            status, fields, body = talk.ask(get_octets(path))
        return fields.get("x-cache", ""), status, fields, body

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Instance, Cache]]:
    """An instance whose CRL is made seldom, and the cache in front of it."""
    folder = scratch()
    instance = Instance(folder / "data", 1, 20, 1, FASTOCSP_CRL_DEBOUNCE="10m", FASTOCSP_LOG_FORMAT="json").start()
    cache = Cache(folder / "cdn", instance.port)
    yield instance, cache
    cache.stop()
    instance.stop()
    shutil.rmtree(folder)


def ocsp_path(instance: Instance, path: Path | str) -> str:
    """Of the GET for that certificate."""
    der = question(certificate(path), certificate(instance.facts["issuer_cert"]))
    return f"/.well-known/pki/ocsp/demo/{quote(b64encode(der).decode(), safe='')}"


@pytest.mark.parametrize("what", ["CRL", "OCSP"])
def test_a_cache_keeps_and_revalidates(served: tuple[Instance, Cache], what: str) -> None:
    """Kept while max-age lasts; then asked for with the tag, answered 304, and kept again."""
    instance, cache = served
    path = CRL if what == "CRL" else ocsp_path(instance, instance.facts["good_cert"])
    first = cache.get(path)
    assert (first[0], first[1]) == ("MISS", 200)
    again = cache.get(path)
    assert (again[0], again[3]) == ("HIT", first[3])
    max_age = int(first[2]["cache-control"].partition("max-age=")[2].partition(",")[0])
    cache.clock.set(max_age + 60)
    try:
        later = cache.get(path)
    finally:
        cache.clock.set(0)
    assert (later[0], later[1], later[3]) == ("REVALIDATED", 200, first[3])


@pytest.mark.parametrize("what", ["CRL", "OCSP"])
def test_nothing_is_served_past_its_end(served: tuple[Instance, Cache], what: str) -> None:
    """The origin is stopped and two days go by: the cache has it still, and says it cannot be had."""
    instance, cache = served
    path = CRL if what == "CRL" else ocsp_path(instance, certificates(instance)[1])
    assert cache.get(path)[1] == 200
    with stopped(pid_of(instance, "edge_master"), *instance.facts["pids"]["edge"]):
        assert cache.get(path)[0] == "HIT"
        cache.clock.set(2 * 86400)
        try:
            begun = time.monotonic()
            with Talk(cache.port, timeout_s=3) as talk:
                try:
                    status = talk.ask(get_octets(path))[0]
                except TimeoutError:
                    status = 504  # it waits for the origin
            assert status >= 500, time.monotonic() - begun
        finally:
            cache.clock.set(0)


def test_what_must_not_be_kept_is_not(served: tuple[Instance, Cache]) -> None:
    """A nonce by GET, an unauthorized and a 404 go to the origin every time."""
    instance, cache = served
    cert, issuer = certificate(instance.facts["good_cert"]), certificate(instance.facts["issuer_cert"])
    nonce = question(cert, issuer, nonce=bytes(16))
    for path in (
        f"/.well-known/pki/ocsp/demo/{quote(b64encode(nonce).decode(), safe='')}",
        ocsp_path(instance, instance.facts["issuer_cert"]),
        "/.well-known/pki/crl/nobody",
    ):
        assert [cache.get(path)[0] for _ in range(3)] == ["MISS"] * 3, path


def test_a_revocation_behind_a_cache_is_bounded_by_max_age(served: tuple[Instance, Cache]) -> None:
    """The origin says revoked at once; the cache says so once it has to ask again, which no answer puts off past
    max-age (docs/trust.md).
    """
    instance, cache = served
    chosen = certificates(instance)[2]
    path = ocsp_path(instance, chosen)
    status, fields, body = cache.get(path)[1:]
    assert (status, says(body)) == (200, GOOD)
    max_age = int(fields["cache-control"].partition("max-age=")[2].partition(",")[0])
    assert max_age <= 3600, "OCSP_MAX_AGE"
    assert revoke(instance, chosen)["result"] == "CONFIRMED"
    cache.clock.set(max_age + 1)
    try:
        assert says(cache.get(path)[3]) is not GOOD
    finally:
        cache.clock.set(0)
