"""The real command line, as a process of its own (tests/support/warm_command.py), against a database of its own."""

import json
import os
import shlex
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import Connection, connected
from tests.support import warm_command

LIMIT_S = 60


@dataclass(frozen=True)
class Run:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on standard output; an error when there is more or less."""
        return json.loads(self.out)

    @property
    def fields(self) -> dict[str, str]:
        """`name: value` lines."""
        return dict(line.split(": ", 1) for line in self.out.splitlines())


@dataclass(frozen=True)
class Fastocsp:
    """The command with its environment; `folder` is its working folder, DATA_DIR is below it."""

    folder: Path
    environ: dict[str, str]

    def __call__(self, *arguments: object, cold: bool = False, **environ: str) -> Run:
        """Run it. `cold`: by an interpreter that has imported nothing yet, as a user starts it."""
        words = [str(argument) for argument in arguments]
        ended = warm_command.run(words, env=self.environ | environ, cwd=self.folder, timeout_s=LIMIT_S, cold=cold)
        assert "Traceback" not in ended.stderr, ended.stderr
        return Run(ended.returncode, ended.stdout, ended.stderr)

    def files(self) -> set[str]:
        """Every file below the working folder."""
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def offline(tmp_path: Path) -> Fastocsp:
    """Without any setting but the data folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FASTOCSP_")}
    root = Path(__file__).parents[3]
    environ = kept | {"FASTOCSP_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(root), "COLUMNS": "200"}
    environ["FASTOCSP_CA_SIGNER"] = "off"  # commands open keys themselves; tests of the CA signer start one
    return Fastocsp(tmp_path, environ)


@pytest.fixture
def fastocsp(offline: Fastocsp, database: DatabaseURLs) -> Fastocsp:
    """With a migrated, empty ledger, and an address at which clients reach its edges."""
    urls = {"FASTOCSP_DATABASE_URL": database.cli, "FASTOCSP_PUBLIC_URL": "http://ocsp.example"}
    return Fastocsp(offline.folder, offline.environ | urls)


@pytest.fixture
async def writer(database: DatabaseURLs) -> AsyncIterator[Connection]:
    """The writer's connection to the same ledger."""
    async with connected(database.cli) as connection:
        yield connection


@pytest.fixture
def root_ca(fastocsp: Fastocsp) -> Fastocsp:
    """With a local root `root`."""
    made = fastocsp("ca", "init", "--id", "root", "--subject", "CN=Root,O=Example")
    assert made.status == 0, made.err
    return fastocsp


@pytest.fixture
def openssl(tmp_path: Path) -> Callable[..., str]:
    """Runs openssl in the working folder."""
    return openssl_in(tmp_path)


def openssl_in(folder: Path) -> Callable[..., str]:
    """Return what runs openssl in that folder: a command line, and words to be taken as they are."""

    def run(command: str, *more: object) -> str:
        words = ["openssl", *shlex.split(command), *map(str, more)]
        return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True).stdout

    return run
