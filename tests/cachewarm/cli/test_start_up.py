"""What a command loads before it does anything: by the names of modules, as times depend on the machine."""

import json
import subprocess
import sys

import pytest

from cachewarm.cli.main import COMMANDS
from tests.cachewarm.cli.conftest import Fastocsp

#: Loads the command, lets it end, and names the packages that are there then.
PROGRAM = """
import contextlib, io, json, sys
from cachewarm.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    try:
        main(sys.argv[1:])
    except SystemExit as end:
        status = end.code
print(json.dumps([status, sorted({name.partition(".")[0] for name in sys.modules})]))
"""
HEAVY = {"asyncio", "asyncpg", "asn1crypto", "cryptography", "redis", "structlog"}


def loaded_by(fastocsp: Fastocsp, *words: str) -> set[str]:
    """Return the packages that the command needed; it must have succeeded."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        env=fastocsp.environ,
        cwd=fastocsp.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    status, packages = json.loads(ended.stdout)
    assert not status, ended.stderr
    return set(packages)


@pytest.mark.parametrize(
    "words", [*((name,) for name in sorted(COMMANDS)), ("ca", "issue"), ("issuer", "add")], ids=" ".join
)
def test_help_loads_little(offline: Fastocsp, words: tuple[str, ...]) -> None:
    """Neither event loop, database driver and cryptography, nor a renderer of markdown."""
    assert loaded_by(offline, *words, "--help") & (HEAVY | {"rich"}) == set()


def test_a_revocation_by_serial_number_loads_no_cryptography(root_ca: Fastocsp) -> None:
    """Certificates are read only where the command line names one, and the logger only where something is logged."""
    serial = str(root_ca("ca", "issue", "root", "--name", "a.example", "--json").json["serial"])
    packages = loaded_by(root_ca, "revoke", "--serial", serial, "--issuer", "root", "--json")
    assert packages & {"asn1crypto", "cryptography", "pydantic", "redis", "rich", "structlog", "typer"} == set()
