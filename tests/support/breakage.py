"""Faults for the end-to-end tests, each on processes of one's own instance and by pid, and what is looked at then."""

import asyncio
import json
import os
import re
import secrets
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from tests.support.http import Talk, certificate, post_octets, question
from tests.support.instance import Instance

GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
TRY_LATER = ocsp.OCSPResponseStatus.TRY_LATER
_LINE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class Reply(NamedTuple):
    """`says` is the certificate's status, or the error of an answer without one."""

    says: ocsp.OCSPCertStatus | ocsp.OCSPResponseStatus
    fields: dict[str, str]
    seconds: float


def ask(
    instance: Instance,
    path: Path | str,
    algorithm: hashes.HashAlgorithm | None = None,
    *,
    nonce: bool = False,
    talk: Talk | None = None,
) -> Reply:
    """One question, on a connection of its own unless `talk` is given."""
    octets = octets_of(instance, path, algorithm, nonce=nonce)
    if talk is None:
        with Talk(instance.port, timeout_s=30) as fresh:
            return _timed(fresh, octets)
    return _timed(talk, octets)


def octets_of(
    instance: Instance, path: Path | str, algorithm: hashes.HashAlgorithm | None = None, *, nonce: bool = False
) -> bytes:
    """The whole POST."""
    issuer = certificate(instance.facts["issuer_cert"])
    return post_octets(question(certificate(path), issuer, algorithm, secrets.token_bytes(16) if nonce else None))


def _timed(talk: Talk, octets: bytes) -> Reply:
    begun = time.monotonic()
    _, fields, body = talk.ask(octets)
    return Reply(says(body), fields, time.monotonic() - begun)


def says(body: bytes) -> ocsp.OCSPCertStatus | ocsp.OCSPResponseStatus:
    """The certificate's status, or the response's when there is none."""
    answer = ocsp.load_der_ocsp_response(body)
    successful = answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    return answer.certificate_status if successful else answer.response_status


def eventually(done: Callable[[], Any], within_s: float, what: str = "", pause_s: float = 0.02) -> float:
    """Return the seconds until it was true. Raise AssertionError when it takes longer; a busy machine has longer."""
    begun = time.monotonic()
    allowed = within_s
    while not done():
        if time.monotonic() - begun >= allowed:
            allowed = within_s * busyness()
            assert time.monotonic() - begun < allowed, what or f"not within {allowed:.1f} s"
        time.sleep(pause_s)
    return time.monotonic() - begun


async def eventually_true(done: Callable[[], Any], within_s: float = 10, what: str = "") -> None:
    """Wait like `eventually`, and let the event loop go on meanwhile."""
    begun = time.monotonic()
    allowed = within_s
    while not done():
        if time.monotonic() - begun >= allowed:
            allowed = within_s * busyness()
            assert time.monotonic() - begun < allowed, what or f"not within {allowed:.1f} s"
        await asyncio.sleep(0.01)


def is_within(begun: float, seconds: float) -> bool:
    """Report whether less than `seconds` passed since that monotonic time; a busy machine has longer.

    How busy it is, is measured only when the time is over.
    """
    elapsed = time.monotonic() - begun
    return elapsed < seconds or elapsed < seconds * busyness()


def busyness() -> float:
    """Return how much longer things take here than on an idle machine, at least 1.

    Measured now: the wall time of some computing over its CPU time. A process tree that has to start or to wake up
    waits for a core several times, so the share of a core that this process gets counts threefold.
    """
    begun, used = time.monotonic(), time.process_time()
    while time.process_time() - used < 0.05:
        pass
    share = (time.monotonic() - begun) / (time.process_time() - used)
    return 1.0 if share < 1.2 else 3 * share


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """SIGSTOP them all, proved, and SIGCONT at the end."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: all(_state(pid) in (psutil.STATUS_STOPPED, None) for pid in pids), 5, "not stopped")
        yield
    finally:
        for pid in pids:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGCONT)


def _state(pid: int) -> str | None:
    try:
        return str(psutil.Process(pid).status())
    except psutil.NoSuchProcess:
        return None


def family(pid: int) -> list[int]:
    """The process, then its children: a stopped postmaster alone would not stop its backends."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def pid_of(instance: Instance, name: str) -> int:
    """The first process of that name; 0 while there is none."""
    pid = instance.facts["pids"][name]
    return int((pid[0] if isinstance(pid, list) else pid) or 0)


def metrics(instance: Instance) -> dict[str, float]:
    """{name or name:label value: number} of /metrics; counters without their `_total`."""
    text = instance.metrics()
    found = {}
    for name, labels, number in _LINE.findall(text):
        label = ":" + labels.partition('="')[2].rstrip('"') if labels else ""
        found[name.removeprefix("fastocsp_").removesuffix("_total") + label] = float(number)
    return found


def ready(instance: Instance) -> tuple[int, dict[str, Any]]:
    """(HTTP status, what it says)."""
    try:
        with urllib.request.urlopen(f"{instance.base}/ready", timeout=10) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


class Watch:
    """What has moved since it was made: counters, and lines in the logs."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._before = metrics(instance)
        self._sizes = {path.stem: path.stat().st_size for path in (instance.folder / "logs").glob("*.log")}

    def moved(self, name: str) -> float:
        """How far the metric has moved."""
        return metrics(self._instance).get(name, 0.0) - self._before.get(name, 0.0)

    def lines(self, program: str, event: str) -> list[dict[str, Any]]:
        """The program's log lines of that event."""
        begin = self._sizes.get(program, 0)
        octets = (self._instance.folder / "logs" / f"{program}.log").read_bytes()[begin:]
        found = [json.loads(line) for line in octets.splitlines() if line.startswith(b"{")]
        return [line for line in found if line.get("event") == event]


def certificates(instance: Instance) -> list[Path]:
    """Those that are good and not the demo's own, in a fixed order."""
    shown = {instance.facts["good_cert"], instance.facts["revoked_cert"]}
    return [path for path in sorted(Path(instance.facts["certs_dir"]).glob("*.pem")) if str(path) not in shown]


def revoke(instance: Instance, path: Path, *words: str) -> dict[str, Any]:
    """`fastocsp revoke --wait --json`."""
    done = instance.command("revoke", "--cert", str(path), "--wait", "--json", *words)
    said: dict[str, Any] = json.loads(done.stdout)
    return said
