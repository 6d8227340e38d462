"""Questions that the quickstart asks itself before it says "ready"."""

import secrets
import urllib.error
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from cachewarm.ca.certificate import read_certificate
from cachewarm.quickstart.demo import Demo


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
    """None when a question with a nonce is answered, so the signer is there too."""
    certificate, issuer = (read_certificate(path.read_bytes()) for path in (demo.good_cert, demo.issuer_cert))
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256())
    question = builder.add_extension(x509.OCSPNonce(secrets.token_bytes(16)), critical=False).build()
    request = urllib.request.Request(  # noqa: S310 - our own http URL
        f"{base}/ocsp", question.public_bytes(Encoding.DER), {"Content-Type": "application/ocsp-request"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
            status = ocsp.load_der_ocsp_response(response.read()).response_status
    except OSError as error:
        return str(error)
    return None if status is ocsp.OCSPResponseStatus.SUCCESSFUL else f"the edge answers {status.name}"
