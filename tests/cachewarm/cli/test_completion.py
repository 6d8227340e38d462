"""Completion in a real bash, by the script that the command prints."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cachewarm.cli.conftest import Fastocsp

_CALL = """
source completion.sh
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
_fastocsp_completion fastocsp
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def complete(offline: Fastocsp) -> "Complete":
    """With the script in the working folder."""
    printed = offline("completion", "bash")
    assert printed.status == 0
    (offline.folder / "completion.sh").write_text(printed.out)
    return Complete(offline)


class Complete:
    """What bash offers for a command line, the last word of which is begun."""

    def __init__(self, fastocsp: Fastocsp) -> None:
        self._fastocsp = fastocsp

    def __call__(self, *words: str) -> list[str]:
        """Return the completions, in their order."""
        program = Path(sys.executable).parent
        environ = self._fastocsp.environ | {"PATH": f"{program}:/usr/bin:/bin"}
        command = ["bash", "-c", _CALL, "bash", "fastocsp", *words]
        ended = subprocess.run(
            command, env=environ, cwd=self._fastocsp.folder, capture_output=True, text=True, check=True, timeout=60
        )
        assert not ended.stderr
        return ended.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("stat",), ["status"]),
        (("no-such-command", "x"), []),
        (("ca", "i"), ["init", "issue"]),
        (("ca", "init", "--key"), ["--key", "--key-uri"]),
        (("ca", "init", "--key", "p"), ["p256", "p384"]),
        (("revoke", "--reason", "key"), ["keyCompromise"]),
    ],
    ids=str,
)
def test_bash_completes_commands_options_and_values(
    complete: Complete, words: tuple[str, ...], offered: list[str]
) -> None:
    """What the shell shows at the second Tab."""
    assert sorted(complete(*words)) == offered


def test_completion_for_an_unknown_shell_is_refused(offline: Fastocsp) -> None:
    """It names those that there are."""
    refused = offline("completion", "tcsh")
    assert refused.status == 2
    assert "bash, zsh or fish" in refused.err


def test_misspelt_command_is_answered_with_near_names(offline: Fastocsp) -> None:
    """On every level of commands."""
    assert "'revoke'" in offline("revok").err
    assert "'init'" in offline("ca", "inti").err
