"""Questions that the quickstart asks itself before it says "ready"."""

import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

from cachewarm.quickstart.demo_files import Demo
from responder.domain.status import FENCE

#: OCSPResponse is a SEQUENCE that begins with an ENUMERATED of one byte (RFC 6960 4.2.1); 0 is `successful`.
_SUCCESSFUL = b"\x0a\x01\x00"


def listens(path: Path) -> str | None:
    """None when a process listens at that Unix socket."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(path))
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return None


def is_ready(base: str) -> str | None:
    """None when the edge says so, else its reasons."""
    return _why_not(f"{base}/ready")


def serves_crl(base: str, demo: Demo) -> str | None:
    """None when the demo CA's first CRL has come as far as the edge: the commands to try ask for it."""
    return _why_not(f"{base}/.well-known/pki/crl/{demo.issuer_id}")


def _why_not(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own http URL
            return None
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace")
    except OSError as error:
        return str(error)


def signs_live(base: str, demo: Demo) -> str | None:
    """None when a question with a nonce is answered, so the signer is there too, or when the issuer is fenced."""
    request = urllib.request.Request(  # noqa: S310 - our own http URL
        f"{base}/ocsp", demo.question, {"Content-Type": "application/ocsp-request"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
            octets = response.read()
    except OSError as error:
        return str(error)
    # an error is 30 03 0A 01 xx; a successful answer has a length of up to three bytes, and more behind it
    if _SUCCESSFUL in octets[:8] or is_fenced(base, demo):
        return None
    return f"the edge answers {octets[:8].hex()}, not a signed response"


def is_fenced(base: str, demo: Demo) -> bool:
    """Report whether the edge answers nothing but `revoked` for the demo CA, as after a restore of its ledger."""
    try:
        with urllib.request.urlopen(f"{base}/ready", timeout=2) as response:  # noqa: S310 - our own http URL
            faults = json.load(response)["issuer_faults"]
    except (OSError, ValueError, KeyError):
        return False
    return FENCE in faults.get(demo.issuer_id, ())
