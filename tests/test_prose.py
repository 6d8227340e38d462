"""Plain words: the guard of how we write, for docstrings of public names, documentation and messages.

A list of words that are not ours, docstrings that begin without a subject or say nothing, long lines in documentation,
and references that lead nowhere.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instance import ROOT

#: Not in docstrings, nor in the documentation: private vocabulary, and words that say "always" twice.
WORDS = (
    "a moment ago",
    "again and again",
    "anew",
    "comes round",
    "for ever",
    "it is said",
    "nobody",
    "octets",
    "on wish",
    "so many",
    "what it brings",
    "whoever",
)
_WORD = re.compile(rf"\b({'|'.join(map(re.escape, WORDS))})\b", re.IGNORECASE)
_HEADLESS = ("Who", "What", "Whoever", "Whom")
FEWEST_WORDS = 4
COLUMNS = 120


def sources() -> Iterator[Path]:
    """Modules and stubs of the product; Cython's own sources are described by their stubs."""
    for package in ("_fastocsp", "responder", "cachewarm"):
        for suffix in ("*.py", "*.pyi"):
            yield from sorted((ROOT / package).rglob(suffix))


def documents() -> list[Path]:
    """Everything that people read, without what is generated."""
    found = [ROOT / "README.md", ROOT / "SECURITY.md"]
    return found + [path for path in sorted((ROOT / "docs").rglob("*.md")) if not _is_generated(path)]


def _is_generated(path: Path) -> bool:
    return path.name.startswith("_") or "_build" in path.parts


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """(place, text) of each public module, class and function; `place` is file:line."""
    name = path.relative_to(ROOT)
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if getattr(node, "name", "").startswith("_"):
            continue
        text = ast.get_docstring(node)
        if text:
            yield f"{name}:{getattr(node, 'lineno', 1)}", text


def everything() -> list[tuple[str, str]]:
    """Every public docstring of the product."""
    return [found for path in sources() for found in docstrings(path)]


def _prose(text: str) -> str:
    return re.sub(r"(?s)```.*?```|`[^`]*`|\]\([^)]*\)", "", text)


def test_docstrings_begin_with_a_subject_or_a_verb() -> None:
    """A sentence that begins with What or Who sends its reader to the code."""
    found = [f"{place} {text[:60]}" for place, text in everything() if text.split()[0] in _HEADLESS]
    assert found == []


def test_docstrings_say_something() -> None:
    """With fewer words there is nothing that the name does not say: an imperative sentence, with units and errors."""
    found = [f"{place} {text}" for place, text in everything() if len(text.split()) < FEWEST_WORDS]
    assert found == []


def test_docstrings_use_the_words_of_the_field() -> None:
    """Bytes are bytes, and nobody is a person: the list is in WORDS."""
    found = [f"{place} {match[0]}" for place, text in everything() for match in _WORD.finditer(_prose(text))]
    assert found == []


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_use_the_words_of_the_field(path: Path) -> None:
    """Code and names of ASN.1 types are left out."""
    assert Counter(match[0].lower() for match in _WORD.finditer(_prose(path.read_text()))) == {}


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_lines_of_documents_fit_a_window(path: Path) -> None:
    """Tables and code apart, whose lines cannot be broken."""
    lines = re.sub(r"(?s)```.*?```", "", path.read_text()).splitlines()
    found = [f"{len(line)} {line[:60]}" for line in lines if len(line) > COLUMNS and not line.startswith("|")]
    assert found == []


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_cited_files_are_there(path: Path) -> None:
    """A document that is cited is in the repository; so are tests and modules."""
    cited = re.findall(r"`((?:docs|tests|cachewarm|responder|_fastocsp|bench)/[\w./-]+\.\w+)`", path.read_text())
    assert [name for name in cited if not (ROOT / name).exists()] == []


def test_cited_decisions_are_there() -> None:
    """`ADR 0025` in a docstring or a document leads to a page."""
    known = {path.name[:4] for path in (ROOT / "docs/adr").glob("[0-9]*.md")}
    texts = [(place, text) for place, text in everything()] + [(str(path), path.read_text()) for path in documents()]
    found = [f"{place} ADR {number}" for place, text in texts for number in re.findall(r"ADR (\d{4})", text)]
    assert [each for each in found if each[-4:] not in known] == []
