"""Does once, before processes are forked, what each of them would do at its start: it ends in memory that they share.

Loaded by a fork server (responder/fork_server.py). What a module builds when it is first used (caches of OpenSSL and of
importlib.metadata, specialised bytecode) is several megabytes, which each process would have alone.
"""

import asyncio
import contextlib
import importlib.metadata
import io
import ssl
import time
from datetime import UTC, datetime

import structlog
import uvicorn.lifespan.on
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from redis.asyncio import Redis

from responder.config import EdgeSettings, as_environment
from responder.domain.catalog import templates
from responder.domain.issuer import Issuer
from responder.domain.responder import ResponderCertificate
from responder.telemetry import set_up_logs


async def _wait() -> None:
    """Pass through what every event loop of ours does: tasks, timers, events, a client without a connection."""
    event = asyncio.Event()
    waiting = [asyncio.create_task(event.wait()), asyncio.create_task(asyncio.sleep(0.001))]
    event.set()
    async with asyncio.timeout(1):
        await asyncio.gather(*waiting)
    await Redis.from_url("unix:///nothing/there").aclose()


async def _no_answer(*_: object) -> None:
    """Answer no request."""


def preload() -> None:
    """Use what processes will use; keep no file, no connection and no key."""
    uvloop.run(_wait())
    uvicorn.Config(_no_answer, ws="none", loop="uvloop", lifespan="on", log_config=None).load()
    importlib.metadata.version("redis")
    as_environment(EdgeSettings())
    ssl.create_default_context()
    _log()
    _sign()


def _log() -> None:
    with contextlib.redirect_stderr(io.StringIO()):
        set_up_logs("json", "preload")
        structlog.get_logger("preload").info("preloaded")
    structlog.contextvars.clear_contextvars()


def _sign() -> None:
    """Make a key and a certificate that are thrown away, and read the certificate as ours are read."""
    key, octets = ec.generate_private_key(ec.SECP256R1()), str(time.time()).encode()
    key.public_key().verify(key.sign(octets, ec.ECDSA(hashes.SHA256())), octets, ec.ECDSA(hashes.SHA256()))
    now, name = datetime.now(UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "preload")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now)
    der = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    templates(Issuer.from_certificate(der, issuer_id="preload", issuer_no=1), ResponderCertificate.from_der(der))


preload()
