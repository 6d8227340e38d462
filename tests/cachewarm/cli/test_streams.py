"""Standard output that is closed, full, or read by a program that has ended."""

import os
import subprocess
import sys

import pytest

from tests.cachewarm.cli.conftest import Fastocsp


def run(fastocsp: Fastocsp, script: str, *words: str) -> tuple[int, str]:
    """Return the exit status and standard error of the command within a line of shell.

    Its standard output is a pipe whose reader has ended.
    """
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "cachewarm.cli.main", *words]
    try:
        ended = subprocess.run(
            ["sh", "-c", script, "sh", *command],
            env=fastocsp.environ,
            cwd=fastocsp.folder,
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(write)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("words", [("check-config",), ("--help",)], ids=" ".join)
def test_command_whose_reader_has_ended_ends_silently(offline: Fastocsp, words: tuple[str, ...]) -> None:
    """As `| head` does: no message about a broken pipe, whether print or the last flush meets it."""
    assert run(offline, '"$@"', *words) == (1, "")


def test_status_whose_reader_has_ended_reports_only_its_findings(offline: Fastocsp) -> None:
    """Output that is flushed at every line meets the broken pipe within the command."""
    status, err = run(Fastocsp(offline.folder, offline.environ | {"PYTHONUNBUFFERED": "1"}), '"$@"', "status")
    assert status == 1
    assert "Broken pipe" not in err


def test_command_with_a_full_disk_behind_its_output_fails_in_one_line(offline: Fastocsp) -> None:
    """The result is lost, which the exit status and the message tell."""
    status, err = run(offline, '"$@" > /dev/full', "check-config")
    assert (status, err) == (1, "fastocsp: standard output cannot be written: No space left on device\n")


def test_command_without_standard_streams_works(offline: Fastocsp) -> None:
    """A service manager may start it with descriptors 0 to 2 closed; its exit status is that of the command."""
    assert run(offline, '"$@" >&- 2>&- <&-', "check-config") == (0, "")
