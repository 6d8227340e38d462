"""The command line as a whole: help, version, usage errors."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from cachewarm.cli import main
from cachewarm.cli.main import COMMANDS
from tests.cachewarm.cli.conftest import Fastocsp
from tests.support.instance import ROOT

SUBCOMMANDS: list[tuple[str, ...]] = [
    ("ca", "init"),
    ("ca", "issue"),
    ("ca", "show"),
    ("issuer", "add"),
    ("issuer", "list"),
    ("issuer", "show"),
    ("import", "openssl"),
    ("db", "migrate"),
    ("db", "status"),
]


#: The first command of each module: its interpreter starts cold, so that the module finds all that it imports.
COLD = {module: name for name, (module, _, _) in reversed(COMMANDS.items())}.values()


@pytest.mark.parametrize("words", [*((name,) for name in COMMANDS), *SUBCOMMANDS], ids=" ".join)
def test_every_command_explains_itself(offline: Fastocsp, words: tuple[str, ...]) -> None:
    """--help works without any setting and says something on standard output."""
    said = offline(*words, "--help", cold=words[0] in COLD and len(words) == 1)
    assert said.status == 0
    assert "Usage:" in said.out
    assert words[-1] in said.out


def imported_late() -> list[str]:
    """Return the modules of ours that functions of the command line import when they are called."""
    found = set()
    for path in Path(main.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.col_offset and node.module:
                found.add(node.module)
    return sorted(name for name in found if name.startswith(("cachewarm", "responder")))


def test_modules_that_commands_import_late_can_be_imported_first() -> None:
    """Commands of these tests run where everything is imported already, those of users do not."""
    program = """
import os, sys
import asyncpg, click, cryptography.x509, redis.asyncio, structlog
for name in sys.argv[1:]:
    pid = os.fork()
    if not pid:
        __import__(name)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        print(name)
"""
    names = imported_late()
    done = subprocess.run([sys.executable, "-c", program, *names], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert len(names) > 10


@pytest.mark.parametrize("cold", [False, True])
def test_an_unknown_command_is_a_usage_error(offline: Fastocsp, cold: bool) -> None:
    """Exit status 2, nothing on standard output."""
    said = offline("frobnicate", cold=cold)
    assert (said.status, said.out) == (2, "")


def test_a_forked_command_is_like_a_cold_one(fastocsp: Fastocsp) -> None:
    """The same status, output and complaints, with the environment and the folder of the caller."""
    for words in (("check-config",), ("issuer", "list", "--json"), ("revoke", "--serial", "zz"), ("ca", "show", "x")):
        assert fastocsp(*words, FASTOCSP_HORIZON="7s") == fastocsp(*words, FASTOCSP_HORIZON="7s", cold=True)
    assert fastocsp("issuer", "list", "--nonsense").status == 2


@pytest.mark.parametrize("words", [("issuer", "list"), ("revoke", "--serial", "01"), ("ca", "show", "nobody")], ids=str)
def test_without_a_ledger_the_ways_to_name_one_are_said(offline: Fastocsp, words: tuple[str, ...]) -> None:
    """Exit status 2: it is a matter of settings."""
    said = offline(*words)
    assert said.status == 2
    assert "FASTOCSP_DATABASE_URL" in said.err


def test_a_misspelt_setting_stops_every_command(fastocsp: Fastocsp) -> None:
    """Rather than being ignored."""
    said = fastocsp("issuer", "list", FASTOCSP_HORIZONT="30s")
    assert said.status == 2
    assert "FASTOCSP_HORIZONT" in said.err


def test_the_version_is_said_without_a_command(offline: Fastocsp) -> None:
    """--version stands alone, exit status 0."""
    said = offline("--version")
    assert said.status == 0
    assert said.out.startswith("fastocsp")
