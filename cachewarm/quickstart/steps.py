"""`python -m cachewarm.quickstart.steps STEP WORDS OUT`: one step of the quickstart's start, in a process that ends.

The supervisor lives as long as the instance. Database driver and cryptography, which it needs at the start alone, are
loaded by these processes instead. A step writes one JSON object to the file descriptor OUT: its result, or the error
that the supervisor raises in its place.
"""

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from cachewarm.ca import listener_certificate
from cachewarm.ca.certificate import read_certificate
from cachewarm.config import Settings
from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.provision import provision
from cachewarm.errors import CachewarmError
from cachewarm.ledger.connect import connected
from cachewarm.ledger.feed import set_horizon
from cachewarm.quickstart.demo import prepare
from cachewarm.quickstart.outside import prepare_outside
from responder.config import load_settings
from responder.parent import die_with_parent


def make_listener_certificate(settings: Settings) -> dict[str, str]:
    """Make the certificate of the admin listener unless there is one; return its path as `pem`."""
    path = listener_certificate.ensure(settings.data_dir / "admin.pem", now=int(time.time()))
    return {"pem": str(path)}


def prepare_ledger(settings: Settings) -> dict[str, str]:
    """Make schema and logins in the running embedded Postgres; return the URL of each login."""
    server = EmbeddedPostgres(settings.data_dir, settings.run)
    return asdict(asyncio.run(provision(server, edge=settings.edge_name)))


def prepare_outside_ledger(settings: Settings) -> dict[str, str]:
    """The same in the Postgres of DATABASE_URL."""
    url = settings.require_database().get_secret_value()
    return asdict(asyncio.run(prepare_outside(url, settings.data_dir, settings.edge_name)))


def make_demo(settings: Settings, certificates: str, revoked: str) -> dict[str, str]:
    """Make the demo CA with that many certificates; return the fields of Demo.

    The edge's lease and the bound of those who wait for a revocation come from one setting, so the horizon is set too.
    """

    async def run() -> dict[str, str]:
        async with connected(settings.require_database(), name="fastocsp quickstart", actor="quickstart") as connection:
            await set_horizon(connection, settings.horizon)
            demo = await prepare(connection, settings, int(certificates), int(revoked))
            return {name: str(value) for name, value in demo.items()}

    demo = asyncio.run(run())
    return demo | {"question": question(Path(demo["good_cert"]), Path(demo["issuer_cert"])).hex()}


def question(path: Path, issuer_path: Path) -> bytes:
    """Return an OCSP request with a nonce about the certificate: only a running signer has an answer to it."""
    certificate, issuer = (read_certificate(each.read_bytes()) for each in (path, issuer_path))
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256())
    builder = builder.add_extension(x509.OCSPNonce(secrets.token_bytes(16)), critical=False)
    return builder.build().public_bytes(Encoding.DER)


STEPS: dict[str, Callable[..., dict[str, str]]] = {
    "listener": make_listener_certificate,
    "ledger": prepare_ledger,
    "outside ledger": prepare_outside_ledger,
    "demo": make_demo,
}


def main() -> None:
    """Run the step; exit status 1 when its error is written instead of a result."""
    step, *words, out, parent = sys.argv[1:]
    die_with_parent(signal.SIGTERM, int(parent))
    with closing(os.fdopen(int(out), "w")) as file:
        try:
            result: dict[str, Any] = {"result": STEPS[step](load_settings(Settings, instance=False), *words)}
        except CachewarmError as error:
            result = {"error": type(error).__name__, "text": str(error)}
        except OSError as error:
            result = {"error": "Fatal", "text": str(error)}
        json.dump(result, file)


if __name__ == "__main__":
    main()
