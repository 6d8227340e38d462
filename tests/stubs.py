"""`python tests/stubs.py`: mypy.stubtest over every compiled module that has a .pyi; non-zero when one of them lies.

responder and cachewarm are plain Python or private to one process: only `_fastocsp` is described by stubs.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = ROOT / "tests" / "stubtest.allowlist"


def modules() -> list[str]:
    """Every described module, dotted."""
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "_fastocsp").rglob("*.pyi")
    )


def main() -> int:
    """Exit code of stubtest."""
    command = [
        sys.executable,
        "-m",
        "mypy.stubtest",
        "--allowlist",
        str(ALLOWED),
        "--ignore-unused-allowlist",
        *modules(),
    ]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
