"""urllib's connections under a watchdog, and its redirects with a bound: what `fetch` opens a URL with."""

import functools
import http.client
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from cachewarm.mirror.faults import Fault, NotMirrored

MAX_REDIRECTS = 5


def opener(watch: "Watch") -> urllib.request.OpenerDirector:
    """For http and https alone; the environment's proxies are used."""
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


class Watch:
    """Shuts the connection when the time is over."""

    def __init__(self) -> None:
        self.is_over = False
        self._sock: socket.socket | None = None

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """That long, for all connections inside."""
        timer = threading.Timer(seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def see(self, sock: socket.socket) -> None:
        """This is the connection now."""
        self._sock = sock
        if self.is_over:
            self._end()

    def _end(self) -> None:
        self.is_over = True
        if self._sock is not None:
            try:
                self._sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return


class _Connection(http.client.HTTPConnection):
    def __init__(self, watch: Watch, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watch = watch

    def connect(self) -> None:
        super().connect()
        self._watch.see(self.sock)


class _TLSConnection(http.client.HTTPSConnection):
    def __init__(self, watch: Watch, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watch = watch

    def connect(self) -> None:
        super().connect()
        self._watch.see(self.sock)


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
    max_redirections = MAX_REDIRECTS
    max_repeats = MAX_REDIRECTS

    def http_error_302(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any) -> Any:
        visited = getattr(req, "redirect_dict", {})
        location = headers.get("Location")
        target = urllib.parse.urljoin(req.full_url, location or "")
        refusal = None
        if sum(visited.values()) >= MAX_REDIRECTS:
            refusal = f"{req.full_url}: more than {MAX_REDIRECTS} redirects"
        elif location is None or urllib.parse.urlsplit(target).scheme not in ("http", "https"):
            refusal = f"{req.full_url} leads to {location}"
        if refusal is not None:
            fp.close()
            raise NotMirrored(Fault.REDIRECTS, refusal)
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302
