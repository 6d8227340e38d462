"""Print the exact commands to try once the quickstart is ready."""

import shutil
import sys
from pathlib import Path

import click

from cachewarm.config import Settings
from cachewarm.quickstart.demo_files import Demo


def print_welcome(settings: Settings, demo: Demo, seconds: float) -> None:
    """Print the commands to try, with the paths of this instance."""
    url = f"{settings.base_url}/.well-known/pki/ocsp/{demo.issuer_id}"
    program = _program()
    crl = f"{settings.base_url}/.well-known/pki/crl/{demo.issuer_id}"
    folder = "" if settings.data_dir == Path.cwd() / ".fastocsp" else f" --data-dir {settings.data_dir}"
    ask = f"openssl ocsp -issuer {demo.issuer_cert} -CAfile {demo.issuer_cert} -url {url} -cert"
    spare = next(
        (p for p in sorted(demo.certs_dir.glob("*.pem")) if p not in (demo.good_cert, demo.revoked_cert)),
        demo.good_cert,
    )
    ready = click.style("fastocsp is ready", bold=True, fg="green")
    click.echo(f"\n{ready} after {seconds:.1f} s: {settings.base_url}\n")
    for title, command in {
        "a good answer": f"{ask} {demo.good_cert}",
        "a revoked answer": f"{ask} {demo.revoked_cert}",
        "the CRL": f"curl -s {crl} | openssl crl -inform DER -noout -text",
        "is it ready, and what did it count": f"curl -s {settings.base_url}/ready; curl -s http://{settings.metrics_listen}/metrics",
        "revoke one more": f"{program} revoke --cert {spare} --reason keyCompromise --wait{folder}",
    }.items():
        click.echo(f"  {click.style(title, bold=True)}\n    {click.style(command, fg='cyan')}\n")
    click.echo(click.style(f"Ctrl-C stops everything; the data stay in {settings.data_dir}", dim=True))


def _program() -> str:
    """How this very program is called from a shell."""
    called = Path(sys.argv[0]).absolute()
    if called.name != "fastocsp":
        return f"{sys.executable} -m cachewarm.cli.main"
    return "fastocsp" if shutil.which("fastocsp") == str(called) else str(called)
