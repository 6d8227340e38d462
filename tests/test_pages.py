"""Pages with commands are executed, or say that they are not; and the runner itself finds what is wrong."""

from pathlib import Path

import pytest

from tests.support.instance import ROOT, Instance
from tests.support.pages import EXECUTED, follow, is_marked, steps_of

PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    if "_build" not in path.parts and not path.name.startswith("_")
)


@pytest.mark.parametrize("name", PAGES)
def test_pages_with_executed_blocks_are_executed_and_marked(name: str) -> None:
    """A page that only looks executed would be believed."""
    has_steps = bool(steps_of(ROOT / name))
    assert has_steps == (name in EXECUTED)
    assert has_steps == is_marked(ROOT / name)


def page(folder: Path, text: str) -> Path:
    """Write a page and make the folder that it runs in."""
    (folder / "work").mkdir()
    written = folder / "page.md"
    written.write_text(text)
    return written


def test_steps_are_shell_blocks_with_the_text_block_that_follows(tmp_path: Path) -> None:
    """Blocks of other languages are shown only, and a text block belongs to the shell block right before it."""
    text = "# Page\n\n```shell\necho a\n```\n\n```text\na\n```\n\n```console\n$ b\n```\n\n```text\nc\n```\n"
    (step,) = steps_of(page(tmp_path, text))
    assert (step.commands, step.line, step.expected) == ("echo a\n", 4, ("a",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```shell\necho one\n```\n\n```shell\nfalse\n```\n", r"status 1 at page\.md:6"),
        ("```shell\necho one\n```\n\n```text\ntwo\n```\n", "'two' is missing at page.md:2"),
    ],
    ids=["failing command", "missing line"],
)
def test_a_wrong_page_fails_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    """Both a failing command and a missing line name the page, the line and the output."""
    with pytest.raises(AssertionError, match=message):
        follow(page(tmp_path, text), tmp_path / "work", Instance(tmp_path / "data"))


@pytest.mark.e2e
def test_the_readme_does_what_it_says(instance: Instance, tmp_path: Path) -> None:
    """Its commands run against a running quickstart."""
    assert follow(ROOT / "README.md", tmp_path, instance) >= 1
