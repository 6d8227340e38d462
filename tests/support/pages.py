"""Runs the commands of a documentation page in order, and compares what they print with what the page shows.

Conventions of a page, by the language of its fenced blocks:

- `shell`: executed, in order, in one bash that ends at the first failing command.
- `text` directly after a `shell` block: every line must be in what that block prints.
- `console`, `sh` and all others: shown, not executed.

A page with `shell` blocks says so in its first paragraphs (`MARK`) and is in `EXECUTED`. The commands find `fastocsp`
on PATH and as `.venv/bin/fastocsp`, the instance's folder as `$DATA_DIR` and as `.fastocsp`, its URL as `$BASE`.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support import warm_command
from tests.support.instance import ROOT, Instance

#: Pages whose commands a test runs, relative to the root of the repository.
EXECUTED = ("README.md", "docs/openssl-ca.md", "docs/mirror.md", "docs/backup.md")
#: Sentence that marks an executed page; line breaks in the page do not matter.
MARK = "run by the test suite"
_FENCE = re.compile(r"^```([\w-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BEGIN = "=== block"
_TIMEOUT_S = 100


@dataclass(frozen=True)
class Step:
    """A shell block, the line of the page where it begins, and the lines that must be in what it prints."""

    commands: str
    line: int
    expected: tuple[str, ...] = ()


def steps_of(page: Path) -> list[Step]:
    """Return the executed blocks of a page in order."""
    found: list[Step] = []
    is_open = False  # whether a text block would belong to the last step
    text = page.read_text()
    for match in _FENCE.finditer(text):
        language, body = match.groups()
        if language == "shell":
            found.append(Step(body, text.count("\n", 0, match.start()) + 2))
        elif language == "text" and is_open:
            found[-1] = Step(found[-1].commands, found[-1].line, tuple(body.splitlines()))
        is_open = language == "shell"
    return found


def is_marked(page: Path) -> bool:
    """Report whether the page tells its readers that its commands are executed."""
    return MARK in " ".join(page.read_text().split())


def follow(page: Path, folder: Path, instance: Instance, **more: str) -> int:
    """Run a page from an empty folder and return how many blocks were run.

    Raise AssertionError with page, line, commands and output when a command fails or an expected line is missing.
    `more` are further environment variables.
    """
    steps = steps_of(page)
    script = "".join(f'echo "{_BEGIN}"\n{step.commands}' for step in steps)
    done = _run(script, folder, instance, more)
    printed = done.stdout.split(_BEGIN)[1:]
    for step, text in zip(steps, printed, strict=False):
        where = f"{page.name}:{step.line}\n{step.commands}\nprinted:\n{text[-3000:]}"
        is_last = text is printed[-1]
        assert done.returncode == 0 or not is_last, f"status {done.returncode} at {where}"
        for line in step.expected:
            assert line.strip() in text, f"{line.strip()!r} is missing at {where}"
    assert len(printed) == len(steps)
    return len(steps)


def _run(script: str, folder: Path, instance: Instance, more: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    command = programs / "fastocsp"
    command.write_text(warm_command.shell_command())
    command.chmod(0o755)
    (folder / ".fastocsp").symlink_to(instance.folder)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FASTOCSP_")}
    environ = kept | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "DATA_DIR": str(instance.folder),
        "BASE": instance.base,
        **more,
    }
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"exec 2>&1\n{script}"],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
