"""Pages of the documentation as scripts: their shell blocks in order, and what their text blocks say is printed."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.instance import ROOT, Instance

_BLOCK = re.compile(r"^```(shell|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "=== block"


@dataclass(frozen=True)
class Step:
    """A shell block and the lines that must be in what it prints."""

    commands: str
    expected: tuple[str, ...]


def steps(page: Path) -> list[Step]:
    """The page's blocks in order; a text block belongs to the shell block before it."""
    found: list[Step] = []
    for kind, text in _BLOCK.findall(page.read_text()):
        if kind == "shell":
            found.append(Step(text, ()))
        else:
            found[-1] = Step(found[-1].commands, tuple(text.splitlines()))
    return found


def run(script: str, folder: Path, instance: Instance, more: dict[str, str]) -> str:
    """What bash prints, both streams together; its first failing command ends it."""
    programs = folder / "bin"
    programs.mkdir()
    command = programs / "fastocsp"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cachewarm.cli.main "$@"\n')
    command.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FASTOCSP_")}
    environ = kept | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "DATA_DIR": str(instance.folder),
        "BASE": instance.base,
        **more,
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


def follow(page: Path, folder: Path, instance: Instance, **more: str) -> int:
    """Run the page from an empty folder and look for every line that it promises; how many blocks that were."""
    blocks = steps(page)
    script = "".join(f'echo "{_MARK}"\n{block.commands}' for block in blocks)
    printed = run(script, folder, instance, more).split(_MARK)[1:]
    assert len(printed) == len(blocks)
    for block, text in zip(blocks, printed, strict=True):
        for line in block.expected:
            assert line.strip() in text, f"{line!r} is not in\n{text}"
    return len(blocks)
