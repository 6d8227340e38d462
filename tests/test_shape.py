"""Shapes that keep call sites readable: values with many fields are made by keyword."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOST_POSITIONAL = 4
SOURCES = sorted(path for package in ("_fastocsp", "responder", "cachewarm") for path in (ROOT / package).rglob("*.py"))


def positional_dataclasses(text: str) -> list[str]:
    """Return the dataclasses with more than four fields that can be made by position."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ClassDef):
            continue
        decorators = [ast.unparse(each) for each in node.decorator_list]
        is_dataclass = any(each.startswith("dataclass") for each in decorators)
        fields = sum(isinstance(each, ast.AnnAssign) for each in node.body)
        if is_dataclass and fields > MOST_POSITIONAL and not any("kw_only=True" in each for each in decorators):
            found.append(node.name)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_dataclasses_with_many_fields_are_made_by_keyword(path: Path) -> None:
    """More than four fields: an argument at the wrong place would go unnoticed."""
    assert positional_dataclasses(path.read_text()) == []


def test_a_positional_dataclass_is_found() -> None:
    """The search can fail."""
    fields = "".join(f"    field_{number}: int\n" for number in range(5))
    assert positional_dataclasses(f"@dataclass\nclass A:\n{fields}") == ["A"]
    assert positional_dataclasses(f"@dataclass(kw_only=True)\nclass A:\n{fields}") == []
