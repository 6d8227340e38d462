"""The compiled modules are built with the defences that the compiler and the linker have, judged by `readelf`."""

import os
import re
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(path for root in ("_fastocsp", "responder") for path in (ROOT / root).rglob("*.so"))
pytestmark = pytest.mark.skipif(
    os.environ.get("FASTOCSP_BUILD", "fast") != "fast", reason="builds for tests have other flags"
)


@cache
def read(options: Sequence[str]) -> dict[str, str]:
    """What readelf says of every module, by its name."""
    said = subprocess.run(["readelf", *options, *map(str, MODULES)], check=True, capture_output=True, text=True).stdout
    parts = re.split(r"^File: (.*)$", said, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_tables_of_functions_are_read_only_once_loaded() -> None:
    """Full RELRO: the segment is there, and every symbol is bound at load time."""
    assert MODULES
    assert all("GNU_RELRO" in said for said in read(("-lW",)).values())
    assert all(re.search(r"\bNOW\b", said) for said in read(("-dW",)).values())


def test_no_stack_is_executable() -> None:
    """The segment's flags are read and write."""
    stacks = [re.search(r"GNU_STACK(.*)", said) for said in read(("-lW",)).values()]
    assert all(found is not None and re.search(r"\bRW\b\s", found[1]) and "RWE" not in found[1] for found in stacks)


def test_stacks_have_canaries_and_copies_are_checked() -> None:
    """Modules call the functions that end a process whose stack or copy has gone wrong; no copy is left unchecked that
    the compiler knows the size of.
    """
    said = read(("-sW",))
    guarded = [name for name, symbols in said.items() if "__stack_chk_fail" in symbols]
    assert len(guarded) > len(MODULES) // 2
    assert any(re.search(r"UND __(memcpy|memset|memmove)_chk", symbols) for symbols in said.values())


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="of another machine, other marks")
def test_branch_targets_are_marked() -> None:
    """The first instruction of a module's exported function is endbr64 (f3 0f 1e fa)."""
    for path in MODULES:
        symbols = read(("-sW",))[str(path)]
        found = re.search(r"(?m)^\s*\d+: ([0-9a-f]+)\s+\d+ FUNC\s+GLOBAL DEFAULT\s+\d+ PyInit_", symbols)
        assert found is not None, path
        assert path.read_bytes()[int(found[1], 16) :][:4] == b"\xf3\x0f\x1e\xfa", path
