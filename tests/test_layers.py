"""The floors and the blocks inside each: which package may import which, `.pyx` and `.pxd` files included.

import-linter reads Python alone, and holds the three floors (pyproject.toml). This test reads every file as text and
holds the blocks: a module imports from its own block or from one further down its list, never further up.
"""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
#: Depth of each block below the top of its package, from import-linter's contracts; blocks of one line are equal.
LEVELS = {
    f"{container}.{name.strip()}": depth
    for contract in _CONTRACTS
    for container in contract.get("containers", [])
    for depth, line in enumerate(contract["layers"])
    for name in line.split("|")
}
#: Modules that a compiled file may name besides its own package and those below.
COMPILED = {"cpython", "libc", "cython", "socket"}
FLOORS = ("_fastocsp", "responder", "cachewarm")
SOURCES = sorted(
    path
    for package in FLOORS
    for kind in ("*.py", "*.pyx", "*.pxd")
    for path in (ROOT / package).rglob(kind)
    if path.name != "__init__.py"
)
_IMPORT = re.compile(r"^\s*(?:from|import|cimport)\s+([A-Za-z_][\w.]*)", re.MULTILINE)
_FROM_PACKAGE = re.compile(r"^\s*from\s+(\w+)\s+c?import\s+([\w, ]+)$", re.MULTILINE)
_WRITES = re.compile(
    r"\b(insert\s+into|update\s+\w+\s+set|delete\s+from|truncate|create\s+(table|role|function)|alter|drop|grant)\b",
    re.IGNORECASE,
)


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports; `from package import module` gives package.module."""
    text = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)
    found = set(_IMPORT.findall(text)) - set(FLOORS)
    for package, names in _FROM_PACKAGE.findall(text):
        found |= {f"{package}.{name.split(' as ')[0].strip()}" for name in names.split(",")}
    return found


def _block(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _ours(path: Path) -> Iterator[str]:
    """The imports that stay within the three packages."""
    return (name for name in _imports(path) if name.split(".")[0] in FLOORS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_from_its_block_or_below(path: Path) -> None:
    """No import points up, neither between the floors nor between the blocks of one package."""
    package, block = path.relative_to(ROOT).parts[0], _block(_name(path))
    for name in _ours(path):
        above = FLOORS.index(name.split(".")[0]) > FLOORS.index(package)
        assert not above, f"{_name(path)} imports {name} of a higher floor"
        if name.split(".")[0] == package and _block(name) != block and block != f"{package}.__main__":
            assert LEVELS[_block(name)] > LEVELS[block], f"{_name(path)} imports {name}, which is not below it"


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.suffix != ".py"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_compiled_modules_import_no_third_package(path: Path) -> None:
    """A `.pyx` or `.pxd` names the codec, the edge where it belongs to it, and Cython's own declarations."""
    named = {name.split(".")[0] for name in _imports(path)}
    assert named - set(FLOORS) <= COMPILED


def test_there_is_no_import_cycle_between_modules() -> None:
    """A function-level import counts too: it hides a cycle, it does not remove one."""
    modules = {_name(path) for path in SOURCES}
    graph: dict[str, set[str]] = defaultdict(set)
    for path in SOURCES:
        for name in _ours(path):
            target = name if name in modules else name.rpartition(".")[0]
            if target in modules and target != _name(path):
                graph[_name(path)].add(target)
    done: set[str] = set()

    def visit(module: str, trail: list[str]) -> None:
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for target in sorted(graph[module]):
                visit(target, [*trail, module])
            done.add(module)

    for module in sorted(modules):
        visit(module, [])


def test_the_read_side_never_loads_a_private_key() -> None:
    """Neither the codec nor the edge names a loader or a type of private keys."""
    words = ("load_pem_private_key", "load_der_private_key", "generate_private_key", "PrivateKey")
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] != "cachewarm":
            assert not [word for word in words if word in path.read_text()], path


def test_the_read_side_writes_through_its_three_functions_alone() -> None:
    """No statement below cachewarm inserts, updates or deletes: an edge has its own lease and its own reports."""
    called = set()
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] == "cachewarm" or path.suffix != ".py":
            continue
        for text in _strings(path):
            assert not _WRITES.search(text), f"{path}: {text}"
            called |= set(re.findall(r"\bfrom\s+(feed_\w+)\s*\(", text, re.IGNORECASE))
            called |= set(re.findall(r"\bselect\s+(feed_\w+)\s*\(", text, re.IGNORECASE))
    assert called <= {"feed_poll", "feed_report_orphans", "feed_report_crl"}


def _strings(path: Path) -> Iterator[str]:
    """The string constants of a file, docstrings left out."""
    tree = ast.parse(path.read_text())
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements:
            yield node.value
