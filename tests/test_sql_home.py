"""SQL is written in the ledger, the embedded servers and the read side's feed; every other module calls those."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOMES = ("cachewarm/ledger/", "cachewarm/embedded/", "responder/feed/")
_SQL = re.compile(
    r"\s*(?:select\s+(?:[\w*(\"'$]|$)|insert\s+into\s+\w|update\s+\w+\s+(?:\w+\s+)?set\b|delete\s+from\s+\w"
    r"|with\s+\w+\s+as\s*\(|create\s+(?:table|temp|role|database|function|index|view)\b|alter\s+(?:table|role)\b"
    r"|drop\s+(?:table|role|database)\b|truncate\s+\w|copy\s+\w+\s+(?:from|to)\b|notify\s+\w|listen\s+\w|grant\s+\w+\s+on\b)",
    re.IGNORECASE,
)
SOURCES = sorted(
    str(path.relative_to(ROOT))
    for root in ("cachewarm", "responder", "_fastocsp")
    for path in (ROOT / root).rglob("*.py")
)


def statements(text: str) -> Iterator[str]:
    """Every string of a module that begins like SQL, docstrings and single words excepted."""
    tree = ast.parse(text)
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in prose:
            continue
        if isinstance(node.value, str) and _SQL.match(node.value):
            yield node.value


@pytest.mark.parametrize("path", [path for path in SOURCES if not path.startswith(HOMES)])
def test_a_module_outside_of_the_ledger_has_no_sql(path: str) -> None:
    """The writer's statements are in one package, where the schema is."""
    assert list(statements((ROOT / path).read_text())) == []


@pytest.mark.parametrize(
    ("text", "is_sql"),
    [
        ("x = 'select 1'", True),
        ("x = f'''\n select {a} from b'''", True),
        ("x = 'update issuers set a = 1'", True),
        ("x = 'with a as (select 1) select 1'", True),
        ("x = 'update the file'", False),
        ("x = 'with one sentence'", False),
        ("'''select is prose in a docstring'''", False),
    ],
)
def test_sql_is_told_from_prose(text: str, is_sql: bool) -> None:
    """What the scan finds, and what it leaves alone."""
    assert bool(list(statements(text))) == is_sql
