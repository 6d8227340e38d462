"""docs/openssl-ca.md is true: its commands run in their order, and print what the page says."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.instance import ROOT, Instance

PAGE = ROOT / "docs" / "openssl-ca.md"
_BLOCK = re.compile(r"^```(shell|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "=== block"


@dataclass(frozen=True)
class Step:
    """A shell block and the lines that must be in what it prints."""

    commands: str
    expected: tuple[str, ...]


def steps() -> list[Step]:
    """The page's blocks in order; a text block belongs to the shell block before it."""
    found: list[Step] = []
    for kind, text in _BLOCK.findall(PAGE.read_text()):
        if kind == "shell":
            found.append(Step(text, ()))
        else:
            found[-1] = Step(found[-1].commands, tuple(text.splitlines()))
    return found


def run(script: str, folder: Path, instance: Instance) -> str:
    """What bash prints, both streams together; its first failing command ends it."""
    programs = folder / "bin"
    programs.mkdir()
    command = programs / "fastocsp"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cachewarm.cli "$@"\n')
    command.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FASTOCSP_")}
    environ = kept | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "DATA_DIR": str(instance.folder),
        "BASE": instance.base,
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"exec 2>&1\n{script}"],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.mark.e2e
def test_the_page_about_openssl_ca_does_what_it_says(instance: Instance, tmp_path: Path) -> None:
    """From an empty folder to answers that `openssl ocsp` accepts, against a running quickstart."""
    page = steps()
    script = "".join(f'echo "{_MARK}"\n{step.commands}' for step in page)
    printed = run(script, tmp_path, instance).split(_MARK)[1:]
    assert len(printed) == len(page) >= 8
    for step, text in zip(page, printed, strict=True):
        for line in step.expected:
            assert line.strip() in text, f"{line!r} is not in\n{text}"
