"""The processes: quickstart, serve, ca-signer, signer, warm, admin. Each runs until SIGTERM or Ctrl-C."""

from typing import Annotated

import click

from cachewarm.cli.options import DataDir, settings_of
from cachewarm.cli.parameters import Option
from cachewarm.config import Settings
from cachewarm.console import reported

Host = Annotated[str | None, Option(help="Address of the public listener.", show_default="127.0.0.1")]
Port = Annotated[int | None, Option(help="Port of the public listener.", show_default="8080")]
AdminPort = Annotated[int | None, Option(help="Port of the admin listener.", show_default="8443")]
Workers = Annotated[int | None, Option(help="Edge processes.", show_default="1")]


def quickstart(
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
    admin_port: AdminPort = None,
    workers: Workers = None,
    certificates: Annotated[int, Option(min=2, help="Demo certificates to issue.")] = 100,
    revoked: Annotated[int, Option(min=0, help="How many of them are revoked.")] = 10,
) -> None:
    """Run everything on this machine: Postgres, Valkey, a demo CA, signers, warmer, edge, admin."""
    with reported():
        if revoked >= certificates:
            raise click.BadParameter("--revoked must be below --certificates: one has to stay good")
        settings = settings_of(data_dir, instance=False, host=host, port=port, admin_port=admin_port, workers=workers)
        check_sandbox(settings)
        import responder.plain_logs  # noqa: F401 - first
        from cachewarm.quickstart.run import Plan, run_quickstart

        run_quickstart(settings, Plan(certificates, revoked))


def serve(data_dir: DataDir = None, host: Host = None, port: Port = None, workers: Workers = None) -> None:
    """Run the edge: a master that hears the feed, and its workers."""
    with reported():
        from responder.config import EdgeSettings
        from responder.master import run_master

        settings = settings_of(data_dir, host=host, port=port, workers=workers)
        settings.require_database()
        check_sandbox(settings)
        run_master(EdgeSettings(**{field: getattr(settings, field) for field in EdgeSettings.fields}))


def signer(data_dir: DataDir = None) -> None:
    """Run the live signer of this edge host."""
    with reported():
        from cachewarm.signer.run import run_signer

        settings = settings_of(data_dir)
        settings.require_keys()
        settings.require_database()
        check_sandbox(settings)
        run_signer(settings)


def ca_signer(data_dir: DataDir = None) -> None:
    """Run the CA signer: the one process that uses the keys of CAs."""
    with reported():
        from cachewarm.ca_signer.run import run_ca_signer

        settings = settings_of(data_dir)
        settings.require_database()
        check_sandbox(settings)
        run_ca_signer(settings)


def warm(data_dir: DataDir = None) -> None:
    """Run the warmer; any number may run."""
    with reported():
        from cachewarm.warmer.warmer import run_warmer

        settings = settings_of(data_dir)
        settings.require_keys()
        settings.require_database()
        run_warmer(settings)


def admin(data_dir: DataDir = None, admin_port: AdminPort = None) -> None:
    """Run the private admin listener: HTTPS, TLS 1.3, API keys."""
    with reported():
        from cachewarm.admin.run import run_admin

        settings = settings_of(data_dir, admin_port=admin_port)
        settings.require_database()
        run_admin(settings)


def check_sandbox(settings: Settings) -> None:
    """Raise ConfigError when FASTOCSP_SANDBOX asks for more than this kernel has: no process would live."""
    from responder.sandbox import check

    check(settings.sandbox)
