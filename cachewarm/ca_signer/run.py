"""`fastocsp ca-signer`: ledger, keys, sandbox and socket put together."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog
from prometheus_client.core import CounterMetricFamily, Metric

from cachewarm.ca_signer.key_store import KeyStore
from cachewarm.ca_signer.server import CASignerServer
from cachewarm.ca_signer.service import SigningService
from cachewarm.config import Settings
from cachewarm.errors import Refused, Transient
from cachewarm.keys.token_uri import is_token_uri, parse_token_uri
from cachewarm.ledger import ca_signer
from cachewarm.ledger.ca_signer import SigningIssuer
from cachewarm.ledger.connect import Pool, connected, open_pool
from responder.landlock import Allowed
from responder.links import postgres_ports
from responder.parent import die_with_parent
from responder.process import set_up_process
from responder.sandbox import Sandbox, confine, files_of, postgres_files, with_dns
from responder.setting_fields import ConfigError
from responder.setting_values import parse_address
from responder.tasks import end_tasks
from responder.web.process_metrics import ProcessMetrics, run_metrics

log = structlog.get_logger("ca signer")
#: Threads that open keys and sign: each has memory of its own, and a token takes one call at a time.
THREADS = 2
#: Connections to the ledger: each request needs one for some milliseconds.
CONNECTIONS = 4
#: Seconds between two attempts to reach the ledger at the start, and to open keys that could not be opened.
PAUSE_S, LOOK_AGAIN_S = 1.0, 5.0
_NAME = "fastocsp ca-signer"


class Confinement:
    """Which keys this process may still open, now that it is confined to the paths of its start."""

    def __init__(self, sandbox: Sandbox, allowed: Iterable[Path]) -> None:
        self.sandbox, self._allowed = sandbox, [path.absolute() for path in allowed]
        self.new_path = asyncio.Event()

    def require(self, issuer: SigningIssuer, keys: KeyStore) -> None:
        """Raise Transient, and have the process end, for a key that was added somewhere else since its start."""
        if not self.sandbox.landlock or issuer.key_path is None:
            return
        for path in _paths_of(keys.place_of(issuer)):
            if not any(path.is_relative_to(each) for each in self._allowed):
                self.new_path.set()
                raise Transient(
                    f"the CA signer ends and must be started again, as it is not allowed to read {path} yet"
                )


async def serve(settings: Settings, path: Path, confinement: Confinement) -> None:
    """Sign until SIGTERM or SIGINT. Exit status 1 when it has to be started again with other paths.

    Mismatch when a key is not the one of its CA's certificate.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    stopping = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stopping.set)
    pool = await _pool(settings)
    keys = KeyStore(settings.ca_key_dir, settings.passphrase)
    await asyncio.to_thread(keys.check, await ca_signer.signing_issuers(pool))
    service = SigningService(pool, keys, settings.ocsp_responder_validity, confinement.require)
    server = CASignerServer(service, settings.ca_signer_uids)
    listening = await server.listen(path)
    log.info("signing", socket=str(path))
    metrics = ProcessMetrics(
        "ca-signer", ("metrics",), lambda: {"ca-signer": list(keys.faults)}, lambda: _counts(server, service)
    )
    work = [asyncio.create_task(_look_again(service))]
    if settings.ca_signer_metrics_listen:
        work.append(asyncio.create_task(run_metrics(metrics, settings.ca_signer_metrics_listen, settings)))
    stopped = asyncio.create_task(stopping.wait())
    replaced = asyncio.create_task(confinement.sandbox.watch.wait())
    elsewhere = asyncio.create_task(confinement.new_path.wait())
    try:
        done, _ = await asyncio.wait([*work, stopped, replaced, elsewhere], return_when=asyncio.FIRST_COMPLETED)
        for task in done & set(work):
            task.result()
        if not stopped.done():
            log.warning("a confined process cannot read a path that is new: to be started again")
            sys.exit(1)
    finally:
        path.unlink(missing_ok=True)  # while it is ours: a successor may listen there as soon as it is closed
        listening.close()
        await end_tasks([*work, stopped, replaced, elsewhere])
        pool.terminate()


