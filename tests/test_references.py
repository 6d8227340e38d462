"""Files and modules that docs, docstrings and comments name exist: a stale name sends a reader to nothing."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("cachewarm", "responder", "_fastocsp", "tests", "bench")
_FILE = re.compile(r"(?<![\w./-])((?:[\w-]+/)*[\w-]+\.(?:pyx|pxd|pyi|py|sql|sh))(?![\w/])")
_DOTTED = re.compile(r"(?<![\w./-])((?:cachewarm|responder|_fastocsp|tests|bench)(?:\.\w+)+)")
_SLASHED = re.compile(r"(?<![\w./-])((?:cachewarm|responder|_fastocsp)(?:/\w+)+)(?![\w./])")
FILES = {
    str(path.relative_to(ROOT))
    for folder in (*PACKAGES, "docs", ".ci")
    for path in (ROOT / folder).rglob("*")
    if path.is_file()
}
FILES |= {path.name for path in ROOT.iterdir() if path.is_file()}
#: Files that pages describe and that the repository does not have: generated, or another program's.
FOREIGN = {"openssl.cnf", "setup.py", "conftest.py"}
#: Last parts of names that look like a module: files of an example's responder, a struct's field.
NOT_MODULES = {"pem", "key", "crt", "csr", "p"}
#: The history of changes and decisions names what was there at its time.
HISTORY = ("CHANGELOG.md", "docs/adr/")
PAGES = [
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md"))
    if "_build" not in path.parts and not str(path.relative_to(ROOT)).startswith(HISTORY)
]
SOURCES = [
    path
    for package in PACKAGES
    for kind in ("*.py", "*.pyx", "*.pxd", "*.pyi", "*.sql")
    for path in (ROOT / package).rglob(kind)
]


def stale(text: str) -> Iterator[str]:
    """Yield the names of files and modules in a text that lead nowhere."""
    for name in _FILE.findall(text):
        is_there = name in FILES or any(known.endswith(f"/{name}") for known in FILES)
        if not is_there and name not in FOREIGN:
            yield name
    for name in _SLASHED.findall(text):
        if not any((ROOT / f"{name}{suffix}").exists() for suffix in ("", ".py", ".pyx", ".pxd")):
            yield name
    for name in _DOTTED.findall(text):
        if name.rpartition(".")[2] not in NOT_MODULES and not _resolves(name.split(".")):
            yield name


def _resolves(parts: list[str]) -> bool:
    """Report whether a dotted name begins with a module; an attribute of a module is not looked up."""
    for length in range(len(parts), 1, -1):
        path = ROOT.joinpath(*parts[:length])
        if any(path.with_suffix(suffix).exists() for suffix in (".py", ".pyx", ".pxd")):
            return True
        if path.is_dir():
            return length == len(parts)
    return False


def prose_of(path: Path) -> str:
    """Return the docstrings and comments of a source file; SQL and Cython files are read whole."""
    text = path.read_text()
    if path.suffix not in (".py", ".pyi"):
        return text
    tree = ast.parse(text)
    statements = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    docstrings = [node.value for node in statements if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    comments = re.findall(r"#.*", text)
    return "\n".join([*docstrings, *comments])


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_name_files_that_exist(path: Path) -> None:
    """A page's file and module names resolve."""
    assert sorted(set(stale(path.read_text()))) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_and_comments_name_files_that_exist(package: str) -> None:
    """So do those of the sources."""
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] == package
        for name in stale(prose_of(path))
    }
    assert sorted(found) == []


def test_a_stale_name_is_found() -> None:
    """Of each form, one that exists and one that does not."""
    text = "cachewarm/cli/main.py cachewarm/cli/nowhere.py responder.errors responder.nowhere `no_such.pyx` lane.pyx"
    assert sorted(stale(text)) == ["cachewarm/cli/nowhere.py", "no_such.pyx", "responder.nowhere"]
