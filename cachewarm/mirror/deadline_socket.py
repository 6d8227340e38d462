"""urllib's connections under a watchdog, and its redirects with bounds: what `fetch` opens a URL with."""

import functools
import http.client
import ipaddress
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from cachewarm.mirror.faults import NotMirrored, SourceFault

MAX_REDIRECTS = 5


def opener(watch: "Watch") -> urllib.request.OpenerDirector:
    """Return an opener for http and https only; it uses the proxies of the environment."""
    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _HTTP(watch),
        _HTTPS(watch),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        director.add_handler(handler)
    return director


def reach_of(address: str) -> int:
    """Return who can reach an address: 2 everyone, 1 a private network, 0 this host or link only."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback or ip.is_link_local or ip.is_unspecified:
        return 0
    return 2 if ip.is_global else 1


class Watch:
    """Watches the connections of one fetch: shuts them when the time is over, and keeps redirects from leading inwards.

    Addresses are checked when they are connected to, after the name was resolved. Behind a proxy the proxy's address is
    the one that counts.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._sock: socket.socket | None = None
        self._reach = 0

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Limit all connections inside to that many seconds together."""
        timer = threading.Timer(seconds, self.end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def connect(self, address: tuple[str, int], timeout: Any = None, source_address: Any = None) -> socket.socket:
        """Connect as socket.create_connection does, to addresses that a redirect may lead to only."""
        host, port = address
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        failure: OSError = OSError(f"{host} has no address")
        for *_, (ip, *_rest) in found:
            try:
                self.allow(str(ip), host)
                sock = socket.create_connection((str(ip), port), timeout, source_address)
            except OSError as error:
                failure = error
                continue
            self.arrive(str(ip))
            self._sock = sock
            if self.is_over:
                self.end()
            return sock
        raise failure

    def allow(self, ip: str, host: str) -> None:
        """Raise NotMirrored when `ip` is further inside than an address that a redirect came from."""
        if reach_of(ip) < self._reach:
            raise NotMirrored(SourceFault.REDIRECTS, f"a redirect leads to {host} ({ip}), inside of a private network")

    def arrive(self, ip: str) -> None:
        """Note that the fetch is at that address now."""
        self._reach = max(self._reach, reach_of(ip))

    def end(self) -> None:
        """Shut the connection, and those to come."""
        self.is_over = True
        if self._sock is not None:
            try:
                self._sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return


class _Connection(http.client.HTTPConnection):
    def __init__(self, watch: Watch, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._create_connection = watch.connect


class _TLSConnection(http.client.HTTPSConnection):
    def __init__(self, watch: Watch, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._create_connection = watch.connect


class _HTTP(urllib.request.HTTPHandler):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(functools.partial(_Connection, self._watch), req)


class _HTTPS(urllib.request.HTTPSHandler):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(functools.partial(_TLSConnection, self._watch), req)


class _Redirects(urllib.request.HTTPRedirectHandler):
    def http_error_302(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any) -> Any:  # noqa: ARG002
        """Follow a redirect. urllib's own method would read the whole body of the answer first."""
        fp.close()
        followed = getattr(req, "redirects_followed", 0) + 1
        location = headers.get("Location")
        target = urllib.parse.urljoin(req.full_url, location or "")
        if followed > MAX_REDIRECTS:
            raise NotMirrored(SourceFault.REDIRECTS, f"{req.full_url}: more than {MAX_REDIRECTS} redirects")
        if location is None or urllib.parse.urlsplit(target).scheme != urllib.parse.urlsplit(req.full_url).scheme:
            raise NotMirrored(
                SourceFault.REDIRECTS,
                f"{req.full_url} leads to {target}: a redirect may not change the scheme. Give that URL itself as"
                " the source: fastocsp issuer add with --crl-source (--delta-url for a delta)",
            )
        further = urllib.request.Request(target, headers=dict(req.headers))  # noqa: S310 - the scheme is checked
        further.redirects_followed = followed  # type: ignore[attr-defined]
        return self.parent.open(further, timeout=req.timeout)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302