async def _look_again(service: SigningService) -> None:
    while True:
        await asyncio.sleep(LOOK_AGAIN_S)
        await service.look_again()


async def _pool(settings: Settings) -> Pool:
    while True:
        try:
            return await open_pool(settings.require_database(), name=_NAME, size=CONNECTIONS, command_timeout_s=10)
        except Transient as error:
            log.warning("ledger not reachable", error=str(error))
            await asyncio.sleep(PAUSE_S)


async def _key_references(settings: Settings) -> list[str]:
    """Return where the keys of this ledger are: a confined process must know before."""
    while True:
        try:
            async with connected(settings.require_database(), name=_NAME) as connection:
                return [each.key_path for each in await ca_signer.signing_issuers(connection) if each.key_path]
        except Transient as error:
            log.warning("ledger not reachable", error=str(error))
            await asyncio.sleep(PAUSE_S)


def confine_ca_signer(settings: Settings, path: Path, references: Iterable[str]) -> Confinement:
    """Confine this process: key files and token libraries to read, its socket, the ledger's port."""
    url = settings.require_database().get_secret_value()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    keys = settings.ca_keys.absolute()
    with contextlib.suppress(OSError):
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    outside = {each for reference in references for each in _paths_of(reference) if not each.is_relative_to(keys)}
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    reads = [keys, *outside, *([Path(credentials)] if credentials else [])]
    metrics = [parse_address(settings.ca_signer_metrics_listen)[1]] if settings.ca_signer_metrics_listen else []
    allowed = Allowed(
        reads=[*reads, *postgres_files(), *files_of(url)],
        loads=[module for reference in references for module in _modules_of(reference)],
        writes=[path.parent, *settings.ca_token_paths],
        connects=with_dns(postgres_ports(url)),
        binds=metrics,
    )
    sandbox = confine(settings.sandbox, allowed, holds_keys=True)
    return Confinement(sandbox, [*reads, *settings.ca_token_paths])


def _paths_of(reference: str) -> Iterator[Path]:
    """Yield the files that opening that key reads, besides a token's own."""
    if not is_token_uri(reference):
        yield Path(reference).absolute()
        return
    with contextlib.suppress(Refused):
        uri = parse_token_uri(reference)
        yield uri.module
        if not uri.pin_source.startswith("credential:"):
            yield Path(uri.pin_source).absolute()


def _modules_of(reference: str) -> Iterator[Path]:
    with contextlib.suppress(Refused):
        if is_token_uri(reference):
            yield parse_token_uri(reference).module


def _counts(server: CASignerServer, service: SigningService) -> Iterator[Metric]:
    signed = CounterMetricFamily("fastocsp_ca_signed", "signatures with CA keys", labels=["purpose"])
    for purpose, count in service.signed.items():
        signed.add_metric([purpose], count)
    yield signed
    refused = CounterMetricFamily("fastocsp_ca_refused", "signatures with CA keys that were refused", labels=["reason"])
    for reason, count in server.refused.items():
        refused.add_metric([reason], count)
    yield refused


def run_ca_signer(settings: Settings, *, child: bool = False) -> None:
    """Run the CA signer in this process."""
    import uvloop

    path = settings.ca_signer_socket
    if path is None:
        raise ConfigError(
            "FASTOCSP_CA_SIGNER is off: commands and warmers of this host open the keys of CAs themselves"
        )
    if child:
        die_with_parent(signal.SIGTERM, os.getppid())
    set_up_process(settings, "ca-signer")
    confinement = confine_ca_signer(settings, path, asyncio.run(_key_references(settings)))
    uvloop.run(serve(settings, path, confinement))
