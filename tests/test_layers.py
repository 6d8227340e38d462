"""The floors hold for .pyx and .pxd files too: import-linter reads Python alone."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_IMPORT = re.compile(r"^\s*(?:from|import|cimport)\s+([A-Za-z_][\w.]*)", re.MULTILINE)
#: What each floor may name; the standard library and Cython's own declarations are everybody's.
ALLOWED = {
    "_fastocsp": {"_fastocsp", "cpython", "libc", "cython"},
    "responder": {"responder", "_fastocsp", "cpython", "libc", "cython", "socket"},
}
SOURCES = sorted(path for root in ALLOWED for kind in ("*.pyx", "*.pxd") for path in (ROOT / root).rglob(kind))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_compiled_modules_import_from_their_floor_or_below(path: Path) -> None:
    """No `.pyx` or `.pxd` of the codec knows the edge, none of the edge knows the write side."""
    floor = path.relative_to(ROOT).parts[0]
    named = {name.split(".")[0] for name in _IMPORT.findall(_without_docstrings(path.read_text()))}
    assert named - ALLOWED[floor] == set()


def test_the_read_side_never_loads_a_private_key() -> None:
    """Neither the codec nor the edge names a loader of private keys."""
    words = ("load_pem_private_key", "load_der_private_key", "generate_private_key", "PrivateKey")
    for path in (*ROOT.glob("responder/**/*.py*"), *ROOT.glob("_fastocsp/**/*.py*")):
        if path.suffix in (".py", ".pyx", ".pyi"):
            assert not [word for word in words if word in path.read_text()], path


def _without_docstrings(text: str) -> str:
    return re.sub(r'""".*?"""', "", text, flags=re.DOTALL)
