"""The command line as a whole: help, version, usage errors."""

import pytest

from cachewarm.cli.main import COMMANDS
from tests.cachewarm.cli.conftest import Fastocsp

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


@pytest.mark.parametrize("words", [*((name,) for name in COMMANDS), *SUBCOMMANDS], ids=" ".join)
def test_every_command_explains_itself(offline: Fastocsp, words: tuple[str, ...]) -> None:
    """--help works without any setting and says something on standard output."""
    said = offline(*words, "--help")
    assert said.status == 0
    assert "Usage:" in said.out
    assert words[-1] in said.out


def test_an_unknown_command_is_a_usage_error(offline: Fastocsp) -> None:
    """Exit status 2, nothing on standard output."""
    said = offline("frobnicate")
    assert (said.status, said.out) == (2, "")


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
